"""What a study will cost, before anything runs: jobs, work, hours, disk, network and money of each stage.

Jobs and tokens are counted exactly. Bytes are those of the numbers stored, before Parquet's compression. Hours come
from counted operations and the rates of a machine (`rates.py`); `format_plan` says which rates were measured.
"""

import dataclasses
import math
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.pipeline import STAGES
from sae_stability.pipeline.cost import Cost, parameters, used_passes
from sae_stability.pipeline.rates import Rates, rates_of
from sae_stability.ranges import Count
from sae_stability.study.build import Study, load_study

_SUMMED = ("jobs", "operations", "gpu_hours", "cpu_hours", "read", "written", "peak", "downloaded", "calls", "money")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The costs of the stages in the order in which they run, the rates, and what the estimate leaves out."""

    study: str
    stages: tuple[Cost, ...]
    rates: Rates
    notes: tuple[str, ...]

    @property
    def total(self) -> Cost:
        """All stages together."""
        return Cost("all", **{name: sum(getattr(stage, name) for stage in self.stages) for name in _SUMMED})

    def wall_hours(self, stage: Cost, workers: int) -> float:
        """How long a stage takes with so many workers: no less than its longest chain of jobs, one after the other."""
        shared = (stage.gpu_hours + stage.cpu_hours / self.rates.cores) / workers
        one = (stage.gpu_hours + stage.cpu_hours / self.rates.cores) / max(1, stage.jobs)
        return max(shared, stage.chain_hours or one)


def plan(study: Study, rates: Rates | None = None) -> Plan:
    """Count a study's jobs, tokens and bytes, and estimate its hours.

    A model's forward pass is taken as 2 operations a parameter and token, all layers included (extraction stops after
    the last hookpoint, so this is an upper bound). How each stage is counted, its `cost` says.

    Args:
        study: the study.
        rates: how fast the machine is; None: as the study states, or else as is assumed for its device.
    """
    rates = rates or rates_of(study)
    costs = [stage.cost(study, rates) for stage in STAGES]
    models = {pass_.model.slug: pass_.model for pass_ in used_passes(study) if pass_.model}
    notes = tuple(
        f"models.{slug}.parameters is not given: the hours leave its forward pass out; write the model's number of "
        "parameters"
        for slug, model in models.items()
        if parameters(model) is None
    )
    return Plan(study.name, tuple(cost for cost in costs if cost), rates, notes)


def format_plan(plan: Plan, workers: int = 1) -> str:
    """The plan as a table in text, with the wall time for so many workers, and the rates under it."""
    head = ["stage", "jobs", "tokens", "operations", "GPU hours", "CPU hours", "wall", "peak", "read", "written"]
    head += ["from hub", "calls", "money"]
    walls = {stage.name: plan.wall_hours(stage, workers) for stage in plan.stages}
    walls["all"] = sum(walls.values())
    rows = [_cells(stage, walls[stage.name]) for stage in (*plan.stages, plan.total)]
    # Columns that most studies have nothing in.
    shown = [i for i in range(len(head)) if i < 10 or any(row[i] != "-" for row in rows)]
    rows = [[row[i] for i in shown] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([f"Plan of study {plan.study}", "", *lines, "", *_explained(plan, workers), *plan.notes])


def _explained(plan: Plan, workers: int) -> list[str]:
    rates = plan.rates
    said = {
        "device": f"a worker is {rates.device}",
        "model_tflops": f"model {rates.model_tflops:.3g} x 10^12 operations/s",
        "sae_tflops": f"SAEs {rates.sae_tflops:.3g} x 10^12 operations/s",
        "tokenizer_rate": f"tokenising {rates.tokenizer_rate:,.0f} tokens/s a core",
        "match_seconds": f"one assignment of 8,192 latents {rates.match_seconds:.3g} core s",
        "start_seconds": f"a job starts in {rates.start_seconds:.3g} core s",
        "torch_seconds": f"loads PyTorch in {rates.torch_seconds:.3g} s",
        "disk_rate": f"disk {_bytes(int(rates.disk_rate)).strip()}/s",
        "cores": f"cores of a worker {rates.cores}",
        "chunks_in_flight": f"chunks of a pass on disk at once where keep_shards is false {rates.chunks_in_flight}",
    }
    who = "1 worker" if workers == 1 else f"{workers} workers"
    lines = [
        f"wall: hours with {who} (--workers), stage after stage. peak: bytes on disk at one time, with shards that are",
        "deleted after use. Bytes are before compression. Answers of an endpoint count with the most tokens allowed.",
    ]
    for source, what in [
        ("measured", "Measured on a machine (calibrate)"),
        ("stated", "Stated in the study (`plan`)"),
        ("assumed", "Assumed"),
    ]:
        found = [text for name, text in said.items() if rates.sources.get(name, "assumed") == source]
        lines += [f"{what}: {'; '.join(found)}."] if found else []
    return lines


def _cells(stage: Cost, wall: float) -> list[str]:
    return [
        stage.name,
        f"{stage.jobs:,}",
        _count(stage.tokens),
        f"{stage.operations:.1e}" if stage.operations else "-",
        *map(_round, (stage.gpu_hours, stage.cpu_hours, wall)),
        *map(_bytes, (stage.peak, stage.read, stage.written, stage.downloaded)),
        f"{stage.calls:,}" if stage.calls else "-",
        f"{stage.money:,.2f}" if stage.money else "-",
    ]


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


def describe(study: Path = Path("config.yaml"), *, workers: Count = 1, rates: Path | None = None) -> str:
    """What a study will cost, before anything runs.

    Args:
        study: the study's file.
        workers: how many workers share the jobs: GPUs, or processor cores where the study's device is cpu.
        rates: what `calibrate` measured; without it, rates are those that the study states, or assumed ones.

    Returns:
        A table to print: jobs, tokens, operations, hours, disk, network and money of each stage.

    Raises:
        StudyError: the study has a mistake or asks for more than can be counted, or the rates are of another device.
    """
    loaded = load_study(study)
    machine = rates_of(loaded, rates)
    try:
        return format_plan(plan(loaded, machine), workers)
    except OverflowError:
        raise StudyError(f"{study}: asks for more tokens or latents than can be counted; lower its numbers") from None
