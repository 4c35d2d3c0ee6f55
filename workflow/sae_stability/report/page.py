"""Look and behaviour of the HTML page: a style sheet and a few lines of JavaScript, both inside the page."""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --back: #fdfdfc; --quiet: #595959; --line: #d4d4d0; --box: #f2f1ec;
  --link: #0059a0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e4df; --back: #17181a; --quiet: #a9a8a3; --line: #3b3d40; --box: #222427; --link: #7db8f0; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--back); color: var(--text); font: 1.0625rem/1.6 Georgia, "Times New Roman", serif;
  overflow-wrap: break-word; }
main, header, nav, footer { max-width: 46rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 2.6rem 0 .8rem; }
.subtitle, footer { color: var(--quiet); }
a { color: var(--link); }
nav ol { columns: 2; padding-left: 1.4rem; }
.lead { background: var(--box); border: 1px solid var(--line); border-radius: .4rem; padding: .2rem 1.2rem .6rem;
  margin-top: 1.6rem; }
.lead h2 { margin: 1rem 0 .4rem; font-size: 1.15rem; }
.wide { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font: .875rem/1.4 system-ui, sans-serif; min-width: 100%; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
thead th { border-bottom: 2px solid var(--text); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
figure { margin: 1.8rem 0; }
.drawing { background: #fff; border: 1px solid var(--line); border-radius: .3rem; padding: .6rem; }
.drawing svg { display: block; width: 100%; max-width: 34rem; height: auto; margin: 0 auto;
  stroke-linejoin: round; stroke-linecap: butt; color-scheme: light; }
figcaption { font-size: .9375rem; line-height: 1.5; margin-top: .6rem; }
math { display: block; overflow-x: auto; overflow-y: hidden; padding: .5rem 0; font-size: 1.05em; }
footer { padding-bottom: 3rem; font-size: .875rem; }
@media (max-width: 40rem) { body { font-size: 1rem; } nav ol { columns: 1; } h1 { font-size: 1.45rem; } }
@media print {
  :root { --text: #000; --back: #fff; --quiet: #444; --line: #bbb; --box: #fff; --link: #000; }
  body { font-size: 10pt; } main, header, nav, footer { max-width: none; }
  .wide { overflow: visible; } figure, tr, .lead { break-inside: avoid; } h2 { break-after: avoid; }
  .drawing { border: 0; padding: 0; } .drawing svg { max-width: 11cm; }
}
"""

SCRIPT = """
"use strict";
// A click on a heading sorts its table by that column: by number where both cells begin with one, else by letter.
function value(row, column) { return row.cells[column].textContent.trim(); }
function compare(a, b) {
  const x = parseFloat(a.replace(/,/g, "")), y = parseFloat(b.replace(/,/g, ""));
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
}
for (const heading of document.querySelectorAll("thead th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
    const rows = [...body.rows].sort((a, b) => compare(value(a, column), value(b, column)) * (down ? -1 : 1));
    body.append(...rows);
  });
}
"""


def policy() -> str:
    """The page's Content-Security-Policy: no request, no script but the page's own, no picture but those inside it."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
