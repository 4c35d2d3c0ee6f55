"""How near the sparsity controller brings L0 to its target, on held-out rows; writes bench/RESULTS.md.

    make run                     # first, for the activations of the embedded study
    python bench/sparsity.py     # about 15 minutes on one core

One SAE a case, trained and evaluated by the functions that the workflow calls.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from results_file import machine, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

HOOKPOINT = "encoder.layer.3.output.dense"
ARCHITECTURES = ("relu", "gated", "jumprelu")
# Number of latents and targets. A training is short, 781 steps: a controller has more time in any real one.
SIZES = {192: (4, 16), 768: (8, 32), 1536: (16, 64)}
TOKENS = 200_000
SETTINGS = {"batch_size": 256, "learning_rate": 4.6e-4, "warmup_steps": 100, "normalisation": "centre-scale"}
WANTED = 0.05


def case(activations: Path, **settings) -> dict:
    """The evaluation of one SAE."""
    from sae_stability.sae.evaluate import evaluate
    from sae_stability.sae.settings import TrainSettings
    from sae_stability.sae.train import train_chunk

    settings = TrainSettings(**SETTINGS, **settings, chunk_tokens=settings["tokens"], hookpoint=HOOKPOINT)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        train_chunk(chunk=activations / "chunk-0000", chunk_index=0, settings=settings, out=out / "sae", progress=False)
        files = {"out_json": out / "evaluation.json", "out_parquet": out / "latents.parquet"}
        return evaluate(sae=out / "sae", chunk=activations / "heldout", **files)


def report(rows: list[dict]) -> str:
    """The section of RESULTS.md."""
    worst = max(rows, key=lambda row: abs(row["l0"] / row["k"] - 1))
    lines = [
        f"`python bench/sparsity.py`: {machine(('torch', 'numba', 'numpy'))}.",
        "MiniLM, layer 3 MLP output, d = 384, activations of the embedded study; each training row is seen once, in",
        f"batches of {SETTINGS['batch_size']}. L0, FVU and dead latents are of {rows[0]['n_rows']:,} held-out rows.",
        "",
        f"Farthest from its target: {worst['architecture']}, {worst['n_latents']:,} latents, target {worst['k']} "
        f"({worst['l0'] / worst['k'] - 1:+.1%}); {sum(abs(row['l0'] / row['k'] - 1) <= WANTED for row in rows)} of "
        f"{len(rows)} within {WANTED:.0%}.",
        "",
        "| architecture | latents | tokens | target L0 | L0 reached | off by | FVU | dead |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['architecture']} | {row['n_latents']:,} | {row['tokens']:,} | {row['k']} | {row['l0']:.2f} "
            f"| {row['l0'] / row['k'] - 1:+.1%} | {row['fvu']:.3f} | {row['dead_fraction']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("results/activations/minilm") / HOOKPOINT
    parser.add_argument("--activations", type=Path, default=default, help="folder that holds chunk-0000 and heldout")
    activations = parser.parse_args().activations
    if not (activations / "heldout" / "manifest.json").exists():
        sys.exit(f"{activations}: no held-out activations there; run the embedded study first (make run)")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = []
    for n_latents, targets in SIZES.items():
        for k in targets:
            for architecture in ARCHITECTURES:
                asked = {"architecture": architecture, "n_latents": n_latents, "k": k, "tokens": TOKENS}
                rows.append(asked | case(activations, **asked))
                print({name: rows[-1][name] for name in (*asked, "l0", "fvu", "dead_fraction")}, flush=True)
    write_section("L0 reached", report(rows))


if __name__ == "__main__":
    main()
