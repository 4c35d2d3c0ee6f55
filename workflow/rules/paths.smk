"""Where every result lies, and what each job reads."""

from sae_stability.sae.checkpoint_files import checkpoint_files
from sae_stability.corpus.documents import local_files

OVERLAP_TABLES = ["pairs", "thresholds", "seeds", "latents", "intervals"]


def in_results(*parts) -> str:
    """A path inside the results folder."""
    return str(Path(study.results, *map(str, parts)))


def corpus_files(corpus) -> list[str]:
    """The local files of a corpus."""
    is_local = corpus.documents["kind"] == "files"
    return list(map(str, local_files(corpus.documents["paths"]))) if is_local else []


def token_files(tokens) -> list[str]:
    chunks = [f"chunk-{chunk:04d}.parquet" for chunk in range(tokens.chunks)]
    return [in_results("tokens", tokens.slug, name) for name in ["manifest.json", "heldout.parquet", *chunks]]


def chunk_folder(pass_, hook: str, chunk) -> str:
    return in_results(
        "activations",
        pass_.slug,
        hook,
        chunk if chunk == "heldout" else f"chunk-{chunk}",
    )


def manifests(pass_, chunk) -> list[str]:
    return [f"{chunk_folder(pass_, hook, chunk)}/manifest.json" for hook in pass_.hook_slugs]


def shards(pass_, chunk) -> list[str]:
    return [
        f"{chunk_folder(pass_, hook, chunk)}/{name}" for hook in pass_.hook_slugs for name in pass_.shard_names(chunk)
    ]


def hook_files(pass_, hook: str, chunk) -> list[str]:
    folder = chunk_folder(pass_, hook, chunk)
    return [f"{folder}/{name}" for name in ["manifest.json", *pass_.shard_names(chunk)]]


def activation_files(pass_) -> list[str]:
    chunks = [
        "heldout",
        *(f"{chunk:04d}" for chunk in range(study.chunks_needed(pass_.slug))),
    ]
    return [file for chunk in chunks for file in manifests(pass_, chunk) + shards(pass_, chunk)]


def chunk_source(pass_, chunk):
    """What a chunk is made from. Where shards go after use, also what must be over before it is made.

    Extraction runs one chunk ahead of training and no further: without that, every chunk would come to lie on the disk.
    """
    # As for a corpus, a matrix that changed is seen by the fingerprint among the job's settings.
    source = [ancient(pass_.matrix)] if pass_.matrix else token_files(pass_.tokens)

    def files(wildcards):
        before = int(wildcards.chunk) - 2
        return source + [state_file(*sae, f"{before:04d}") for sae in in_training(pass_, before)]

    return source if chunk == "heldout" or pass_.keep_shards else files


def in_training(pass_, chunk: int) -> list[tuple[str, int]]:
    """Cohort and seed of the unfinished SAEs of a pass that train on this chunk and on one after it."""
    cohorts = [cohort for cohort in study.cohorts_of(pass_.slug) if 0 <= chunk < cohort.chunks - 1]
    return [(cohort.slug, seed) for cohort in cohorts for seed in cohort.seeds if (cohort.slug, seed) in BLOCK_OF]


def state_file(cohort: str, seed: int, chunk: str) -> str:
    """The state of an SAE after a chunk. Its path says with which seeds it is trained: see blocks.smk.

    That comes first in the path, because Snakemake looks for the rule that makes a file by the path's beginning.
    """
    block = f"seeds-{joined(BLOCK_OF[cohort, seed])}"
    return in_results("states", block, cohort, f"seed-{seed}", f"chunk-{chunk}.safetensors")


def chunk_inputs(block):
    """The files that one training job reads: its chunk, and the states after the chunk before."""

    def files(wildcards):
        cohort = study.cohorts[wildcards.cohort]
        chunk = int(wildcards.get("chunk", cohort.chunks - 1))
        found = {"chunk": hook_files(cohort.pass_, cohort.hook_slug, f"{chunk:04d}")}
        if chunk:
            found["previous"] = [state_file(cohort.slug, seed, f"{chunk - 1:04d}") for seed in block]
            # The mean and the scale of the first chunk hold for all; its shards may be gone by now.
            found["first"] = f"{chunk_folder(cohort.pass_, cohort.hook_slug, '0000')}/manifest.json"
        return found

    return files


