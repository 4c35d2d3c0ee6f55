"""Explanations of an SAE's latents, and its meta-SAEs -> is a latent's explanation found by what its parts are?

INPUTS   <results>/explanations/EXPLAINER/COHORT/seed-0.parquet, <results>/saes/COHORT/seed-0/...
OUTPUTS  <results>/meta/COHORT/choice.parquet
Steps: say of each meta-latent what is said of other latents that it fires on; let a judge choose among five explanations.
"""

for _cohort in stages.choice.jobs(pipeline):

    # One rule a cohort: a finished result has none.
    rule:
        name:
            f"choice_{_cohort.replace('-', '_')}"
        input:
            stages.choice.inputs(pipeline, study.cohorts[_cohort]),
            stale=since("choice", _cohort),
        output:
            results.choice(_cohort),
        log:
            f"<logs>/choice/{_cohort}.log",
        conda:
            ENVIRONMENT
        threads: stages.judges.threads(study, study.interpret.choice)
        resources:
            gpu=GPUS if stages.judges.computes(study, study.interpret.choice) else 0,
            mem_mb=growing(4000),
            runtime=lasting(720),
        params:
            settings=stages.choice.command(pipeline, study.cohorts[_cohort]),
        shell:
            "python -m sae_stability choice {params.settings} --threads {threads} &> {log:q}"
