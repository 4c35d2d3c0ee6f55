"""Explanations -> how well they predict where latents fire; a job takes the SAEs of a cohort that are not scored yet.

INPUTS   <results>/explanations/EXPLAINER/COHORT/seed-0.parquet, <results>/contexts/COHORT/...
OUTPUTS  <results>/scores/EXPLAINER/SCORER/COHORT/seed-0.parquet, summary.parquet
"""

for _job in stages.score.jobs(pipeline):

    rule:
        name:
            f"score_{'_OF_'.join(_job[:3]).replace('-', '_')}"
        input:
            stages.score.inputs(pipeline, _job),
            stale=since("score", *((*_job[:3], seed) for seed in _job[3])),
        output:
            stages.score.outputs(pipeline, _job),
        log:
            f"<logs>/score/{_job[0]}/{_job[1]}/{_job[2]}.log",
        conda:
            ENVIRONMENT
        threads: stages.judges.threads(study, stages.score.judge(study, _job))
        resources:
            gpu=GPUS if stages.judges.computes(study, stages.score.judge(study, _job)) else 0,
            mem_mb=growing(stages.explain.memory(pipeline, _job[2], stages.score.judge(study, _job))),
            runtime=lasting(1440),
        params:
            settings=stages.score.command(pipeline, _job),
        shell:
            "python -m sae_stability score {params.settings} --threads {threads} &> {log:q}"


rule score_summary:
    input:
        lambda wildcards: stages.score_summary.inputs(pipeline, wildcards.explainer, wildcards.scorer, wildcards.cohort),
        stale=lambda wildcards: since("score_summary", (wildcards.explainer, wildcards.scorer, wildcards.cohort)),
    output:
        results.score_summary("{explainer}", "{scorer}", "{cohort}"),
    log:
        "<logs>/score-summary/{explainer}/{scorer}/{cohort}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=lasting(10),
    params:
        settings=lambda wildcards: stages.score_summary.command(
            pipeline, wildcards.explainer, wildcards.scorer, wildcards.cohort
        ),
    shell:
        "python -m sae_stability score-summary {params.settings} --out {output:q} &> {log:q}"


rule scores:
    input:
        stages.explain.targets(pipeline),
        stages.similarity.targets(pipeline),
        stages.score_summary.targets(pipeline),
