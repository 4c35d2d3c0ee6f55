"""Activations -> SAEs, chunk by chunk, one job a (cohort, seed, chunk); then their quality on held-out activations.

INPUTS   <results>/activations/PASS/HOOK/chunk-0000/..., .../heldout/...
OUTPUTS  <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json, metrics.json, history.parquet
         <results>/evaluation/COHORT/seed-0.json, seed-0.parquet
Steps: train on each chunk from the state after the one before; fold in the normalisation; evaluate.
"""


@functools.cache
def sae_key(cohort, seed: int) -> str:
    return key(activations_key(cohort.pass_), cohort.training, seed, code_hash("train"))


def evaluation_key(cohort, seed: int) -> str:
    return key(sae_key(cohort, seed), code_hash("evaluate"))


def unfinished(stage: str, suffix: str, made_from) -> list[str]:
    """The SAEs for which a stage has still to run: see `finished`."""
    todo = []
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            sae = f"{cohort.slug}/seed-{seed}"
            if not finished(in_results(stage, f"{sae}{suffix}"), made_from(cohort, seed)):
                todo.append(sae)
    return todo


UNTRAINED = unfinished("saes", "/cfg.json", sae_key)
UNEVALUATED = unfinished("evaluation", ".json", evaluation_key)


def chunk_inputs(wildcards):
    """The files that one training job reads: its chunk, and the state after the chunk before."""
    cohort, seed = sae_of(wildcards)
    chunk = int(wildcards.get("chunk", cohort.chunks - 1))
    files = {"chunk": hook_files(cohort.pass_, cohort.hook_slug, f"{chunk:04d}")}
    if chunk:
        files["previous"] = in_results("states", wildcards.sae, f"chunk-{chunk - 1:04d}.safetensors")
        # The mean and the scale of the first chunk hold for all; its shards may be gone by now.
        files["first"] = f"{chunk_folder(cohort.pass_, cohort.hook_slug, '0000')}/manifest.json"
    return files


def train_settings(wildcards) -> str:
    cohort, seed = sae_of(wildcards)
    made_from = sae_key(cohort, seed)
    chunk = int(wildcards.get("chunk", cohort.chunks - 1))
    return flags(
        chunk=chunk_folder(cohort.pass_, cohort.hook_slug, f"{chunk:04d}"),
        chunk_index=chunk,
        first_chunk_manifest=f"{chunk_folder(cohort.pass_, cohort.hook_slug, '0000')}/manifest.json",
        previous=in_results("states", wildcards.sae, f"chunk-{chunk - 1:04d}.safetensors") if chunk else None,
        tensorboard=in_results("tensorboard", wildcards.sae) if cohort.tensorboard else None,
        init_seed=seed,
        config_hash=made_from,
        device=study.device,
        # Snakemake deletes declared outputs before a job starts: what a killed job goes on from lies elsewhere.
        **{"checkpoint": in_results("checkpoints", f"{made_from}-{chunk:04d}.safetensors")},
        **cohort.training,
    )


def evaluate_settings(wildcards) -> str:
    cohort, seed = sae_of(wildcards)
    pass_ = cohort.pass_
    model = pass_.model
    return flags(
        chunk=chunk_folder(pass_, cohort.hook_slug, "heldout"),
        config_hash=evaluation_key(cohort, seed),
        device=study.device,
        **(
            {
                "tokens": in_results("tokens", pass_.tokens.slug, "heldout.parquet"),
                "hookpoint": cohort.hookpoint,
                "model": model.name,
                "revision": model.revision,
                "sha256": model.sha256,
                "model_dtype": model.dtype,
            }
            if model
            else {}
        ),
    )


rule train_chunk:
    input:
        unpack(chunk_inputs),
    output:
        state=temp("<results>/states/{sae}/chunk-{chunk}.safetensors"),
    log:
        "<logs>/train/{sae}-chunk-{chunk}.log",
    wildcard_constraints:
        sae=any_of(UNTRAINED),
    params:
        settings=train_settings,
    conda:
        ENVIRONMENT
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    shell:
        "python -m sae_stability train {params.settings} --threads {threads} --state-out {output.state:q} &> {log:q}"


rule train:
    input:
        unpack(chunk_inputs),
    output:
        multiext("<results>/saes/{sae}/", "sae.safetensors", "cfg.json", "metrics.json", "history.parquet"),
    log:
        "<logs>/train/{sae}.log",
    wildcard_constraints:
        sae=any_of(UNTRAINED),
    params:
        settings=train_settings,
        out=subpath(output[0], parent=True),
    conda:
        ENVIRONMENT
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    shell:
        "python -m sae_stability train {params.settings} --threads {threads} --out {params.out:q} &> {log:q}"


rule evaluate:
    input:
        sae="<results>/saes/{sae}/sae.safetensors",
        cfg="<results>/saes/{sae}/cfg.json",
        heldout=lambda wildcards: hook_files(sae_of(wildcards)[0].pass_, sae_of(wildcards)[0].hook_slug, "heldout"),
    output:
        metrics="<results>/evaluation/{sae}.json",
        latents="<results>/evaluation/{sae}.parquet",
    log:
        "<logs>/evaluate/{sae}.log",
    wildcard_constraints:
        sae=any_of(UNEVALUATED),
    params:
        settings=evaluate_settings,
        sae=subpath(input.sae, parent=True),
    conda:
        ENVIRONMENT
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=60,
    shell:
        "python -m sae_stability evaluate --sae {params.sae:q} {params.settings} --threads {threads} "
        "--out-json {output.metrics:q} --out-parquet {output.latents:q} &> {log:q}"
