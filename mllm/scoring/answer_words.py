"""The words that an answer is made of: the parsers' whole vocabulary, one table.

A number or a letter is an answer if the words around it are about the answer. What is in no class is about something
else ("3 people", "Sharpness: 7", "Plan B"), and then nothing is read. So a word too few costs an answer, never a wrong
one.
"""

from __future__ import annotations

import re
from types import MappingProxyType


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


_CLASSES = {
    # names what is asked for, or the act of giving it
    "mark": """
        score scores scored scoring rate rated rates rating ratings quality aesthetics aesthetic grade graded mos
        value answer result say give gives giving given deserve deserves get gets worth estimate estimated judge
        judgement judgment verdict pick go mark marks assign assigned evaluate evaluated assess memorability
        funniness valence iqa assessment evaluation call choose conclude settle merit merits earn earns earning
        receive receives put award awarded place land lands landing settle settles stick keep commit merited
        leaning oceniam mets bewertung bewerte bewerten vergebe urteil gesamturteil notée évalue attribue
        attribuerais mettrais califico valoro otorgo otorgaría asigno pondría puntaje valoración assegno darei
        direi valuto valutazione atribuo daria dou avaliação beoordeel geef waardering punktzahl wertung note
        qualität bildqualität gebe geben nota voto doy daría darle donne donnerais puntuación calificación calidad
        qualité punteggio qualità pontuação qualidade ocena oceniam daję оценка оценку puan puanı puanım notum
        veriyorum skor điểm skóre betyg ger cijfer hodnocení karakter nilai memberi kwaliteit kvalitet""",
    # says that it is the last word
    "final": """
        final finally overall total conclusion altogether holistic insgesamt gesamtbewertung gesamt gesamtnote
        complessivo complessiva global globale général générale generale totale finale ogólna łączna итог итоговая
        общая toplam genel corrected revised updated adjusted ultimately""",
    # carries no meaning of its own
    "filler": """
        a an the is was be make am are as at of for in on to it its it's this that i i'd i'll i'm i've we me my
        mine our you would will could should can do think believe feel guess suppose find consider image images
        picture pictures photo photograph photography pic one and or so therefore thus hence then with about
        around approximately approx roughly nearly almost close probably likely maybe perhaps quite rather very
        fairly solid strong weak firm just simply only sure certainly okay ok well yes here now from out equals
        equal d seems seem fair looks appears by based above analysis let us point points scale scored level
        number integer numerical perceptual emotional visual image's mean opinion response reply correct best
        right option letter choice because since due given where between like pretty new impression let's that's
        here's it'd there's what's feels thank thanks please hope helps appeal must higher lower change thought
        score's considering over under below than more less which has have been also still most personally
        honestly however but though although while und ist ein eine einen einer dem das den der die bild bildes
        ich würde sehr etwa ungefähr von mit es dieses diese für le la el un une una en est sur imagen esta este
        cette cet à de du des pour il è di per questa immagine yo je se lo l'image bu için mit mich mein meine
        lautet liegt bei daher also mon ma soit environ mi sería con por circa mia sono minha com een deze
        afbeelding if whereas yet toward towards down up fairer reasonable realistic appropriate confident
        corresponds translates requested stands na restored distorted version ours looking zoomed zooming closer
        closely using stand taken together anyway instead rounded really somewhere single what asked much predicted
        expected everything things weighing diesem dieser dieses meiner nach auf als eher wäre würden hier
        ce cet que qui photo lui serait je j'ai eu é foto fotografia fotografía imagem è no geral
        um uma do da ao para che io questo alla yo le les bu görsele görüntüye fotoğrafa resme ten obraz zdjęcie
        zdjęciu ik zou dit jag bilden ini gambar saya adalah ảnh này cho tôi""",
    # words of a scale
    "level": """
        low medium high bad poor good excellent terrible awful great mediocre acceptable decent perfect average
        superb outstanding amazing neutral positive negative worst best lowest highest worse better moderate
        slight fair unusable unacceptable horrible flawless pristine gut schlecht bueno bon""",
    # units of a score
    "unit": """
        point points pt pts star stars punkt punkte punkten étoile étoiles estrella estrellas estrela estrelas
        stelle stern sterne puntos punti pontos балл балла баллов pkt ish""",
    # says that what follows is not the answer
    "negation": """
        not never neither nor no cannot cant without nicht kein pas non не""",
    # what a rating may be of besides quality: the answer where a reply rates nothing else
    "goal": """
        similarity resemblance likeness readability legibility alignment adherence compliance faithfulness fidelity
        consistency coherence relevance naturalness realism realness authenticity plausibility correctness accuracy
        edit editing instruction instructions prompt following text-image image-text text-to-image preservation identity
        match matching agreement correspondence usefulness helpfulness safety attractiveness beauty popularity
        preference complexity interestingness creativity originality recognizability completeness satisfaction
        engagement semantic caption restoration reconstruction ähnlichkeit similarité ressemblance similitud
        similaridade somiglianza similarità benzerlik podobieństwo""",
    # another image, or a first thought
    "other": """
        reference original originally other another previous previously earlier before typical ideal first second
        third last initially initial baseline usual normal undistorted pristine average perfect""",
    # a change of a score
    "change": """
        deduct deducted deducting subtract subtracted take took taking taken remove removed lose loses lost add
        added start starting started begin off minus costs cost drop drops dropped reduce reduces lowers drag
        drags pull pulls bring brings push pushes raise raises limit limits cap caps bump bumps knock knocks""",
}
WORDS = MappingProxyType({name: words_of(words) for name, words in _CLASSES.items()})

