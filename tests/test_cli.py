"""The command line: every number that a person can get wrong ends in one line, not in a traceback."""

import typing
from pathlib import Path

import numpy as np
import pytest

from sae_stability import cli, flags
from sae_stability.sae.formats import own
from sae_stability.sae.weights import Weights
from sae_stability.verbs import VERBS

BAD = ("-1", "0", "nan", "-inf", "1e400", "9" * 30, "many", "")
SMALL = {"--n-latents": "4", "--d-model": "3", "--k": "2", "--tokens": "40", "--chunk-tokens": "40"}
SMALL |= {"--batch-size": "8"}
SMALL |= {"--context-length": "8", "--heldout-tokens": "8", "--train-tokens": "8", "--shard-rows": "8", "--rep": "0"}
SMALL |= {"--heldout-rows": "4", "--train-rows": "8", "--chunk-rows": "8", "--chunk": "0"}


def numbers(annotation: object) -> bool:
    """Whether a flag of this annotation takes a number."""
    return annotation in (int, float) or any(map(numbers, typing.get_args(annotation)))


def numeric_flags() -> list[tuple[str, str]]:
    found = []
    for verb, entry in VERBS.items():
        found += [(verb, argument.name) for argument in flags.arguments(entry.load()) if numbers(argument.annotation)]
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> dict[str, str]:
    """Paths that a command may be given: an SAE, a matrix, text, and names for what it writes."""
    folder = tmp_path_factory.mktemp("here")
    rows = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    own.write(folder / "sae", Weights(rows, rows, np.zeros(4, "f4"), np.zeros(3, "f4"), activation="relu", k=2))
    np.save(folder / "rows.npy", np.ones((20, 3), "f4"))
    paths = {name: str(folder / "sae") for name in ("--sae", "--a", "--b", "--checkpoint")}
    return paths | {"--matrix": str(folder / "rows.npy"), "": str(folder)}


def command(verb: str, here: dict[str, str], flag: str, value: str) -> list[str]:
    """A command of `verb` with what it needs and this value; everything else is small and sound."""
    words = [verb]
    for argument in flags.arguments(VERBS[verb].load()):
        needed = argument.default is flags._REQUIRED
        if argument.name == flag or not (needed or argument.name in ("--out", "--batch-size")):
            continue
        path = f"{here['']}/{verb}{argument.name}"
        sound = SMALL.get(argument.name) or here.get(argument.name) or path
        if argument.annotation is dict:
            sound = '{"kind": "files", "paths": ["gone"]}'
        if argument.name == "--chunk" and verb == "train":
            sound = path
        if "tuple" in str(argument.annotation):
            sound = f"0={path}"
        words += [argument.name, sound] if argument.name.startswith("-") else [sound]
    return [*words, flag, value]


def test_the_verbs_take_numbers():
    assert {verb for verb, _ in numeric_flags()} >= {
        *("train", "match", "convert", "tokenize", "extract", "import-matrix", "evaluate", "floor", "overlap")
    }


@pytest.mark.parametrize(("verb", "flag"), numeric_flags())
def test_a_number_that_cannot_be_ends_in_one_line(verb: str, flag: str, here: dict[str, str], capsys):
    for value in BAD:
        code = cli.main(command(verb, here, flag, value))
        lines = capsys.readouterr().err.strip().splitlines()
        assert code in (0, 2), f"{flag} {value!r}"
        if value in ("many", "", "nan", "-inf", "1e400"):
            assert code == 2, f"{flag} {value!r}"
        if code:
            errors = [line for line in lines if line.startswith("error: ")]
            assert len(errors) == 1, lines
            assert lines[-1] == errors[0] or lines[-2] == errors[0], lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["floor", "--n-latents", "-1"], "argument --n-latents: -1 given; it must be from 1 to 1,000,000,000,000"),
        (["floor", "--n-latents", "x"], "argument --n-latents: invalid int value: 'x'"),
        (["floor", "--n-lat", "4", "--d-model", "3", "--rep", "0", "--out", "x"], "required: --n-latents"),
        (["summary", "--about", "foo"], "argument --about: 'foo': expected NAME=VALUE"),
        (["match", "--a", "gone", "--b", "gone", "--out", "x"], "error: gone: no such file or folder"),
        (["overlap", "--threshold", "nan"], "argument --threshold: nan given; it must be from 0 to 1"),
        (["import-matrix", "--chunk", "last"], "argument --chunk: invalid number or heldout value: 'last'"),
        (
            ["evaluate", "--sae", "x", "--out-json", "x", "--out-parquet", "x", "--revision", "main"],
            "error: --revision is given without --model; give both, or neither",
        ),
    ],
)
def test_a_mistake_says_what_is_allowed(words: list[str], message: str, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.startswith("error: ")
    assert len(text.splitlines()) == 1


def test_too_little_memory_is_told_in_one_line(capsys, tmp_path: Path):
    sizes = ["--n-latents", str(10**12), "--d-model", "1000", "--rep", "0"]
    assert cli.main(["floor", *sizes, "--out", str(tmp_path / "x.parquet")]) == 2
    assert capsys.readouterr().err.startswith("error: not enough memory")
