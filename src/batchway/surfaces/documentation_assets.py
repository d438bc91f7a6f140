"""The style sheet and the search script of the page at `/docs`."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --faint: #5f6872; --page: #fff; --panel: #f5f7f9;
  --line: #d9dee3; --accent: #0b62c4; --get: #1b6e3c; --post: #0b62c4; --put: #7c4a03;
  --patch: #6b3fa0; --delete: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ec; --faint: #9aa4ae; --page: #14171a;
  --panel: #1d2126; --line: #343b42; --accent: #7db5f5; --get: #7fd3a0; --post: #7db5f5;
  --put: #e0b06a; --patch: #c3a3f0; --delete: #f2a29b; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 7rem; }
body { margin: 0 auto; padding: 0 1rem 4rem; max-width: 62rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 1.5rem 0 .5rem; font-size: 1.75rem; }
h1 small { color: var(--faint); font-size: 1rem; font-weight: normal; }
h2 { margin: 2rem 0 .5rem; font-size: 1.25rem; }
h4 { margin: 1rem 0 .25rem; font-size: .95rem; }
p { max-width: 44rem; }
a { color: var(--accent); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em; }
pre { overflow-x: auto; margin: .25rem 0; padding: .75rem; border-radius: .4rem;
  background: var(--panel); border: 1px solid var(--line); }
pre code { font-size: .85rem; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; }
.start { margin: .25rem 0; }
summary { cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.bar { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; align-items: center;
  gap: .5rem .75rem; margin: 1rem -1rem 0; padding: .6rem 1rem; background: var(--page);
  border-bottom: 1px solid var(--line); }
.bar label { font-weight: 600; }
.bar input { flex: 1 1 12rem; min-width: 0; max-width: 24rem; padding: .4rem .6rem; font: inherit;
  color: inherit; background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; }
.bar output { color: var(--faint); }
.bar nav { flex: 1 1 100%; display: flex; gap: 1rem; overflow-x: auto; white-space: nowrap; }
.call { margin: .4rem 0; border: 1px solid var(--line); border-radius: .4rem; }
.call > summary { display: grid; grid-template-columns: 4.25rem minmax(12rem, 1fr) minmax(0, 1fr);
  gap: .25rem .75rem; align-items: baseline; padding: .5rem .75rem; list-style: none; }
.call > summary::-webkit-details-marker { display: none; }
.call > summary:hover, .call[open] > summary { background: var(--panel); }
.call > .body { padding: .25rem .75rem 1rem; border-top: 1px solid var(--line); }
.path { overflow-wrap: anywhere; }
.method { font: 600 .8rem ui-monospace, "DejaVu Sans Mono", monospace; }
.get { color: var(--get); } .post { color: var(--post); } .put { color: var(--put); }
.patch { color: var(--patch); } .delete { color: var(--delete); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); font-weight: normal; }
th { width: 38%; overflow-wrap: anywhere; }
.kind { color: var(--faint); }
.required { color: var(--delete); font-size: .8rem; font-weight: 600; }
@media (max-width: 40rem) {
  .call > summary { grid-template-columns: 4.25rem 1fr; }
  .call > summary > :last-child { grid-column: 1 / -1; }
  th { width: 45%; }
}
"""

SCRIPT = """
"use strict";
const search = document.getElementById("search");
const calls = [...document.querySelectorAll(".call")];
const texts = new Map(calls.map((call) => [call, call.textContent.toLowerCase()]));

function showMatches() {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let count = 0;
  for (const call of calls) {
    call.hidden = !words.every((word) => texts.get(call).includes(word));
    count += !call.hidden;
  }
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = !section.querySelector(".call:not([hidden])");
  }
  document.getElementById("none").hidden = count > 0;
  document.getElementById("found").textContent = count === 1 ? "1 call" : `${count} calls`;
}

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named && named.matches(".call")) {
    search.value = "";
    showMatches();
    named.open = true;
    named.scrollIntoView();
  }
}

search.addEventListener("input", showMatches);
window.addEventListener("hashchange", openNamed);
for (const call of calls) {
  call.addEventListener("toggle", () => {
    if (call.open) history.replaceState(null, "", "#" + call.id);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  }
});
if (location.protocol.startsWith("http")) {
  document.getElementById("base").textContent = location.origin;
}
showMatches();
openNamed();
"""
