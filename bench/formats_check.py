"""Checkpoints that are read and written here, compared with the formats' own libraries on the same files.

    python bench/formats_check.py      # some minutes, most of them for the libraries' environments; writes RESULTS.md

Read: every fixture of the tests that a library can load. Written: every fixture, of whatever format, that the format
can hold, written here and loaded there.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import peers
import torch
from results_file import machine, write_section

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from sae_stability import sae
from sae_stability.errors import StudyError
from sae_stability.sae import formats

FIXTURES = Path(__file__).parents[1] / "tests" / "sae" / "formats" / "fixtures"
LIBRARIES = {"sparsify": "eai-sparsify", "saelens": "sae-lens", "dictionary_learning": "dictionary-learning"}
# Checkpoints that no code of their library loads as an SAE for use.
NOT_LOADED = ("dictionary_learning-backup", "saelens-batchtopk-training")


def checkpoint(name: str) -> Path:
    """A fixture's path: a folder, or OpenAI's single file."""
    return FIXTURES / name / "8.pt" if name.startswith("openai") else FIXTURES / name


def written(format: str, folder: Path) -> list[Path]:
    """Write every fixture that the format can hold in that format; return the folders."""
    found = []
    for name in sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()):
        weights = formats.read(checkpoint(name))
        try:
            formats.write(folder / name, weights, format)
        except StudyError:
            continue  # the format has no such SAEs
        found.append(folder / name)
    return found


def differences(format: str, folders: list[Path], rows: Path, folder: Path) -> tuple[float, float]:
    """The largest difference of latents and of outputs, relative to the largest value of each SAE.

    Raises:
        SystemExit: not the same latents fire.
    """
    answers, script = folder / "answers.npz", Path(__file__).with_name("formats_peers.py")
    python = peers.environment(LIBRARIES[format])
    subprocess.run([python, str(script), format, str(rows), str(answers), *map(str, folders)], check=True)
    theirs, x = np.load(answers), torch.from_numpy(np.load(rows))
    worst = [0.0, 0.0]
    for number, path in enumerate(folders):
        ours = sae.load(path, format)
        for place, (name, mine) in enumerate((("latents", ours.encode(x)), ("output", ours.forward(x)))):
            peer = theirs[f"{name}-{number}"]
            if name == "latents" and ((mine.numpy() != 0) != (peer != 0)).any():
                raise SystemExit(f"{path}: other latents fire than in the library's own code")
            worst[place] = max(worst[place], float(np.abs(mine.numpy() - peer).max() / np.abs(peer).max()))
    return worst[0], worst[1]


def main() -> None:
    lines = [
        f"`make bench-formats`: {machine(('torch', 'safetensors'))}.",
        "Small SAEs with no zero bias and no unit norm, 64 random rows; the same file is loaded by the format's own",
        "library and here. The same latents fire everywhere; differences are relative to the largest value.",
        "",
        "| format | library | files | SAEs | latents differ by | outputs differ by |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = folder / "x.npy"
        np.save(rows, np.random.default_rng(0).normal(0.3, 1, (64, 6)).astype(np.float32))
        for format, package in LIBRARIES.items():
            theirs = [path for path in sorted(FIXTURES.glob(f"{format}-*")) if path.name not in NOT_LOADED]
            for files, folders in (
                ("theirs, read here", theirs),
                ("ours, read there", written(format, folder / format)),
            ):
                latents, outputs = differences(format, folders, rows, folder)
                name = peers.PEERS[package][0].replace("==", " ")
                lines.append(f"| {format} | {name} | {files} | {len(folders)} | {latents:.0e} | {outputs:.0e} |")
                print(lines[-1], flush=True)
    lines += [
        "",
        "Gemma Scope and Llama Scope files, and SAELens' training checkpoints, are compared with SAELens' own code by",
        "the recorded fixtures (tests/sae/formats/fixtures, made by `bench/formats.py`); OpenAI's and Gemma Scope 2's,",
        "which no package reads, against their definitions in plain numpy.",
    ]
    write_section("Checkpoint formats", "\n".join(lines))


if __name__ == "__main__":
    main()
