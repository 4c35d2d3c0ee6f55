"""Activations -> SAEs, chunk by chunk, one job a (cohort, block of seeds, chunk).

INPUTS   <results>/activations/PASS/HOOK/chunk-0000/...
OUTPUTS  <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json, metrics.json, history.parquet
Steps: train on each chunk from the state after the one before; fold in the normalisation.
"""

for _block, _cohorts in stages.train.jobs(pipeline).items():

    # Two rules for each block of seeds, shared by all cohorts that train it. All outputs of a rule need the same
    # wildcards, and a job writes several seeds, so the seed is no wildcard.
    rule:
        name:
            f"train_chunk_seeds_{'_'.join(map(str, _block))}"
        input:
            unpack(
                lambda wildcards, block=_block: stages.train.inputs(
                    pipeline, cohort_of(wildcards), block, chunk_of(wildcards)
                )
            ),
        output:
            temp(stages.train.states(results, "{cohort}", _block, "{chunk}")),
        log:
            f"<logs>/train/{{cohort}}/seed-{_block[0]}-chunk-{{chunk}}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: lambda wildcards, block=_block: stages.train.threads(cohort_of(wildcards), len(block))
        resources:
            gpu=GPUS,
            mem_mb=growing(lambda wildcards, block=_block: stages.train.memory(cohort_of(wildcards), len(block))),
            runtime=lasting(
                lambda wildcards, block=_block: stages.train.minutes(study, cohort_of(wildcards), len(block))
            ),
        params:
            chunk=subpath(input.manifest, parent=True),
            settings=lambda wildcards, block=_block: stages.train.command(
                pipeline, cohort_of(wildcards), block, chunk_of(wildcards)
            ),
        shell:
            "python -m sae_stability train --chunk {params.chunk:q} --first-chunk-manifest {input.first:q} "
            "{params.settings} --threads {threads} &> {log:q}"

    rule:
        name:
            f"train_seeds_{'_'.join(map(str, _block))}"
        input:
            unpack(
                lambda wildcards, block=_block: stages.train.inputs(
                    pipeline, cohort_of(wildcards), block, chunk_of(wildcards)
                )
            ),
            stale=lambda wildcards, block=_block: since("train", *((wildcards.cohort, seed) for seed in block)),
        output:
            [file for seed in _block for file in stages.train.outputs(results, "{cohort}", seed)],
        log:
            f"<logs>/train/{{cohort}}/seed-{_block[0]}.log",
        wildcard_constraints:
            cohort=any_of(_cohorts),
        conda:
            ENVIRONMENT
        threads: lambda wildcards, block=_block: stages.train.threads(cohort_of(wildcards), len(block))
        resources:
            gpu=GPUS,
            mem_mb=growing(lambda wildcards, block=_block: stages.train.memory(cohort_of(wildcards), len(block))),
            runtime=lasting(
                lambda wildcards, block=_block: stages.train.minutes(study, cohort_of(wildcards), len(block))
            ),
        params:
            chunk=subpath(input.manifest, parent=True),
            settings=lambda wildcards, block=_block: stages.train.command(
                pipeline, cohort_of(wildcards), block, chunk_of(wildcards)
            ),
        shell:
            "python -m sae_stability train --chunk {params.chunk:q} --first-chunk-manifest {input.first:q} "
            "{params.settings} --threads {threads} &> {log:q}"
