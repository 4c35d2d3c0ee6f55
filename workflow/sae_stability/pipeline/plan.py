"""What a study will cost, before anything runs: jobs, tokens, disk and hours of each stage.

Counts of jobs and tokens are exact. Bytes are those of the numbers stored, before Parquet's compression. Hours come
from counted operations and the rates under `plan` in the config; `format_plan` prints both.
"""

import dataclasses
import math
from pathlib import Path

from sae_stability.models.headers import has_lm_head, model_parameters
from sae_stability.pipeline.batches import batches
from sae_stability.study.build import Study, load_study
from sae_stability.study.parts import Cohort, ExternalCohort, Pass, TokenSet

# Rates assumed where the study states none, by its `device`.
_RATES = {
    "cpu": {"device": "2 CPU cores", "model_tflops": 0.4, "sae_tflops": 0.02, "tokenizer_rate": 200_000},
    "cuda": {"device": "one H100-class GPU", "model_tflops": 200, "sae_tflops": 100, "tokenizer_rate": 500_000},
}
_TOKEN_BYTES = 13  # a block holds three int32 and a flag for each token
_INDEX_BYTES = 8  # a shard holds an int64 beside each activation vector
_ROW_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_MATCH_BYTES = 132  # 16 columns of 8 bytes and 4 flags for each latent
_LATENT_BYTES = 49  # of the evaluation's table
# Weights and Adam's two averages, in float32.
_STATE_COPIES = 3
# The model as it is, with the SAE, with zeros and with the mean in its place: where it has a language-model head.
_EVALUATION_PASSES = 4


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a study. `written` and `peak` are bytes: over the whole run, and most at one time on disk."""

    name: str
    jobs: int
    tokens: int = 0
    written: int = 0
    peak: int = 0
    device_hours: float = 0.0
    cpu_hours: float = 0.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """The stages in the order in which they run, the rates assumed, and what the estimate leaves out."""

    study: str
    stages: tuple[Stage, ...]
    rates: dict
    notes: tuple[str, ...]


def plan(study: Study) -> Plan:
    """Count a study's jobs, tokens and bytes, and estimate its hours.

    A model's forward pass is taken as 2 operations a parameter and token, all layers included (extraction stops after
    the last hookpoint, so this is an upper bound). A training step is 2 n d operations a token for the encoder (n
    latents, width d) and 8 k d for the decoder and the gradients of the k latents that fire. A pair takes two exact
    assignments, each `match_seconds` at 8,192 latents and growing with the square.
    """
    stated = {key: value for key, value in study.plan.items() if value is not None}
    study = dataclasses.replace(study, plan={**_RATES[study.device], **stated})
    parameters = {slug: model.parameters or model_parameters(model) for slug, model in study.models.items()}
    unknown = [slug for slug in {p.model.slug: None for p in _used(study) if p.model} if parameters[slug] is None]
    stages = (
        _tokens(study),
        _activations(study, parameters),
        _train(study),
        *([_external(study)] if study.external else []),
        _evaluate(study, parameters),
        _match(study),
        _floors(study),
        Stage("overlap", jobs=len(study.cohorts)),
        Stage("figures", jobs=2 * len(study.figures)),  # a table and a drawing
        Stage("report", jobs=2),  # the key numbers in words, and the page
    )
    notes = tuple(
        f"models.{slug}.parameters is not given: the hours leave its forward pass out; write the model's number of "
        "parameters"
        for slug in unknown
    )
    return Plan(study.name, stages, study.plan, notes)


def format_plan(plan: Plan) -> str:
    """The plan as a table in text, with the assumptions under it."""
    device = "device hours"
    head = ["stage", "jobs", "tokens", "written", "peak on disk", device, "CPU hours"]
    total = Stage(
        "all",
        **{key: sum(getattr(stage, key) for stage in plan.stages) for key in ("jobs", "written", "peak")},
        device_hours=sum(stage.device_hours for stage in plan.stages),
        cpu_hours=sum(stage.cpu_hours for stage in plan.stages),
    )
    rows = [head, *map(_cells, (*plan.stages, total))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rates = plan.rates
    lines += [
        "",
        f"Assumed (`plan` in the study): device = {rates['device']}; model {rates['model_tflops']:g} and SAE training "
        f"{rates['sae_tflops']:g} x 10^12 operations/s; tokenising {rates['tokenizer_rate']:,.0f} tokens/s; one "
        f"assignment of 8,192 latents {rates['match_seconds']:g} s; {rates['chunks_in_flight']} chunks of a pass on "
        "disk at a time where keep_shards is false. Bytes are before compression.",
        *plan.notes,
    ]
    return "\n".join([f"Plan of study {plan.study}", "", *lines])


def _used(study: Study) -> list[Pass]:
    """The passes that some cohort is trained or evaluated on."""
    read = {cohort.pass_ for cohort in study.cohorts.values()}
    return [pass_ for pass_ in study.passes.values() if pass_ in read]


def _tokens(study: Study) -> Stage:
    sets: dict[str, TokenSet] = {p.tokens.slug: p.tokens for p in _used(study) if p.tokens}
    tokens = sum(item.heldout_tokens + item.train_tokens for item in sets.values())
    hours = tokens / study.plan["tokenizer_rate"] / 3600
    stored = tokens * _TOKEN_BYTES
    return Stage("tokens", len(sets), tokens, stored, stored, cpu_hours=hours)


def _activations(study: Study, parameters: dict[str, int | None]) -> Stage:
    jobs = tokens = written = peak = 0
    operations = 0.0
    for pass_ in _used(study):
        chunks = study.chunks_needed(pass_.slug)
        rows = pass_.heldout_rows + chunks * pass_.chunk_rows
        at_once = chunks if pass_.keep_shards else min(chunks, study.plan["chunks_in_flight"])
        row = len(pass_.hookpoints) * (pass_.d_model * _ROW_BYTES[pass_.dtype] + _INDEX_BYTES)
        jobs += chunks + 1
        tokens += rows
        written += rows * row
        peak += (pass_.heldout_rows + at_once * pass_.chunk_rows) * row
        operations += _forward(pass_, parameters) * rows
    return Stage("activations", jobs, tokens, written, peak, _hours(operations, study.plan["model_tflops"]))


def _train(study: Study) -> Stage:
    jobs = tokens = written = peak = 0
    operations = 0.0
    for cohort in study.trained.values():
        seeds, sae = len(cohort.seeds), _sae_bytes(cohort)
        seen = seeds * cohort.steps * cohort.batch_size
        jobs += len(cohort.blocks) * cohort.chunks
        tokens += seen
        # A state is written after every chunk but the last, and deleted once the next chunk is done.
        written += seeds * (sae + (cohort.chunks - 1) * _STATE_COPIES * sae)
        peak += seeds * (sae + min(cohort.chunks - 1, 2) * _STATE_COPIES * sae)
        operations += seen * (2 * cohort.n_latents + 8 * cohort.k) * cohort.d_model
    return Stage("train", jobs, tokens, written, peak, _hours(operations, study.plan["sae_tflops"]))


def _external(study: Study) -> Stage:
    """Reading SAEs made elsewhere, and writing them in one format."""
    jobs = sum(len(cohort.seeds) for cohort in study.external.values())
    written = sum(len(cohort.seeds) * _sae_bytes(cohort) for cohort in study.external.values())
    return Stage("import", jobs, 0, written, written)


def _evaluate(study: Study, parameters: dict[str, int | None]) -> Stage:
    jobs = tokens = written = 0
    forward = encode = 0.0
    for cohort in study.cohorts.values():
        seeds = len(cohort.seeds)
        jobs += len(cohort.blocks)
        written += seeds * cohort.n_latents * _LATENT_BYTES
        if cohort.pass_ is None:
            continue
        rows = seeds * cohort.pass_.heldout_rows
        tokens += rows
        # A hub model is not looked into: its cost is counted rather than left out.
        if cohort.pass_.model and has_lm_head(cohort.pass_.model) is not False:
            forward += rows * _EVALUATION_PASSES * _forward(cohort.pass_, parameters)
        encode += rows * 2 * cohort.n_latents * cohort.d_model
    hours = _hours(forward, study.plan["model_tflops"]) + _hours(encode, study.plan["sae_tflops"])
    return Stage("evaluate", jobs, tokens, written, written, hours)


def _match(study: Study) -> Stage:
    return _assignments("match", [(c.n_latents, c.d_model, len(c.pairs)) for c in study.cohorts.values()], study)


def _floors(study: Study) -> Stage:
    return _assignments("floor", [(*shape, study.floor_repeats) for shape in study.shapes], study)


def _assignments(name: str, groups: list[tuple[int, int, int]], study: Study) -> Stage:
    """Groups of pairs of one shape: (n_latents, d_model, pairs)."""
    jobs = sum(len(batches(range(pairs), n, d)) for n, d, pairs in groups)
    written = sum(pairs * n * _MATCH_BYTES for n, _, pairs in groups)
    seconds = sum(pairs * 2 * study.plan["match_seconds"] * (n / 8192) ** 2 for n, _, pairs in groups)
    return Stage(name, jobs, 0, written, written, cpu_hours=seconds / 3600)


def _forward(pass_: Pass, parameters: dict[str, int | None]) -> float:
    """Operations a token of the model's forward pass; 0 for a matrix, and for a model of unknown size."""
    return 2.0 * (parameters[pass_.model.slug] or 0) if pass_.model else 0.0


