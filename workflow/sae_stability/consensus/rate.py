"""The verb `rate`: how stable the latents of any SAE are, judged by other SAEs."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from sae_stability.consensus.groups import groups
from sae_stability.consensus.sharing import sharing
from sae_stability.consensus.stability import stability, write
from sae_stability.errors import StudyError
from sae_stability.match.overlap_tables import Pair
from sae_stability.match.pairs import SIDES, SaeCache, certificate, match_columns, match_sides
from sae_stability.match.threshold import THRESHOLD
from sae_stability.ranges import Cosine, Count


def rate(
    sae: Path, *, against: Sequence[Path], threshold: Cosine = THRESHOLD, out: Path | None = None, threads: Count = 1
) -> str:
    """Rate every latent of an SAE by the fraction of other SAEs in which it is found again.

    Args:
        sae: folder or file of the SAE, in any format.
        against: SAEs of the same model and place, with other seeds; of any sizes and formats.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        out: table to write, a .parquet file; the same as .json lies beside it. By default `stability.parquet` in the
            SAE's folder.
        threads: processor cores to use.

    Returns:
        How many latents are found in how many of the others.

    Raises:
        StudyError: an SAE is missing or damaged or has another width, or is given twice.
    """
    paths = [Path(sae), *map(Path, against)]
    if len({path.resolve() for path in paths}) < len(paths):
        raise StudyError("rate: an SAE is given twice; it would find all of its own latents again")
    out = Path(out) if out else (paths[0] if paths[0].is_dir() else paths[0].parent) / "stability.parquet"
    if out.suffix != ".parquet":
        raise StudyError(f"{out}: must end in .parquet")
    cache = SaeCache()
    sizes = {number: len(cache(path)["decoder"].rows) for number, path in enumerate(paths)}
    pairs = []
    for a, b in combinations(sizes, 2):
        assignments = match_sides(cache(paths[a]), cache(paths[b]), threads=threads)
        columns = match_columns(assignments, *(np.ones(sizes[one], bool) for one in (a, b)))
        pairs.append(Pair(a, b, "trained", columns, {side: certificate(assignments[side]) for side in SIDES}))
    found = sharing(pairs, sizes, threshold)
    table = stability(found, groups(found), 0)
    write(table, out, others=[str(path) for path in against], threshold=threshold)
    counts = np.bincount(table["shared_with"], minlength=len(paths))
    lines = [f"{count:>8,} latents are shared with {others} of {len(against)}" for others, count in enumerate(counts)]
    return "\n".join([*reversed(lines), f"mean stability {table['stability'].mean():.3f}; {out}"])
