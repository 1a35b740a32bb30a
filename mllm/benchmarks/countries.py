"""Countries as benchmarks and models write them: one name each, its continent, other spellings and demonyms.

Names follow common English usage, continents the M49 standard of the United Nations (the two Americas as North America,
with Central America and the Caribbean, and South America). England, Scotland, Wales and Northern Ireland are the United
Kingdom, because benchmarks use both for dishes of one place.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

# Continent: name | other names | people and things of it. One country per line.
_TABLE = {
    "Africa": """
Algeria||Algerian
Angola||Angolan
Benin||Beninese
Botswana||Botswanan, Motswana
Burkina Faso||Burkinabe
Burundi||Burundian
Cabo Verde|Cape Verde|Cape Verdean
Cameroon||Cameroonian
Central African Republic||Central African
Chad||Chadian
Comoros||Comorian
Democratic Republic of the Congo|DR Congo, DRC, Congo-Kinshasa, Congo Kinshasa, Zaire|
Republic of the Congo|Congo, Congo-Brazzaville, Congo Brazzaville|Congolese
Cote d'Ivoire|Ivory Coast|Ivorian
Djibouti||Djiboutian
Egypt||Egyptian
Equatorial Guinea||Equatoguinean
Eritrea||Eritrean
Eswatini|Swaziland|Swazi
Ethiopia||Ethiopian
Gabon||Gabonese
Gambia|The Gambia|Gambian
Ghana||Ghanaian
Guinea||Guinean
Guinea-Bissau||Bissau-Guinean
Kenya||Kenyan
Lesotho||Basotho
Liberia||Liberian
Libya||Libyan
Madagascar||Malagasy
Malawi||Malawian
Mali||Malian
Mauritania||Mauritanian
Mauritius||Mauritian
Morocco||Moroccan
Mozambique||Mozambican
Namibia||Namibian
Niger||Nigerien
Nigeria||Nigerian
Rwanda||Rwandan
Sao Tome and Principe||Santomean
Senegal||Senegalese
Seychelles||Seychellois
Sierra Leone||Sierra Leonean
Somalia||Somali
South Africa||South African
South Sudan||South Sudanese
Sudan||Sudanese
Tanzania|United Republic of Tanzania|Tanzanian
Togo||Togolese
Tunisia||Tunisian
Uganda||Ugandan
Zambia||Zambian
Zimbabwe||Zimbabwean
""",
    "Asia": """
Afghanistan||Afghan
Armenia||Armenian
Azerbaijan||Azerbaijani
Bahrain||Bahraini
Bangladesh||Bangladeshi
Bhutan||Bhutanese
Brunei|Brunei Darussalam|Bruneian
Cambodia||Cambodian, Khmer
China|People's Republic of China, PRC, Mainland China|Chinese
Cyprus||Cypriot
Georgia||Georgian
Hong Kong||Hongkonger
India||Indian
Indonesia||Indonesian
Iran|Islamic Republic of Iran, Persia|Iranian, Persian
Iraq||Iraqi
Israel||Israeli
Japan||Japanese
Jordan||Jordanian
Kazakhstan||Kazakh
Kuwait||Kuwaiti
Kyrgyzstan||Kyrgyz
Laos|Lao PDR|Laotian, Lao
Lebanon||Lebanese
Macau|Macao|Macanese
Malaysia||Malaysian
Maldives|The Maldives|Maldivian
Mongolia||Mongolian
Myanmar|Burma|Burmese
Nepal||Nepalese, Nepali
North Korea|DPRK|North Korean
Oman||Omani
Pakistan||Pakistani
Palestine|State of Palestine|Palestinian
Philippines|The Philippines|Filipino, Filipina, Philippine
Qatar||Qatari
Saudi Arabia|Kingdom of Saudi Arabia|Saudi, Saudi Arabian
Singapore||Singaporean
South Korea|Korea, Republic of Korea|South Korean, Korean
Sri Lanka||Sri Lankan
Syria|Syrian Arab Republic|Syrian
Taiwan|Republic of China|Taiwanese
Tajikistan||Tajik
Thailand||Thai
Timor-Leste|East Timor|Timorese
Turkey|Turkiye|Turkish
Turkmenistan||Turkmen
United Arab Emirates|UAE|Emirati
Uzbekistan||Uzbek
Vietnam|Viet Nam|Vietnamese
Yemen||Yemeni
""",
    "Europe": """
