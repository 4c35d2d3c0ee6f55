"""Activations -> SAEs, chunk by chunk, one job a (cohort, seed, chunk); then their quality on held-out activations.

INPUTS   <results>/activations/PASS/HOOK/chunk-0000/..., .../heldout/...
OUTPUTS  <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json, metrics.json, history.parquet
         <results>/evaluation/COHORT/seed-0.json, seed-0.parquet
Steps: train on each chunk from the state after the one before; fold in the normalisation; evaluate.
"""


rule train_chunk:
    input:
        unpack(chunk_inputs),
    output:
        state=temp("<results>/states/{sae}/chunk-{chunk}.safetensors"),
    log:
        "<logs>/train/{sae}-chunk-{chunk}.log",
    wildcard_constraints:
        sae=any_of(UNTRAINED),
    conda:
        ENVIRONMENT
    threads: train_threads
    resources:
        gpu=GPUS,
        mem_mb=train_memory,
        runtime=720,
    params:
        settings=train_settings,
    shell:
        "python -m sae_stability train {params.settings} --threads {threads} --state-out {output.state:q} &> {log:q}"


rule train:
    input:
        unpack(chunk_inputs),
    output:
        multiext(
            "<results>/saes/{sae}/",
            "sae.safetensors",
            "cfg.json",
            "metrics.json",
            "history.parquet",
        ),
    log:
        "<logs>/train/{sae}.log",
    wildcard_constraints:
        sae=any_of(UNTRAINED),
    conda:
        ENVIRONMENT
    threads: train_threads
    resources:
        gpu=GPUS,
        mem_mb=train_memory,
        runtime=720,
    params:
        settings=train_settings,
        out=subpath(output[0], parent=True),
    shell:
        "python -m sae_stability train {params.settings} --threads {threads} --out {params.out:q} &> {log:q}"


rule evaluate:
    input:
        sae="<results>/saes/{sae}/sae.safetensors",
        cfg="<results>/saes/{sae}/cfg.json",
        heldout=heldout_files,
    output:
        metrics="<results>/evaluation/{sae}.json",
        latents="<results>/evaluation/{sae}.parquet",
    log:
        "<logs>/evaluate/{sae}.log",
    wildcard_constraints:
        sae=any_of(UNEVALUATED),
    conda:
        ENVIRONMENT
    threads: train_threads
    resources:
        gpu=GPUS,
        mem_mb=train_memory,
        runtime=60,
    params:
        settings=evaluate_settings,
        sae=subpath(input.sae, parent=True),
    shell:
        "python -m sae_stability evaluate --sae {params.sae:q} {params.settings} --threads {threads} "
        "--out-json {output.metrics:q} --out-parquet {output.latents:q} &> {log:q}"
