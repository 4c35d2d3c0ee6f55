"""Token blocks -> shards of activations; or a given matrix, or decoder rows of SAEs -> shards."""

from typing import TYPE_CHECKING

from sae_stability.pipeline.command import flags, given_inputs, model_flags
from sae_stability.pipeline.cost import Cost, forward, model_bytes, on_device, row_bytes, used_passes
from sae_stability.pipeline.rates import Rates, rates_of
from sae_stability.pipeline.resources import gpus, megabytes, shard_bytes, time_limit
from sae_stability.study.build import Study
from sae_stability.study.parts import Pass

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

_TOKEN_BYTES = 13  # a token of a block on the disk
_UNKNOWN_HOURS = 2.0  # of a chunk of a model whose size is not known

HELDOUT = "heldout"


def verb(pass_: Pass) -> str:
    """What makes the rows of a pass: a model, or a matrix or SAEs that are there."""
    if pass_.decoder_of:
        return "decoder-rows"
    return "import-matrix" if pass_.matrix else "extract"


def source(pipeline: "Pipeline", pass_: Pass, chunk: int | str) -> list[str]:
    """What a chunk of a pass is made from."""
    if pass_.decoder_of:
        files = [
            pipeline.results.settings,
            pipeline.results.weights,
            *([pipeline.results.latents] if pass_.alive else []),
        ]
        return [file(*sae) for sae in pass_.decoder_of for file in files]
    if pass_.matrix:
        return given_inputs([pass_.matrix])
    results, tokens = pipeline.results, pass_.tokens
    own = [results.heldout_tokens(tokens)] if chunk == HELDOUT else [results.token_chunks(tokens)[int(chunk)]]
    # The limit on norms is estimated on the first chunk, whichever chunk a job extracts.
    first = results.token_chunks(tokens)[:1] if pass_.max_norm_multiple is not None else []
    return [results.token_manifest(tokens), *dict.fromkeys(own + first)]


def waits_for(pipeline: "Pipeline", pass_: Pass, chunk: int | str) -> list[str]:
    """The training states to wait for before a chunk is made, where shards are deleted after use.

    Extraction stays at most one chunk ahead of training; otherwise the disk would hold all chunks at once.
    """
    if chunk == HELDOUT or pass_.keep_shards:
        return []
    before = int(chunk) - 2
    saes = _in_training(pipeline, pass_, before)
    return [pipeline.results.state(pipeline.block_of[sae], *sae, before) for sae in saes]


def manifests(pipeline: "Pipeline", pass_: Pass, chunk: int | str) -> list[str]:
    """The manifest of a chunk at each hookpoint."""
    return [pipeline.results.manifest(pass_, hook, chunk) for hook in pass_.hook_slugs]


def shards(pipeline: "Pipeline", pass_: Pass, chunk: int | str) -> list[str]:
    """The shards of a chunk at all hookpoints."""
    return [file for hook in pass_.hook_slugs for file in pipeline.results.shards(pass_, hook, chunk)]


def outputs(pipeline: "Pipeline", pass_: Pass) -> list[str]:
    """All files of the chunks that some cohort needs, and of the held-out rows."""
    chunks = [HELDOUT, *range(pipeline.study.chunks_needed(pass_.slug))]
    return [file for chunk in chunks for file in (*manifests(pipeline, pass_, chunk), *shards(pipeline, pass_, chunk))]


def results(pipeline: "Pipeline") -> dict:
    """The manifest of every chunk at each hookpoint, and what it is made from. Shards may be gone after use."""
    return {
        (pass_.slug, str(chunk), hook): ([pipeline.results.manifest(pass_, hook, chunk)], made_from)
        for pass_ in used_passes(pipeline.study)
        for made_from in [pipeline.fingerprints.activations(pass_)]
        for chunk in (HELDOUT, *range(pipeline.study.chunks_needed(pass_.slug)))
        for hook in pass_.hook_slugs
    }


def reads(pipeline: "Pipeline", slug: str, chunk: str, _hook: str) -> list[str]:
    """The files that the result of this name is made from."""
    return source(pipeline, pipeline.study.passes[slug], chunk)


def names(pass_: Pass, chunk: int | str) -> list[tuple[str, str, str]]:
    """The names of the results of a job."""
    return [(pass_.slug, str(chunk if chunk == HELDOUT else int(chunk)), hook) for hook in pass_.hook_slugs]


def command(pipeline: "Pipeline", pass_: Pass, chunk: int | str) -> str:
    """The chunk, how its rows are made and stored, and a folder for each hookpoint."""
    make = {"decoder-rows": _decoder_command, "import-matrix": _matrix_command, "extract": _model_command}[verb(pass_)]
    folders = [
        flags(hookpoint=hookpoint if pass_.tokens else None, out=pipeline.results.activations(pass_, hook, chunk))
        for hook, hookpoint in pass_.hook_slugs.items()
    ]
    shared = flags(
        chunk=f"{chunk:04d}" if isinstance(chunk, int) else chunk,
        shard_rows=pass_.shard_rows,
        dtype=pass_.dtype,
        shuffle_seed=pass_.shuffle_seed,
        config_hash=pipeline.fingerprints.activations(pass_),
    )
    return " ".join([make(pipeline, pass_), shared, *folders])


