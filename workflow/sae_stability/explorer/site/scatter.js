"use strict";
// All latents of an SAE by the cosines of their counterparts in another seed; a dot opens its latent.

const Scatter = (() => {
  const { el, number, latentHash, saeHash } = Page;
  const EDGE = 44; // room for the axes, in CSS pixels
  const REACH = 12; // how near to a dot a click must be

  async function show(main, cohort, seed, other) {
    const [study, { pairs }] = await Promise.all([Data.study(), Data.partners(cohort.name, seed)]);
    const pair = pairs.find((one) => one.seed === other) || pairs[0];
    Page.trail([[cohort.name, "#/"], [`seed ${seed}`, Table.link(cohort.name, seed)], ["scatter", null]]);
    if (!pair) {
      main.replaceChildren(el("h1", {}, "Scatter"), el("p", {}, "This cohort has one SAE, so there is nothing to compare."));
      return null;
    }
    const view = { cohort, seed, threshold: study.threshold, columns: Data.columns(pair), nearest: -1 };
    const choice = el(
      "select",
      { "aria-label": "the other SAE", onchange: () => (location.hash = `${saeHash(cohort.name, seed)}/scatter/seed-${choice.value}`) },
      pairs.map((one) => el("option", { value: one.seed, selected: one === pair }, `seed ${one.seed}`)),
    );
    view.canvas = el("canvas", { className: "scatter", role: "img" });
    view.words = el("output", { "aria-live": "off" }, "Point at a dot; a click opens its latent.");
    main.replaceChildren(
      el("h1", {}, `${cohort.name}, seed ${seed} against seed ${pair.seed}`),
      el("div", { className: "bar" }, choice, view.words),
      view.canvas,
      el("p", { className: "note" }, "Each dot is a latent. Filled: decoder and encoder assignment give it the same counterpart. Open: they do not. Lines: the threshold."),
    );
    view.canvas.setAttribute("aria-label", summary(view));
    view.canvas.addEventListener("pointermove", (event) => point(view, event));
    view.canvas.addEventListener("click", (event) => {
      point(view, event);
      if (view.nearest >= 0) location.hash = latentHash(cohort.name, seed, view.nearest);
    });
    new ResizeObserver(() => draw(view)).observe(view.canvas);
    matchMedia("(prefers-color-scheme: dark)").onchange = () => draw(view);
    return { keys: (event) => event.key === "Escape" && ((location.hash = Table.link(cohort.name, seed)), true), redraw: () => draw(view) };
  }

  const same = ({ columns }, latent) => columns.counterpart_decoder[latent] >= 0 && columns.counterpart_decoder[latent] === columns.counterpart_encoder[latent];

  function summary(view) {
    const { columns, threshold } = view;
    const n = columns.cosine_decoder.length;
    let shared = 0;
    for (let latent = 0; latent < n; latent++) if (same(view, latent) && Math.min(columns.cosine_decoder[latent], columns.cosine_encoder[latent]) >= threshold) shared += 1;
    return `Decoder cosine against encoder cosine of ${n} latents; ${shared} of them are shared.`;
  }

  // Where a pair of cosines lies, in CSS pixels. Cosines from -0.2 to 1 are in the picture.
  function place(view, x, y) {
    const { clientWidth, clientHeight } = view.canvas;
    const share = (value) => Math.max(0, (value + 0.2) / 1.2);
    return [EDGE + share(x) * (clientWidth - EDGE - 10), clientHeight - EDGE - share(y) * (clientHeight - EDGE - 10)];
  }

  function draw(view) {
    const { canvas, columns } = view;
    const dense = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * dense;
    canvas.height = canvas.clientHeight * dense;
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    const style = getComputedStyle(document.documentElement);
    axes(view, pen, style.getPropertyValue("--muted"));
    pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--accent");
    view.dots = [];
    for (let latent = 0; latent < columns.cosine_decoder.length; latent++) {
      const [x, y] = place(view, columns.cosine_decoder[latent], columns.cosine_encoder[latent]);
      if (Number.isNaN(x) || Number.isNaN(y)) continue;
      view.dots.push([x, y, latent]);
      pen.beginPath();
      pen.arc(x, y, 2.5, 0, 7);
      if (same(view, latent)) pen.fill();
      else pen.stroke();
    }
  }

  function axes(view, pen, colour) {
    const [left, bottom] = place(view, -0.2, -0.2);
    const [right, top] = place(view, 1, 1);
    const [x, y] = place(view, view.threshold, view.threshold);
    pen.strokeStyle = pen.fillStyle = colour;
    pen.font = "12px system-ui, sans-serif";
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, bottom);
    pen.moveTo(left, y);
    pen.lineTo(right, y);
    pen.stroke();
    pen.setLineDash([]);
    pen.textAlign = "center";
    for (const value of [0, 0.5, 1]) {
      pen.fillText(value, place(view, value, 0)[0] - (value === 1 ? 4 : 0), bottom + 16);
      pen.fillText(value, left - 14, place(view, 0, value)[1] + 4);
    }
    pen.fillText("decoder cosine", (left + right) / 2, bottom + 34);
    pen.save();
    pen.translate(12, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText("encoder cosine", 0, 0);
    pen.restore();
  }

  function point(view, event) {
    const box = view.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    view.nearest = -1;
    let least = REACH ** 2;
    for (const [dotX, dotY, latent] of view.dots || []) {
      const distance = (dotX - x) ** 2 + (dotY - y) ** 2;
      if (distance < least) [least, view.nearest] = [distance, latent];
    }
    const { columns, nearest } = view;
    view.canvas.style.cursor = nearest >= 0 ? "pointer" : "default";
    if (nearest >= 0) view.words.textContent = `latent ${nearest}: decoder ${number(columns.cosine_decoder[nearest], 2)}, encoder ${number(columns.cosine_encoder[nearest], 2)}`;
  }

  return { show };
})();
