"""Everything -> the study's key numbers in words -> Snakemake's self-contained report.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/summary.rst (the report's first page), <results>/report.html
"""


rule summary:
    input:
        **stages.report.summary_inputs(pipeline),
    output:
        results.summary,
    log:
        "<logs>/summary.log",
    conda:
        ENVIRONMENT
    params:
        code=stages.report.summary_code(),
        settings=lambda wildcards: stages.report.summary_command(pipeline),
    shell:
        "python -m sae_stability summary {params.settings} --out {output:q} &> {log:q}"


rule report:
    input:
        stages.report.inputs(pipeline),
    output:
        results.report,
    log:
        "<logs>/report.log",
    conda:
        ENVIRONMENT
    params:
        settings=lambda wildcards: stages.report.snakemake_command(
            workflow.main_snakefile,
            workflow.config_settings.configfiles,
            workflow.config_settings.config_args,
        ),
    shell:
        # The report is a stage like any other: made when a figure or a number changed. It shows the jobs that its
        # inputs come from; the outer Snakemake holds the lock.
        "python -m snakemake {input:q} --report {output:q} --nolock {params.settings} &> {log:q}"
