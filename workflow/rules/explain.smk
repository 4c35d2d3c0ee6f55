"""Contexts -> sentences that say what latents fire on; a job takes the SAEs of a cohort that are not explained yet.

INPUTS   <results>/contexts/COHORT/seed-0.parquet, <results>/matches/COHORT/0-1.parquet
OUTPUTS  <results>/explanations/EXPLAINER/COHORT/seed-0.parquet, similarity.parquet
"""

for _job in stages.explain.jobs(pipeline):

    rule:
        name:
            f"explain_{'_OF_'.join(_job[:2]).replace('-', '_')}"
        input:
            stages.explain.inputs(pipeline, _job),
            stale=since("explain", *((*_job[:2], seed) for seed in _job[2])),
        output:
            stages.explain.outputs(pipeline, _job),
        log:
            f"<logs>/explain/{_job[0]}/{_job[1]}.log",
        conda:
            ENVIRONMENT
        threads: stages.judges.threads(study, _job[0])
        resources:
            gpu=GPUS if stages.judges.computes(study, _job[0]) else 0,
            mem_mb=growing(stages.explain.memory(pipeline, _job[1], _job[0])),
            runtime=lasting(1440),
        params:
            settings=stages.explain.command(pipeline, _job),
        shell:
            "python -m sae_stability explain {params.settings} --threads {threads} &> {log:q}"


rule explanation_similarity:
    input:
        unpack(lambda wildcards: stages.similarity.inputs(pipeline, wildcards.explainer, wildcards.cohort)),
        stale=lambda wildcards: since("similarity", (wildcards.explainer, wildcards.cohort)),
    output:
        results.similarity("{explainer}", "{cohort}"),
    log:
        "<logs>/explanation-similarity/{explainer}/{cohort}.log",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        gpu=GPUS,
        mem_mb=growing(6000),
        runtime=lasting(60),
    params:
        settings=lambda wildcards: stages.similarity.command(pipeline, wildcards.explainer, wildcards.cohort),
    shell:
        "python -m sae_stability explanation-similarity {params.settings} --out {output:q} --threads {threads} &> {log:q}"
