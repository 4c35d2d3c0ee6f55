"use strict";
// Two latents of any two SAEs side by side.

const Compare = (() => {
  const { el, latentHash, latentLink } = Page;

  // first, second: {cohort, seed, latent}; second may be null, and is then asked for.
  async function show(main, first, second) {
    const study = await Data.study();
    const other = second || { ...first, seed: first.cohort.seeds.at(-1).seed };
    Page.trail([[first.cohort.name, "#/"], [`seed ${first.seed}`, Table.link(first.cohort.name, first.seed)], [`latent ${first.latent}`, latentHash(first.cohort.name, first.seed, first.latent)], ["side by side", null]]);
    const shown = await Promise.all([first, ...(second ? [second] : [])].map(half));
    main.replaceChildren(el("h1", {}, "Side by side"), chooser(study, first, other), el("div", { className: "columns" }, shown));
    return { keys: (event) => event.key === "Escape" && ((location.hash = latentHash(first.cohort.name, first.seed, first.latent)), true) };
  }

  // A form that names the second latent.
  function chooser(study, first, other) {
    const cohorts = el("select", { "aria-label": "Cohort", onchange: () => fill() }, study.cohorts.map(({ name }) => el("option", { value: name, selected: name === other.cohort.name }, name)));
    const seeds = el("select", { "aria-label": "Seed" });
    const latent = el("input", { type: "number", min: 0, value: other.latent, "aria-label": "Latent" });
    const chosen = () => study.cohorts.find(({ name }) => name === cohorts.value);
    const fill = () => {
      seeds.replaceChildren(...chosen().seeds.map(({ seed }) => el("option", { value: seed, selected: seed === other.seed }, `seed ${seed}`)));
      latent.max = chosen().n_latents - 1;
    };
    fill();
    const go = (event) => {
      event.preventDefault();
      location.hash = `${latentHash(first.cohort.name, first.seed, first.latent)}/beside/${cohorts.value}/seed-${seeds.value}/${latent.value}`;
    };
    return el("form", { className: "bar", onsubmit: go }, "with", cohorts, seeds, latent, el("button", { type: "submit" }, "show"));
  }

  async function half({ cohort, seed, latent }) {
    const [found, contexts] = await Promise.all([Data.latents(cohort.name, seed), Contexts.of(cohort, seed, latent)]);
    const rows = Latent.facts(Data.columns(found), latent, cohort.seeds.length - 1);
    return el(
      "section",
      { "aria-label": `${cohort.name}, seed ${seed}, latent ${latent}` },
      el("h2", {}, `${cohort.name}, seed ${seed}, `, latentLink(cohort.name, seed, latent)),
      el("dl", { className: "facts" }, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      Latent.said(found, latent),
      contexts ? Contexts.sections(contexts) : null,
    );
  }

  return { show };
})();
