"use strict";
// Search: every word must begin a word of an entry; its title counts before its text. Words are
// taken in any spelling: hint5 and HINT_5 for HINT-5, symbols without what compilers and stacks put
// behind them, one or many of a thing.
{
  const box = document.getElementById("search"), hits = document.getElementById("hits");
  const entries = JSON.parse(document.getElementById("index").textContent).map(([place, kind, title, text]) =>
    ({ place, kind, title, text, low: ` ${title} ${text}`.toLowerCase(), head: ` ${title}`.toLowerCase() }));
  const begins = (text, word) => text.search(new RegExp("[^a-z0-9]" + word.replace(/[^a-z0-9]/g, "\\$&")));
  const ids = new Map(entries.map((one) => one.head.match(/^ ([a-z]+-?\d+): /)?.[1]).filter(Boolean)
    .map((id) => [id.replace("-", ""), id]));
  const spelled = (text) => text.toLowerCase()
    .replace(/(\.(isra|constprop|part|cold|llvm)(\.\d+)*)+/g, "").replace(/\+0x[0-9a-f]+(\/0x[0-9a-f]+)?/g, "")
    .replace(/(?<![a-z0-9])([a-z]+)[-_ ]?0*(\d+)(?![a-z0-9.])/g, (as, letters, number) => ids.get(letters + number) ?? as)
    .split(/\s+/).filter(Boolean).map((word) => word.replace(/\(\)$|[,;:]$/, ""));
  const alike = (one, other) => { // the part of pairs of letters that two words share
    const pairs = (word) => [...word.slice(1)].map((_, at) => word.slice(at, at + 2));
    const left = new Set(pairs(one)), right = new Set(pairs(other));
    return 2 * [...left].filter((pair) => right.has(pair)).length / (left.size + right.size || 1);
  };
  const names = new Map(entries.map((one) => [one.head.split(/[: (]/)[1], one]));
  const near = (words) => [...names.keys()].map((name) => [Math.max(...words.map((word) => alike(word, name))), name])
    .filter(([share]) => share >= 0.5).sort(([a], [b]) => b - a).slice(0, 5).map(([, name]) => names.get(name));
  let chosen = 0;
  const find = () => {
    const words = spelled(box.value);
    hits.replaceChildren();
    hits.hidden = !words.length;
    if (!words.length) return;
    const found = entries.filter((one) => words.every((word) => begins(one.low, word) >= 0));
    const rank = (one) => words.filter((word) => begins(one.head, word) < 0).length
      + (one.head === " " + words.join(" ") || one.head.startsWith(` ${words[0]} `) ? -1 : 0);
    found.sort((a, b) => rank(a) - rank(b));
    const nearest = found.length ? [] : near(words);
    if (!found.length) hits.append(Object.assign(document.createElement("li"),
      { textContent: nearest.length ? "no match; nearest:" : "no match, and nothing is near" }));
    for (const one of [...found.slice(0, 30), ...nearest]) {
      const item = document.createElement("li"), link = document.createElement("a"), small = document.createElement("small");
      link.href = "#" + one.place;
      const at = Math.max(0, one.text.toLowerCase().indexOf(words.find((word) => begins(one.head, word) < 0) ?? "") - 40);
      small.textContent = `${one.kind}: ${at ? "..." : ""}${one.text.slice(at, at + 130)}`;
      link.append(one.title, small);
      item.append(link);
      hits.append(item);
    }
    choose(0);
  };
  const choose = (number) => {
    const links = [...hits.querySelectorAll("a")];
    if (!links.length) return;
    chosen = (number + links.length) % links.length;
    links.forEach((link, at) => link.classList.toggle("chosen", at === chosen));
    links[chosen].scrollIntoView({ block: "nearest" });
  };
  const close = () => { hits.hidden = true; };
  box.disabled = false;
  box.addEventListener("input", find);
  box.addEventListener("focus", find);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
      event.preventDefault();
    } else if (event.key === "Enter") hits.querySelectorAll("a")[chosen]?.click();
    else if (event.key === "Escape") close();
  });
  hits.addEventListener("click", (event) => { if (event.target.closest("a")) { close(); box.blur(); } });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) close(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input")) { box.focus(); box.select(); event.preventDefault(); }
  });
}
// A place inside something closed is opened when a link leads to it.
{
  const open = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let at = place; at; at = at.parentElement) if (at.localName === "details") at.open = true;
    place.scrollIntoView();
  };
  window.addEventListener("hashchange", open);
  open();
  const menu = document.querySelector(".menu");
  menu.addEventListener("click", (event) => { if (event.target.closest("a")) menu.open = false; });
}
// Counterexamples: one step at a time, by buttons, the arrow keys or a click on a step.
for (const walk of document.querySelectorAll(".walk")) {
  const panels = [...walk.querySelectorAll(".panel")], rows = [...walk.querySelectorAll(".ladder tbody tr")];
  const player = walk.querySelector(".player"), [back, on] = player.querySelectorAll("button");
  const where = player.querySelector("output");
  let now = panels.length - 1;
  const show = (number) => {
    now = Math.min(Math.max(number, 0), panels.length - 1);
    for (const shown of [panels, rows]) shown.forEach((one, at) => one.classList.toggle("now", at === now));
    back.disabled = now === 0;
    on.disabled = now === panels.length - 1;
    where.textContent = now ? `step ${now} of ${panels.length - 1}` : "before the first step";
  };
  back.addEventListener("click", () => show(now - 1));
  on.addEventListener("click", () => show(now + 1));
  rows.forEach((row, at) => row.addEventListener("click", (event) => { if (!event.target.closest("a")) show(at); }));
  walk.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: panels.length - 1 }[event.key];
    if (to === undefined) return;
    show(to);
    event.preventDefault();
  });
  walk.classList.add("stepping");
  walk.tabIndex = 0;
  player.hidden = false;
  show(0);
}
