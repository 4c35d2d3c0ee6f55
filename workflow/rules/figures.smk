"""Overlap tables -> a tidy table a figure -> the figure and its caption.

INPUTS   <results>/overlap/COHORT/..., <results>/matches/COHORT/0-1.parquet (joint),
         <results>/evaluation/COHORT/seed-0.json (layer, architecture)
OUTPUTS  <results>/figures/FIGURE.parquet, .csv, .svg, .pdf, .png, .rst (caption), .json (record)
Steps: pick the numbers; draw them. A change of style draws the figures again and leaves their tables.
"""


rule figure_table:
    input:
        unpack(lambda wildcards: stages.figures.inputs(pipeline, figure_of(wildcards))),
        stale=lambda wildcards: since("tables", wildcards.figure),
    output:
        parquet=results.figure("{figure}", "parquet"),
        csv=results.figure("{figure}", "csv"),
    log:
        "<logs>/figures/{figure}-table.log",
    wildcard_constraints:
        figure=any_of(pipeline.unfinished["tables"]),
    conda:
        ENVIRONMENT
    params:
        settings=lambda wildcards: stages.figures.table_command(pipeline, figure_of(wildcards)),
    shell:
        "python -m sae_stability figure-table {params.settings} --out {output.parquet:q} &> {log:q}"


for _figure in study.figures.values():

    # One rule a figure: a caption's path takes no wildcards.
    rule:
        name:
            f"draw_{_figure.slug.replace('-', '_')}"
        input:
            table=given("drawings", _figure.slug, results.figure(_figure.slug, "parquet")),
            stale=since("drawings", _figure.slug),
        output:
            svg=report(
                results.figure(_figure.slug, "svg"),
                # Written by the job from this run's own numbers; read when the report is made.
                caption=Path(results.figure(_figure.slug, "rst")).absolute(),
                category="Figures",
                labels={"figure": _figure.slug},
            ),
            pdf=results.figure(_figure.slug, "pdf"),
            png=results.figure(_figure.slug, "png"),
            caption=results.figure(_figure.slug, "rst"),
            record=results.figure(_figure.slug, "json"),
        log:
            f"<logs>/figures/{_figure.slug}.log",
        conda:
            ENVIRONMENT
        params:
            settings=lambda wildcards, figure=_figure: stages.drawings.command(pipeline, figure),
        shell:
            "python -m sae_stability figure {params.settings} --table {input.table:q} --svg {output.svg:q} "
            "--pdf {output.pdf:q} --png {output.png:q} --caption {output.caption:q} --record {output.record:q} &> {log:q}"