def _sae_bytes(cohort: Cohort | ExternalCohort) -> int:
    return 4 * (2 * cohort.n_latents * cohort.d_model + cohort.n_latents + cohort.d_model)


def _hours(operations: float, tflops: float) -> float:
    return operations / (tflops * 1e12) / 3600


def _cells(stage: Stage) -> list[str]:
    sizes = [_bytes(stage.written), _bytes(stage.peak)]
    hours = [_round(stage.device_hours), _round(stage.cpu_hours)]
    return [stage.name, f"{stage.jobs:,}", _count(stage.tokens), *sizes, *hours]


def _scaled(value: float, units: list[str]) -> str:
    power = min(int(math.log(value, 1000)), len(units) - 1) if value >= 1 else 0
    return f"{value / 1000**power:.3g}{units[power]}"


def _count(tokens: int) -> str:
    return _scaled(tokens, ["", "k", "M", "B", "T"]) if tokens else "-"


def _bytes(count: int) -> str:
    return _scaled(count, [" B", " kB", " MB", " GB", " TB", " PB"]) if count else "-"


def _round(hours: float) -> str:
    if not hours:
        return "-"
    return "< 0.01" if hours < 0.01 else f"{hours:,.2f}" if hours < 10 else f"{hours:,.0f}"


def describe(study: Path = Path("config.yaml")) -> str:
    """What a study will cost, before anything runs.

    Args:
        study: the study's file.

    Returns:
        A table to print: jobs, tokens, disk and hours of each stage.

    Raises:
        StudyError: the study has a mistake.
    """
    return format_plan(plan(load_study(study)))
