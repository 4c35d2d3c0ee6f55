"""Training and extraction compared with peers, in turn on the same data; writes bench/RESULTS.md.

    python bench/train.py              # everything, about 10 minutes on 2 cores once the environments exist
    python bench/train.py --only parts # only these parts; the others keep their last figures

Each peer has an environment of its own under results/bench/envs, which is made from the package registry with the same
torch. Each trainer is a process that takes steps on request (`train_sides.py`), so that measurements take turns. The
batches are in memory, centred and scaled, the same for all.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import peers
import train_extraction
import train_parts
from results_file import machine, write_section

from sae_stability.activations import reader
from sae_stability.sae.training.steps import topk_cpu

HERE, FOLDER = Path(__file__).parent, Path("results/bench")
TOKENS = 60_000
BUSY = 0.5  # load average above which the report says that the machine was not idle
SIDES = {
    "this project": ("ours", None, {}),
    "this project, bfloat16 product": ("ours", None, {"settings": {"product_dtype": "bfloat16"}}),
    "sparsify 1.3.3": ("sparsify", "eai-sparsify", {}),
    "SAELens 6.54.12": ("saelens", "sae-lens", {}),
    "SAELens 6.54.12, sparse activations": ("saelens_sparse", "sae-lens", {}),
    "dictionary_learning 0.1.0": ("dictionary_learning", "dictionary-learning", {}),
}
SHAPES = {
    "large": {"n_latents": 8192, "k": 32, "batch_size": 4096, "threads": 2, "rate": 1e-3, "steps": 2},
    "embedded study": {"n_latents": 384, "k": 16, "batch_size": 256, "threads": 1, "rate": 2e-3, "steps": 100},
}
ARCHITECTURES = ("batchtopk", "matryoshka", "relu", "gated", "jumprelu")
PENALISED = ARCHITECTURES[2:]  # L0 falls to its target in the first hundreds of steps


class Side:
    """A trainer in a process of its own."""

    def __init__(self, kind: str, environment_name: str | None, extra: dict, shape: dict, rows: Path):
        python = peers.environment(environment_name) if environment_name else sys.executable
        command = [python, str(HERE / "train_sides.py"), kind, str(rows), json.dumps(shape | extra)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, steps: int) -> dict:
        """Take steps; return their seconds and the FVU of the last one."""
        print(steps, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare(sides: dict[str, tuple], shape: dict, rows: Path, rounds: int) -> dict[str, dict]:
    """For every side, tokens a second in each round and the FVU after the same number of steps."""
    sides = {name: Side(*arguments, shape, rows) for name, arguments in sides.items()}
    results = {name: {"rates": []} for name in sides}
    for name, side in sides.items():
        side.take(2)  # compiles, and lets allocators settle
        print(f"{name}: ready", flush=True)
    for _ in range(rounds):
        for name, side in sides.items():
            answer = side.take(shape["steps"])
            results[name]["rates"].append(shape["steps"] * shape["batch_size"] / answer["seconds"])
            results[name]["fvu"] = answer["fvu"]
    for side in sides.values():
        side.close()
    print(json.dumps(results), flush=True)
    return results


def prepare(tokens: int) -> tuple[Path, Path]:
    """Make the activations: a chunk of shards, and a file of normalised rows for all trainers."""
    blocks, chunk = train_extraction.make_tokens(FOLDER, tokens)
    if not (chunk / "manifest.json").exists():
        train_extraction.ours(blocks, chunk)
    data = reader.Chunk(chunk)
    rows = np.concatenate([part.numpy() for part, _ in reader.rows(chunk)])
    path = FOLDER / "train-rows.npy"
    np.save(path, ((rows - data.mean.numpy()) / data.scale).astype(np.float32))
    return chunk, path


def middle(values: list[float]) -> str:
    return f"{np.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def comparison(name: str, shape: dict, results: dict[str, dict], rounds: int) -> list[str]:
    own = np.median(results["this project"]["rates"])
    steps = 2 + rounds * shape["steps"]
    lines = [
        f"TopK, {name}: d = 384, {shape['n_latents']:,} latents, k = {shape['k']}, batch {shape['batch_size']:,}, "
        f"{shape['threads']} thread{'s' * (shape['threads'] > 1)}, float32, Adam; {shape['steps']} steps at a time, "
        f"{rounds} times, in turn. Median (slowest to fastest).",
        "",
        f"| trainer | tokens/s | ms a step | this project is | FVU after {steps} steps |",
        "|---|---|---|---|---|",
    ]
    for side, result in results.items():
        rate = np.median(result["rates"])
        times = "" if side == "this project" else f"{own / rate:.2f} x"
        lines.append(
            f"| {side} | {middle(result['rates'])} | {shape['batch_size'] / rate * 1e3:.1f} | {times} "
            f"| {result['fvu']:.4f} |"
        )
    return [*lines, ""]


NOTES = """
Each side takes the whole step of its own trainer: sparsify's and SAELens' training code, dictionary_learning's
`TopKTrainer.update`. sparsify's trainer needs a language model and a GPU, so its step is written out from its
`Trainer.fit` (decoder norm, forward, backward, parallel gradient, `torch.optim.Adam`, dead counters); without a GPU it
decodes with `embedding_bag`. SAELens and dictionary_learning clip gradients, as their trainers always do, and start
from other weights and losses, so their FVU after few steps does not measure quality.
"""


OTHERS = """
What takes the time, on an Intel Xeon (avx512f) in November 2026: at first, products over all latents, five of them in
relu and jumprelu and seven in gated (72 % of relu's processor time, 69 % of gated's); once k latents fire, the
encoder's product, half of BatchTopK's step. Computing entry by entry is faster while at most between 1/21 and 1/12 of
the latents fire (relu: 617 ms in place of 708 at 1/21, but 1,000 in place of 707 at 1/12), so dense products begin at
1/16.
"""


# From torch's profiler with one thread, and from runs in which one thing was changed at a time.
EXTRACTION = """
Most of the time goes into the float32 products of the four layers, out of six, up to the hookpoint. Leaving out the
other two alone gives 1.5 x, if the plain loop computes as fast. On an Intel Xeon (avx512f) in November 2026, with GELU
not yet computed in place, these products took 68 % of a forward pass, at 162 of the 177 G operations/s that a large
product reached; attention took 13 %, GELU 8 %, copies 5 %; sorting, checking and writing shards took another 6 %.
Tried there and kept: 1,024 tokens a pass in place of 4,096 (6 % faster), the check for NaN by the sums (1 %), GELU in
place (1 to 6 % of a job, 5 % of a pass). Not kept: other attention kernels (2 to 4 x slower); memory kept by the
allocator (a thirtieth of the page faults, no faster); 512 tokens a pass (6 % slower); weights packed once for MKL (2 %
of a pass, but packing takes as long at 60,000 tokens); weights packed for oneDNN, with or without GELU in the same
kernel (no faster, and not the same bits); statistics and digests of shards in a second thread (under 1 %). Six runs of
nearly this code on that kind of processor gave 1.47, 1.55, 1.57, 1.57, 1.58 and 1.70 x; the plain loop alone varied
from 8,000 to 11,000 tokens/s.
"""


def report(notes: dict) -> str:
    """The section of RESULTS.md; parts that were not measured are marked."""
    lines = [f"`make bench-train`: {machine(('torch', 'numba', 'numpy', 'transformers'))}. All on CPU.", ""]
    for part, write in REPORTS.items():
        if part not in notes:
            lines += [f"{part.capitalize()}: not measured.", ""]
            continue
        lines += write(notes[part])
        if notes[part]["load"] > BUSY:
            lines += [
                f"Other work ran on the machine at the same time (load average {notes[part]['load']:.1f}): ratios are "
                "more reliable than rates.",
                "",
            ]
    return "\n".join([*lines, "On a GPU: see the section GPU (`make bench-gpu`)."])


def training_report(notes: dict) -> list[str]:
    lines = []
    for name, shape in SHAPES.items():
        lines += comparison(name, shape, notes["results"][name], notes["rounds"])
    low, full = (notes["results"]["large"][f"this project{tail}"] for tail in (", bfloat16 product", ""))
    return [
        *lines,
        NOTES.strip(),
        "",
        f"bfloat16 product, {notes['bfloat16']}: FVU at equal tokens {low['fvu'] / full['fvu'] - 1:+.2%} against "
        "float32.",
        "",
    ]


def architectures_report(notes: dict) -> list[str]:
    shape = SHAPES["large"]
    lines = [
        f"Other architectures, large, float32, {shape['steps']} steps at a time, {notes['rounds']} times, in turn. "
        "In relu, gated and jumprelu half of the latents fire at first, and k of them after a few hundred steps; "
        "dictionary_learning's step takes equally long in both cases. Tokens/s, median (slowest to fastest).",
        "",
        "| architecture | this project, at first | where k fire | dictionary_learning 0.1.0 | this project is |",
        "|---|---|---|---|---|",
    ]
    for name, sides in notes["results"].items():
        ours, theirs, sparse = (sides.get(side, {}).get("rates") for side in ("ours", "theirs", "sparse"))
        times = [f"{np.median(rates) / np.median(theirs):.2f} x" for rates in (ours, sparse) if rates]
        cells = [name, middle(ours), middle(sparse) if sparse else "", middle(theirs), ", then ".join(times)]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", OTHERS.strip(), ""]


def extraction_report(notes: dict) -> list[str]:
    lines = [
        f"Extraction, MiniLM to layer 3, {notes['tokens']:,} tokens in blocks of 128, 2 threads, float32, model "
        "loading included. The plain loop: transformers, 32 blocks a batch, a hook, rows kept in memory; this project "
        "also drops special tokens, shuffles, checks and writes float16 shards.",
        "",
        "| way | tokens/s | this project is |",
        "|---|---|---|",
    ]
    own = np.median(notes["rates"]["ours"])
    for way, rates in notes["rates"].items():
        times = "" if way == "ours" else f"{own / np.median(rates):.2f} x"
        lines.append(f"| {'this project' if way == 'ours' else way} | {middle(rates)} | {times} |")
    return [
        *lines,
        "",
        f"Largest difference from the plain loop: {notes['difference']:.2f} of float16's spacing.",
        "",
        EXTRACTION.strip(),
        "",
    ]


def parts_report(notes: dict) -> list[str]:
    lines = []
    for name, shape in SHAPES.items():
        wait = notes["waiting"][name]
        lines += [
            f"Parts of a step, {name}, in processor milliseconds (threads: {shape['threads']}). A whole job of "
            f"`train_chunk` waited for data in {wait['waited'] / wait['seconds']:.1%} of its steps' time "
            f"({wait['steps']} steps, {wait['seconds'] / wait['steps'] * 1e3:.1f} ms each).",
            "",
            *train_parts.table(notes["parts"][name], notes["bounds"][name]),
            "",
        ]
    return lines


REPORTS = {
    "training": training_report,
    "architectures": architectures_report,
    "extraction": extraction_report,
    "parts": parts_report,
}


def bfloat16_units() -> str:
    if topk_cpu.BFLOAT16_PRODUCTS:
        return "with instructions for it"
    return "of rounded numbers in float32, as this processor has no instructions for it"


def measure_training(rows: Path, rounds: int) -> dict:
    for name in peers.PEERS:
        peers.environment(name)
    results = {name: compare(SIDES, shape, rows, rounds) for name, shape in SHAPES.items()}
    return {"rounds": rounds, "bfloat16": bfloat16_units(), "results": results}


def measure_architectures(rows: Path, rounds: int) -> dict:
    results = {}
    for name in ARCHITECTURES:
        architecture = {"architecture": name}
        sides = {
            "ours": ("ours", None, architecture),
            "theirs": ("dictionary_learning", "dictionary-learning", architecture),
        }
        if name in PENALISED:
            sides["sparse"] = ("ours", None, architecture | {"sparse": True, "rate": 1e-6})
        results[name] = compare(sides, SHAPES["large"], rows, rounds)
    return {"rounds": rounds, "results": results}


def measure_parts(chunk: Path) -> dict:
    return {
        "waiting": {n: train_parts.waiting(chunk, s, 10 * s["steps"]) for n, s in SHAPES.items()},
        "parts": {n: train_parts.parts(chunk, s, 2 * s["steps"]) for n, s in SHAPES.items()},
        "bounds": {n: train_parts.bounds(s, 384) for n, s in SHAPES.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each trainer")
    parser.add_argument("--only", nargs="*", choices=REPORTS, default=list(REPORTS), help="what to measure")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "train.json"
    notes = json.loads(file.read_text()) if file.exists() else {}
    chunk, rows = prepare(TOKENS)
    measure = {
        "parts": lambda: measure_parts(chunk),
        "training": lambda: measure_training(rows, arguments.rounds),
        "architectures": lambda: measure_architectures(rows, arguments.rounds),
        "extraction": lambda: train_extraction.measure(FOLDER, TOKENS, 15),
    }
    for part in arguments.only:
        load = os.getloadavg()[0]
        notes[part] = measure[part]() | {"load": load}
        print(json.dumps({part: notes[part]}), flush=True)
        file.write_text(json.dumps(notes))
    write_section("Training and extraction", report(notes))


if __name__ == "__main__":
    main()
