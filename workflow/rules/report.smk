"""Everything -> the study's key numbers in words -> Snakemake's self-contained report.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/summary.rst (the report's first page), <results>/report.html
"""


rule summary:
    input:
        [file for cohort in study.cohorts for file in overlap_files(cohort)],
        expand("<results>/evaluation/{sae}.json", sae=SAES),
    output:
        "<results>/summary.rst",
    log:
        "<logs>/summary.log",
    conda:
        ENVIRONMENT
    params:
        code=code_hash("summary"),
        settings=summary_settings,
    shell:
        "python -m sae_stability summary {params.settings} --out {output:q} &> {log:q}"


rule report:
    input:
        expand(
            "<results>/figures/{figure}.{ending}",
            figure=study.figures,
            ending=["svg", "rst"],
        ),
        "<results>/summary.rst",
    output:
        "<results>/report.html",
    log:
        "<logs>/report.log",
    conda:
        ENVIRONMENT
    params:
        settings=report_settings,
    shell:
        # The report is a stage like any other: made when a figure or a number changed. `figures` is the target whose
        # outputs it shows; the outer Snakemake holds the lock.
        "python -m snakemake figures --report {output:q} --nolock {params.settings} &> {log:q}"
