"""Everything -> the study's key numbers in words -> Snakemake's self-contained report.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/summary.rst (the report's first page), <results>/report.html, and a record (.json) of each
"""


rule summary:
    input:
        tables=given("summary", "summary", stages.summary.inputs(pipeline)),
        stale=since("summary", "summary"),
    output:
        text=results.summary,
        record=results.summary_record,
    log:
        "<logs>/summary.log",
    conda:
        ENVIRONMENT
    params:
        settings=lambda wildcards: stages.summary.command(pipeline),
    shell:
        "python -m sae_stability summary {params.settings} --out {output.text:q} --record {output.record:q} &> {log:q}"


if pipeline.unfinished["report"]:

    rule report:
        input:
            shown=stages.report.inputs(pipeline),
            records=stages.report.records(pipeline),
            stale=since("report", "report"),
        output:
            page=results.report,
            record=results.report_record,
        log:
            "<logs>/report.log",
        conda:
            ENVIRONMENT
        params:
            records=lambda wildcards: stages.report.check_command(pipeline),
            made_from=pipeline.fingerprints.report(),
            settings=lambda wildcards: stages.report.snakemake_command(
                workflow.main_snakefile,
                workflow.config_settings.configfiles,
                workflow.config_settings.config_args,
            ),
        shell:
            # The report is a stage like any other: made when a figure or a number changed. It shows the jobs that its
            # inputs come from; the outer Snakemake holds the lock.
            "(python -m sae_stability verify {params.records} && "
            "python -m snakemake {input.shown:q} --report {output.page:q} --nolock {params.settings} && "
            "python -m sae_stability record --file {output.page:q} --config-hash {params.made_from} "
            "--out {output.record:q}) &> {log:q}"
