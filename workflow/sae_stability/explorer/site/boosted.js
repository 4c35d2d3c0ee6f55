"use strict";
// The tokens that a latent's decoder row makes more and less likely.

const Boosted = (() => {
  const { el, number, visible } = Page;

  // Fill a section; remove it where the model has no head.
  async function fill(section, cohort, seed, latent) {
    if (!cohort.boosted) return section.remove();
    const chunk = await Data.boosted(cohort, seed, latent);
    const [highest, lowest] = chunk.latents[latent];
    section.append(
      el("h2", {}, "Boosted and suppressed tokens"),
      el("div", { className: "columns" }, list("Boosted", highest), list("Suppressed", lowest)),
      el("p", { className: "note" }, "The decoder row times the model's unembedding, with the weight of the final norm: what the latent adds to each token's logit at activation 1, up to the norm's scale, where no later layer changes it."),
    );
  }

  function list(title, tokens) {
    const rows = tokens.map(([piece, value]) => [el("bdi", { className: "token", dir: "ltr" }, visible(piece)), number(value)]);
    return el("div", {}, el("h3", {}, title), Page.table(title, ["token", "value"], rows, false));
  }

  return { fill };
})();
