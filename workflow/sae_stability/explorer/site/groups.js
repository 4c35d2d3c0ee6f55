"use strict";
// The group of a latent: the latents of other seeds that are the same feature.

const Groups = (() => {
  const { el, number, latentLink } = Page;

  // Fill a section; remove it where the cohort has no groups.
  async function fill(section, cohort, seed, latent, columns) {
    if (!cohort.groups) return section.remove();
    const members = Data.columns(await Data.groups(cohort.name));
    const group = columns.group[latent];
    const rows = [];
    let cosine = NaN;
    for (let i = 0; i < members.group.length; i++) {
      if (members.group[i] !== group) continue;
      cosine = members.mean_cosine[i];
      rows.push([`seed ${members.seed[i]}`, members.seed[i] === seed ? "this latent" : latentLink(cohort.name, members.seed[i], members.latent[i])]);
    }
    section.append(el("h2", {}, "Consensus"), el("p", {}, words(cohort, columns, latent, cosine)));
    if (rows.length) section.append(Page.table("Latents of its group", ["SAE", "latent"], rows, false));
  }

  function words(cohort, columns, latent, cosine) {
    const [group, level] = [columns.group[latent], columns.n_seeds[latent]];
    if (level === 1) return `It is alone in its group (${group}): no other seed has it.`;
    const inner = `Group ${group}: found in ${level} of ${cohort.seeds.length} seeds, mean cosine ${number(cosine)}.`;
    return columns.consistent[latent] ? inner : `${inner} A match leads out of the group, so seeds contradict each other.`;
  }

  return { fill };
})();
