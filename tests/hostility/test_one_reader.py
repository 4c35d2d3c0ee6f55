"""What `sae.load` refuses, every verb that reads an SAE refuses, in the same line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from sae_stability import cli, sae
from sae_stability.errors import StudyError
from sae_stability.files import write_table
from sae_stability.meta.decoder_rows import write_decoder_rows
from sae_stability.sae import formats
from sae_stability.sae.formats import own

N_LATENTS, D_MODEL = 8, 4
CFG = {"architecture": "topk", "n_latents": N_LATENTS, "d_model": D_MODEL, "k": 2}
SPARSIFY = Path(__file__).parents[1] / "sae" / "formats" / "fixtures" / "sparsify-topk"


def write_sae(folder: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    shapes = {"encoder": (N_LATENTS, D_MODEL), "decoder": (N_LATENTS, D_MODEL)}
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    biases = {"encoder_bias": np.zeros(N_LATENTS, np.float32), "decoder_bias": np.zeros(D_MODEL, np.float32)}
    own.save(folder, tensors | biases, CFG)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A folder with two good SAEs, decoder rows of one, and explanations of latents."""
    folder = tmp_path_factory.mktemp("good")
    for seed in (0, 1):
        write_sae(folder / f"sae-{seed}", seed)
    write_decoder_rows(sae=[folder / "sae-0"], chunk="heldout", shard_rows=8, out=folder / "rows")
    said = {"latent": np.arange(N_LATENTS), "explanation": "fires on words", "status": "ok"}
    write_table(folder / "said.parquet", pd.DataFrame(said))
    return folder


def words(verb: str, bad: Path, good: Path, out: Path) -> list[str]:
    """A command that reads an SAE; what else it reads is good, or is read after the SAE."""
    one, two, rows = good / "sae-0", good / "sae-1", good / "rows"
    meta = [f"--{name}={out / name}" for name in ("parts-out", "cosines-out", "graph-out")]
    parts = ["--part", f"base={N_LATENTS}", *meta, f"--chunk={rows}"]
    pair = [f"--sae=0={one}", f"--sae=1={bad}"]
    commands = {
        "info": [bad],
        "match": ["--a", one, "--b", bad],
        "compare": [one, bad],
        "rate": [bad, "--against", one],
        "rate against": [one, "--against", bad],
        "explore": [bad, "--model=none", "--text=none"],
        "contexts": [bad, "--latent=0", f"--activations={rows}", "--tokens=none"],
        "decompose": [bad, "--latent=0", f"--meta={one}"],
        "decompose by": [one, "--latent=0", f"--meta={bad}"],
        "convert": [f"--checkpoint={bad}", "--to=saelens"],
        "evaluate": [f"--sae={bad}", f"--chunk={rows}", f"--out-json={out}.json", f"--out-parquet={out}.parquet"],
        "firing": [f"--sae=0={bad}", f"--chunk={rows}", "--out", f"0={out}", f"--work={out}"],
        "substitution": [
            f"--sae=0={one}",
            f"--sae=1={bad}",
            f"--chunk={rows}",
            f"--match=0-1={good}",
            f"--out=0-1={out}",
        ],
        "consensus": [*pair, f"--sae=2={two}", f"--match={good}"],
        "stitch": [f"--sae=1={one}", f"--sae=2={bad}", f"--chunk={rows}", f"--out=1-2={out}"],
        "decoder-rows": [f"--sae={bad}", "--chunk=heldout", "--shard-rows=8"],
        "meta-baselines": [f"--sae=0={bad}", *parts],
        "meta-baselines of": [f"--sae=0={one}", f"--directions=a={bad}", *parts],
        "choice": [f"--explanations={good / 'said.parquet'}", f"--sae={bad}", f"--meta=0={one}", *JUDGE],
        "choice by": [f"--explanations={good / 'said.parquet'}", f"--sae={one}", f"--meta=0={bad}", *JUDGE],
    }
    command = [verb.partition(" ")[0], *map(str, commands[verb])]
    written = verb.partition(" ")[0] not in ("info", "rate", "contexts", "decompose", "evaluate", "firing")
    named = any(word.startswith("--out=") for word in command)
    return command + ([f"--out={out}"] if written and not named else [])


