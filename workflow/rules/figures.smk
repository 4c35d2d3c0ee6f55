"""Overlap tables -> a tidy table a figure -> the figure and its caption.

INPUTS   <results>/overlap/COHORT/..., <results>/matches/COHORT/0-1.parquet (joint),
         <results>/evaluation/COHORT/seed-0.json (layer, architecture)
OUTPUTS  <results>/figures/FIGURE.parquet, .csv, .svg, .pdf, .png, .rst (caption)
Steps: pick the numbers; draw them. A change of style draws again and picks nothing.
"""


rule figure_table:
    input:
        source_files,
    output:
        parquet="<results>/figures/{figure}.parquet",
        csv="<results>/figures/{figure}.csv",
    log:
        "<logs>/figures/{figure}-table.log",
    wildcard_constraints:
        figure=any_of(study.figures),
    conda:
        ENVIRONMENT
    params:
        code=lambda wildcards: code_hash("figure-table", modules_of(wildcards).table),
        kind=lambda wildcards: study.figures[wildcards.figure].figure,
        sources=lambda wildcards: " ".join(flags(input=f"{label}={path}") for label, path in sources(wildcards)),
    shell:
        "python -m sae_stability figure-table --figure {params.kind:q} {params.sources} --out {output.parquet:q} &> {log:q}"


for _figure in study.figures.values():

    # One rule a figure: a caption's path takes no wildcards.
    rule:
        name:
            f"draw_{_figure.slug.replace('-', '_')}"
        input:
            f"<results>/figures/{_figure.slug}.parquet",
        output:
            svg=report(
                f"<results>/figures/{_figure.slug}.svg",
                # Written by the job from this run's own numbers; read when the report is made.
                caption=Path(study.results, "figures", f"{_figure.slug}.rst").absolute(),
                category="Figures",
                labels={"figure": _figure.slug},
            ),
            pdf=f"<results>/figures/{_figure.slug}.pdf",
            png=f"<results>/figures/{_figure.slug}.png",
            caption=f"<results>/figures/{_figure.slug}.rst",
        log:
            f"<logs>/figures/{_figure.slug}.log",
        conda:
            ENVIRONMENT
        params:
            code=code_hash("figure", FIGURES[_figure.figure].drawing),
            kind=_figure.figure,
            style=json.dumps(study.style),
        shell:
            "python -m sae_stability figure --figure {params.kind:q} --table {input:q} --style {params.style:q} "
            "--svg {output.svg:q} --pdf {output.pdf:q} --png {output.png:q} --caption {output.caption:q} &> {log:q}"
