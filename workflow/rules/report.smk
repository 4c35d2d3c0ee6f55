"""Overlap tables, evaluations and figures -> the paper, as an HTML page and a PDF.

INPUTS   <results>/overlap/BASE/..., <results>/evaluation/..., <results>/figures/...
OUTPUTS  <results>/report.html, report.pdf, and a record of both (report.json)
"""

if pipeline.unfinished["report"]:

    rule report:
        input:
            stages.report.inputs(pipeline),
            stale=since("report", "report"),
        output:
            html=results.report("html"),
            pdf=results.report("pdf"),
            record=results.report("json"),
        log:
            "<logs>/report.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(3000),
            runtime=lasting(20),
        params:
            settings=lambda wildcards: stages.report.command(pipeline),
        shell:
            "python -m sae_stability report {params.settings} --html {output.html:q} --pdf {output.pdf:q} "
            "--record {output.record:q} &> {log:q}"
