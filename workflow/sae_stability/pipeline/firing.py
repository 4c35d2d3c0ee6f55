"""SAEs -> what their latents fire on, contexts of them, and how far matched latents fire together; one job a cohort."""

from typing import TYPE_CHECKING

from sae_stability.pipeline import fresh_tokens
from sae_stability.pipeline.activations import HELDOUT
from sae_stability.pipeline.command import flags
from sae_stability.pipeline.cost import Cost, encode, forward, on_device, row_bytes, sae_bytes
from sae_stability.pipeline.rates import Rates
from sae_stability.pipeline.resources import megabytes, sae_threads, shard_bytes
from sae_stability.study.build import Study
from sae_stability.study.firing import uses_model
from sae_stability.study.parts import Cohort, ExternalCohort, Pass

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_FIRING_BYTES = 20  # a firing on the disk, while firings are being sorted
_ROW_BYTES = 50  # a row's token index, token, piece of text, document and window, and one dense latent, in memory
_LATENT_BYTES = 96  # a row of the table of firing
_PAIR_BYTES = 3 * 56  # three rows of the table of co-firing
_TOKEN_BYTES = 17  # a token of a context: its id, its activation and its piece of text
_STORED_TOKEN_BYTES = 13  # a token of a block on the disk
_FIRINGS_A_SECOND = 3e6  # sorted and counted on one core
_WRITTEN_A_SECOND = 10e6  # bytes of tables
_START_SECONDS = 14.0  # of a job, to load compiled kernels and the tokenizer
_SPLITS, _DECILES = 2, 10
_UNKNOWN_K = 64  # latents that fire on a row where an SAE made elsewhere does not say

Name = tuple[str, int] | tuple[str, int, int]
"""Name of the cohort and a seed, or the two seeds of a pair."""


def jobs(pipeline: "Pipeline") -> dict[str, list[Name]]:
    """The cohorts with anything to measure, and what."""
    found: dict[str, list[Name]] = {}
    for name in pipeline.unfinished["firing"]:
        found.setdefault(name[0], []).append(name)
    return found


def inputs(pipeline: "Pipeline", names: list[Name]) -> list[str]:
    """The SAEs that are measured or compared, their held-out rows, and the matches."""
    places, cohort = pipeline.results, pipeline.study.cohorts[names[0][0]]
    pass_ = cohort.pass_
    files = [places.manifest(pass_, cohort.hook_slug, HELDOUT)]
    if uses_model(pipeline.study.firing, pass_):
        files += fresh_tokens.outputs(pipeline, pass_.tokens)
    else:
        files += places.shards(pass_, cohort.hook_slug, HELDOUT)
        files += [places.token_manifest(pass_.tokens), places.heldout_tokens(pass_.tokens)] if pass_.tokens else []
    files += [make(cohort.slug, seed) for seed in _seeds(names) for make in (places.settings, places.weights)]
    return files + [places.match(*pair) for pair in _pairs(names)]


def outputs(pipeline: "Pipeline", names: list[Name]) -> list[str]:
    """The tables of these SAEs and pairs."""
    cohort = pipeline.study.cohorts[names[0][0]]
    return [file for name in names for file in _files(pipeline, cohort, *name[1:])]


def all_outputs(pipeline: "Pipeline") -> list[str]:
    """The tables of every cohort that firing is measured for."""
    return [file for files, _ in results(pipeline).values() for file in files]


def results(pipeline: "Pipeline") -> dict:
    """The tables of every SAE and pair, and what they are made from."""
    fingerprints, found = pipeline.fingerprints, {}
    for cohort in _cohorts(pipeline.study):
        for seed in cohort.seeds:
            name = (cohort.slug, seed)
            found[name] = (_files(pipeline, cohort, seed), fingerprints.firing(cohort, seed))
        for pair in cohort.pairs:
            name = (cohort.slug, *pair)
            found[name] = (_files(pipeline, cohort, *pair), fingerprints.cofiring(cohort, *pair))
    return found


def reads(pipeline: "Pipeline", *name: str | int) -> list[str]:
    """The files that the result of this name is made from."""
    return inputs(pipeline, [name])


def command(pipeline: "Pipeline", names: list[Name]) -> str:
    """The rows, which contexts are chosen, the SAEs with their tables, and the pairs with theirs."""
    places, firing, marks = pipeline.results, pipeline.study.firing, pipeline.fingerprints
    cohort = pipeline.study.cohorts[names[0][0]]
    words = [_rows_command(pipeline, cohort), flags(work=places.firing_work(cohort.slug), device=pipeline.study.device)]
    if cohort.pass_.tokens:
        settings = {("contexts_seed" if key == "seed" else key): value for key, value in firing.contexts.items()}
        words.append(flags(**settings))
    for seed in _seeds(names):
        folder = places.sae(cohort.slug, seed)
        words.append(flags(sae=f"{seed}={folder}", sae_hash=f"{seed}={marks.sae(cohort, seed)}"))
    for _, *seeds in names:
        if len(seeds) == 1:
            files = dict(zip(("out", "contexts_out", "pool_out"), _files(pipeline, cohort, *seeds), strict=False))
            made_from = marks.firing(cohort, *seeds)
        else:
            files = {"match": places.match(cohort.slug, *seeds), "cofiring_out": places.cofiring(cohort.slug, *seeds)}
            made_from = marks.cofiring(cohort, *seeds)
        name = "-".join(map(str, seeds))
        words.append(
            flags(**{flag: f"{name}={file}" for flag, file in files.items()}, config_hash=f"{name}={made_from}")
        )
    return " ".join(words)


