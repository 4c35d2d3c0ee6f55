"""Everything -> the study's key numbers in words -> Snakemake's self-contained report.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/summary.rst (the report's first page), <results>/report.html
"""


def summary_settings(wildcards) -> str:
    first = next(iter(study.cohorts))
    words = [flags(study=study.name, base=first)]
    words += [flags(overlap=f"{cohort}={in_results('overlap', cohort)}") for cohort in study.cohorts]
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            words.append(flags(evaluation=f"{cohort.slug}={in_results('evaluation', cohort.slug, f'seed-{seed}.json')}"))
    return " ".join(words)


def report_settings(wildcards) -> str:
    """What the inner Snakemake needs to see the same study: its files and its changes on the command line."""
    files = [shlex.quote(str(path)) for path in workflow.configfiles]
    return f"--configfile {' '.join(files)}" if files else ""


rule summary:
    input:
        [file for cohort in study.cohorts for file in overlap_files(cohort)],
        expand("<results>/evaluation/{sae}.json", sae=SAES),
    output:
        "<results>/summary.rst",
    log:
        "<logs>/summary.log",
    params:
        code=code_hash("summary"),
        settings=summary_settings,
    conda:
        ENVIRONMENT
    shell:
        "python -m sae_stability summary {params.settings} --out {output:q} &> {log:q}"


rule report:
    input:
        expand("<results>/figures/{figure}.{ending}", figure=study.figures, ending=["svg", "rst"]),
        "<results>/summary.rst",
    output:
        "<results>/report.html",
    log:
        "<logs>/report.log",
    params:
        settings=report_settings,
    conda:
        ENVIRONMENT
    shell:
        # The report is a stage like any other: made when a figure or a number changed. `figures` is the target whose
        # outputs it shows; the outer Snakemake holds the lock.
        "python -m snakemake figures --report {output:q} --nolock {params.settings} &> {log:q}"
