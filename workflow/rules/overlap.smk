"""Matches of a cohort -> overlap tables.

INPUTS   <results>/matches/COHORT/0-1.parquet ..., <results>/floors/..., <results>/evaluation/COHORT/..., <results>/saes/COHORT/...
OUTPUTS  <results>/overlap/COHORT/pairs.parquet, thresholds, seeds, latents, intervals
Steps: count what is shared.
"""


rule overlap:
    input:
        unpack(lambda wildcards: stages.overlap.inputs(pipeline, cohort_of(wildcards))),
        stale=lambda wildcards: since("overlap", wildcards.cohort),
    output:
        results.overlap_tables("{cohort}"),
    log:
        "<logs>/overlap/{cohort}.log",
    wildcard_constraints:
        cohort=any_of(pipeline.unfinished["overlap"]),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=lasting(60),
    params:
        settings=lambda wildcards: stages.overlap.command(pipeline, cohort_of(wildcards)),
        out=subpath(output[0], parent=True),
    shell:
        "python -m sae_stability overlap {params.settings} --out {params.out:q} &> {log:q}"
