"use strict";
// All latents of an SAE: a table with search, filters and order. Only the rows in sight are elements of the page.

const Table = (() => {
  const { el, number, percent, visible, latentHash } = Page;
  const ROW = 34; // height of a row in CSS pixels, as in style.css
  const MARGIN = 6; // rows drawn above and below those in sight

  const COLUMNS = [
    { name: "stability", title: "stability", about: "fraction of the other seeds that share it", filter: true, form: percent },
    { name: "mean_cosine", title: "cosine", about: "mean matched cosine over the other seeds", filter: true },
    { name: "n_seeds", title: "group", about: "seeds in which a latent of its group was found, with its own", filter: true },
    { name: "rate", title: "rate", about: "fraction of rows on which it fires", filter: true, log: true, form: (v) => number(v, 4) },
    { name: "max_activation", title: "strongest", about: "strongest activation" },
    { name: "token_entropy", title: "entropy", about: "entropy of the tokens it fires on, in bits", filter: true },
    { name: "document_share", title: "documents", about: "fraction of documents in which it fires", form: percent },
    { name: "decoder_density", title: "density", about: "mean cosine to the 10 nearest decoder rows of the same SAE" },
    { name: "score", title: "score", about: "balanced accuracy of its explanation; chance is 0.5", filter: true },
  ];

  const states = new Map(); // SAE -> what was chosen there, with the order that `←` and `→` follow

  function stateOf(cohort, seed) {
    const key = `${cohort}/${seed}`;
    if (!states.has(key)) states.set(key, { sort: "latent", down: false, search: "", live: "all", ranges: {}, order: null });
    return states.get(key);
  }

  async function show(main, cohort, seed, query) {
    const found = await Data.latents(cohort.name, seed);
    const columns = Data.columns(found);
    const state = stateOf(cohort.name, seed);
    read(state, query);
    const texts = textsOf(found, cohort.n_latents);
    const shown = COLUMNS.filter((column) => columns[column.name]);
    const view = { cohort, seed, columns, state, texts, shown, cursor: -1 };
    Page.trail([[cohort.name, "#/"], [`seed ${seed}`, null]]);
    main.replaceChildren(el("h1", {}, `${cohort.name}, seed ${seed}`), bar(view), filters(view), grid(view));
    apply(view);
    return { keys: (event) => keys(view, event) };
  }

  // Explanation and top tokens of each latent, and both in lower case for the search.
  function textsOf(found, n) {
    if (found.texts) return found.texts;
    const said = found.explanations.length ? found.explanations[0].rows : {};
    found.texts = Array.from({ length: n }, (_, latent) => {
      const words = said[latent] && said[latent][1] === "ok" ? said[latent][0] : "";
      const tokens = (found.tokens[latent] || []).map((token) => visible(token.trim()));
      const all = found.explanations.map((one) => (one.rows[latent] ? one.rows[latent][0] : "")).join(" ");
      return { words, tokens, search: `${latent} ${all} ${tokens.join(" ")}`.toLowerCase() };
    });
    return found.texts;
  }

  function bar(view) {
    const { cohort, seed, state } = view;
    const search = el("input", {
      type: "search",
      id: "search",
      placeholder: "search explanations and tokens",
      "aria-label": "Search explanations and tokens",
      value: state.search,
      oninput: () => {
        state.search = search.value;
        apply(view);
      },
    });
    const live = el(
      "select",
      { "aria-label": "Which latents", onchange: () => ((state.live = live.value), apply(view)) },
      [["all", "all latents"], ["live", "live ones"], ["dead", "dead ones"]].map(([value, text]) =>
        el("option", { value, selected: value === state.live }, text),
      ),
    );
    const seeds = el(
      "select",
      { "aria-label": "SAE", onchange: () => (location.hash = Page.saeHash(cohort.name, seeds.value)) },
      cohort.seeds.map((sae) => el("option", { value: sae.seed, selected: sae.seed === seed }, `seed ${sae.seed}`)),
    );
    const random = el("button", { type: "button", onclick: () => randomLatent(view) }, "random");
    const scatter = cohort.seeds.length > 1 ? el("a", { className: "button", href: `${Page.saeHash(cohort.name, seed)}/scatter` }, "scatter") : null;
    view.count = el("output", { "aria-live": "polite" });
    return el("div", { className: "bar", role: "search" }, search, live, seeds, random, scatter, view.count);
  }

  function filters(view) {
    view.filters = el("div", { className: "filters" });
    drawFilters(view);
    return el("details", { open: innerWidth > 700 }, el("summary", {}, "Filters: drag over a histogram, or type"), view.filters);
  }

  function drawFilters(view) {
    const { state, columns } = view;
    const pictures = view.shown
      .filter((column) => column.filter)
      .map((column) =>
        Filters.histogram(column, columns[column.name], state.ranges[column.name] || null, (range) => {
          if (range) state.ranges[column.name] = range;
          else delete state.ranges[column.name];
          drawFilters(view);
          apply(view);
        }),
      );
    view.filters.replaceChildren(...pictures.filter(Boolean));
  }

  function grid(view) {
    const head = [{ name: "latent", title: "latent", about: "number of the latent" }, { name: "words", title: "fires on" }, ...view.shown];
    view.heads = head.map((column) => {
      const button = el("button", { type: "button", title: column.about || "", onclick: () => sortBy(view, column.name) }, column.title);
      return el("th", { scope: "col", className: column.name }, column.name === "words" ? column.title : button);
    });
    view.above = el("tr", { "aria-hidden": "true", className: "spacer" }, el("td", { colSpan: head.length }));
    view.below = view.above.cloneNode(true);
    view.body = el("tbody", {});
    view.table = el(
      "table",
      { className: "latents" },
      el("caption", { className: "hidden" }, `Latents of ${view.cohort.name}, seed ${view.seed}`),
      el("thead", {}, el("tr", {}, view.heads)),
      view.body,
    );
    view.scroller = el("div", { className: "scroller", role: "region", "aria-label": "Latents", tabIndex: 0 }, view.table);
    view.scroller.addEventListener("scroll", () => draw(view), { passive: true });
    new ResizeObserver(() => draw(view)).observe(view.scroller);
    return view.scroller;
  }

  function sortBy(view, name) {
    const { state } = view;
    // The first click shows the largest numbers first, but latents by number.
    state.down = state.sort === name ? !state.down : name !== "latent";
    state.sort = name;
    apply(view);
  }

  // Find the latents that pass, put them in order, and keep the choice in the address.
  function apply(view) {
    const { state, columns, texts } = view;
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    const ranges = Object.entries(state.ranges).filter(([name]) => columns[name]);
    const order = [];
    for (let latent = 0; latent < texts.length; latent++) {
      if (state.live !== "all" && (columns.alive[latent] > 0) !== (state.live === "live")) continue;
      if (!words.every((word) => texts[latent].search.includes(word))) continue;
      if (ranges.every(([name, [low, high]]) => columns[name][latent] >= low && columns[name][latent] <= high)) order.push(latent);
    }
    const column = columns[state.sort];
    if (column) {
      // Latents without a number come last, whichever the order.
      const key = (latent) => (Number.isNaN(column[latent]) ? Infinity : state.down ? -column[latent] : column[latent]);
      order.sort((a, b) => (key(a) === key(b) ? a - b : key(a) - key(b)));
    } else if (state.down) order.reverse();
    state.order = order;
    view.cursor = -1;
    view.count.textContent = `${order.length.toLocaleString("en")} of ${texts.length.toLocaleString("en")}`;
    view.table.setAttribute("aria-rowcount", order.length + 1);
    ["latent", "words", ...view.shown.map(({ name }) => name)].forEach((name, i) => {
      if (name === state.sort) view.heads[i].setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else view.heads[i].removeAttribute("aria-sort");
    });
    view.scroller.scrollTop = 0;
    draw(view);
    App.replace(`${Page.saeHash(view.cohort.name, view.seed)}${written(state)}`);
  }

  function draw(view) {
    const { order } = view.state;
    const first = Math.max(0, Math.floor(view.scroller.scrollTop / ROW) - MARGIN);
    const last = Math.min(order.length, first + Math.ceil(view.scroller.clientHeight / ROW) + 2 * MARGIN);
    view.above.firstChild.style.height = `${first * ROW}px`;
    view.below.firstChild.style.height = `${(order.length - last) * ROW}px`;
    const rows = order.slice(first, last).map((latent, i) => row(view, latent, first + i));
    view.body.replaceChildren(view.above, ...rows, view.below);
  }

  function row(view, latent, place) {
    const { cohort, seed, columns, texts } = view;
    const text = texts[latent];
    const hash = latentHash(cohort.name, seed, latent);
    const says = text.words ? el("bdi", {}, visible(text.words)) : el("span", { className: "tokens" }, text.tokens.map((token) => el("bdi", {}, token)));
    return el(
      "tr",
      { "aria-rowindex": place + 2, className: place === view.cursor ? "cursor" : "", onclick: () => (location.hash = hash) },
      el("th", { scope: "row" }, el("a", { href: hash }, String(latent))),
      el("td", { className: "words" }, says),
      view.shown.map((column) => el("td", {}, (column.form || number)(columns[column.name][latent]))),
    );
  }

  function keys(view, event) {
    const { order } = view.state;
    if (event.key === "/") document.getElementById("search").focus();
    else if (event.key === "r") randomLatent(view);
    else if (event.key === "Escape") location.hash = "#/";
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") move(view, event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Enter" && view.cursor >= 0) location.hash = latentHash(view.cohort.name, view.seed, order[view.cursor]);
    else return false;
    return true;
  }

  function move(view, by) {
    const { order } = view.state;
    view.cursor = Math.min(order.length - 1, Math.max(0, view.cursor + by));
    const top = view.cursor * ROW;
    const { scrollTop, clientHeight } = view.scroller;
    if (top < scrollTop) view.scroller.scrollTop = top;
    else if (top + 2 * ROW > scrollTop + clientHeight) view.scroller.scrollTop = top + 2 * ROW - clientHeight;
    draw(view);
    const link = view.body.querySelector(".cursor a");
    if (link) link.focus({ preventScroll: true });
  }

  function randomLatent(view) {
    const { order } = view.state;
    if (order.length) location.hash = latentHash(view.cohort.name, view.seed, order[Math.floor(Math.random() * order.length)]);
  }

  // The choice as the address has it, so that it can be shared.
  function written(state) {
    const query = new URLSearchParams();
    if (state.sort !== "latent" || state.down) query.set("sort", `${state.down ? "-" : ""}${state.sort}`);
    if (state.search) query.set("search", state.search);
    if (state.live !== "all") query.set("live", state.live);
    for (const [name, range] of Object.entries(state.ranges)) query.set(name, range.map((value) => Number(value.toPrecision(6))).join("~"));
    const text = query.toString();
    return text ? `?${text}` : "";
  }

  function read(state, query) {
    if (![...query.keys()].length) return;
    const sort = query.get("sort") || "latent";
    state.down = sort.startsWith("-");
    state.sort = sort.replace(/^-/, "");
    state.search = query.get("search") || "";
    state.live = query.get("live") || "all";
    state.ranges = {};
    for (const { name } of COLUMNS) {
      const range = (query.get(name) || "").split("~").map(Number);
      if (range.length === 2 && range.every(Number.isFinite)) state.ranges[name] = range;
    }
  }

  // The latents of an SAE in the order of its table, as last shown; by number if it has not been.
  function orderOf(cohort, seed) {
    return stateOf(cohort.name, seed).order || Array.from({ length: cohort.n_latents }, (_, latent) => latent);
  }

  const link = (cohort, seed) => `${Page.saeHash(cohort, seed)}${written(stateOf(cohort, seed))}`;

  return { show, orderOf, textsOf, link };
})();
