"""How much a study may ask for. Beyond these counts, Snakemake takes hours and all memory before it starts a job."""

from typing import TYPE_CHECKING

from sae_stability.errors import StudyError

if TYPE_CHECKING:
    from sae_stability.study.build import Study

COHORTS = 1_000
SAES = 2_000
# Of one SAE after one chunk: each takes a job.
STATES = 20_000
# Snakemake takes 11 KB for a match and 4 KB for another file, beside 650 MB for itself: so it stays under 1 GiB.
MATCHES = 30_000
FILES = 60_000


def check_points(where: str, numbers: dict[str, int]) -> None:
    """Refuse a sweep of too many cohorts before they are made.

    Args:
        where: the sweep's place in the study.
        numbers: how many values each varied setting has. Settings are crossed, so the numbers multiply.

    Raises:
        StudyError: too many.
    """
    points = 1
    for number in numbers.values():
        points *= number
    if points > COHORTS:
        crossed = " x ".join(f"{number:,}" for number in numbers.values())
        raise StudyError(f"{where}.vary: {_shown(crossed)} values make {_count(points)} cohorts; {_allowed(COHORTS)}")


def check_counts(study: "Study") -> None:
    """Refuse a study that makes more cohorts, SAEs or files than can be planned. Nothing is listed, only counted.

    Raises:
        StudyError: names the part of the study that makes most, and what to change.
    """
    _check("cohorts", "cohorts", {f"cohorts.{slug}": 1 for slug in study.cohorts}, COHORTS)
    saes = {f"cohorts.{slug}": len(cohort.seeds) for slug, cohort in study.cohorts.items()}
    _check("SAEs", "seeds or cohorts", saes, SAES)
    matches = {f"cohorts.{slug}": n * (n - 1) // 2 for slug, n in zip(study.cohorts, saes.values(), strict=True)}
    _check("matches, one for each pair of seeds", "seeds", matches, MATCHES)
    floors = {"floor.repeats": len(study.shapes) * study.floor_repeats}
    _check("matches of random dictionaries", "repeats", floors, FILES)
    tokens = {f"tokens.{slug}": tokens.chunks for slug, tokens in study.tokens.items()}
    _check("chunks", "chunks, larger ones", tokens, FILES)
    shards = {f"passes.{slug}": _shards(study, slug) for slug in study.passes}
    _check("shards", "shards, larger ones", shards, FILES)
    states = {f"cohorts.{slug}": len(cohort.seeds) * cohort.chunks for slug, cohort in study.trained.items()}
    _check("states of SAEs, one after each chunk", "chunks, larger ones", states, STATES)


def _shards(study: "Study", slug: str) -> int:
    pass_ = study.passes[slug]
    heldout, chunk = (-(-rows // pass_.shard_rows) for rows in (pass_.heldout_rows, pass_.chunk_rows))
    return len(pass_.hookpoints) * (heldout + chunk * study.chunks_needed(slug))


def _check(noun: str, fewer: str, counts: dict[str, int], limit: int) -> None:
    total = sum(counts.values())
    if total > limit:
        most = max(counts, key=counts.get)
        raise StudyError(
            f"{most}: makes {_count(counts[most])} of the study's {_count(total)} {noun}; {_allowed(limit)}: fewer "
            f"{fewer}, or several studies"
        )


def _allowed(limit: int) -> str:
    return f"at most {limit:,} can be planned"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**15 else f"10^{len(str(number)) - 1}"


def _shown(words: str) -> str:
    return words if len(words) <= 60 else f"{words[:57]}..."
