"use strict";
// Texts on which a latent fires, each token shaded by its activation.

const Contexts = (() => {
  const { el, number, visible } = Page;

  // The contexts of a latent: {stratum, forScore, pieces, activations, strongest}, strongest first; null without any.
  async function of(cohort, seed, latent) {
    if (!cohort.contexts) return null;
    const chunk = await Data.contexts(cohort, seed, latent);
    const found = (chunk.latents[latent] || []).map(([stratum, split, window, places, values]) => {
      const [, , pieces] = chunk.windows[window];
      const activations = new Map(places.map((place, i) => [place, values[i]]));
      const strongest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      return { stratum, forScore: split === 1, pieces, activations, strongest };
    });
    return found.sort((a, b) => b.strongest - a.strongest);
  }

  // A text. `most` is the activation with the full shade.
  function line(context, most) {
    const pieces = context.pieces.map((piece, place) => {
      const value = context.activations.get(place);
      const text = visible(piece);
      if (!value) return text;
      const mark = el("mark", { title: number(value) }, text);
      mark.style.setProperty("--strength", Math.min(1, Math.abs(value) / most).toFixed(3));
      return mark;
    });
    return el("li", {}, el("span", { className: "value" }, number(context.strongest, 2)), el("bdi", { className: "text", dir: "ltr" }, pieces));
  }

  function list(contexts, most, count = Infinity) {
    return el("ol", { className: "contexts" }, contexts.slice(0, count).map((context) => line(context, most)));
  }

  const strongest = (contexts) => contexts.reduce((most, context) => Math.max(most, context.strongest), 0) || 1;
  const top = (contexts) => contexts.filter((context) => context.stratum === "top");

  // All contexts of a latent, by stratum; those beside `top` are folded.
  function sections(contexts) {
    const most = strongest(contexts);
    const strata = [["top", "Strongest"]];
    for (let tenth = 10; tenth >= 1; tenth--) strata.push([`decile-${tenth}`, `Tenth ${tenth} of 10 by activation`]);
    strata.push(["random", "Where it does not fire"]);
    const lists = strata
      .map(([stratum, title]) => [stratum, title, contexts.filter((context) => context.stratum === stratum)])
      .filter(([, , some]) => some.length)
      .map(([stratum, title, some]) =>
        stratum === "top"
          ? el("div", {}, el("h3", {}, title), list(some, most))
          : el("details", {}, el("summary", {}, title), list(some, most)),
      );
    return lists.length ? lists : [el("p", {}, "It does not fire on these rows.")];
  }

  return { of, list, top, strongest, sections };
})();
