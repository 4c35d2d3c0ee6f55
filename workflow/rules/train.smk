"""Activations -> SAEs, chunk by chunk, one job a (cohort, block of seeds, chunk); then their quality on held-out rows.

INPUTS   <results>/activations/PASS/HOOK/chunk-0000/..., .../heldout/...
OUTPUTS  <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json, metrics.json, history.parquet
         <results>/evaluation/COHORT/seed-0.json, seed-0.parquet
Steps: train on each chunk from the state after the one before; fold in the normalisation; evaluate. An evaluation job
takes the SAEs of a block one after the other, those that are not evaluated yet.
"""

for _block, _cohorts in BLOCKS.items():

    # Two rules a block, for all cohorts that train it: a job's outputs must have the same wildcards, so no wildcard for
    # the seed.
    rule:
        name:
            f"train_chunk_seeds_{'_'.join(map(str, _block))}"
        input:
            unpack(chunk_inputs(_block)),
        output:
            temp(
                expand(
                    "<results>/states/seeds-{block}/{{cohort}}/seed-{seed}/chunk-{{chunk}}.safetensors",
                    seed=_block,
                    block=joined(_block),
                )
            ),
        log:
            f"<logs>/train/{{cohort}}/seed-{_block[0]}-chunk-{{chunk}}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: of_block(sae_threads, _block)
        resources:
            gpu=GPUS,
            mem_mb=of_block(training_memory, _block),
            runtime=720,
        params:
            settings=train_settings(_block),
        shell:
            "python -m sae_stability train {params.settings} --threads {threads} &> {log:q}"

    rule:
        name:
            f"train_seeds_{'_'.join(map(str, _block))}"
        input:
            unpack(chunk_inputs(_block)),
        output:
            expand(
                "<results>/saes/{{cohort}}/seed-{seed}/{file}",
                seed=_block,
                file=["sae.safetensors", "cfg.json", "metrics.json", "history.parquet"],
            ),
        log:
            f"<logs>/train/{{cohort}}/seed-{_block[0]}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: of_block(sae_threads, _block)
        resources:
            gpu=GPUS,
            mem_mb=of_block(training_memory, _block),
            runtime=720,
        params:
            settings=train_settings(_block),
        shell:
            "python -m sae_stability train {params.settings} --threads {threads} &> {log:q}"


for _block, _cohorts in evaluation_blocks().items():

    rule:
        name:
            f"evaluate_seeds_{'_'.join(map(str, _block))}"
        input:
            evaluation_inputs(_block),
        output:
            expand(
                "<results>/evaluation/{{cohort}}/seed-{seed}.{ending}",
                seed=_block,
                ending=["json", "parquet"],
            ),
        log:
            f"<logs>/evaluate/{{cohort}}/seed-{_block[0]}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: lambda wildcards: sae_threads(study.cohorts[wildcards.cohort])
        resources:
            gpu=GPUS,
            mem_mb=lambda wildcards: sae_memory(study.cohorts[wildcards.cohort]),
            runtime=60 * len(_block),
        params:
            settings=evaluate_settings(_block),
        shell:
            "python -m sae_stability evaluate {params.settings} --threads {threads} &> {log:q}"