# Scripts without spaces, or whose grammar joins words: what a run of letters holds decides.
FOREIGN = re.compile(r"[^\W\d_]*[^\u0000-\u024f\u1e00-\u1eff\u2000-\u206f\W\d_]")
FOREIGN_CLASSES = MappingProxyType(
    {
        "final": re.compile("总|總|综合(?!考虑|分析)|総合|最终|最終|最后|最後|итог|общ|총|최종|المجموع"),
        "other": re.compile("初看|乍看|起初|最初|一开始|原本|сначала|처음"),
        "mark": re.compile(
            "评分|得分|分数|評分|分數|打|给|給|评价|評価|质量|品質|スコア|점수|평점|คะแนน|คุณภาพ|оцен|качеств|स्कोर|गुणवत्ता|คุณภาพ|النتيجة|تقييم"
        ),
        "unit": re.compile("^(?:分|点|點|점|балл)"),
        "filler": re.compile("^(?:です|입니다|だ|изображени|我|这张|這張|图片|この画像)"),
    }
)

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety hundred"
NUMBER_WORDS = MappingProxyType(
    {word: value for value, word in enumerate(_UNITS.split())}
    | {word: 20 + 10 * n for n, word in enumerate(_TENS.split())}
)
HAN_NUMBERS = "零一二三四五六七八九十"

# A bound is no value: before a number, or after it.
_OFTEN = r"\s{0,2}(?:an?|the|score|of)?\s{0,2}(?:of|an?)?\s{0,2}"
BOUND_BEFORE = re.compile(
    r"(?:\b(?:(?:closer|nearer) to|at (?:most|least|best|worst)"
    r"|(?:less|more|higher|lower|fewer|greater|better|worse|larger|smaller) than"
    rf"|up to|above|over|under|below|beyond|exceeding|max(?:imum)?\.?|min(?:imum)?\.?)|[<>≤≥≠]=?){_OFTEN}$",
    re.IGNORECASE,
)
BOUND_AFTER = re.compile(
    r"\s{0,2}(?:\+(?!\s*\d)|-\W*$|or (?:more|less|higher|lower|above|below|better|worse)\b"
    r"|at (?:best|most|least|worst)\b|and (?:above|below|up|more)\b|max(?:imum)?\b|min(?:imum)?\b)",
    re.IGNORECASE,
)

# Takes back what was said before it.
CORRECTION = re.compile(
    r"\b(?:wait|hm{1,5}|actually|correction|on (?:second thought|reflection)s?|or rather"
    r"|let me (?:correct|reconsider|revise)|i (?:correct|revise)|scratch that"
    r"|(?:revis|chang|adjust|lower|rais)(?:e|ing) (?:that|it|this|my (?:score|rating|answer|mark))(?: down| up)?"
    r"(?= to\b)"
    r"|edit(?=:)|changed it to"
    r"|reconsider(?:ing)?|my mistake)\b[\s,.:;!-]{0,4}(?:no,\s)?"
    r"|(?<![^.!?;…\n]) ?no, (?=\S)",
    re.IGNORECASE,
)

# The verb decides: who "can't see any noise. Score: 85" refuses nothing.
_DECLINED = (
    r"(?:assist|help|provide|rate|score|evaluate|assess|judge|analy[sz]e|determine|answer|comply|process|view|open|access"
    r"|give|do|choose|decide|tell|see (?:\w+ )?(?:images?|pictures?|photos?))\b"
)
REFUSAL = re.compile(
    rf"\b(?:can ?not|can['’]?t|could not|couldn['’]t|won['’]t|will not|(?:un|not )able to) (?:\w+ )?{_DECLINED}"
    r"(?! (?:it |this )?(?:an?y? )?(?:more|less|higher|lower|above|below)\b)"
    r"|\bas an ai\b|\bI (?:can ?not|can['’]t)\W*$"
    r"|\bn/a\b|^\W*-/-\W*$"
    r"|kann ich (?:leider )?nicht|ich kann\b[^.!?]{0,80}\bnicht"
    r"|je ne peux pas|no puedo|non posso|não posso"
    r"|не могу|無法|无法|不能(?:提供|评|評)|できません|할 수 없",
    re.IGNORECASE,
)
# Polite words that refuse only where no answer follows.
APOLOGY = re.compile(
    r"\bI(?:['’]?m| am) sorry\b|\bI apologi[sz]e|^\W*sorry\b|tut mir leid|désolée?\b|lo siento|mi dispiace|desculpe"
    r"|извините|抱歉|对不起|對不起|申し訳|죄송",
    re.IGNORECASE,
)


def classes_of(word: str) -> frozenset[str]:
    """Return the classes of a word; empty if it is about something else.

    Examples:
        >>> sorted(classes_of("Overall")), classes_of("sharpness")
        (['final'], frozenset())
    """
    word = word.lower().replace("’", "'")
    found = {name for name, words in WORDS.items() if word in words}
    if word.endswith("n't"):
        found.add("negation")
    if FOREIGN.match(word):
        found |= {name for name, pattern in FOREIGN_CLASSES.items() if pattern.search(word)} or {"foreign"}
    return frozenset(found)
