"""Token blocks -> shards of activations, every hookpoint of a pass in one forward pass; or a given matrix -> shards.

INPUTS   <results>/tokens/TOKENS/...
OUTPUTS  <results>/activations/PASS/HOOK/{heldout,chunk-0000,...}/manifest.json, shard-0000.safetensors ...
Steps: forward pass up to the last hookpoint; drop special tokens; shuffle over the chunk; write shards, then manifest.
"""

import math


def chunk_folder(pass_, hook: str, chunk) -> str:
    return in_results("activations", pass_.slug, hook, chunk if chunk == "heldout" else f"chunk-{chunk}")


def manifests(pass_, chunk) -> list[str]:
    return [f"{chunk_folder(pass_, hook, chunk)}/manifest.json" for hook in pass_.hook_slugs]


def shard_names(pass_, chunk) -> list[str]:
    rows = pass_.heldout_rows if chunk == "heldout" else pass_.chunk_rows
    return [f"shard-{i:04d}.safetensors" for i in range(math.ceil(rows / pass_.shard_rows))]


def shards(pass_, chunk) -> list[str]:
    return [f"{chunk_folder(pass_, hook, chunk)}/{name}" for hook in pass_.hook_slugs for name in shard_names(pass_, chunk)]


def hook_files(pass_, hook: str, chunk) -> list[str]:
    folder = chunk_folder(pass_, hook, chunk)
    return [f"{folder}/{name}" for name in ["manifest.json", *shard_names(pass_, chunk)]]


def activation_files(pass_) -> list[str]:
    chunks = ["heldout", *(f"{chunk:04d}" for chunk in range(study.chunks_needed(pass_.slug)))]
    return [file for chunk in chunks for file in manifests(pass_, chunk) + shards(pass_, chunk)]


@functools.cache
def activations_key(pass_) -> str:
    source = tokens_key(pass_.tokens) if pass_.tokens else None
    made_from = {**dataclasses.asdict(pass_), "tokens": source, "keep_shards": None}
    return key(made_from, code_hash("extract" if pass_.tokens else "import-matrix"))


def extract_settings(pass_, chunk) -> str:
    hookpoints = [
        flags(hookpoint=hookpoint, out=chunk_folder(pass_, hook, chunk)) for hook, hookpoint in pass_.hook_slugs.items()
    ]
    settings = flags(
        chunk=chunk,
        model=pass_.model.name,
        revision=pass_.model.revision,
        sha256=pass_.model.sha256,
        model_dtype=pass_.model.dtype,
        tokens=in_results("tokens", pass_.tokens.slug),
        chunk_tokens=pass_.chunk_rows,
        dtype=pass_.dtype,
        shard_rows=pass_.shard_rows,
        shuffle_seed=pass_.shuffle_seed,
        keep_special=pass_.keep_special,
        max_norm_multiple=pass_.max_norm_multiple,
        config_hash=activations_key(pass_),
        device=study.device,
    )
    return " ".join(["extract", settings, *hookpoints])


def matrix_settings(pass_, chunk) -> str:
    return "import-matrix " + flags(
        chunk=chunk,
        out=chunk_folder(pass_, "matrix", chunk),
        matrix=pass_.matrix,
        tensor=pass_.tensor,
        heldout_rows=pass_.heldout_rows,
        train_rows=pass_.train_rows,
        chunk_rows=pass_.chunk_rows,
        shard_rows=pass_.shard_rows,
        dtype=pass_.dtype,
        shuffle_seed=pass_.shuffle_seed,
        config_hash=activations_key(pass_),
    )


def chunk_source(pass_, chunk):
    """What a chunk is made from. Where shards go after use, also what must be over before it is made.

    Extraction runs one chunk ahead of training and no further: without that, every chunk would come to lie on the disk.
    """
    source = [pass_.matrix] if pass_.matrix else token_files(pass_.tokens)

    def files(wildcards):
        before = int(wildcards.chunk) - 2
        return source + [in_results("states", sae, f"chunk-{before:04d}.safetensors") for sae in in_training(pass_, before)]

    return source if chunk == "heldout" or pass_.keep_shards else files


def in_training(pass_, chunk: int) -> list[str]:
    """The unfinished SAEs of a pass that train on this chunk and on one after it."""
    cohorts = [cohort for cohort in study.cohorts_of(pass_.slug) if 0 <= chunk < cohort.chunks - 1]
    saes = [f"{cohort.slug}/seed-{seed}" for cohort in cohorts for seed in cohort.seeds]
    return [sae for sae in saes if sae in UNTRAINED]


for _pass in study.passes.values():
    # Two rules a pass: the held-out rows have their own number of shards, and their shards always stay.
    for _name, _chunk in [("chunk", "{chunk}"), ("heldout", "heldout")]:

        rule:
            name:
                f"{'import' if _pass.matrix else 'extract'}_{_name}_{_pass.slug.replace('-', '_')}"
            input:
                chunk_source(_pass, _chunk),
            output:
                manifests(_pass, _chunk),
                shards(_pass, _chunk) if _pass.keep_shards or _name == "heldout" else temp(shards(_pass, _chunk)),
            log:
                f"<logs>/activations/{_pass.slug}-{_chunk}.log",
            params:
                code=code_hash("import-matrix" if _pass.matrix else "extract"),
                settings=matrix_settings(_pass, _chunk) if _pass.matrix else extract_settings(_pass, _chunk),
            conda:
                ENVIRONMENT
            threads: 8
            resources:
                gpu=0 if _pass.matrix else GPUS,
                mem_mb=16000,
                runtime=720,
            shell:
                "python -m sae_stability {params.settings} --threads {threads} &> {log:q}"
