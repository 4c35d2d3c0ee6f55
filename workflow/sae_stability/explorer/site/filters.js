"use strict";
// A histogram of a column of numbers. Dragging over it, or typing two numbers, keeps the latents in between.

const Filters = (() => {
  const { el, svg, number } = Page;
  const BINS = 30;
  const WIDTH = 180;
  const HEIGHT = 44;

  // column: {name, title, log}; values: typed array; range: [low, high] or null; changed: called with the new range.
  function histogram(column, values, range, changed) {
    const scale = scaleOf(column, values);
    if (!scale) return null;
    const counts = new Array(BINS).fill(0);
    for (const value of values) {
      const place = scale.place(value);
      if (place >= 0) counts[Math.min(BINS - 1, Math.floor(place * BINS))] += 1;
    }
    const tallest = Math.max(...counts);
    const bars = counts.map((count, i) => {
      const height = count ? Math.max(1, (HEIGHT * Math.log1p(count)) / Math.log1p(tallest)) : 0;
      return svg("rect", { x: (i * WIDTH) / BINS, y: HEIGHT - height, width: WIDTH / BINS - 1, height });
    });
    const chosen = svg("rect", { class: "chosen", y: 0, height: HEIGHT });
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, chosen, ...bars);
    const inputs = ["lowest", "highest"].map((word, i) =>
      el("input", {
        type: "number",
        step: "any",
        "aria-label": `${word} ${column.title}`,
        onchange: () => changed(typed(inputs, scale)),
        placeholder: number(i ? scale.high : scale.low),
      }),
    );
    const draw = (now) => {
      const [from, to] = now ? now.map((value) => Math.min(1, Math.max(0, scale.place(value, true)))) : [0, 0];
      chosen.setAttribute("x", from * WIDTH);
      chosen.setAttribute("width", Math.max(0, (to - from) * WIDTH));
      inputs.forEach((input, i) => (input.value = now ? Number(now[i].toPrecision(4)) : ""));
    };
    draw(range);
    drag(picture, scale, draw, changed);
    return el("div", { className: "histogram", role: "group", "aria-label": column.title }, el("span", {}, column.title), picture, inputs);
  }

  // Between the lowest and the highest finite value; of a column with `log` those above 0.
  function scaleOf(column, values) {
    const form = column.log ? Math.log10 : (value) => value;
    const back = column.log ? (value) => 10 ** value : (value) => value;
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      const place = form(value);
      if (Number.isFinite(place)) {
        low = Math.min(low, place);
        high = Math.max(high, place);
      }
    }
    if (!(high > low)) return null;
    const place = (value, any) => {
      const found = (form(value) - low) / (high - low);
      return any ? (Number.isNaN(found) ? 0 : found) : Number.isFinite(found) ? found : -1;
    };
    return { low: back(low), high: back(high), place, value: (share) => back(low + share * (high - low)) };
  }

  function typed(inputs, scale) {
    const [low, high] = inputs.map((input) => (input.value === "" ? null : Number(input.value)));
    return low === null && high === null ? null : [low ?? scale.low, high ?? scale.high];
  }

  function drag(picture, scale, draw, changed) {
    const share = (event) => {
      const box = picture.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    picture.addEventListener("pointerdown", (event) => {
      const start = share(event);
      const range = (now) => [start, share(now)].sort((a, b) => a - b).map(scale.value);
      picture.setPointerCapture(event.pointerId);
      picture.onpointermove = (now) => draw(range(now));
      picture.onpointerup = (now) => {
        picture.onpointermove = picture.onpointerup = null;
        // A click without a move takes the choice back.
        changed(Math.abs(share(now) - start) < 0.01 ? null : range(now));
      };
    });
  }

  return { histogram };
})();
