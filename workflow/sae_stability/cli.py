"""The command line: one verb per call, its flags from its function's signature, its mistakes in a line."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from sae_stability import flags
from sae_stability.devices import claimed
from sae_stability.errors import StudyError, naming_failed_import, naming_missing_extra
from sae_stability.made import line
from sae_stability.verbs import VERBS


class _Parser(argparse.ArgumentParser):
    """A parser that tells a mistake in one line, without the list of all flags."""

    def error(self, message: str) -> NoReturn:
        raise StudyError(f"{message} (`{self.prog} --help` lists the arguments)")


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, or 2 after a mistake, with one or two lines on stderr."""
    argv = sys.argv[1:] if argv is None else argv
    shut_out_surroundings()
    try:
        verb = overview().parse_args(argv[:1]).verb
        with naming_missing_extra(), naming_failed_import():
            run(verb, argv[1:])
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whatever read our output has closed the pipe (`... | head`): no mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError as error:
        print(f"error: not enough memory ({error}); use smaller sizes or a larger machine", file=sys.stderr)
        return 2
    except OSError as error:
        # A path that cannot be read or written, or a full disk.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def shut_out_surroundings() -> None:
    """See to it that a verb's results do not depend on where and from what it was started.

    A job that was started from a notebook has Matplotlib's backend of that notebook, a package builder sets a date for
    files, a library may ask a question on standard input, and the locale may not be able to print every name.
    """
    os.environ["MPLBACKEND"] = "agg"
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    sys.stdin = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(verb: str, words: list[str]) -> None:
    """Call the verb's function with the arguments in `words`; print the text that it returns, if any."""
    function = VERBS[verb].load()
    values = parser(verb, function).parse_args(words)
    # A GPU must be chosen before torch starts CUDA.
    with claimed(getattr(values, "device", "cpu")):
        result = flags.call(function, values)
    if isinstance(result, str):
        print(result)
    if made_from := fingerprints(values):
        # A job's log is what standard error goes to.
        print(line(verb, made_from), file=sys.stderr)


def fingerprints(values: argparse.Namespace) -> list[str]:
    """The fingerprints of the results that a job of the workflow has made; none for a call by hand without any."""
    given = getattr(values, "config_hash", None) or []
    words = [given] if isinstance(given, str) else given
    return [word if isinstance(word, str) else word[1] for word in words]


def overview() -> argparse.ArgumentParser:
    """The parser of the first word, which names the verb."""
    top = _Parser(
        prog="sae-stability",
        allow_abbrev=False,
        description="Which features of a sparse autoencoder are the model's, and which are its seed's? "
        "The whole study: `snakemake --cores all`. Any single step: the verbs below.",
        epilog="`sae-stability VERB --help` lists the arguments of a verb.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.summary)
    return top


def parser(verb: str, function: Callable) -> argparse.ArgumentParser:
    """The parser of one verb's arguments."""
    text = flags.docstring(function).partition("\n\n")[0].replace("%", "%%")
    # Without abbreviations: a script that says `--thread` would fail when a second flag begins like that.
    verb_parser = _Parser(prog=f"sae-stability {verb}", description=text, allow_abbrev=False)
    flags.declare(verb_parser, function)
    return verb_parser
