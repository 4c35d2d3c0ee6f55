"""SAEs -> their quality on held-out rows; a job takes the SAEs of a block that are not evaluated yet.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/activations/PASS/HOOK/heldout/...
OUTPUTS  <results>/evaluation/COHORT/seed-0.json, seed-0.parquet
"""

for _seeds, _cohorts in stages.evaluate.jobs(pipeline).items():

    rule:
        name:
            f"evaluate_seeds_{'_'.join(map(str, _seeds))}"
        input:
            unpack(lambda wildcards, seeds=_seeds: stages.evaluate.inputs(pipeline, cohort_of(wildcards), seeds)),
            stale=lambda wildcards, seeds=_seeds: since("evaluate", *((wildcards.cohort, seed) for seed in seeds)),
        output:
            [file for seed in _seeds for file in stages.evaluate.outputs(results, "{cohort}", seed)],
        log:
            f"<logs>/evaluate/{{cohort}}/seed-{_seeds[0]}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: lambda wildcards: stages.evaluate.threads(cohort_of(wildcards))
        resources:
            gpu=GPUS,
            mem_mb=growing(lambda wildcards: stages.evaluate.memory(cohort_of(wildcards))),
            runtime=lasting(60 * len(_seeds)),
        params:
            settings=lambda wildcards, seeds=_seeds: stages.evaluate.command(pipeline, cohort_of(wildcards), seeds),
        shell:
            "python -m sae_stability evaluate {params.settings} --threads {threads} &> {log:q}"
