"use strict";
// Meta-latents: what a latent is made of, and which other latents have the same parts.

const Meta = (() => {
  const { el, svg, number, latentHash, latentLink } = Page;
  const SHOWN = 6; // meta-latents of a latent, and other latents of each, in the picture
  const OTHERS = 3;
  const MOST = 100; // latents in the table of a meta-latent
  const STEP = 26; // between two names of the picture, in CSS pixels

  // Fill a section; remove it where the latent neither has meta-latents nor is one.
  async function fill(section, study, cohort, seed, latent) {
    const found = cohort.metas.some((one) => one.seed === seed) ? (await Data.metas(cohort.name, seed)).metas : [];
    for (const meta of found) section.append(...apart(study, cohort, seed, latent, meta));
    for (const of of study.cohorts)
      for (const { seed: whole, meta } of of.metas)
        if (meta[0] === cohort.name && meta[1] === seed) section.append(...makesUp(of, whole, latent, await partsBy(of, whole, meta)));
    if (!section.childNodes.length) section.remove();
  }

  const partsBy = async (cohort, seed, [name, number]) =>
    (await Data.metas(cohort.name, seed)).metas.find((one) => one.cohort === name && one.seed === number);

  // The rows of a table of parts in which a column has a value, strongest first.
  function rowsWith(meta, name, value) {
    const columns = Data.columns(meta);
    const rows = [];
    for (let i = 0; i < columns.latent.length; i++)
      if (columns[name][i] === value)
        rows.push({ latent: columns.latent[i], part: columns.meta_latent[i], activation: columns.activation[i], cosine: columns.cosine[i] });
    return rows.sort((a, b) => b.activation - a.activation);
  }

  // What a meta-SAE makes of a latent.
  function apart(study, cohort, seed, latent, meta) {
    const parts = rowsWith(meta, "latent", latent).map((row) => ({
      ...row,
      others: rowsWith(meta, "meta_latent", row.part).filter((other) => other.latent !== latent),
    }));
    const link = study.cohorts.some(({ name }) => name === meta.cohort) ? (part) => latentLink(meta.cohort, meta.seed, part) : String;
    const others = (some) => [
      some.slice(0, 5).flatMap((other, i) => [i ? ", " : "", el("a", { href: latentHash(cohort.name, seed, other.latent) }, String(other.latent))]),
      some.length > 5 ? ` (${number(some.length)} in all)` : some.length ? "" : "none",
    ];
    const rows = parts.map((row) => [link(row.part), number(row.activation), number(row.cosine), el("span", {}, others(row.others))]);
    const title = `Meta-latents of ${meta.cohort}, seed ${meta.seed}`;
    const head = ["meta-latent", "activation", "cosine", "other latents with it, strongest first"];
    if (!rows.length) return [el("h2", {}, title), el("p", {}, "No meta-latent fires on its decoder row.")];
    return [el("h2", {}, title), picture(cohort, seed, latent, meta, parts.slice(0, SHOWN)), Page.table(title, head, rows, false)];
  }

  // Latent, meta-latents, and other latents, from left to right. A stronger part has a thicker line.
  function picture(cohort, seed, latent, meta, parts) {
    const others = [...new Set(parts.flatMap((part) => part.others.slice(0, OTHERS).map((other) => other.latent)))];
    const height = Math.max(parts.length, others.length, 1) * STEP;
    const place = (i, n) => (height * (i + 0.5)) / n;
    const lines = [];
    const names = [name(0, height / 2, `latent ${latent}`, null)];
    parts.forEach((part, i) => {
      const y = place(i, parts.length);
      lines.push(line(80, height / 2, 230, y, part.activation));
      names.push(name(235, y, `meta-latent ${part.part}`, latentHash(meta.cohort, meta.seed, part.part)));
      for (const other of part.others.slice(0, OTHERS)) lines.push(line(345, y, 520, place(others.indexOf(other.latent), others.length), other.activation));
    });
    others.forEach((other, i) => names.push(name(525, place(i, others.length), `latent ${other}`, latentHash(cohort.name, seed, other))));
    const drawn = svg("svg", { class: "parts", viewBox: `0 0 640 ${height}`, height, role: "group", "aria-label": "The latent, its meta-latents, and other latents with them" }, ...lines, ...names);
    return el("div", { className: "wide", role: "region", "aria-label": "Graph of meta-latents", tabIndex: 0 }, drawn);
  }

  function line(x1, y1, x2, y2, activation) {
    const strength = Math.min(1, Math.max(0.05, activation));
    return svg("line", { x1, y1, x2, y2, "stroke-width": 0.5 + 3 * strength, "stroke-opacity": 0.25 + 0.6 * strength });
  }

  function name(x, y, text, href) {
    const words = svg("text", { x, y: y + 4 }, text);
    return href ? svg("a", { href }, words) : words;
  }

  // The latents of an SAE that a meta-latent makes up.
  function makesUp(cohort, seed, part, meta) {
    const rows = rowsWith(meta, "meta_latent", part);
    const title = `Latents of ${cohort.name}, seed ${seed}, that it is a part of`;
    const cells = rows.slice(0, MOST).map((row) => [latentLink(cohort.name, seed, row.latent), number(row.activation), number(row.cosine)]);
    const count = rows.length > MOST ? [el("p", {}, `The strongest ${MOST} of ${number(rows.length)}.`)] : [];
    return [el("h2", {}, title), ...(rows.length ? [...count, Page.table(title, ["latent", "activation", "cosine"], cells, false)] : [el("p", {}, "None.")])];
  }

  return { fill };
})();
