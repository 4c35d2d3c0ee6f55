"""Overlap tables -> a tidy table a figure -> the figure and its caption.

INPUTS   <results>/overlap/COHORT/..., <results>/matches/COHORT/0-1.parquet (joint),
         <results>/evaluation/COHORT/seed-0.json (layer, architecture)
OUTPUTS  <results>/figures/FIGURE.parquet, .csv, .svg, .pdf, .png, .rst (caption)
Steps: pick the numbers; draw them. A change of style draws the figures again and leaves their tables.
"""


rule figure_table:
    input:
        unpack(lambda wildcards: stages.figures.inputs(pipeline, figure_of(wildcards))),
    output:
        parquet=results.figure("{figure}", "parquet"),
        csv=results.figure("{figure}", "csv"),
    log:
        "<logs>/figures/{figure}-table.log",
    wildcard_constraints:
        figure=any_of(study.figures),
    conda:
        ENVIRONMENT
    params:
        code=lambda wildcards: stages.figures.table_code(figure_of(wildcards)),
        settings=lambda wildcards: stages.figures.table_command(pipeline, figure_of(wildcards)),
    shell:
        "python -m sae_stability figure-table {params.settings} --out {output.parquet:q} &> {log:q}"


for _figure in study.figures.values():

    # One rule a figure: a caption's path takes no wildcards.
    rule:
        name:
            f"draw_{_figure.slug.replace('-', '_')}"
        input:
            results.figure(_figure.slug, "parquet"),
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
        log:
            f"<logs>/figures/{_figure.slug}.log",
        conda:
            ENVIRONMENT
        params:
            code=stages.figures.drawing_code(_figure),
            kind=_figure.figure,
            style=json.dumps(study.style),
        shell:
            "python -m sae_stability figure --figure {params.kind:q} --table {input:q} --style {params.style:q} "
            "--svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --caption {output.caption:q} &> {log:q}"
