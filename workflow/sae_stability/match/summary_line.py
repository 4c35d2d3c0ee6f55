"""A match in a line, for whoever matches at a prompt."""

from pathlib import Path

from sae_stability.files import read_table

THRESHOLD = 0.7


def in_words(file: Path) -> str:
    """The shares of the first SAE's latents that overlap_tables.py calls same and joint (at 0.7), and the larger gap.

    Raises:
        StudyError: `file` is no match.
    """
    table, metadata = read_table(file)
    encoder = table["counterpart_encoder"]
    same = (encoder == table["counterpart_decoder"]) & (encoder >= 0)
    joint = (table["cosine_encoder"] >= THRESHOLD) & (table["cosine_decoder"] >= THRESHOLD)
    gap = max(metadata[side]["gap"] for side in ("encoder", "decoder"))
    return f"same counterpart {same.mean():.3f}, joint at {THRESHOLD} {joint.mean():.3f}, gap {gap:.1e}; {file}"
