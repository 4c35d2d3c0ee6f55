"""One cohort's data for the explorer: a chunk for each of its SAEs' tables, and what the first page says of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sae_stability.explorer import words
from sae_stability.explorer.boosted import boosted, head
from sae_stability.explorer.chunks import columns, plain
from sae_stability.explorer.contexts import LATENTS_PER_CHUNK, Contexts
from sae_stability.explorer.groups import Groups
from sae_stability.explorer.metas import parts
from sae_stability.explorer.partners import partners
from sae_stability.files import read_json, read_table
from sae_stability.models.source import ModelSource

_OVERLAP = (
    "alive",
    "stability",
    "shared_with",
    "mean_cosine",
    "rate",
    "init_similarity_encoder",
    "init_similarity_decoder",
    "encoder_norm",
    "decoder_density",
)
_FIRING = (
    "fired",
    "mean_activation",
    "max_activation",
    "q50",
    "q90",
    "q99",
    "token_entropy",
    "top_token_share",
    "document_share",
)
_QUALITY = ("fvu", "l0", "dead_fraction", "ce_recovered_zero")


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Where the results of a cohort lie: folders, or None where there are none.

    `explanations` and `scores` are by their names: explainer, and (explainer, scorer). `saes` and `metas` are by seed:
    SAEs, and the meta-SAEs that take them apart. `model` is the one that the SAEs read, given only where its head is to
    tell which tokens a latent boosts.
    """

    name: str
    about: dict[str, str]
    overlap: Path
    evaluation: Path | None
    matches: Path | None
    firing: Path | None
    contexts: Path | None
    cofiring: Path | None
    consensus: Path | None
    explanations: dict[str, Path]
    scores: dict[tuple[str, str], Path]
    saes: dict[int, Path]
    metas: dict[int, list[Path]]
    model: ModelSource | None


def chunks(cohort: Cohort) -> Iterator[tuple[str, object]]:
    """Every chunk of a cohort by its name, and at the end, under the cohort's own name, what the first page shows.

    Raises:
        StudyError: a table is missing or damaged.
    """
    latents, _ = read_table(cohort.overlap / "latents.parquet")
    seeds = [int(seed) for seed in latents["seed"].unique()]
    has_score = has_boosted = False
    groups = Groups(cohort.consensus) if cohort.consensus else None
    for seed in seeds:
        own = latents[latents["seed"] == seed].reset_index(drop=True)
        table = own[[name for name in _OVERLAP if name in own]]
        if cohort.firing:
            firing, _ = read_table(cohort.firing / f"seed-{seed}.parquet", list(_FIRING))
            table = table.join(firing)
        if groups:
            table = table.join(groups.of(seed))
        tokens: dict[int, list[str]] = {}
        if cohort.contexts:
            contexts = Contexts(cohort.contexts / f"seed-{seed}.parquet")
            for number, (chunk, top) in enumerate(contexts.chunks(len(table))):
                tokens |= top
                yield f"{cohort.name}_seed-{seed}_contexts-{number}", chunk
        said = [words.explanations(_of(path, seed), name) for name, path in cohort.explanations.items()]
        scored = [one for names, path in cohort.scores.items() for one in words.scores(path, *names, seed)]
        if scored:
            table = table.assign(score=_score(scored, len(table)))
            has_score = True
        yield (
            f"{cohort.name}_seed-{seed}_latents",
            {
                "columns": columns(table),
                "tokens": tokens,
                "explanations": said,
                "scores": scored,
            },
        )
        yield f"{cohort.name}_seed-{seed}_partners", {"pairs": _pairs(cohort, seed, seeds)}
        for number, tokens in enumerate(_boosted(cohort, seed)):
            has_boosted = True
            yield f"{cohort.name}_seed-{seed}_boosted-{number}", {"latents": tokens}
        if seed in cohort.metas:
            yield (
                f"{cohort.name}_seed-{seed}_meta",
                {"metas": [parts(cohort.saes[seed], meta) for meta in cohort.metas[seed]]},
            )
    if groups:
        yield f"{cohort.name}_groups", {"columns": columns(groups.members())}
    facts = {"score": has_score, "boosted": has_boosted}
    yield cohort.name, _summary(cohort, seeds, len(latents) // len(seeds)) | facts


def _of(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}.parquet"


def _boosted(cohort: Cohort, seed: int) -> Iterator[dict[int, list]]:
    unembedding = head(cohort.model) if cohort.model and seed in cohort.saes else None
    if unembedding is not None:
        yield from boosted(cohort.saes[seed], unembedding)


def _score(scored: list[dict], n_latents: int) -> np.ndarray:
    """`(n_latents,)` balanced accuracy by the first explainer, scorer and kind of negatives; NaN without one."""
    found = np.full(n_latents, np.nan)
    for latent, (mean, *_) in scored[0]["rows"].items():
        found[latent] = mean
    return found


def _pairs(cohort: Cohort, seed: int, seeds: list[int]) -> list[dict]:
    """The partners of an SAE's latents in each other SAE of the cohort."""
    if cohort.matches is None:
        return []
    found = []
    for other in seeds:
        if other != seed:
            a, b = sorted((seed, other))
            match, _ = read_table(cohort.matches / f"{a}-{b}.parquet")
            together = read_table(cohort.cofiring / f"{a}-{b}.parquet")[0] if cohort.cofiring else None
            table = partners(match, together, of_second=seed == b)
            found.append({"seed": other, "columns": columns(table)})
    return found


def _summary(cohort: Cohort, seeds: list[int], n_latents: int) -> dict:
    return {
        "name": cohort.name,
        "about": list(cohort.about.items()),
        "n_latents": n_latents,
        "latents_per_chunk": LATENTS_PER_CHUNK,
        "seeds": [{"seed": seed, **_quality(cohort, seed)} for seed in seeds],
        # A single SAE shares nothing.
        "shared": _shared(cohort) if len(seeds) > 1 else None,
        "contexts": cohort.contexts is not None,
        "groups": cohort.consensus is not None,
        # Which SAEs have meta-latents, and which meta-SAEs these are of.
        "metas": [
            {"seed": seed, "meta": [meta.parent.name, int(meta.name.removeprefix("seed-"))]}
            for seed, metas in cohort.metas.items()
            for meta in metas
        ],
    }


def _quality(cohort: Cohort, seed: int) -> dict[str, float | None]:
    if cohort.evaluation is None:
        return {}
    found = read_json(cohort.evaluation / f"seed-{seed}.json")
    return {name: plain(found.get(name)) for name in _QUALITY}


def _shared(cohort: Cohort) -> dict[str, float | None]:
    """Mean over pairs of the fraction of shared latents: of all and of live ones, and of the random floor."""
    intervals, _ = read_table(cohort.overlap / "intervals.parquet")
    shared = intervals[intervals["statistic"] == "shared"].set_index(["source", "latents"])["mean"]
    wanted: dict[str, tuple] = {"all": ("trained", "all"), "live": ("trained", "live"), "floor": ("floor", "all")}
    return {name: plain(shared[key]) if key in shared.index else None for name, key in wanted.items()}