Albania||Albanian
Andorra||Andorran
Austria||Austrian
Belarus||Belarusian
Belgium||Belgian
Bosnia and Herzegovina|Bosnia|Bosnian
Bulgaria||Bulgarian
Croatia||Croatian
Czechia|Czech Republic|Czech
Denmark||Danish
Estonia||Estonian
Finland||Finnish
France||French
Germany||German
Greece||Greek
Hungary||Hungarian
Iceland||Icelandic
Ireland|Republic of Ireland|Irish
Italy||Italian
Kosovo||Kosovar
Latvia||Latvian
Liechtenstein||Liechtensteiner
Lithuania||Lithuanian
Luxembourg||Luxembourgish
Malta||Maltese
Moldova|Republic of Moldova|Moldovan
Monaco||Monegasque
Montenegro||Montenegrin
Netherlands|The Netherlands, Holland|Dutch
North Macedonia|Macedonia|Macedonian
Norway||Norwegian
Poland||Polish
Portugal||Portuguese
Romania||Romanian
Russia|Russian Federation|Russian
San Marino||Sammarinese
Serbia||Serbian
Slovakia||Slovak, Slovakian
Slovenia||Slovenian
Spain||Spanish
Sweden||Swedish
Switzerland||Swiss
Ukraine||Ukrainian
United Kingdom|UK, U.K., Great Britain, Britain, England, Scotland, Wales, Northern Ireland|British, English, Welsh
Vatican City|Holy See|
""",
    "North America": """
Antigua and Barbuda||Antiguan
Bahamas|The Bahamas|Bahamian
Barbados||Barbadian
Belize||Belizean
Canada||Canadian
Costa Rica||Costa Rican
Cuba||Cuban
Dominica||
Dominican Republic||Dominican
El Salvador||Salvadoran
Grenada||Grenadian
Guatemala||Guatemalan
Haiti||Haitian
Honduras||Honduran
Jamaica||Jamaican
Mexico||Mexican
Nicaragua||Nicaraguan
Panama||Panamanian
Puerto Rico||Puerto Rican
Saint Kitts and Nevis|St Kitts and Nevis|
Saint Lucia|St Lucia|
Saint Vincent and the Grenadines|St Vincent and the Grenadines|
Trinidad and Tobago||Trinidadian
United States|US, U.S., USA, U.S.A., United States of America, America, United States of America (USA)|American
""",
    "Oceania": """
Australia||Australian
Fiji||Fijian
Kiribati||
Marshall Islands||Marshallese
Micronesia|Federated States of Micronesia|Micronesian
Nauru||Nauruan
New Zealand|Aotearoa|New Zealander
Palau||Palauan
Papua New Guinea||Papua New Guinean
Samoa||Samoan
Solomon Islands||
Tonga||Tongan
Tuvalu||Tuvaluan
Vanuatu||
""",
    "South America": """
