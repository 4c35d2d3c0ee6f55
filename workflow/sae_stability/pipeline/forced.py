"""What `--forceall`, `--forcerun` and `--force` do not reach: a finished result has no rule."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

# How the names of a stage's rules begin, where they do not begin with the stage's own name.
_RULES = {"corpus": "tokenize", "external": "import_sae", "floors": "floor", "tables": "figure_table"}
# These have rules for finished results too.
_ALWAYS = ("activations", "drawings", "summary", "fresh_tokens", "similarity", "score_summary")


def not_forced(pipeline: "Pipeline", everything: bool, names: Iterable[str], targets: Iterable[str] = ()) -> str | None:
    """A line that says which finished results are not made again though Snakemake was told to, and what to do.

    Args:
        pipeline: the study's.
        everything: whether `--forceall` was given.
        names: the rules and files that `--forcerun` names.
        targets: those that `--force` forces.

    Returns:
        None if nothing that was to be forced is finished.
    """
    flag = "--forceall" if everything else "--forcerun" if names else "--force"
    names = {str(Path(name)) for name in (*names, *targets)}
    counts, example = {}, ""
    for stage, results in _finished(pipeline).items():
        prefix = _RULES.get(stage, stage)
        wanted = [files for files in results if not names.isdisjoint(files)]
        if everything or any(name.startswith(prefix) for name in names):
            wanted = results
        if wanted:
            counts[stage] = len(wanted)
            example = example or wanted[0][0]
    if not counts:
        return None
    words = ", ".join(f"{count} of {stage}" for stage, count in counts.items())
    return (
        f"note: {flag} makes no finished result again ({words}), because it has no rule; delete what is to be made "
        f"again, such as {example}"
    )


def _finished(pipeline: "Pipeline") -> dict[str, list[list[str]]]:
    """Stage -> the files of each finished result."""
    from sae_stability.pipeline import FINGERPRINTED

    found = {}
    for name, stage in FINGERPRINTED.items():
        if name in _ALWAYS:
            continue
        todo = set(pipeline.unfinished[name])
        found[name] = [files for result, (files, _) in stage.results(pipeline).items() if result not in todo]
    return found
