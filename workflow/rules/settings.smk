"""What each job is called with, and the fingerprint of what its result is made from."""

from sae_stability.figures.registry import FIGURES


def tokens_key(tokens) -> str:
    return key(tokens, code_hash("tokenize"))


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


@functools.cache
def sae_key(cohort, seed: int) -> str:
    return key(activations_key(cohort.pass_), cohort.training, seed, code_hash("train"))


def evaluation_key(cohort, seed: int) -> str:
    return key(sae_key(cohort, seed), code_hash("evaluate"))


def train_settings(wildcards) -> str:
    cohort, seed = sae_of(wildcards)
    made_from = sae_key(cohort, seed)
    chunk = int(wildcards.get("chunk", cohort.chunks - 1))
    return flags(
        chunk=chunk_folder(cohort.pass_, cohort.hook_slug, f"{chunk:04d}"),
        chunk_index=chunk,
        first_chunk_manifest=f"{chunk_folder(cohort.pass_, cohort.hook_slug, '0000')}/manifest.json",
        previous=(in_results("states", wildcards.sae, f"chunk-{chunk - 1:04d}.safetensors") if chunk else None),
        tensorboard=(in_results("tensorboard", wildcards.sae) if cohort.tensorboard else None),
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


def match_threads(wildcards) -> int:
    # Small pairs go side by side, one thread each; large ones take the machine.
    return 1 if study.cohorts[wildcards.cohort].n_latents <= 8192 else 16


def match_memory(wildcards) -> int:
    cohort = study.cohorts[wildcards.cohort]
    return 2000 + cohort.n_latents * cohort.d_model * 4 * 8 // 10**6 + cohort.n_latents // 32


def overlap_settings(wildcards) -> str:
    cohort = study.cohorts[wildcards.cohort]
    inputs = overlap_inputs(wildcards)
    words = [flags(cohort=cohort.slug, threshold=study.threshold)]
    words += [flags(match=file) for file in inputs["matches"]] + [flags(floor=file) for file in inputs["floors"]]
    for seed, latents, sae in zip(cohort.seeds, inputs["latents"], inputs["saes"]):
        words.append(flags(latents=f"{seed}={latents}", sae=f"{seed}={Path(sae).parent}"))
    return " ".join(words)


def modules_of(wildcards):
    return FIGURES[study.figures[wildcards.figure].figure]


def summary_settings(wildcards) -> str:
    first = next(iter(study.cohorts))
    words = [flags(study=study.name, base=first)]
    words += [flags(overlap=f"{cohort}={in_results('overlap', cohort)}") for cohort in study.cohorts]
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            words.append(
                flags(evaluation=f"{cohort.slug}={in_results('evaluation', cohort.slug, f'seed-{seed}.json')}")
            )
    return " ".join(words)


def report_settings(wildcards) -> str:
    """What the inner Snakemake needs to see the same study: its files and its changes on the command line."""
    words = {
        "--snakefile": [workflow.main_snakefile],
        "--configfile": workflow.configfiles,
        "--config": workflow.config_settings.config_args,
    }
    return " ".join(
        f"{flag} {' '.join(shlex.quote(str(word)) for word in some)}" for flag, some in words.items() if some
    )


def unfinished(stage: str, *file: str, made_from) -> list[str]:
    """The SAEs for which a stage has still to run: see `finished`. `file` is what says so, with {} for the SAE."""
    todo = []
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            sae = f"{cohort.slug}/seed-{seed}"
            if not finished(
                in_results(stage, *(part.format(sae) for part in file)),
                made_from(cohort, seed),
            ):
                todo.append(sae)
    return todo


UNTRAINED = unfinished("saes", "{}", "cfg.json", made_from=sae_key)
UNEVALUATED = unfinished("evaluation", "{}.json", made_from=evaluation_key)
