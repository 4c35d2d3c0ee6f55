"""Meta-SAEs of a cohort -> what simpler descriptions of the same decoder rows explain, and how latents are taken apart.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/activations/PASS/decoder/chunk-0000/..., SAEs that lend directions
OUTPUTS  <results>/meta/COHORT/baselines.parquet, parts.parquet, cosines.parquet, graph.parquet
Steps: describe the rows by each baseline; train an encoder for fixed directions; count meta-latents and cosines; compare graphs.
"""

for _cohort in stages.meta.jobs(pipeline):

    # One rule a cohort: a finished result has none.
    rule:
        name:
            f"meta_{_cohort.replace('-', '_')}"
        input:
            stages.meta.inputs(pipeline, study.cohorts[_cohort]),
            stale=since("meta", _cohort),
        output:
            stages.meta.outputs(pipeline, study.cohorts[_cohort]),
        log:
            f"<logs>/meta/{_cohort}.log",
        conda:
            ENVIRONMENT
        threads: stages.meta.threads(study.cohorts[_cohort])
        resources:
            mem_mb=growing(stages.meta.memory(study, study.cohorts[_cohort])),
            runtime=lasting(720),
        params:
            settings=stages.meta.command(pipeline, study.cohorts[_cohort]),
        shell:
            "python -m sae_stability meta-baselines {params.settings} --threads {threads} &> {log:q}"
