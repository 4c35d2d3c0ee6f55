"""Flags from a function's signature: every kind of parameter, and the help of every verb."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from sae_stability import cli, flags
from sae_stability.errors import StudyError
from sae_stability.ranges import Cosine, Count, Index
from sae_stability.verbs import VERBS


@dataclass(frozen=True)
class Source:
    name: str = field(metadata={"flag": "source"})
    """Where it is."""

    seed: int = 3
    """Its seed, 100% of it."""

    kind: str = field(default="tall", metadata={"flag": "source-kind"})


def everything(
    study: Path = Path("study.yaml"),
    *,
    count: Count,
    rate: Cosine | None = None,
    keep: bool = False,
    kind: Literal["one", "two"] = "one",
    chunk: Index | Literal["heldout"],
    several: Sequence[int] = (1,),
    inputs: list[tuple[str, Path]],
    about: Sequence[tuple[str, str]] = (),
    style: dict | None = None,
    source: Source,
    seed: int = 0,
):
    """Do it all. More of it.

    And a second paragraph.

    Args:
        study: the file.
        count, rate: two numbers
            in two lines.
        keep: whether: it is kept.

    Returns:
        count: is not an argument.
    """
    return locals()


def read(*words: str) -> dict:
    parser = argparse.ArgumentParser(exit_on_error=False)
    flags.declare(parser, everything)
    return flags.call(everything, parser.parse_args(words))


NEEDED = ("--count", "2", "--chunk", "0", "--inputs", "a=b", "--source", "here")


def test_flags_that_are_left_out_take_the_defaults_of_the_signature():
    found = read(*NEEDED)
    assert found == {
        "study": Path("study.yaml"),
        "count": 2,
        "rate": None,
        "keep": False,
        "kind": "one",
        "chunk": 0,
        "several": (1,),
        "inputs": [("a", Path("b"))],
        "about": (),
        "style": None,
        "source": Source("here"),
        "seed": 0,
    }


def test_every_kind_of_value_is_read():
    words = "my.yaml --rate 1e-3 --keep TRUE --kind two --chunk heldout --several 4 --several 5 --inputs x%3Dy=z=0"
    found = read(*NEEDED, *words.split(), "--about", "a=b=c", "--style", '{"width": 3}', "--seed", "7")
    assert found["study"] == Path("my.yaml")
    assert (found["rate"], found["keep"], found["kind"], found["chunk"]) == (1e-3, True, "two", "heldout")
    assert found["several"] == [4, 5], "the default is replaced"
    assert found["inputs"] == [("a", Path("b")), ("x=y", Path("z=0"))]
    assert found["about"] == [("a", "b=c")]
    assert found["style"] == {"width": 3}
    assert found["seed"] == 7
    assert found["source"].seed == 3, "the function has a parameter of that name"
    assert read(*NEEDED, "--source-kind", "wide")["source"] == Source("here", kind="wide")


@pytest.mark.parametrize(
    "words",
    [
        "--count x",
        "--count 0",
        "--rate nan",
        "--about =x",
        "--about x",
        "--chunk -1",
        "--keep perhaps",
        "--kind three",
        "--chunk last",
        "--inputs nothing",
        "--style [1]",
        "--style {",
    ],
)
def test_values_that_cannot_be_read_are_refused(words: str):
    with pytest.raises(argparse.ArgumentError):
        read(*NEEDED, *words.split())


def test_an_optional_dataclass_is_absent_without_its_first_field():
    def function(*, source: Source | None = None):
        return source

    parser = argparse.ArgumentParser()
    flags.declare(parser, function)
    for words, expected in (((), None), (("--source", "here", "--seed", "1"), Source("here", 1))):
        assert flags.call(function, parser.parse_args(words)) == expected
    for value in ("1", "3"):  # 3 is the default: it is given all the same
        with pytest.raises(StudyError, match="--seed is given without --source; give both, or neither"):
            flags.call(function, parser.parse_args(["--seed", value]))


def test_help_comes_from_the_docstrings():
    texts = flags.argument_texts(everything)
    assert texts == {
        "study": "the file.",
        "count": "two numbers in two lines.",
        "rate": "two numbers in two lines.",
        "keep": "whether: it is kept.",
    }
    assert flags.field_texts(Source)["seed"] == "Its seed, 100% of it."
    parser = argparse.ArgumentParser()
    flags.declare(parser, everything)
    assert "Where it is" in parser.format_help()


def test_an_annotation_without_a_kind_of_flag_is_named():
    def function(*, callback: object):
        return callback

    with pytest.raises(TypeError, match="object"):
        flags.declare(argparse.ArgumentParser(), function)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_each_of_its_arguments(verb: str):
    function = VERBS[verb].load()
    text = cli.parser(verb, function).format_help()
    assert text.startswith(f"usage: sae-stability {verb}")
    silent = [argument.name for argument in flags.arguments(function) if not argument.text]
    assert not silent, f"no help for {silent}"
    assert "\n\n" in text


def test_the_overview_lists_every_verb(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{verb}\s+\w", text, re.MULTILINE) for verb in VERBS)


def test_an_unknown_verb_is_an_error(capsys):
    assert cli.main(["no-such-verb"]) == 2
    assert "no-such-verb" in capsys.readouterr().err
