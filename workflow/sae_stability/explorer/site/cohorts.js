"use strict";
// The first page: all cohorts and their SAEs.

const Cohorts = (() => {
  const { el, number, percent, saeHash } = Page;

  async function show(main) {
    const study = await Data.study();
    Page.trail([["all cohorts", null]]);
    main.replaceChildren(
      el("h1", {}, "Cohorts"),
      el(
        "p",
        { className: "lead" },
        "The SAEs of a cohort differ in their seed alone. A latent is shared by two of them when the decoder and the " +
          `encoder assignment give it the same counterpart and both cosines reach ${study.threshold}.`,
      ),
      ...study.cohorts.map(card),
    );
  }

  function card(cohort) {
    const facts = cohort.about.map(([name, value]) => [el("dt", {}, name), el("dd", {}, Page.visible(value))]);
    return el(
      "section",
      { className: "card", "aria-label": cohort.name },
      el("h2", {}, el("a", { href: saeHash(cohort.name, cohort.seeds[0].seed) }, cohort.name)),
      cohort.shared ? shared(cohort.shared) : null,
      el("dl", { className: "facts" }, facts),
      seeds(cohort),
    );
  }

  function shared({ all, live, floor }) {
    return el("p", {}, `Shared by two seeds: ${percent(all)} of all latents, ${percent(live)} of live ones, ${percent(floor)} of random ones.`);
  }

  function seeds(cohort) {
    const measured = [
      ["fvu", "FVU", number],
      ["l0", "L0", (value) => number(value, 1)],
      ["dead_fraction", "dead latents", percent],
      ["ce_recovered_zero", "cross-entropy recovered", percent],
    ].filter(([name]) => cohort.seeds.some((sae) => sae[name] !== null && sae[name] !== undefined));
    const rows = cohort.seeds.map((sae) => [
      el("a", { href: saeHash(cohort.name, sae.seed) }, `seed ${sae.seed}`),
      ...measured.map(([name, , form]) => form(sae[name])),
    ]);
    return Page.table(`SAEs of ${cohort.name}`, ["SAE", ...measured.map(([, title]) => title)], rows, false);
  }

  return { show };
})();
