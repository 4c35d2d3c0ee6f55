"use strict";
// The page of one latent: its numbers, what is said of it, where it fires, what it boosts, and its partners
// in other SAEs.

const Latent = (() => {
  const { el, number, percent, visible, latentHash, latentLink } = Page;

  const NUMBERS = [
    ["mean_cosine", "mean matched cosine", number],
    ["rate", "fires on", (value) => `${percent(value)} of rows`],
    ["fired", "rows in which it fires", number],
    ["document_share", "documents in which it fires", percent],
    ["token_entropy", "entropy of its tokens", (value) => `${number(value, 2)} bits`],
    ["top_token_share", "firings on its most frequent token", percent],
    ["encoder_norm", "norm of the encoder row", number],
    ["decoder_density", "mean cosine to its 10 nearest decoder rows", number],
    ["init_similarity_decoder", "cosine to its initial decoder row", number],
  ];
  const QUANTILES = [["q50", "median"], ["q90", "90 %"], ["q99", "99 %"], ["max_activation", "strongest"]];

  async function show(main, cohort, seed, latent) {
    const [study, found] = await Promise.all([Data.study(), Data.latents(cohort.name, seed)]);
    const columns = Data.columns(found);
    const texts = el("section", { "aria-label": "Where it fires", className: "reserved" }, el("h2", {}, "Where it fires"));
    const tokens = el("section", { "aria-label": "Boosted and suppressed tokens" });
    const partners = el("section", { "aria-label": "Partners in other seeds", className: "reserved" });
    const group = el("section", { "aria-label": "Consensus" });
    const stitches = el("section", { "aria-label": "Other SAEs" });
    const metas = el("section", { "aria-label": "Meta-latents" });
    Page.trail([[cohort.name, "#/"], [`seed ${seed}`, Table.link(cohort.name, seed)], [`latent ${latent}`, null]]);
    main.replaceChildren(
      el("h1", {}, `Latent ${latent}`),
      toolbar(cohort, seed, latent),
      el("div", { className: "columns" }, numbers(cohort, columns, latent), said(found, latent)),
      texts,
      tokens,
      partners,
      group,
      stitches,
      metas,
    );
    const contexts = Contexts.of(cohort, seed, latent).then((some) => {
      if (some) texts.append(...Contexts.sections(some));
      else texts.remove();
      texts.classList.remove("reserved");
    });
    const others = Data.partners(cohort.name, seed).then(({ pairs }) => {
      if (pairs.length) showPartners(partners, study, cohort, seed, latent, pairs);
      else partners.remove();
      partners.classList.remove("reserved");
    });
    const further = [
      Boosted.fill(tokens, cohort, seed, latent),
      Groups.fill(group, cohort, seed, latent, columns),
      Stitches.fill(stitches, study, cohort, seed, latent),
      Meta.fill(metas, study, cohort, seed, latent),
    ];
    return { keys: (event) => keys(cohort, seed, latent, event), rest: Promise.all([contexts, others, ...further]) };
  }

  function toolbar(cohort, seed, latent) {
    const button = (text, to, label) => el("a", { className: "button", href: latentHash(cohort.name, seed, to), "aria-label": label }, text);
    return el(
      "div",
      { className: "bar" },
      button("←", beside(cohort, seed, latent, -1), "the latent before"),
      button("→", beside(cohort, seed, latent, 1), "the latent after"),
      button("random", random(cohort, seed), "a random latent"),
      el("a", { className: "button", href: `${latentHash(cohort.name, seed, latent)}/beside` }, "side by side with another"),
    );
  }

  // The latent before or after in the order of the table.
  function beside(cohort, seed, latent, by) {
    const order = Table.orderOf(cohort, seed);
    const place = order.indexOf(latent);
    return order.length ? order[(place + by + order.length) % order.length] : latent;
  }

  function random(cohort, seed) {
    const order = Table.orderOf(cohort, seed);
    return order.length ? order[Math.floor(Math.random() * order.length)] : 0;
  }

  function facts(columns, latent, n_others) {
    const rows = [];
    if (n_others > 0) rows.push(["stability", `shared by ${columns.shared_with[latent]} of ${n_others} other seeds`]);
    if (columns.alive && !columns.alive[latent]) rows.push(["dead", "it fires on no held-out row"]);
    for (const [name, title, form] of NUMBERS) if (columns[name] && !Number.isNaN(columns[name][latent])) rows.push([title, form(columns[name][latent])]);
    const quantiles = QUANTILES.filter(([name]) => columns[name] && !Number.isNaN(columns[name][latent]));
    if (quantiles.length) rows.push(["activation", quantiles.map(([name, title]) => `${title} ${number(columns[name][latent], 2)}`).join(", ")]);
    return rows;
  }

  function numbers(cohort, columns, latent) {
    const rows = facts(columns, latent, cohort.seeds.length - 1);
    return el(
      "section",
      { className: "card", "aria-label": "Numbers" },
      el("h2", {}, "Numbers"),
      el("dl", { className: "facts" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    );
  }

  // What judges say of it, and how well that predicts where it fires; null if nothing was asked.
  function said(found, latent) {
    const lines = found.explanations.filter(({ rows }) => rows[latent]).map(({ explainer, rows }) => explanation(explainer, rows[latent]));
    const scores = found.scores.filter(({ rows }) => rows[latent]);
    if (!lines.length && !scores.length) return null;
    const rows = scores.map(({ explainer, scorer, negatives, rows, chance_95 }) => {
      const [mean, low, high, chance] = rows[latent];
      return [explainer === "none" ? scorer : `${scorer} (${explainer})`, negatives, number(mean), `${number(low)} to ${number(high)}`, number(chance ?? 0.5), number(chance_95)];
    });
    const head = ["scorer", "negatives", "balanced accuracy", "draws", "chance", "95 % of chance"];
    return el(
      "section",
      { className: "card", "aria-label": "Explanation" },
      el("h2", {}, "Explanation"),
      lines,
      rows.length ? Page.table("Scores", head, rows, false) : null,
      rows.length ? el("p", { className: "note" }, "Chance: with the explanation of another latent; without one, 0.5. Of 100 latents, 95 have at most the last number by chance.") : null,
    );
  }

  function explanation(explainer, [text, status, reason]) {
    const words = status === "ok" ? el("bdi", {}, visible(text)) : el("em", {}, `none: ${status}${reason ? `, ${reason}` : ""}`);
    return el("blockquote", {}, words, el("footer", {}, visible(explainer)));
  }

  function showPartners(section, study, cohort, seed, latent, pairs) {
    section.append(el("h2", {}, "Partners in other seeds"));
    for (const pair of pairs) {
      const columns = Data.columns(pair);
      const card = el("article", { className: "card", "aria-label": `seed ${pair.seed}` }, heading(study, pair.seed, columns, latent));
      card.append(Page.table(`Partners in seed ${pair.seed}`, ["by", "counterpart", "cosine", "nearest", "cosine"], sides(cohort, pair.seed, columns, latent), false));
      if (columns.correlation && !Number.isNaN(columns.correlation[latent]))
        card.append(el("p", { className: "note" }, `Activations of the two correlate by ${number(columns.correlation[latent], 2)}.`));
      section.append(card);
      const partner = columns.counterpart_decoder[latent];
      if (partner >= 0) partnerTexts(card, cohort, seed, latent, pair.seed, partner);
    }
  }

  function heading(study, other, columns, latent) {
    const [decoder, encoder] = ["decoder", "encoder"].map((side) => columns[`counterpart_${side}`][latent]);
    const both = Math.min(columns.cosine_decoder[latent], columns.cosine_encoder[latent]);
    const shared = decoder >= 0 && decoder === encoder && both >= study.threshold;
    const words = shared ? "shared" : decoder === encoder ? "same counterpart, below the threshold" : "not shared";
    return el("h3", {}, `Seed ${other} `, el("span", { className: shared ? "badge yes" : "badge" }, words));
  }

  function sides(cohort, other, columns, latent) {
    return ["decoder", "encoder"].map((side) => {
      const link = (name) => (columns[`${name}_${side}`][latent] >= 0 ? latentLink(cohort.name, other, columns[`${name}_${side}`][latent]) : "none");
      return [side, link("counterpart"), number(columns[`cosine_${side}`][latent]), link("nearest"), number(columns[`nearest_cosine_${side}`][latent])];
    });
  }

  async function partnerTexts(card, cohort, seed, latent, other, partner) {
    if (!cohort.contexts) return;
    const [own, its] = await Promise.all([Contexts.of(cohort, seed, latent), Contexts.of(cohort, other, partner)]);
    const texts = (contexts) => {
      const some = Contexts.top(contexts);
      return some.length ? Contexts.list(some, Contexts.strongest(contexts), 3) : el("p", {}, "It does not fire on these rows.");
    };
    const part = (name, contexts) => el("div", {}, el("h4", {}, name), texts(contexts));
    const more = el("a", { href: `${latentHash(cohort.name, seed, latent)}/beside/${cohort.name}/seed-${other}/${partner}` }, "all texts side by side");
    card.append(el("div", { className: "columns" }, part(`latent ${latent}`, own), part(`latent ${partner} of seed ${other}`, its)), more);
  }

  function keys(cohort, seed, latent, event) {
    if (event.key === "ArrowLeft") location.hash = latentHash(cohort.name, seed, beside(cohort, seed, latent, -1));
    else if (event.key === "ArrowRight") location.hash = latentHash(cohort.name, seed, beside(cohort, seed, latent, 1));
    else if (event.key === "r") location.hash = latentHash(cohort.name, seed, random(cohort, seed));
    else if (event.key === "Escape") location.hash = Table.link(cohort.name, seed);
    else if (event.key === "/") App.searchNext(Table.link(cohort.name, seed));
    else return false;
    return true;
  }

  return { show, facts, said };
})();
