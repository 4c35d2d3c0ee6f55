"use strict";
// The latents of other SAEs, of other sizes or seeds, that a latent belongs with: where two SAEs were stitched.

const Stitches = (() => {
  const { el, number, latentLink } = Page;
  const MOST = 30; // members of a component that are named, of each SAE
  const NEAR = 5; // latents of the large SAE that a latent is nearest to

  // Fill a section with the pairs that the latent's SAE is in; remove it where there are none.
  async function fill(section, study, cohort, seed, latent) {
    const isHere = ([name, number]) => name === cohort.name && number === seed;
    const pairs = study.stitches.filter(({ small, large }) => isHere(small) || isHere(large));
    if (!pairs.length) return section.remove();
    section.append(el("h2", {}, "Nearest in other SAEs, and components"));
    const loaded = await Promise.all(pairs.map(Data.stitch));
    pairs.forEach((pair, i) => section.append(card(pair, loaded[i], isHere(pair.large) ? "large" : "small", latent)));
  }

  const nameOf = ([cohort, seed]) => `${cohort}, seed ${seed}`;

  function card(pair, data, side, latent) {
    const sides = { small: Data.columns(data.small), large: Data.columns(data.large) };
    const component = sides[side].component[latent];
    const members = { small: membersOf(sides.small, component), large: membersOf(sides.large, component) };
    const other = side === "large" ? "small" : "large";
    const title = `With ${nameOf(pair[other])}`;
    return el(
      "article",
      { className: "card", "aria-label": `${title}, chain ${pair.name}, pair ${pair.pair}` },
      el("h3", {}, `${title} `, kind(side, members[other].length)),
      el("p", {}, side === "large" ? nearest(pair, sides.large, latent) : nearestTo(pair, sides.large, latent)),
      el("p", {}, `Component ${component} of chain ${pair.name}, pair ${pair.pair}: ${size(members.small.length)} of the small SAE, ${nameOf(pair.small)}, and ${size(members.large.length)} of the large one, ${nameOf(pair.large)}.`),
      Page.table(`Latents of component ${component}`, ["SAE", "latents"], ["small", "large"].filter((name) => members[name].length).map((name) => [nameOf(pair[name]), links(pair[name], members[name], name === side ? latent : -1)]), false),
      el("p", { className: "note" }, `Two latents of the two SAEs are joined where the cosine of their decoder rows is at least ${pair.threshold}.`),
    );
  }

  // Whether the other SAE has a latent like it.
  function kind(side, partners) {
    if (side === "large") return el("span", { className: partners ? "badge yes" : "badge" }, partners ? "reconstruction" : "novel");
    return el("span", { className: partners ? "badge yes" : "badge" }, partners ? "with partners" : "without a partner");
  }

  const size = (n) => `${number(n)} latent${n === 1 ? "" : "s"}`;

  function membersOf({ component }, wanted) {
    const found = [];
    for (let i = 0; i < component.length; i++) if (component[i] === wanted) found.push(i);
    return found;
  }

  function nearest(pair, { nearest, cosine }, latent) {
    return ["Nearest there: ", latentLink(...pair.small, nearest[latent]), `, decoder cosine ${number(cosine[latent])}.`];
  }

  // The latents of the large SAE to which this one is nearest in the small SAE, the most similar first.
  function nearestTo(pair, { nearest, cosine }, latent) {
    const found = membersOf({ component: nearest }, latent).sort((a, b) => cosine[b] - cosine[a]);
    if (!found.length) return "No latent there has it as its nearest.";
    const some = found.slice(0, NEAR).map((one) => [latentLink(...pair.large, one), ` (${number(cosine[one])})`]);
    return [`It is the nearest of ${size(found.length)} there, by decoder cosine: `, listed(some), found.length > NEAR ? " ..." : ""];
  }

  // The latents of one SAE in a component; `own` is the latent of the page.
  function links([cohort, seed], members, own) {
    // The latent itself is named first, so that it is never among those left out.
    const ordered = members.includes(own) ? [own, ...members.filter((one) => one !== own)] : members;
    const shown = ordered.slice(0, MOST).map((one) => (one === own ? `latent ${one} (this one)` : latentLink(cohort, seed, one)));
    const left = members.length - shown.length;
    return el("span", { className: "many" }, listed(shown), left ? `, and ${number(left)} more` : "");
  }

  const listed = (nodes) => nodes.flatMap((node, i) => [i ? ", " : "", node]);

  return { fill };
})();
