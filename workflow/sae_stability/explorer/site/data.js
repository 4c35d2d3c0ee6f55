"use strict";
// Data comes in scripts, `data/NAME.js`, each of which calls `explorerData` with JSON, compressed and in base64: a page
// that is opened from the disk may load nothing else.

const Data = (() => {
  const KEPT = 60; // chunks in memory; the one that was not used for longest goes first
  const kept = new Map(); // name -> promise of the value
  const waiting = new Map(); // name -> what to call with the text

  // The value of a chunk. Rejected with an Error that names the file if it cannot be loaded.
  function load(name) {
    const known = kept.get(name) || fetched(name);
    kept.delete(name);
    kept.set(name, known);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return known;
  }

  function fetched(name) {
    const value = new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const failed = () => reject(new Error(`data/${name}.js is missing or damaged; make the explorer again`));
      waiting.set(name, (text) => unpacked(text).then(resolve, failed));
      script.onload = () => {
        if (waiting.delete(name)) failed();
        script.remove();
      };
      script.onerror = () => {
        script.remove();
        failed();
      };
      script.src = `data/${name}.js`;
      document.head.append(script);
    });
    value.catch(() => kept.delete(name));
    return value;
  }

  function bytes(text) {
    const binary = atob(text);
    const found = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) found[i] = binary.charCodeAt(i);
    return found;
  }

  async function unpacked(text) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // Columns of numbers, name -> typed array. They replace their packed form, so that each is unpacked once.
  function columns(holder) {
    if (!holder.unpacked) {
      holder.unpacked = {};
      for (const [name, { type, data }] of Object.entries(holder.columns)) {
        const buffer = bytes(data).buffer;
        holder.unpacked[name] = type === "f4" ? new Float32Array(buffer) : new Int32Array(buffer);
      }
      delete holder.columns;
    }
    return holder.unpacked;
  }

  window.explorerData = (name, text) => {
    const call = waiting.get(name);
    waiting.delete(name);
    if (call) call(text);
  };

  const sae = (cohort, seed) => `${cohort}_seed-${seed}`;

  return {
    load,
    columns,
    study: () => load("study"),
    latents: (cohort, seed) => load(`${sae(cohort, seed)}_latents`),
    partners: (cohort, seed) => load(`${sae(cohort, seed)}_partners`),
    metas: (cohort, seed) => load(`${sae(cohort, seed)}_meta`),
    groups: (cohort) => load(`${cohort}_groups`),
    stitch: ({ name, pair }) => load(`${name}-${pair}_stitch`),
    // The chunks with the contexts and the tokens of a latent of a cohort (an entry of the study).
    contexts: (cohort, seed, latent) =>
      load(`${sae(cohort.name, seed)}_contexts-${Math.floor(latent / cohort.latents_per_chunk)}`),
    boosted: (cohort, seed, latent) =>
      load(`${sae(cohort.name, seed)}_boosted-${Math.floor(latent / cohort.latents_per_chunk)}`),
  };
})();
