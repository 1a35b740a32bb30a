"use strict";
// The page is whole without this script: it adds a dark theme, sorting, filtering, flipping and the mark in the contents.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const made = (tag, properties) => Object.assign(document.createElement(tag), properties);

// Dark or light: as the system prefers, until the reader presses the switch.
const system = matchMedia("(prefers-color-scheme: dark)");
const theme = made("button", { type: "button" });
function show(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  theme.textContent = dark ? "Light page" : "Dark page";
}
theme.onclick = () => { show(root.dataset.theme !== "dark"); system.onchange = null; };
system.onchange = () => show(system.matches);
show(system.matches);
document.querySelector("nav").append(theme);

// Tables: a heading sorts, a second press turns the order; a field filters the rows.
const collator = new Intl.Collator("en", { numeric: true });
function value(row, column) {
  const text = row.cells[column].textContent.trim().replace(/−/g, "-").replace(/^< /, "");
  const number = /^-?[\d,]*\.?\d/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
  return { text, number, none: text === "–" };
}
function compare(a, b) {
  if (a.none || b.none) return a.none - b.none;
  return isNaN(a.number) || isNaN(b.number) ? collator.compare(a.text, b.text) : a.number - b.number;
}
function sort(table, column) {
  const heading = all("th", table)[column], body = table.tBodies[0];
  const turn = heading.ariaSort === "ascending" ? -1 : 1;
  all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.ariaSort = turn > 0 ? "ascending" : "descending";
  const rows = all("tr", body).map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => (a.none || b.none ? 1 : turn) * compare(a, b)); // what is not known stays last
  body.append(...rows.map(([, row]) => row));
}
for (const table of all("table")) {
  all("th", table).forEach((heading, column) => {
    const button = made("button", { type: "button", textContent: heading.textContent, title: "Sort by this column" });
    button.onclick = () => sort(table, column);
    heading.replaceChildren(button);
  });
  if (table.tBodies[0].rows.length < 8) continue;
  const field = made("input", { type: "search", placeholder: "Filter rows", ariaLabel: "Filter rows" });
  field.oninput = () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
  };
  table.closest(".table").querySelector(".tools").append(field);
}

// Crops: as long as one is pressed, another is shown in its place.
for (const figure of all(".flip")) {
  const buttons = all("button", figure);
  const choice = made("select", { ariaLabel: "Crop to flip to" });
  choice.append(...buttons.map((button) => made("option", { textContent: button.innerText.replace("\n", ", ") })));
  const tools = made("div", { className: "tools" });
  tools.append("Press a crop to see in its place:", choice);
  figure.prepend(tools);
  for (const button of buttons) {
    const [picture, title] = button.children;
    const own = { src: picture.src, text: title.textContent };
    const flip = (on) => {
      const [other, words] = buttons[choice.selectedIndex].children;
      const shown = on && !button.classList.contains("flipped") ? { src: other.src, text: words.textContent } : own;
      button.classList.toggle("flipped", on);
      [picture.src, title.textContent] = [shown.src, shown.text];
    };
    button.onpointerdown = () => flip(true);
    button.onkeydown = (event) => { if (event.key === " " && !event.repeat) flip(true); };
    button.onpointerup = button.onpointerleave = button.onpointercancel = button.onkeyup = button.onblur = () => flip(false);
    button.oncontextmenu = (event) => event.preventDefault();
  }
}

// A link to what is folded away opens it; on paper everything is open.
function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const inner = target.matches(".table") && target.querySelector("details");
  if (inner) inner.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();
let folded = [];
addEventListener("beforeprint", () => { folded = all("details:not([open])"); folded.forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));

// Contents: mark the section that is being read.
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const watch = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    const link = links.get(target.id);
    link.setAttribute("aria-current", "true");
    link.closest("nav").scrollTo({ left: link.offsetLeft - 120 });
  }
}, { rootMargin: "-10% 0px -80% 0px" });
all("header[id], section[id]").forEach((section) => watch.observe(section));
