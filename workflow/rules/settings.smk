"""What each job is called with, and the fingerprint of what its result is made from."""

from sae_stability.figures.registry import FIGURES

# What the study's local files hold; a changed file is other data under the same name.
CONTENTS = Contents(Path(study.results, "contents.json"))


@functools.cache
def tokens_key(tokens) -> str:
    sizes = ["context_length", "packing", "heldout_tokens", "train_tokens", "chunk_tokens"]
    sources = [CONTENTS.of_model(tokens.model), CONTENTS.of_corpus(tokens.corpus)]
    return key(sources, [getattr(tokens, size) for size in sizes], code_hash("tokenize"))


@functools.cache
def activations_key(pass_) -> str:
    names = [field.name for field in dataclasses.fields(pass_) if field.name not in ("slug", "tokens", "keep_shards")]
    source = tokens_key(pass_.tokens) if pass_.tokens else CONTENTS.of([pass_.matrix])
    code = code_hash("extract" if pass_.tokens else "import-matrix")
    return key(source, [getattr(pass_, name) for name in names], study.device, code)


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
    if cohort.slug in study.external:
        return key(given_contents(cohort, seed), cohort.format, code_hash("convert"))
    init_seed, order_seed = cohort.sae_seeds[seed]
    training = {**cohort.training, "order_seed": order_seed}
    return key(activations_key(cohort.pass_), training, init_seed, study.device, code_hash("train"))


def given_contents(cohort, seed: int) -> list:
    """What decides an SAE made elsewhere: its files' contents, or its place on the hub."""
    sae = cohort.saes[seed]
    return CONTENTS.of(given_files(cohort, seed)) if sae.path else [sae.repo, sae.folder, sae.revision]


def evaluation_key(cohort, seed: int) -> str:
    if cohort.slug in study.external:
        heldout = activations_key(cohort.pass_) if cohort.pass_ else None
        return key(sae_key(cohort, seed), heldout, cohort.hookpoint, code_hash("evaluate"))
    return key(sae_key(cohort, seed), code_hash("evaluate"))


def match_key(cohort, a: int, b: int) -> str:
    return key(evaluation_key(cohort, a), evaluation_key(cohort, b), code_hash("match"))


def floor_key() -> str:
    return key(code_hash("floor"))


def import_settings(wildcards) -> str:
    cohort, seed = sae_of(wildcards)
    return flags(
        format=cohort.format,
        n_latents=cohort.n_latents,
        d_model=cohort.d_model,
        config_hash=sae_key(cohort, seed),
        **{"checkpoint": given_path(cohort.saes[seed])},
    )


def train_settings(block):
    """What a training job is called with: settings of all its SAEs, then of each."""

    def settings(wildcards):
        cohort = study.cohorts[wildcards.cohort]
        chunk = int(wildcards.get("chunk", cohort.chunks - 1))
        shared = flags(
            chunk=chunk_folder(cohort.pass_, cohort.hook_slug, f"{chunk:04d}"),
            chunk_index=chunk,
            first_chunk_manifest=f"{chunk_folder(cohort.pass_, cohort.hook_slug, '0000')}/manifest.json",
            activations_hash=activations_key(cohort.pass_),
            device=study.device,
            order_seed=cohort.sae_seeds[block[0]][1],
            **cohort.training,
        )
        return " ".join([shared, *(member_settings(cohort, seed, chunk) for seed in block)])

    return settings


def member_settings(cohort, seed: int, chunk: int) -> str:
    made_from, sae, last = sae_key(cohort, seed), f"{cohort.slug}/seed-{seed}", chunk == cohort.chunks - 1
    return flags(
        init_seed=cohort.sae_seeds[seed][0],
        config_hash=made_from,
        previous=state_file(cohort.slug, seed, f"{chunk - 1:04d}") if chunk else None,
        # Snakemake deletes declared outputs before a job starts: what a killed job goes on from lies elsewhere. Two
        # cohorts may hold an SAE of the same two seeds, so the fingerprint alone is no name of its own.
        **{"checkpoint": in_results("checkpoints", sae, f"{made_from}-{chunk:04d}.safetensors")},
        tensorboard=in_results("tensorboard", sae) if cohort.tensorboard else None,
        out=in_results("saes", sae) if last else None,
        state_out=None if last else state_file(cohort.slug, seed, f"{chunk:04d}"),
    )


