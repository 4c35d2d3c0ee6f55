"""Everything -> the study's key numbers in words -> Snakemake's self-contained report.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/summary.rst (the report's first page), <results>/workflow-report.html, and a record (.json) of each
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


if pipeline.unfinished["workflow_report"]:

    rule workflow_report:
        input:
            shown=stages.workflow_report.inputs(pipeline),
            records=stages.workflow_report.records(pipeline),
            stale=since("workflow_report", "workflow_report"),
        output:
            page=results.workflow_report,
            record=results.workflow_report_record,
        log:
            "<logs>/workflow-report.log",
        conda:
            ENVIRONMENT
        params:
            records=lambda wildcards: stages.workflow_report.check_command(pipeline),
            made_from=pipeline.fingerprints.workflow_report(),
            settings=lambda wildcards: stages.workflow_report.snakemake_command(
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