Argentina||Argentine, Argentinian
Bolivia|Plurinational State of Bolivia|Bolivian
Brazil||Brazilian
Chile||Chilean
Colombia||Colombian
Ecuador||Ecuadorian
Guyana||Guyanese
Paraguay||Paraguayan
Peru||Peruvian
Suriname||Surinamese
Uruguay||Uruguayan
Venezuela||Venezuelan
""",
}

# Names in scripts that put no spaces between words: Chinese (both kinds of characters), Japanese, Korean.
_EAST_ASIAN = """
China 中国 中國 중국
South Korea 韩国 韓国 韓國 대한민국 한국
North Korea 朝鲜 北朝鮮 북한
Japan 日本 일본
Taiwan 台湾 台灣 臺灣 대만
Vietnam 越南 ベトナム 베트남
Thailand 泰国 泰國 タイ王国 태국
Indonesia 印度尼西亚 印尼 インドネシア 인도네시아
Malaysia 马来西亚 馬來西亞 マレーシア 말레이시아
Singapore 新加坡 シンガポール 싱가포르
Philippines 菲律宾 菲律賓 フィリピン 필리핀
India 印度 インド 인도
Turkey 土耳其 トルコ 튀르키예 터키
Russia 俄罗斯 俄羅斯 ロシア 러시아
Ethiopia 埃塞俄比亚 エチオピア 에티오피아
Azerbaijan 阿塞拜疆 アゼルバイジャン 아제르바이잔
Nigeria 尼日利亚 ナイジェリア 나이지리아
United States 美国 美國 アメリカ 미국
Mexico 墨西哥 メキシコ 멕시코
Brazil 巴西 ブラジル 브라질
United Kingdom 英国 英國 イギリス 영국
France 法国 法國 フランス 프랑스
Germany 德国 德國 ドイツ 독일
Italy 意大利 義大利 イタリア 이탈리아
Spain 西班牙 スペイン 스페인
"""


@dataclass(frozen=True)
class _Names:
    """Lookups made from the table: key of a spelling → country, country → continent, and a pattern for running text."""

    countries: dict[str, str]
    people: dict[str, str]
    continents: dict[str, str]
    pattern: re.Pattern[str]
    east_asian: dict[str, str]


def country_of(written: str) -> str | None:
    """Return the country that a label names, or None; case, accents, blanks and punctuation do not matter.

    A number at the end is a variant (``mexico1``), and the name of a people means the country (``Azerbaijani``).
    Nothing is guessed: a spelling that is not in the table has no country.

    Examples:
        >>> country_of("southkorea"), country_of("England"), country_of("Atlantis")
        ('South Korea', 'United Kingdom', None)
    """
    names = _names()
    key = _key(re.sub(r"\d+\s*$", "", written))
    return names.countries.get(key) or names.people.get(key) or names.east_asian.get(written.strip())


def continent_of(country: str) -> str:
    """Return the continent of a country as ``country_of`` names it."""
    return _names().continents[country]


def countries_in(text: str) -> list[str]:
    """Return the countries that running text names, each once, in the order of their first mention.

    Names of countries count before those of peoples: "a Chinese dish, popular in Peru" names Peru. A name must start
    with a capital (turkey is a bird), and an abbreviation must have only capitals (us is a word), unless the whole text
    has none.
    """
    names = _names()
    places, people = [], []
    cased = text != text.lower()
    for match in names.pattern.finditer(_plain(text)):
        key = _key(match[0])
        capitals = match[0].upper() == match[0] if len(key) <= 3 else match[0][0].isupper()
        if not capitals and (cased or len(key) <= 2):
            continue
        if key in names.countries:
            places.append(names.countries[key])
        else:
            people.append(names.people[key])
    # "インドネシア" is not "インド": the longest name at a place counts.
    east_asian = re.findall("|".join(sorted(names.east_asian, key=len, reverse=True)), text)
    places += [names.east_asian[name] for name in east_asian]
    return list(dict.fromkeys(places or people))


def _plain(text: str) -> str:
    """Return the text without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).replace("’", "'")


def _key(text: str) -> str:
    return re.sub(r"[^a-z]", "", _plain(text).casefold())


@cache
def _names() -> _Names:
    countries, people, continents, spellings = {}, {}, {}, []
    for continent, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            name, other, peoples = line.split("|")
            continents[name] = continent
            others, folk = ([part.strip() for part in cell.split(",") if part.strip()] for cell in (other, peoples))
            countries |= {_key(spelling): name for spelling in (name, *others)}
            people |= {_key(spelling): name for spelling in folk}
            spellings += [name, *others, *folk]
    # Longest first: South Sudan is not Sudan.
    longest = sorted(spellings, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest)) + r")(?!\w)", re.IGNORECASE)
    east_asian = {
        spelling: name.strip()
        for name, spellings in re.findall(r"^([A-Za-z ]+) (.+)$", _EAST_ASIAN, re.MULTILINE)
        for spelling in spellings.split()
    }
    return _Names(countries, people, continents, pattern, east_asian)