def evaluate_settings(block):
    """What an evaluation job is called with: settings of all its SAEs, then of each."""

    def settings(wildcards):
        cohort = study.cohorts[wildcards.cohort]
        pass_ = cohort.pass_
        model = pass_.model if pass_ else None
        shared = flags(
            chunk=chunk_folder(pass_, cohort.hook_slug, "heldout") if pass_ else None,
            activations_hash=activations_key(pass_) if pass_ else None,
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
        return " ".join([shared, *(evaluated_settings(cohort, seed) for seed in block)])

    return settings


def evaluated_settings(cohort, seed: int) -> str:
    out_json, out_parquet = evaluation_files(cohort, seed)
    return flags(
        sae=Path(sae_file(cohort.slug, seed)).parent,
        sae_hash=sae_key(cohort, seed),
        config_hash=evaluation_key(cohort, seed),
        out_json=out_json,
        out_parquet=out_parquet,
    )


def megabytes(*sizes) -> int:
    """Memory for a job: so many bytes, and what Python and its libraries take."""
    return 2000 + sum(sizes) // 10**6


def shard_bytes(pass_) -> int:
    return pass_.shard_rows * pass_.d_model * (4 if pass_.dtype == "float32" else 2)


def extract_memory(pass_) -> int:
    # A shard is sorted while the next rows come in; the model's weights, at most 4 bytes each, and its activations.
    return megabytes(3 * shard_bytes(pass_), 4 * (pass_.model.parameters or 0) if pass_.model else 0, 2 * 10**9)


def sae_memory(cohort, saes: int = 1) -> int:
    # Two shards; weights, Adam's two moments and a copy of each on its way to the disk, for encoder and decoder.
    shards = 3 * shard_bytes(cohort.pass_) if cohort.pass_ else 0
    return megabytes(shards, saes * 12 * 4 * cohort.n_latents * cohort.d_model)


def training_memory(cohort, saes: int = 1) -> int:
    # All but TopK: pre-activations of a batch, and while many latents fire, gradients of up to ten parts of it.
    step = 0 if cohort.architecture == "topk" else saes * cohort.batch_size + 20 * cohort.d_model
    return sae_memory(cohort, saes) + 4 * cohort.n_latents * step // 10**6


def sae_threads(cohort, saes: int = 1) -> int:
    # Small SAEs go side by side, a thread for two in a job: while one job starts, others compute. A large one takes the
    # machine.
    return min(max(1, saes // 2), 16) if cohort.n_latents * cohort.d_model <= 4_000_000 else 16


def match_settings(pairs) -> str:
    """Flags for these pairs (cohort, a, b) of SAEs."""
    words = [
        flags(
            a=Path(sae_file(cohort, a)).parent,
            b=Path(sae_file(cohort, b)).parent,
            latents_a=latents_file(cohort, a),
            latents_b=latents_file(cohort, b),
            config_hash=match_key(study.cohorts[cohort], a, b),
            out=match_file(cohort, a, b),
        )
        for cohort, a, b in pairs
    ]
    return " ".join(words)


def floor_settings(repeats) -> str:
    """Flags for these repeats (n_latents, d_model, repeat) of one shape."""
    n_latents, d_model, _ = repeats[0]
    words = [flags(n_latents=n_latents, d_model=d_model, config_hash=floor_key())]
    words += [flags(rep=rep, out=floor_file(*shape, rep)) for *shape, rep in repeats]
    return " ".join(words)


def match_memory(n_latents: int, d_model: int) -> int:
    # Two dictionaries in several precisions, lists of candidates for each row, and SAEs kept for other pairs.
    return megabytes(32 * n_latents * d_model, 2**15 * n_latents, KEPT_BYTES)


def match_threads(n_latents: int) -> int:
    return 1 if n_latents <= 8192 else 16


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


def about(cohort) -> dict:
    """What the report's first page says of a cohort: the name of each setting and its value; None is not said."""
    pass_ = cohort.pass_
    told = {"matrix": pass_.matrix if pass_ else None}
    if pass_ and pass_.tokens:
        documents = {name: value for name, value in pass_.tokens.corpus.documents.items() if value is not None}
        words = {name: " ".join(value) if isinstance(value, list) else value for name, value in documents.items()}
        told |= {
            "model": pass_.model.name,
            "revision": pass_.model.revision,
            "corpus": ", ".join(f"{name} {value}" for name, value in words.items()),
        }
    told |= {"hookpoint": cohort.hookpoint, "latents": f"{cohort.n_latents:,}", "width": f"{cohort.d_model:,}"}
    if cohort.slug in study.external:
        return told | {"SAEs": "made elsewhere", "seeds": len(cohort.seeds)}
    return told | {
        "architecture": cohort.architecture,
        "k": cohort.k,
        "training tokens": f"{cohort.tokens:,}",
        "epochs": cohort.epochs,
        "seeds": f"{len(cohort.seeds)}, of {SEEDS_OF[cohort.varied]}",
    }


SEEDS_OF = {"init": "the initial weights", "order": "the order of the data", "both": "weights and order"}


def summary_settings(wildcards) -> str:
    first = next(iter(study.cohorts))
    words = [flags(study=study.name, base=first)]
    words += [
        flags(about=f"{name}={value}") for name, value in about(study.cohorts[first]).items() if value is not None
    ]
    words += [flags(overlap=f"{cohort}={in_results('overlap', cohort)}") for cohort in study.cohorts]
    for cohort in study.cohorts.values():
        for seed in cohort.seeds:
            words.append(
                flags(evaluation=f"{cohort.slug}={in_results('evaluation', cohort.slug, f'seed-{seed}.json')}")
            )
    return " ".join(words)


def report_settings(wildcards) -> str:
    """What the inner Snakemake needs to see the same study: its files and its changes on the command line."""
    # Relative paths: a study that was moved with its results is not another study.
    words = {
        "--snakefile": [os.path.relpath(workflow.main_snakefile)],
        "--configfile": [os.path.relpath(path) for path in workflow.configfiles],
        "--config": workflow.config_settings.config_args,
    }
    quoted = {flag: " ".join(shlex.quote(str(word)) for word in some or []) for flag, some in words.items()}
    return " ".join(f"{flag} {some}" for flag, some in quoted.items() if some)


# What has still to be trained, or to be read from the files of another library.
UNMADE = unfinished(of_saes(sae_files, sae_key))
UNTRAINED = [sae for sae in UNMADE if sae.split("/")[0] in study.trained]
UNREAD = [sae for sae in UNMADE if sae not in UNTRAINED]


def evaluation_blocks() -> dict[tuple, list[str]]:
    """Seeds that one job evaluates, and the names of the cohorts that have them to evaluate.

    Those of a training block that are not evaluated yet: see `job_rules` for why blocks come first.
    """
    todo = set(unfinished(of_saes(evaluation_files, evaluation_key)))
    blocks = {}
    for slug, cohort in study.cohorts.items():
        for block in cohort.blocks:
            if left := tuple(seed for seed in block if f"{slug}/seed-{seed}" in todo):
                blocks.setdefault(left, []).append(slug)
    return blocks


def match_jobs() -> dict:
    """The name of every rule that matches SAEs, and its pairs (cohort, a, b)."""
    jobs = {}
    for slug, cohort in study.cohorts.items():
        # By the later seed: the pairs of a seed added at the end are neighbours, and so go into one job.
        pairs = sorted(cohort.pairs, key=lambda pair: pair[::-1])
        results = {(slug, *pair): ([match_file(slug, *pair)], match_key(cohort, *pair)) for pair in pairs}
        jobs |= job_rules(slug, results, cohort.n_latents, cohort.d_model)
    return jobs


def floor_jobs() -> dict:
    """The name of every rule that matches random dictionaries, and its repeats (n_latents, d_model, repeat)."""
    jobs = {}
    for shape in study.shapes:
        repeats = [(*shape, rep) for rep in range(study.floor_repeats)]
        results = {repeat: ([floor_file(*repeat)], floor_key()) for repeat in repeats}
        jobs |= job_rules("{}x{}".format(*shape), results, *shape)
    return jobs
