"""What a study will cost, before anything runs: jobs, tokens, disk and hours of each stage.

Counts of jobs and tokens are exact. Bytes are those of the numbers stored, before Parquet's compression. Hours come
from counted operations and the rates under `plan` in the config; `format_plan` prints both.
"""

import dataclasses
import math
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.pipeline import STAGES
from sae_stability.pipeline.cost import Cost, parameters, used_passes
from sae_stability.study.build import Study, load_study

# Rates assumed where the study states none, by its `device`.
_RATES = {
    "cpu": {"device": "2 CPU cores", "model_tflops": 0.4, "sae_tflops": 0.02, "tokenizer_rate": 200_000},
    "cuda": {"device": "one H100-class GPU", "model_tflops": 200, "sae_tflops": 100, "tokenizer_rate": 500_000},
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """The costs of the stages in the order in which they run, the rates assumed, and what the estimate leaves out."""

    study: str
    stages: tuple[Cost, ...]
    rates: dict
    notes: tuple[str, ...]


def plan(study: Study) -> Plan:
    """Count a study's jobs, tokens and bytes, and estimate its hours.

    A model's forward pass is taken as 2 operations a parameter and token, all layers included (extraction stops after
    the last hookpoint, so this is an upper bound). How each stage is counted, its `cost` says.
    """
    rates = {**_RATES[study.device], **{name: rate for name, rate in study.plan.items() if rate is not None}}
    costs = [stage.cost(study, rates) for stage in STAGES]
    models = {pass_.model.slug: pass_.model for pass_ in used_passes(study) if pass_.model}
    notes = tuple(
        f"models.{slug}.parameters is not given: the hours leave its forward pass out; write the model's number of "
        "parameters"
        for slug, model in models.items()
        if parameters(model) is None
    )
    return Plan(study.name, tuple(cost for cost in costs if cost), rates, notes)


def format_plan(plan: Plan) -> str:
    """The plan as a table in text, with the assumptions under it."""
    device = "device hours"
    head = ["stage", "jobs", "tokens", "written", "peak on disk", device, "CPU hours"]
    total = Cost(
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


def _cells(stage: Cost) -> list[str]:
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
        StudyError: the study has a mistake, or asks for more than can be counted.
    """
    found = load_study(study)
    try:
        return format_plan(plan(found))
    except OverflowError:
        raise StudyError(f"{study}: asks for more tokens or latents than can be counted; lower its numbers") from None