def memory(pipeline: "Pipeline", names: list[Name]) -> int:
    """What a job takes, in MB."""
    study, cohort = pipeline.study, pipeline.study.cohorts[names[0][0]]
    saes = 4 * 2 * cohort.n_latents * cohort.d_model * len(_seeds(names))
    rows = _ROW_BYTES * _rows(study, cohort.pass_)
    model = 4 * (cohort.pass_.model.parameters or 0) if uses_model(study.firing, cohort.pass_) else 0
    return megabytes(saes, rows, model, 2 * contexts_bytes(study, cohort), 3 * shard_bytes(cohort.pass_), 10**9)


def threads(pipeline: "Pipeline", names: list[Name]) -> int:
    """Cores of a job."""
    return sae_threads(pipeline.study.cohorts[names[0][0]], len(_seeds(names)))


def cost(study: Study, rates: Rates) -> Cost | None:
    """The rows go through each SAE and, where further text is read, through the model. None where nothing is asked for.

    Firings lie on the disk while a job sorts them, and the jobs of all cohorts may run at once.
    """
    if not study.firing.cohorts:
        return None
    jobs = tokens = written = peak = read = 0
    operations = forwards = fired = 0.0
    for cohort in _cohorts(study):
        seeds, rows = len(cohort.seeds), _rows(study, cohort.pass_)
        jobs += 1
        tokens += rows * seeds
        tables = seeds * (cohort.n_latents * _LATENT_BYTES + contexts_bytes(study, cohort))
        written += tables + len(cohort.pairs) * cohort.n_latents * _PAIR_BYTES
        fire = cohort.k if isinstance(cohort, Cohort) else min(_UNKNOWN_K, cohort.n_latents)
        fired += seeds * rows * fire
        read += seeds * sae_bytes(cohort)
        operations += encode(cohort, seeds * rows)
        if uses_model(study.firing, cohort.pass_):
            forwards += rows * forward(cohort.pass_)
        else:
            read += rows * row_bytes(cohort.pass_)
    peak = int(fired * _FIRING_BYTES)
    sets = fresh_tokens.token_sets(study)
    stored = len(sets) * (study.firing.tokens or 0) * _STORED_TOKEN_BYTES
    seconds = fired / _FIRINGS_A_SECOND + written / _WRITTEN_A_SECOND + jobs * _START_SECONDS
    spent = on_device(rates, jobs, model=forwards, sae=operations, moved=read + 2 * peak + written, seconds=seconds)
    return Cost(
        "firing",
        jobs + len(sets),
        tokens,
        **spent,
        read=read + peak + stored,
        written=written + stored + peak,
        peak=peak + written + stored,
    )


def _cohorts(study: Study) -> list[Cohort | ExternalCohort]:
    return [study.cohorts[name] for name in study.firing.cohorts]


def _seeds(names: list[Name]) -> list[int]:
    """Every seed that occurs in the names, ascending."""
    return sorted({seed for _, *seeds in names for seed in seeds})


def _pairs(names: list[Name]) -> list[tuple[str, int, int]]:
    return [name for name in names if len(name) == 3]


def _files(pipeline: "Pipeline", cohort: Cohort | ExternalCohort, *seeds: int) -> list[str]:
    """The tables of an SAE, or that of a pair; the first says what they were made from."""
    places = pipeline.results
    if len(seeds) == 2:
        return [places.cofiring(cohort.slug, *seeds)]
    # A matrix has no text to show.
    return [
        places.firing(cohort.slug, *seeds),
        *([make(cohort.slug, *seeds) for make in (places.contexts, places.pool)] if cohort.pass_.tokens else []),
    ]


def _rows(study: Study, pass_: Pass) -> int:
    return study.firing.tokens or pass_.heldout_rows


def contexts_bytes(study: Study, cohort: Cohort | ExternalCohort) -> int:
    """The contexts of one SAE, in bytes; none for a matrix."""
    if cohort.pass_.tokens is None:
        return 0
    chosen = study.firing.contexts
    count = _SPLITS * (chosen["top"] + _DECILES * chosen["decile"] + chosen["random"])
    return cohort.n_latents * count * min(chosen["window"], cohort.pass_.tokens.context_length) * _TOKEN_BYTES


def _rows_command(pipeline: "Pipeline", cohort: Cohort | ExternalCohort) -> str:
    """Stored rows, or further text and the model that it runs through."""
    places, firing, pass_ = pipeline.results, pipeline.study.firing, cohort.pass_
    chunk = flags(
        chunk=places.activations(pass_, cohort.hook_slug, HELDOUT),
        activations_hash=pipeline.fingerprints.activations(pass_),
    )
    if not uses_model(firing, pass_):
        tokens = places.path("tokens", pass_.tokens.slug) if pass_.tokens else None
        return f"{chunk} {flags(tokens=tokens, rows=firing.tokens)}"
    model = pass_.model
    return " ".join(
        [
            chunk,
            flags(
                tokens=places.fresh_tokens(pass_.tokens),
                model=model.name,
                revision=model.revision,
                sha256=model.sha256,
                model_dtype=model.dtype,
                model_part=model.part,
            ),
        ]
    )
