"use strict";
// Which page the address names, the keyboard, and light and dark.
//
//   #/                                        all cohorts
//   #/COHORT/seed-0?sort=-stability           the latents of an SAE
//   #/COHORT/seed-0/scatter/seed-1            their cosines to another seed
//   #/COHORT/seed-0/17                        a latent
//   #/COHORT/seed-0/17/beside/COHORT/seed-1/3 two latents side by side

const App = (() => {
  const main = document.getElementById("main");
  let page = null; // what the page in sight does with keys
  let turn = 0; // a page that comes late, after the next was asked for, is not shown
  let searching = false; // the next page is a table in which the search is to be focused

  async function show() {
    const mine = ++turn;
    const stage = document.createElement("div");
    page = null;
    try {
      const next = await routed(stage, mine);
      if (mine !== turn) return;
      page = next;
      // What a page shows last comes after it takes keys.
      if (next) await next.rest;
    } catch (error) {
      stage.replaceChildren(Page.el("h1", {}, "This page cannot be shown"), Page.el("p", { role: "alert" }, error.message), Page.el("a", { href: "#/" }, "all cohorts"));
    }
    if (mine !== turn) return;
    if (searching && document.getElementById("search")) document.getElementById("search").focus();
    searching = false;
  }

  // Each page is built into a stage that is in the document already, since tables measure themselves.
  async function routed(stage, mine) {
    const [path, query] = decodeURI(location.hash.replace(/^#\/?/, "")).split("?");
    const parts = path.split("/").filter(Boolean);
    const study = await Data.study();
    if (mine !== turn) return null;
    main.replaceChildren(stage);
    scrollTo(0, 0);
    if (!parts.length) return Cohorts.show(stage);
    const { cohort, seed } = sae(study, parts);
    if (parts.length <= 2) return Table.show(stage, cohort, seed, new URLSearchParams(query));
    if (parts[2] === "scatter") return Scatter.show(stage, cohort, seed, seedOf(parts[3]));
    const latent = latentOf(cohort, parts[2]);
    if (parts.length === 3) return Latent.show(stage, cohort, seed, latent);
    if (parts[3] !== "beside") throw new Error(`There is no page ${parts.join("/")}.`);
    const first = { cohort, seed, latent };
    if (parts.length === 4) return Compare.show(stage, first, null);
    const other = sae(study, parts.slice(4));
    return Compare.show(stage, first, { ...other, latent: latentOf(other.cohort, parts[6]) });
  }

  const seedOf = (word) => Number((word || "").replace(/^seed-/, "") || NaN);

  function sae(study, [name, word]) {
    const cohort = study.cohorts.find((one) => one.name === name);
    if (!cohort) throw new Error(`There is no cohort ${name}.`);
    const seed = word === undefined ? cohort.seeds[0].seed : seedOf(word);
    if (!cohort.seeds.some((one) => one.seed === seed)) throw new Error(`Cohort ${name} has no SAE ${word}.`);
    return { cohort, seed };
  }

  function latentOf(cohort, word) {
    const latent = Number(word);
    if (!/^\d+$/.test(word || "") || latent >= cohort.n_latents) throw new Error(`${cohort.name} has latents 0 to ${cohort.n_latents - 1}, not ${word}.`);
    return latent;
  }

  // Change the address without a new entry in the history and without showing the page again.
  function replace(hash) {
    if (location.hash !== hash) history.replaceState(null, "", hash);
  }

  function searchNext(hash) {
    searching = true;
    location.hash = hash;
  }

  function pressed(event) {
    const typing = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing && event.key !== "Escape") return;
    if (typing) {
      typing.blur();
      return;
    }
    if (page && page.keys && page.keys(event)) event.preventDefault();
  }

  function turnTheme() {
    const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark");
    setTheme(dark ? "light" : "dark");
    if (page && page.redraw) page.redraw();
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // A browser may keep nothing for pages from the disk. The choice then lasts as long as the page.
    }
  }

  function start() {
    try {
      const theme = localStorage.getItem("theme");
      if (theme) setTheme(theme);
    } catch {
      // As above.
    }
    document.getElementById("theme").onclick = turnTheme;
    addEventListener("hashchange", show);
    addEventListener("keydown", pressed);
    show();
  }

  // After the other scripts: pages call `App` when they are shown.
  queueMicrotask(start);
  return { replace, searchNext };
})();
