"""A match in one line, for the command line."""

from pathlib import Path

from sae_stability.files import read_table
from sae_stability.match.threshold import THRESHOLD


def summary(file: Path) -> str:
    """The fractions `shared`, `same` and `joint` of `overlap_tables`, at `THRESHOLD`, the larger gap, and the file.

    Raises:
        StudyError: `file` cannot be read as a table.
    """
    table, metadata = read_table(file)
    encoder = table["counterpart_encoder"]
    same = (encoder == table["counterpart_decoder"]) & (encoder >= 0)
    joint = (table["cosine_encoder"] >= THRESHOLD) & (table["cosine_decoder"] >= THRESHOLD)
    gap = max(metadata[side]["gap"] for side in ("encoder", "decoder"))
    return (
        f"shared at {THRESHOLD} {(same & joint).mean():.3f}, same counterpart {same.mean():.3f}, "
        f"joint {joint.mean():.3f}, gap {gap:.1e}; {file}"
    )
