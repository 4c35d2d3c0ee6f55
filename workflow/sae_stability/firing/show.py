"""Contexts of a latent in the terminal: text with its activations shaded."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from sae_stability.errors import StudyError
from sae_stability.files import read_table
from sae_stability.ranges import Count, Index

_SHOWN = ["stratum", "activation", "block", "position", "pieces", "activations"]
_NEWLINE, _UNPRINTABLE = "⏎", "\ufffd"
_STRONG, _BLACK, _RESET = (255, 140, 0), "\x1b[38;2;0;0;0m", "\x1b[0m"


def show_contexts(
    checkpoint: Path,
    *,
    latent: Index,
    count: Count = 3,
    activations: Path | None = None,
    tokens: Path | None = None,
    threads: Count = 1,
) -> str:
    """Show texts on which a latent fires, strongest first, and some on which it does not.

    Each token on which it fires is shaded by its activation. Where the output is no terminal, or the environment
    variable NO_COLOR is set, such tokens stand in «quotes».

    Args:
        checkpoint: folder of an SAE. One whose contexts the study has chosen needs nothing else; any other, of any
            format that is read, needs --activations and --tokens.
        latent: number of the latent.
        count: at most so many contexts of each kind: top, each tenth of the windows by activation, random.
        activations: folder of held-out activations to run the SAE on.
        tokens: folder of the token blocks of these activations.
        threads: processor cores to use.

    Returns:
        The text to print.

    Raises:
        StudyError: there is no such latent, nothing to take contexts from, or a file is missing or damaged.
    """
    table = _stored(checkpoint)
    if (activations is None) != (tokens is None):
        raise StudyError("contexts: give --activations and --tokens together")
    if activations is not None:
        found = _computed(checkpoint, latent, activations, tokens, threads)
    elif table.exists():
        _check_latent(checkpoint, latent, len(read_table(_firing_table(table), ["latent"])[0]))
        found, _ = read_table(table, _SHOWN, filters=[("latent", "==", latent)])
    else:
        raise StudyError(
            f"{checkpoint}: no contexts have been chosen for it ({table} is not there); give --activations and "
            "--tokens, or name its cohort under firing.cohorts in the study"
        )
    if found.empty:
        return f"latent {latent} of {checkpoint} does not fire on these rows"
    shaded = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return "\n".join([f"latent {latent} of {checkpoint}", *lines(found, count, shaded=shaded)])


def lines(contexts: pd.DataFrame, count: int, *, shaded: bool) -> list[str]:
    """Lines to print for the contexts of one latent: a heading for each stratum, then activation and text of each.

    Args:
        contexts: rows of a table of contexts.
        count: at most so many of each stratum.
        shaded: mark activations by colours; otherwise by «quotes».
    """
    strongest = float(np.abs(contexts["activation"]).max())
    order = ["top", *(f"decile-{number}" for number in range(10, 0, -1)), "random"]
    found = []
    for stratum in order:
        some = contexts[contexts["stratum"] == stratum].sort_values("activation", ascending=False, kind="stable")
        if len(some):
            found += ["", "random: it does not fire" if stratum == "random" else stratum]
        for row in some.head(count).itertuples():
            text = "".join(
                _marked(_printable(piece), value, strongest, shaded=shaded)
                for piece, value in zip(row.pieces, row.activations, strict=True)
            )
            found.append(f"{row.activation:9.3f}  {text.strip()}")
    return found


def _marked(piece: str, value: float, strongest: float, *, shaded: bool) -> str:
    if not value:
        return piece
    text = piece.lstrip(" ")
    space = piece[: len(piece) - len(text)]
    if not shaded:
        return f"{space}«{text}»"
    strength = min(1.0, abs(value) / strongest)
    red, green, blue = (round(255 + (full - 255) * strength) for full in _STRONG)
    return f"{space}\x1b[48;2;{red};{green};{blue}m{_BLACK}{text}{_RESET}"


def _printable(text: str) -> str:
    """The text on one line, without characters that would steer the terminal: it comes from a corpus."""
    return "".join(
        character if character.isprintable() else _NEWLINE if character == "\n" else _space_or_mark(character)
        for character in text
    )


def _space_or_mark(character: str) -> str:
    return " " if character.isspace() else _UNPRINTABLE


def _stored(checkpoint: Path) -> Path:
    """Where a study keeps the contexts of an SAE that lies at RESULTS/saes/COHORT/seed-N."""
    folder = checkpoint.absolute()
    return folder.parents[min(2, len(folder.parents) - 1)] / "contexts" / folder.parent.name / f"{folder.name}.parquet"


def _firing_table(contexts: Path) -> Path:
    """The firing table beside a table of contexts; it has a row for every latent."""
    return contexts.parents[2] / "firing" / contexts.parent.name / contexts.name


def _computed(checkpoint: Path, latent: int, activations: Path, tokens: Path, threads: int) -> pd.DataFrame:
    import torch

    from sae_stability.firing.contexts import ContextSettings, context_table
    from sae_stability.firing.heldout import Texts, stored_rows
    from sae_stability.firing.job import collect
    from sae_stability.firing.windows import Windows
    from sae_stability.sae.model import load

    torch.set_num_threads(threads)
    sae = load(checkpoint)
    _check_latent(checkpoint, latent, len(sae.encoder))
    with tempfile.TemporaryDirectory() as work:
        found, token_index = collect({"sae": sae}, stored_rows(activations), Path(work), "cpu")
        settings = ContextSettings()
        windows = Windows(Texts(tokens), token_index, settings.window)
        return context_table(found["sae"], windows, settings, np.array([latent])).to_pandas()


def _check_latent(checkpoint: Path, latent: int, n_latents: int) -> None:
    if not 0 <= latent < n_latents:
        raise StudyError(f"{checkpoint}: there is no latent {latent}; it has latents 0 to {n_latents - 1}")