JUDGE = ["--judge", json.dumps({"kind": "lexical"})]
ANY_FORMAT = ["info", "match", "compare", "rate", "rate against", "explore", "contexts", "decompose", "decompose by"]
ANY_FORMAT += ["convert"]
OWN_ALONE = ["evaluate", "firing", "substitution", "consensus", "stitch", "decoder-rows", "meta-baselines"]
OWN_ALONE += ["meta-baselines of", "choice", "choice by"]


def changed(**tensors: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Change tensors of an SAE. Its settings then state no digest, as in a folder that another program wrote."""

    def spoil(folder: Path) -> None:
        found = load_file(folder / "sae.safetensors")
        for name, change in tensors.items():
            found[name] = change(found[name])
        kept = {name: np.ascontiguousarray(value) for name, value in found.items() if value is not None}
        save_file(kept, folder / "sae.safetensors")
        (folder / "cfg.json").write_text(json.dumps(CFG))

    return spoil


def settings(**changes: object) -> Callable[[Path], None]:
    return lambda folder: (folder / "cfg.json").write_text(json.dumps(CFG | changes))


def one_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: np.where(np.arange(rows.size).reshape(rows.shape) == 5, np.float32(value), rows)


FAULTS = {
    "int32": changed(decoder=lambda rows: rows.astype(np.int32)),
    "float16": changed(decoder=lambda rows: rows.astype(np.float16)),
    "NaN": changed(encoder=one_value(np.nan)),
    "1e30": changed(decoder=one_value(1e30)),
    "1e30 in a bias": changed(decoder_bias=lambda row: row + np.float32(1e30)),
    "zeros": changed(decoder=np.zeros_like),
    "a row less": changed(decoder=lambda rows: rows[1:]),
    "no bias": changed(encoder_bias=lambda _: None),
    "cut": lambda folder: (folder / "sae.safetensors").write_bytes((folder / "sae.safetensors").read_bytes()[:99]),
    "another's weights": lambda folder: write_other(folder),
    "no weights": lambda folder: (folder / "sae.safetensors").unlink(),
    "k": settings(k=N_LATENTS + 1),
    "no k": settings(k=None),
    "architecture": settings(architecture="magic"),
    "settings": settings(architecture="imported", activation="relu", subtract_decoder_bias=3, input_norm=[]),
    "nesting": lambda folder: (folder / "cfg.json").write_text("[" * 100_000),
}


def write_other(folder: Path) -> None:
    """The weights of another SAE beside the settings of this one."""
    write_sae(folder / "other", 7)
    shutil.move(folder / "other" / "sae.safetensors", folder / "sae.safetensors")
    shutil.rmtree(folder / "other")


def refusal(path: Path) -> str:
    with pytest.raises(StudyError) as error:
        sae.load(path)
    return f"error: {error.value}"


def check(verbs: list[str], bad: Path, good: Path, out: Path, capsys) -> None:
    """Every verb ends with the line of `sae.load`, and writes nothing."""
    expected = refusal(bad)
    told = {}
    for verb in verbs:
        code = cli.main(words(verb, bad, good, out))
        told[verb] = (code, capsys.readouterr().err.strip().splitlines()[-1])
    assert told == dict.fromkeys(verbs, (2, expected))
    assert [path for path in out.parent.glob(f"{out.name}*") if path.is_file()] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_verb_refuses_what_load_refuses(good, tmp_path, fault, capsys):
    write_sae(tmp_path / "bad", 2)
    FAULTS[fault](tmp_path / "bad")
    check([*ANY_FORMAT, *OWN_ALONE], tmp_path / "bad", good, tmp_path / "out", capsys)


@pytest.mark.parametrize("fault", ["NaN", "1e30", "zeros"])
def test_every_verb_refuses_an_sae_of_another_library_alike(good, tmp_path, fault, capsys):
    bad = Path(shutil.copytree(SPARSIFY, tmp_path / "bad"))
    change = {"NaN": one_value(np.nan), "1e30": one_value(1e30), "zeros": np.zeros_like}[fault]
    tensors = load_file(bad / "sae.safetensors")
    save_file(tensors | {"W_dec": change(tensors["W_dec"])}, bad / "sae.safetensors")
    check(ANY_FORMAT, bad, good, tmp_path / "out", capsys)


def test_sizes_are_those_of_the_settings_that_load_refuses(tmp_path):
    write_sae(tmp_path / "bad", 2)
    settings(k=0)(tmp_path / "bad")
    with pytest.raises(StudyError) as error:
        formats.shape(tmp_path / "bad")
    assert f"error: {error.value}" == refusal(tmp_path / "bad")
