"use strict";
// Elements, numbers and text. All text goes through `textContent`, so no text becomes markup.

const Page = (() => {
  // An element with properties, event handlers (`onclick`) and attributes (`aria-...`, `role`, `data-...`).
  function el(tag, properties, ...children) {
    return filled(document.createElement(tag), properties, children);
  }

  function svg(tag, attributes, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function filled(node, properties, children) {
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in node) node[name] = value;
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  }

  // Characters that would hide, turn the writing direction or not print are named: a corpus may hold them.
  const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const SIGNS = { "\n": "↵", "\r": "␍", "\t": "⇥" };

  function visible(text) {
    return text.replace(HIDDEN, (c) => SIGNS[c] || `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  }

  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (Number.isInteger(value)) return value.toLocaleString("en");
    if (value !== 0 && Math.abs(value) < 10 ** -digits) return value.toExponential(1);
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : value.toFixed(digits);
  }

  const percent = (value) =>
    value === null || value === undefined || Number.isNaN(value) ? "–" : `${(100 * value).toFixed(1)} %`;

  const saeHash = (cohort, seed) => `#/${cohort}/seed-${seed}`;
  const latentHash = (cohort, seed, latent) => `${saeHash(cohort, seed)}/${latent}`;

  function latentLink(cohort, seed, latent) {
    return el("a", { href: latentHash(cohort, seed, latent) }, `latent ${latent}`);
  }

  // A table from a head and rows of cells; a cell is text or a node. The table scrolls by itself where it is too wide.
  function table(caption, head, rows, labels) {
    const cell = (tag, value) => el(tag, tag === "th" ? { scope: "col" } : {}, value);
    return el(
      "div",
      { className: "wide", role: "region", "aria-label": caption, tabIndex: 0 },
      el(
        "table",
        {},
        el("caption", { className: labels === false ? "hidden" : "" }, caption),
        el("thead", {}, el("tr", {}, head.map((value) => cell("th", value)))),
        el("tbody", {}, rows.map((row) => el("tr", {}, row.map((value) => cell("td", value))))),
      ),
    );
  }

  // The page's place in words, with links up. The last part is the page itself.
  function trail(parts) {
    const nodes = parts.map(([text, hash]) => (hash ? el("a", { href: hash }, text) : el("span", { "aria-current": "page" }, text)));
    document.getElementById("trail").replaceChildren(...nodes);
    const base = document.querySelector(".home").textContent;
    document.title = [...parts.map(([text]) => text).reverse(), base].join(" · ");
  }

  return { el, svg, visible, number, percent, saeHash, latentHash, latentLink, table, trail };
})();