def memory(pass_: Pass) -> int:
    """What a job takes, in MB."""
    # A shard is sorted while the next rows come in; the model's weights, at most 4 bytes each, and its activations.
    return megabytes(3 * shard_bytes(pass_), 4 * (pass_.model.parameters or 0) if pass_.model else 0, 2 * 10**9)


def job_gpus(study: Study, pass_: Pass) -> int:
    """GPUs of a job: rows that are there need none."""
    return gpus(study) if pass_.tokens else 0


def minutes(study: Study, pass_: Pass, chunk: int | str) -> int:
    """How long a job may take, at the rates that the study states or assumed ones."""
    rows = pass_.heldout_rows if chunk == HELDOUT else pass_.chunk_rows
    return time_limit(_UNKNOWN_HOURS if pass_.model and not forward(pass_) else _hours(pass_, rows, 1, rates_of(study)))


def cost(study: Study, rates: Rates) -> Cost:
    """Each row takes one forward pass. Shards that are not kept lie on the disk a few chunks at a time."""
    jobs = tokens = written = peak = 0
    operations = longest = 0.0
    for pass_ in used_passes(study):
        chunks = study.chunks_needed(pass_.slug)
        rows = pass_.heldout_rows + chunks * pass_.chunk_rows
        at_once = chunks if pass_.keep_shards else min(chunks, rates.chunks_in_flight)
        row = len(pass_.hookpoints) * row_bytes(pass_)
        jobs += chunks + 1
        tokens += rows
        written += rows * row
        peak += (pass_.heldout_rows + at_once * pass_.chunk_rows) * row
        operations += forward(pass_) * rows
        longest = max(longest, _chain(pass_, chunks, rates))
    models = {pass_.model.location: pass_.model for pass_ in used_passes(study) if pass_.model}
    work = on_device(rates, jobs, model=operations, moved=written)
    return Cost(
        "activations",
        jobs,
        tokens,
        **work,
        chain_hours=longest,
        read=tokens * _TOKEN_BYTES,
        written=written,
        peak=peak,
        downloaded=sum(map(model_bytes, models.values())),
    )


def _chain(pass_: Pass, chunks: int, rates: Rates) -> float:
    """Hours of a pass's longest chain of jobs: of all its chunks where each waits for training on an earlier one."""
    alone = 1 if pass_.keep_shards else chunks
    return _hours(pass_, alone * pass_.chunk_rows, alone, rates)


def _hours(pass_: Pass, rows: int, jobs: int, rates: Rates) -> float:
    moved = rows * len(pass_.hookpoints) * row_bytes(pass_)
    work = on_device(rates, jobs, model=forward(pass_) * rows, moved=moved)
    return work.get("gpu_hours", 0) + work.get("cpu_hours", 0)


def _in_training(pipeline: "Pipeline", pass_: Pass, chunk: int) -> list[tuple[str, int]]:
    """Cohort and seed of the unfinished SAEs of a pass that train on this chunk and on one after it."""
    cohorts = [cohort for cohort in pipeline.study.cohorts_of(pass_.slug) if 0 <= chunk < cohort.chunks - 1]
    saes = [(cohort.slug, seed) for cohort in cohorts for seed in cohort.seeds]
    return [sae for sae in saes if sae in pipeline.block_of]


def _model_command(pipeline: "Pipeline", pass_: Pass) -> str:
    settings = flags(
        tokens=pipeline.results.tokens(pass_.tokens),
        chunk_tokens=pass_.chunk_rows,
        keep_special=pass_.keep_special,
        max_norm_multiple=pass_.max_norm_multiple,
        device=pipeline.study.device,
    )
    return f"{model_flags(pass_.model)} {settings}"


def _decoder_command(pipeline: "Pipeline", pass_: Pass) -> str:
    words = []
    for name, seed in pass_.decoder_of:
        cohort = pipeline.study.cohorts[name]
        words.append(flags(sae=pipeline.results.sae(name, seed), sae_hash=pipeline.fingerprints.sae(cohort, seed)))
        if pass_.alive:
            made_from = pipeline.fingerprints.evaluation(cohort, seed)
            words.append(flags(latents=pipeline.results.latents(name, seed), latents_hash=made_from))
    return " ".join(words)


def _matrix_command(_pipeline: "Pipeline", pass_: Pass) -> str:
    return flags(
        matrix=pass_.matrix,
        tensor=pass_.tensor,
        heldout_rows=pass_.heldout_rows,
        train_rows=pass_.train_rows,
        chunk_rows=pass_.chunk_rows,
    )