def sae_files(cohort, seed: int) -> list[str]:
    """The files of an SAE; the first says what it was made from."""
    names = ["cfg.json", "sae.safetensors"]
    if cohort.slug in study.trained:
        names += ["metrics.json", "history.parquet"]
    return [in_results("saes", cohort.slug, f"seed-{seed}", name) for name in names]


def fetched_folder(sae) -> str:
    """Where an SAE from the hub is put."""
    return in_results("fetched", key(sae.repo, sae.folder, sae.revision))


def given_path(sae) -> str:
    """The checkpoint itself of an SAE made elsewhere."""
    return sae.path or str(Path(fetched_folder(sae), sae.folder))


def given_files(cohort, seed: int) -> list[str]:
    """What an SAE made elsewhere is read from."""
    sae = cohort.saes[seed]
    return list(map(str, checkpoint_files(Path(sae.path)))) if sae.path else [fetched_folder(sae)]


def evaluation_files(cohort, seed: int) -> list[str]:
    """The files of an evaluation; the first says what it was made from."""
    return [in_results("evaluation", cohort.slug, f"seed-{seed}{ending}") for ending in (".json", ".parquet")]


def evaluation_inputs(block):
    """The files that one job reads for the SAEs of a block; held-out activations if there are any."""

    def files(wildcards) -> list[str]:
        cohort = study.cohorts[wildcards.cohort]
        heldout = hook_files(cohort.pass_, cohort.hook_slug, "heldout") if cohort.pass_ else []
        return heldout + [file for seed in block for file in sae_files(cohort, seed)[:2]]

    return files


def match_file(cohort: str, a: int, b: int) -> str:
    return in_results("matches", cohort, f"{a}-{b}.parquet")


def sae_file(cohort: str, seed: int) -> str:
    return in_results("saes", cohort, f"seed-{seed}", "sae.safetensors")


def latents_file(cohort: str, seed: int) -> str:
    return in_results("evaluation", cohort, f"seed-{seed}.parquet")


def match_inputs(pairs) -> list[str]:
    """The files that a job reads for these pairs (cohort, a, b) of SAEs."""
    saes = {(cohort, seed): None for cohort, a, b in pairs for seed in (a, b)}
    return [file(*sae) for file in (sae_file, latents_file) for sae in saes]


def overlap_files(cohort: str) -> list[str]:
    return [in_results("overlap", cohort, f"{table}.parquet") for table in OVERLAP_TABLES]


def floor_file(n_latents: int, d_model: int, rep: int) -> str:
    return in_results("floors", f"{n_latents}x{d_model}", f"{rep}.parquet")


def overlap_inputs(wildcards):
    cohort = study.cohorts[wildcards.cohort]
    return {
        "matches": [match_file(cohort.slug, a, b) for a, b in cohort.pairs],
        "floors": [floor_file(cohort.n_latents, cohort.d_model, rep) for rep in range(study.floor_repeats)],
        "latents": [latents_file(cohort.slug, seed) for seed in cohort.seeds],
        "saes": [sae_file(cohort.slug, seed) for seed in cohort.seeds],
    }


def sources(wildcards) -> list[tuple[str, str]]:
    """Label and path of every table that a figure is made from, in order."""
    figure = study.figures[wildcards.figure]
    tables = [(label, in_results("overlap", cohort)) for label, cohort in figure.inputs]
    extra = FIGURES[figure.figure].extra
    if "match" in extra:
        cohort = study.cohorts[figure.cohort]
        tables.append((cohort.slug, match_file(cohort.slug, *cohort.pairs[0])))
    if "evaluation" in extra:
        cohorts = [study.cohorts[cohort] for _, cohort in figure.inputs]
        tables += [(cohort.slug, evaluation_files(cohort, seed)[0]) for cohort in cohorts for seed in cohort.seeds]
    return tables


def source_files(wildcards) -> list[str]:
    files = [path for _, path in sources(wildcards) if path.endswith((".parquet", ".json"))]
    folders = [path for _, path in sources(wildcards) if path not in files]
    return files + [file for folder in folders for file in overlap_files(Path(folder).name)]
