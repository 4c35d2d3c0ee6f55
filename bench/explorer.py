"""How fast the explorer of a large study opens in Chromium, and how much memory it takes; writes bench/RESULTS.md.

    python bench/explorer.py     # a few minutes; --latents 5000 for a quick look

The study is made up: two SAEs, with a match, texts, explanations and groups for every latent.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
from results_file import machine, write_section

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT)]

SEEDS = (0, 1)
TEXTS, LENGTH = 8, 24  # contexts of a latent, and tokens of each
WORDS = np.array([f" word{number}" for number in range(5000)])
VISITS, MANY = 20, 200  # pages of latents that are timed, and that memory is measured after
TABLE = "document.querySelectorAll('.latents tbody a').length"
# When the rows of the table are first there, in milliseconds since the page was asked for.
WATCH = f"""
new MutationObserver(() => {{ if (!window.shownAt && {TABLE}) window.shownAt = performance.now(); }})
  .observe(document, {{childList: true, subtree: true}});
"""
# Milliseconds from a change of the address until the latent, its texts and the texts of its partner are there.
VISIT = """
new Promise((resolve) => {
  const start = performance.now();
  location.hash = "#/base/seed-0/%d";
  const there = () => document.querySelector("h1")?.textContent === "Latent %d";
  const look = () => there() && document.querySelector("article .contexts")
    ? resolve(performance.now() - start) : setTimeout(look, 1);
  look();
})
"""


def write_tables(folder: Path, n: int) -> None:
    """Every table of a cohort of two SAEs with `n` latents."""
    from sae_stability.files import write_json, write_table

    rng, latent = np.random.default_rng(0), np.arange(n)
    order = rng.permutation(n)
    match = {"latent": latent}
    for side in ("decoder", "encoder"):
        match |= {f"counterpart_{side}": order, f"cosine_{side}": rng.random(n)}
        match |= {f"best_{side}": order, f"best_{side}_cosine": rng.random(n)}
        match |= {f"reverse_best_{side}": order, f"reverse_best_{side}_cosine": rng.random(n)}
    write_table(folder / "matches/0-1.parquet", pd.DataFrame(match))
    own = [pd.DataFrame({"seed": seed, **_latents(rng, n)}) for seed in SEEDS]
    write_table(folder / "overlap/latents.parquet", pd.concat(own, ignore_index=True))
    shared = {"source": ["trained"], "latents": ["all"], "statistic": ["shared"], "mean": [0.5]}
    write_table(folder / "overlap/intervals.parquet", pd.DataFrame(shared))
    groups = {"group": [*range(n), *order], "seed": np.repeat(SEEDS, n), "latent": [*range(n), *range(n)]}
    groups |= {"n_seeds": 2, "mean_cosine": 0.8, "consistent": True}
    write_table(folder / "consensus/groups.parquet", pd.DataFrame(groups).sort_values("group", kind="stable"))
    texts = _contexts(rng, n)
    for seed in SEEDS:
        write_json(folder / f"evaluation/seed-{seed}.json", {"fvu": 0.2, "l0": 32.0, "dead_fraction": 0.0})
        write_table(folder / f"firing/seed-{seed}.parquet", _firing(rng, n))
        write_table(folder / f"contexts/seed-{seed}.parquet", texts)
        said = {"latent": latent, "explanation": ["".join(rng.choice(WORDS, 12)) for _ in latent], "status": "ok"}
        write_table(folder / f"explanations/seed-{seed}.parquet", pd.DataFrame(said | {"reason": ""}))


def _latents(rng: np.random.Generator, n: int) -> dict:
    numbers = {name: rng.random(n) for name in ("stability", "mean_cosine", "rate", "encoder_norm", "decoder_density")}
    return {"latent": np.arange(n), "shared_with": rng.integers(0, 2, n), "alive": True, **numbers}


def _firing(rng: np.random.Generator, n: int) -> pd.DataFrame:
    names = ("mean_activation", "max_activation", "q50", "q90", "q99", "token_entropy", "top_token_share")
    numbers = {name: rng.random(n) for name in (*names, "document_share")}
    return pd.DataFrame({"latent": np.arange(n), "fired": 100, **numbers})


def _contexts(rng: np.random.Generator, n: int) -> pa.Table:
    rows = n * TEXTS
    ends = np.arange(0, rows * LENGTH + 1, LENGTH, dtype=np.int32)
    words = pa.DictionaryArray.from_arrays(rng.integers(0, len(WORDS), rows * LENGTH, np.int32), WORDS)
    active = np.where(rng.random(rows * LENGTH) < 0.2, rng.random(rows * LENGTH), 0).astype(np.float32)
    columns = {
        "latent": np.repeat(np.arange(n), TEXTS),
        "stratum": np.tile(["top"] * (TEXTS // 2) + ["decile-5"] * (TEXTS - TEXTS // 2), n),
        "split": np.tile(["explain", "score"], rows // 2),
        "block": np.arange(rows),
        "position": np.zeros(rows, np.int64),
        "pieces": pa.ListArray.from_arrays(ends, words.cast(pa.string())),
        "activations": pa.ListArray.from_arrays(ends, active),
    }
    return pa.table(columns)


def write_site(tables: Path, out: Path) -> None:
    """The explorer of these tables."""
    from sae_stability.explorer.write import write_explorer

    kinds = ("overlap", "evaluation", "matches", "firing", "contexts", "consensus")
    given = {kind: [("base", tables / kind)] for kind in kinds}
    given["explanations"] = [("words/base", tables / "explanations")]
    write_explorer(study="made up", threshold=0.7, **given, out=out)


def measure(site: Path, profile: Path, n: int) -> dict[str, float]:
    """Times in milliseconds and memory in MB, in a headless browser."""
    from tests.browser import chromium

    rng, start = np.random.default_rng(1), f"file://{site}/index.html#/base/seed-0"
    with chromium.browser(profile) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        tables = []
        for _ in range(3):
            page.open(start, "window.shownAt")
            tables.append(page.run("window.shownAt"))
        before = _heap(page)
        visits = [page.run(VISIT % (latent, latent)) for latent in rng.integers(0, n, VISITS)]
        for latent in rng.integers(0, n, MANY):
            page.run(VISIT % (latent, latent))
        return {
            "first table": tables[0],
            "table": median(tables),
            "first latent": visits[0],
            "latent": median(visits),
            "slowest latent": max(visits[1:]),
            "memory": before,
            "memory after": _heap(page),
        }


def _heap(page) -> float:
    page.call("HeapProfiler.collectGarbage")
    usage = page.call("Runtime.getHeapUsage")
    return (usage["usedSize"] + usage.get("backingStorageSize", 0)) / 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--latents", type=int, default=50_000)
    n = arguments.parse_args().latents
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_tables(work / "tables", n)
        start = time.perf_counter()
        write_site(work / "tables", work / "site")
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in work.rglob("site/**/*") if file.is_file()) / 1e6
        found = measure(work / "site", work / "profile", n)
    ms, mb = ({name: f"{value:.0f} {unit}" for name, value in found.items()} for unit in ("ms", "MB"))
    body = f"""
`python bench/explorer.py`: {machine(("numpy", "pyarrow"))}.
A made-up study of two SAEs with {n:,} latents each, {TEXTS} texts of {LENGTH} tokens and an explanation for each,
opened from the disk in headless Chromium. Written in {seconds:.0f} s; {size:.0f} MB.

| what | measured |
|---|---|
| table of {n:,} latents, from the address to the first rows, first time | {ms["first table"]} |
| the same, median of 3 | {ms["table"]} |
| page of a latent with its partner's texts, first one | {ms["first latent"]} |
| the same, median of {VISITS}, and slowest but for the first | {ms["latent"]}, {ms["slowest latent"]} |
| memory of JavaScript with the table | {mb["memory"]} |
| the same after {VISITS + MANY} latents | {mb["memory after"]} |
"""
    print(body)
    write_section("Explorer", body)


if __name__ == "__main__":
    main()
