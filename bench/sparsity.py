"""How close the sparsity controller brings L0 to its target, on held-out rows; writes bench/RESULTS.md.

    make run                     # first, for the activations of the embedded study
    python bench/sparsity.py     # about 10 minutes on one core

One SAE for each case, trained and evaluated by the functions that the workflow calls. The section is written after each
case. Cases measured before keep their figures until results/bench/sparsity.json is deleted.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from results_file import machine, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

HOOKPOINT = "encoder.layer.3.output.dense"
ARCHITECTURES = ("relu", "gated", "jumprelu")
# Number of latents -> targets. Training takes only 781 steps: in a real one the controller has more time.
SIZES = {192: (4, 16), 384: (8, 16), 1536: (16, 48)}
TOKENS = 200_000
CASES = [(architecture, n, k) for n, targets in SIZES.items() for k in targets for architecture in ARCHITECTURES]
NOTES = Path("results/bench/sparsity.json")
SETTINGS = {"batch_size": 256, "learning_rate": 4.6e-4, "warmup_steps": 100, "normalisation": "centre-scale"}
CLOSE = 0.05


def case(activations: Path, **settings) -> dict:
    """Train one SAE; return its evaluation."""
    from sae_stability.sae.quality.evaluate import evaluate
    from sae_stability.sae.training.settings import TrainSettings
    from sae_stability.sae.training.train import train_chunk

    settings = TrainSettings(**SETTINGS, **settings, chunk_tokens=settings["tokens"], hookpoint=HOOKPOINT)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        train_chunk(chunk=activations / "chunk-0000", chunk_index=0, settings=settings, out=out / "sae", progress=False)
        files = {"out_json": [out / "evaluation.json"], "out_parquet": [out / "latents.parquet"]}
        return evaluate(sae=[out / "sae"], chunk=activations / "heldout", **files)[0]


def report(notes: dict[str, dict]) -> str:
    """The section of RESULTS.md; cases that were not measured are marked."""
    off = {name(*case): notes[name(*case)]["l0"] / case[2] - 1 for case in CASES if name(*case) in notes}
    worst = max(off, key=lambda case: abs(off[case]))
    lines = [
        f"`python bench/sparsity.py`: {machine(('torch', 'numba', 'numpy'))}.",
        f"MiniLM, layer 3 MLP output, d = 384, activations of the embedded study; {TOKENS:,} training rows, each seen",
        f"once, in batches of {SETTINGS['batch_size']}. L0, FVU and dead latents are of held-out rows.",
        "",
        f"Farthest from its target: {worst} ({off[worst]:+.1%}); {sum(abs(value) <= CLOSE for value in off.values())} "
        f"of {len(off)} measured cases within {CLOSE:.0%}.",
        "",
        "| architecture | latents | target L0 | L0 reached | off by | FVU | dead |",
        "|---|---|---|---|---|---|---|",
    ]
    for architecture, n_latents, k in CASES:
        evaluation = notes.get(name(architecture, n_latents, k))
        cells = ["not measured"] * 4
        if evaluation:
            cells = [f"{evaluation['l0']:.2f}", f"{evaluation['l0'] / k - 1:+.1%}", f"{evaluation['fvu']:.3f}"]
            cells.append(f"{evaluation['dead_fraction']:.1%}")
        lines.append(f"| {architecture} | {n_latents:,} | {k} | {' | '.join(cells)} |")
    return "\n".join(lines)


def name(architecture: str, n_latents: int, k: int) -> str:
    return f"{architecture}, {n_latents} latents, target {k}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path("results/activations/minilm") / HOOKPOINT
    parser.add_argument("--activations", type=Path, default=default, help="folder that holds chunk-0000 and heldout")
    activations = parser.parse_args().activations
    if not (activations / "heldout" / "manifest.json").exists():
        sys.exit(f"{activations}: no held-out activations there; run the embedded study first (make run)")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    NOTES.parent.mkdir(parents=True, exist_ok=True)
    notes = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    for architecture, n_latents, k in CASES:
        key = name(architecture, n_latents, k)
        if key not in notes:
            notes[key] = case(activations, architecture=architecture, n_latents=n_latents, k=k, tokens=TOKENS)
            NOTES.write_text(json.dumps(notes))
            print(key, {part: notes[key][part] for part in ("l0", "fvu", "dead_fraction")}, flush=True)
            write_section("L0 reached", report(notes))


if __name__ == "__main__":
    main()
