"""Every kind of figure, declared in one place.

To add a figure, write a line in `FIGURES` and two modules: `tables/NAME.py` with `table(inputs)`, and
`drawings/NAME.py` with `draw(table, style)` and `caption(table)`, with underscores for the hyphens of the name. The
schema of a study, the checks of a sweep and the workflow read the rest from the line.

The two modules import nothing from each other, so a change to a drawing or a style never remakes a table. This module
imports no library, so that reading a study stays fast.
"""

import difflib
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from sae_stability.errors import StudyError

Extra = Literal[
    "match",
    "matches",
    "evaluation",
    "firing",
    "cofiring",
    "scores",
    "explained",
    "similarity",
    "substitution",
    "consensus",
    "meta",
    "depths",
]
"""What a figure may read besides overlap tables."""
Draws = Literal["cohort", "sweep", "stitch"]


@dataclass(frozen=True)
class FigureKind:
    """One kind of figure: what it draws, and what it needs for that.

    Attributes:
        name: the kind, as a study names it, and, with underscores for hyphens, the name of both modules.
        swept: for a figure of a sweep, the field of a cohort that the sweep must vary and that gives each cohort its
            place; None for a figure of one cohort.
        stitched: whether it draws a chain of stitched SAEs, of which it reads everything.
        labels: where the label of a sweep's cohort comes from: the value of the field `swept`, or the name that the
            sweep gives the cohort.
        check: which check of `study/figures.py` the sweep must pass.
        extra: what is read besides overlap tables: "match" (the first pair's match file), "matches" (every pair's),
            "evaluation" (the evaluation of every SAE), "firing" (what every SAE's latents fire on), "cofiring" (how far
            the matched latents of every pair fire together), "scores" (the scores of every SAE that has some),
            "explained" (explanations and scores of every SAE by the study's first explainer and the first scorer of its
            explanations, and the first SAE's matches), "similarity" (how alike that explainer's explanations of matched
            latents are),
            "substitution" (the tables of substitution and pooling of every pair, which this makes the study measure),
            "consensus" (the tables of the consensus over seeds, which this makes the study build),
            "meta" (baselines, parts and cosines of meta-SAEs, which this makes the study measure, and the overlap
            tables of the cohorts beside which they stand), "depths" (the overlap tables of the cohorts that meta-SAEs
            take apart, down to those of activations, and of flat ones beside them).
    """

    name: str
    swept: str | None = None
    stitched: bool = False
    labels: Literal["value", "name"] = "value"
    check: Literal["values", "layers", "names", "randomness", "architectures", "controls"] = "values"
    extra: tuple[Extra, ...] = ()

    @property
    def draws(self) -> "Draws":
        """What one such figure draws."""
        if self.stitched:
            return "stitch"
        return "cohort" if self.swept is None else "sweep"

    @property
    def table(self) -> str:
        """Dotted name of the module that makes the tidy table."""
        return module_name(self.name, "table")

    @property
    def drawing(self) -> str:
        """Dotted name of the module that draws the picture and writes the caption."""
        return module_name(self.name, "drawing")


FIGURES: dict[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind("joint", extra=("match",)),
        FigureKind("seeds"),
        FigureKind("sharing"),
        FigureKind("thresholds"),
        FigureKind("substitution", extra=("substitution",)),
        FigureKind("pooling", extra=("substitution",)),
        FigureKind("consensus", extra=("consensus",)),
        FigureKind("meta", extra=("meta",)),
        FigureKind("meta-depth", extra=("depths",)),
        FigureKind("insertion", stitched=True),
        FigureKind("components", stitched=True),
        FigureKind("interpolation", stitched=True),
        FigureKind("nearest", stitched=True),
        FigureKind("swaps", stitched=True),
        FigureKind("predictors", extra=("matches", "firing")),
        FigureKind("functional", extra=("matches", "cofiring")),
        FigureKind("subspace"),
        FigureKind("firing-similarity", extra=("evaluation",)),
        FigureKind("score-similarity", extra=("explained",)),
        FigureKind("score-sharers", extra=("explained",)),
        FigureKind("score-partner", extra=("explained",)),
        FigureKind("pairs-table", extra=("explained",)),
        FigureKind("explanation-similarity", extra=("similarity",)),
        FigureKind("size", swept="n_latents"),
        FigureKind("k", swept="k"),
        FigureKind("tokens", swept="tokens"),
        FigureKind("size-cosine", swept="n_latents"),
        FigureKind("k-cosine", swept="k"),
        FigureKind("tokens-cosine", swept="tokens"),
        FigureKind("layer", swept="hookpoint", check="layers", extra=("evaluation",)),
        FigureKind("position", swept="hookpoint", labels="name", check="names"),
        FigureKind("randomness", swept="varied", check="randomness"),
        FigureKind("controls", swept="control", labels="name", check="controls", extra=("evaluation", "scores")),
        FigureKind("architecture", swept="architecture", check="architectures", extra=("evaluation",)),
    )
}


def names(draws: Draws) -> list[str]:
    """The kinds that draw a cohort, those that draw a sweep, or those that draw a chain of stitched SAEs."""
    return [kind.name for kind in FIGURES.values() if kind.draws == draws]


def module_name(figure: str, step: Literal["table", "drawing"]) -> str:
    """The dotted name of the module of `figure` for `step`."""
    return f"{__package__}.{step}s.{figure.replace('-', '_')}"


def load(figure: str, step: Literal["table", "drawing"]) -> ModuleType:
    """Import the module of `figure` for `step`.

    Raises:
        StudyError: there is no such figure.
    """
    check_known(figure)
    return importlib.import_module(module_name(figure, step))


def check_known(figure: str) -> None:
    """Check that a kind of figure is declared.

    Raises:
        StudyError: it is not.
    """
    if figure not in FIGURES:
        near = difflib.get_close_matches(figure, FIGURES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise StudyError(f"no figure {figure!r}; there are {', '.join(FIGURES)}{hint}")
