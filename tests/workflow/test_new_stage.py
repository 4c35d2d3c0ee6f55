"""The recipe for a new stage, followed: three new files and a line or two in four others."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.workflow.conftest import Project

WORK = '''
"""How many latents of each SAE are alive."""

from pathlib import Path

from sae_stability.files import read_table, write_json


def count(latents: Path, out: Path) -> None:
    """Count the living latents in a table of latents, and write the number."""
    table, _ = read_table(latents)
    write_json(out, {"alive": int(table["alive"].sum())})
'''

PIPELINE = '''
"""Tables of latents -> how many are alive."""

from sae_stability.pipeline.code_hash import code_hash
from sae_stability.pipeline.cost import Cost


def output(pipeline, cohort: str, seed: int | str) -> str:
    """The number of living latents of an SAE."""
    return pipeline.results.path("census", cohort, f"seed-{seed}.json")


def outputs(pipeline) -> list[str]:
    """The numbers of all SAEs."""
    return [output(pipeline, cohort.slug, seed) for cohort, seed in pipeline.saes]


def code() -> str:
    """The hash of the code that counts."""
    return code_hash("census")


def cost(study, _rates: dict) -> Cost:
    """One job an SAE."""
    return Cost("census", jobs=sum(len(cohort.seeds) for cohort in study.cohorts.values()))
'''

RULE = '''
"""Tables of latents -> how many are alive."""


rule census:
    input:
        results.latents("{cohort}", "{seed}"),
    output:
        stages.census.output(pipeline, "{cohort}", "{seed}"),
    log:
        "<logs>/census/{cohort}/seed-{seed}.log",
    conda:
        ENVIRONMENT
    params:
        code=stages.census.code(),
    shell:
        "python -m sae_stability census --latents {input:q} --out {output:q} &> {log:q}"


rule all_census:
    input:
        stages.census.outputs(pipeline),
'''

CLI = '''

def census(args: argparse.Namespace) -> None:
    """Tables of latents to the number of living ones."""
    from sae_stability.census.count import count

    count(args.latents, args.out)
'''

VERB = """

def _census(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--latents", type=Path, required=True, help="table of latents")
    _out(sub, "file for the number")


VERBS["census"] = ("stage: how many latents are alive", _census)
"""


def add_stage(project: Project) -> None:
    """Add the stage `census`, as docs/contributing.md says."""
    workflow = project.folder / "workflow"
    library = workflow / "sae_stability"
    (library / "census").mkdir()
    (library / "census" / "__init__.py").touch()
    for path, text in (
        (library / "census" / "count.py", WORK),
        (library / "pipeline" / "census.py", PIPELINE),
        (workflow / "rules" / "census.smk", RULE),
    ):
        path.write_text(text.lstrip())
    replace(library / "pipeline" / "__init__.py", "    activations,\n", "    activations,\n    census,\n")
    replace(library / "pipeline" / "__init__.py", "figures, report)", "figures, report, census)")
    report = 'include: "workflow/rules/report.smk"\n'
    replace(project.folder / "Snakefile", report, f'{report}include: "workflow/rules/census.smk"\n')
    append(library / "cli.py", CLI)
    append(library / "verbs_old.py", VERB)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_a_stage_is_added_by_the_recipe(neox: Project):
    add_stage(neox)
    assert neox.dry().nothing, "no other stage runs again"
    assert neox.snakemake("all_census").jobs == {"census": 4, "all_census": 1}
    found = pd.read_json(neox.folder / "results/census/base/seed-0.json", typ="series")
    table = pd.read_parquet(neox.folder / "results/evaluation/base/seed-0.parquet")
    assert found["alive"] == table["alive"].sum()
    assert neox.dry("all_census").nothing
    replace(neox.folder / "workflow/sae_stability/census/count.py", "int(", "1 + int(")
    assert neox.dry("all_census").jobs == {"census": 4, "all_census": 1}

    command = [sys.executable, "-m", "sae_stability", "plan", "study.yaml"]
    environment = {"PYTHONPATH": str(neox.folder / "workflow")}
    plan = subprocess.run(command, cwd=neox.folder, env=environment, capture_output=True, text=True, check=True).stdout
    assert [line.split()[:2] for line in plan.splitlines() if line.startswith("census")] == [["census", "4"]]
