"""SAEs of a cohort -> what a latent is worth beside its counterpart, and whether pooled latents lower the error.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/activations/PASS/HOOK/heldout/..., <results>/matches/COHORT/0-1.parquet
OUTPUTS  <results>/substitution/COHORT/0-1.parquet, 0-1-curve.parquet, 0-1-pooling.parquet
Steps: pass the held-out rows once through all SAEs; take latents away, swap them, pool them; add up the errors.
"""

for _cohort, _pairs in stages.substitution.jobs(pipeline).items():

    # One rule a cohort: which files it makes depends on what is there.
    rule:
        name:
            f"substitution_{_cohort.replace('-', '_')}"
        input:
            stages.substitution.inputs(pipeline, _pairs),
            stale=since("substitution", *_pairs),
        output:
            stages.substitution.outputs(pipeline, _pairs),
        log:
            f"<logs>/substitution/{_cohort}.log",
        conda:
            ENVIRONMENT
        threads: stages.substitution.threads(pipeline, _pairs)
        resources:
            gpu=GPUS,
            mem_mb=growing(stages.substitution.memory(pipeline, _pairs)),
            runtime=lasting(720),
        params:
            settings=stages.substitution.command(pipeline, _pairs),
        shell:
            "python -m sae_stability substitution {params.settings} --threads {threads} &> {log:q}"
