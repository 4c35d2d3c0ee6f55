"""Where every result of a study lies. Each path is spelled here and nowhere else."""

import glob
import re
from pathlib import Path

from sae_stability.fingerprint import key
from sae_stability.provenance.links import NOTE
from sae_stability.study.parts import ExternalSae, Pass, TokenSet

OVERLAP_TABLES = ("pairs", "thresholds", "seeds", "latents", "intervals")
STITCH_TABLES = ("insertions", "components", "swaps", "roc", "path", "reconstruction")


class Results:
    """The paths of a study's results.

    A cohort and a figure go by their names, and a seed and a chunk by their numbers. A rule gives a wildcard in the
    place of any of them: `results.latents("{cohort}", 0)`.
    """

    def __init__(self, root: str) -> None:
        self.root = str(Path(root))

    def path(self, *parts: object) -> str:
        """A path inside the results folder."""
        # Not with pathlib: a large study asks for 100,000 paths.
        return "/".join([self.root, *map(str, parts)])

    def below(self, file: str) -> str:
        """The path of a result below the results folder."""
        return file.removeprefix(f"{self.root}/")

    @property
    def provenance(self) -> str:
        """What every result is made from."""
        return self.path(NOTE)

    @property
    def contents(self) -> str:
        """Checksums of the study's local files, remembered from run to run."""
        return self.path("contents.json")

    @property
    def stale(self) -> str:
        """The results that are there but are not what the study asks for."""
        return self.path("stale.json")

    @property
    def checked(self) -> str:
        """Which hookpoints were found in their models."""
        return self.path("checked.json")

    def tokens(self, tokens: TokenSet) -> str:
        """The folder of token blocks."""
        return self.path("tokens", tokens.slug)

    def token_manifest(self, tokens: TokenSet) -> str:
        """The list of the files of token blocks."""
        return f"{self.tokens(tokens)}/manifest.json"

    def heldout_tokens(self, tokens: TokenSet) -> str:
        """The token blocks kept for evaluation."""
        return self.path("tokens", tokens.slug, "heldout.parquet")

    def token_chunks(self, tokens: TokenSet) -> list[str]:
        """The token blocks of every training chunk."""
        return [self.path("tokens", tokens.slug, f"{_chunk(chunk)}.parquet") for chunk in range(tokens.chunks)]

    def activations(self, pass_: Pass, hook: str, chunk: int | str) -> str:
        """The folder of a chunk's activations at one hookpoint; `hook` is the hookpoint as a file name."""
        return self.path("activations", pass_.slug, hook, _chunk(chunk))

    def manifest(self, pass_: Pass, hook: str, chunk: int | str) -> str:
        """The list of a chunk's shards, with the mean and scale of its rows."""
        return f"{self.activations(pass_, hook, chunk)}/manifest.json"

    def shards(self, pass_: Pass, hook: str, chunk: int | str) -> list[str]:
        """The shards of a chunk at one hookpoint."""
        folder = self.activations(pass_, hook, chunk)
        return [f"{folder}/{name}" for name in pass_.shard_names(chunk)]

    def state(self, block: tuple, cohort: str, seed: int | str, chunk: int | str) -> str:
        """An SAE in training, after a chunk. `block` are the seeds that it is trained with.

        The block comes first, because Snakemake looks for the rule that makes a file by the beginning of its path.
        """
        seeds = "-".join(map(str, block))
        return self.path("states", f"seeds-{seeds}", cohort, f"seed-{seed}", f"{_chunk(chunk)}.safetensors")

    def blocks_begun(self, cohort: str, seed: int) -> list[tuple[int, ...]]:
        """The blocks in which an SAE has been trained up to some chunk, by the states that lie there."""
        states = glob.glob(Results(glob.escape(self.root)).state(("*",), cohort, seed, "*"))
        names = {Path(state).parts[-4].removeprefix("seeds-") for state in states}
        return sorted(tuple(map(int, name.split("-"))) for name in names)

    def checkpoint(self, cohort: str, seed: int, fingerprint: str, chunk: int) -> str:
        """The checkpoint from which a killed training job continues.

        It is no output of a rule, because Snakemake deletes outputs before a job starts. Two cohorts may hold an SAE
        of the same two seeds and so of the same fingerprint: the path names the cohort too.
        """
        return self.path("checkpoints", cohort, f"seed-{seed}", f"{fingerprint}-{chunk:04d}.safetensors")

    def tensorboard(self, cohort: str, seed: int) -> str:
        """The folder of an SAE's TensorBoard event files."""
        return self.path("tensorboard", cohort, f"seed-{seed}")

    def sae(self, cohort: str, seed: int | str) -> str:
        """The folder of an SAE, trained here or made elsewhere."""
        return self.path("saes", cohort, f"seed-{seed}")

    def weights(self, cohort: str, seed: int | str) -> str:
        """The weights of an SAE."""
        return f"{self.sae(cohort, seed)}/sae.safetensors"

    def settings(self, cohort: str, seed: int | str) -> str:
        """The settings of an SAE, with the fingerprint of its sources."""
        return f"{self.sae(cohort, seed)}/cfg.json"

    def metrics(self, cohort: str, seed: int | str) -> str:
        """FVU, L0 and the share of dead latents at the end of an SAE's training."""
        return f"{self.sae(cohort, seed)}/metrics.json"

    def history(self, cohort: str, seed: int | str) -> str:
        """The same numbers during an SAE's training, about 400 times."""
        return f"{self.sae(cohort, seed)}/history.parquet"

    def fetched(self, name: str) -> str:
        """The folder of an SAE from the hub; `fetched_name` gives the name."""
        return self.path("fetched", name)

    def quality(self, cohort: str, seed: int | str) -> str:
        """The quality of an SAE on held-out rows."""
        return self.path("evaluation", cohort, f"seed-{seed}.json")

    def latents(self, cohort: str, seed: int | str) -> str:
        """The table of an SAE's latents, from its evaluation."""
        return self.path("evaluation", cohort, f"seed-{seed}.parquet")

    def fresh_tokens(self, tokens: TokenSet) -> str:
        """The folder of further held-out blocks, for firing alone."""
        return self.path("fresh-tokens", tokens.slug)

    def firing(self, cohort: str, seed: int | str) -> str:
        """What an SAE's latents fire on."""
        return self.path("firing", cohort, f"seed-{seed}.parquet")

    def firing_work(self, cohort: str) -> str:
        """The folder in which a job that measures firing has its temporary files."""
        return self.path("firing", cohort)

    def contexts(self, cohort: str, seed: int | str) -> str:
        """Contexts of an SAE's latents."""
        return self.path("contexts", cohort, f"seed-{seed}.parquet")

    def pool(self, cohort: str, seed: int | str) -> str:
        """The pool of windows, with the latents of an SAE that fire in each."""
        return self.path("pools", cohort, f"seed-{seed}.parquet")

    def cofiring(self, cohort: str, a: int, b: int) -> str:
        """How far matched latents of two SAEs fire together."""
        return self.path("cofiring", cohort, f"{a}-{b}.parquet")

    def substitution(self, cohort: str, a: int, b: int) -> list[str]:
        """What a pair's latents are worth beside their counterparts: by latent, as a curve, and pooled."""
        return [self.path("substitution", cohort, f"{a}-{b}{part}.parquet") for part in ("", "-curve", "-pooling")]

    def consensus(self, cohort: str, name: str) -> str:
        """A file of a cohort's consensus."""
        return self.path("consensus", cohort, name)

    def meta(self, cohort: str) -> list[str]:
        """Meta-SAEs beside their baselines, the number of meta-latents of each latent, cosines and graphs."""
        return [self.path("meta", cohort, f"{table}.parquet") for table in ("baselines", "parts", "cosines", "graph")]

    def choice(self, cohort: str) -> str:
        """Which explanation of five a judge chose for each latent that a cohort of meta-SAEs takes apart."""
        return self.path("meta", cohort, "choice.parquet")

    def stitch(self, stitch: str, number: int) -> str:
        """The folder of a pair of neighbours in a chain; pairs are numbered from 1."""
        return self.path("stitch", stitch, number)

    def stitch_files(self, stitch: str, number: int) -> list[str]:
        """What is written of a pair of neighbours."""
        folder = self.stitch(stitch, number)
        tables = [f"{folder}/{table}.parquet" for table in STITCH_TABLES]
        return [f"{folder}/stitch.json", *tables, f"{folder}/sae/cfg.json", f"{folder}/sae/sae.safetensors"]

    def match(self, cohort: str, a: int, b: int) -> str:
        """The match of two SAEs of a cohort."""
        return self.path("matches", cohort, f"{a}-{b}.parquet")

    def floor(self, n_latents: int, d_model: int, repeat: int) -> str:
        """The match of a pair of random dictionaries."""
        return self.path("floors", f"{n_latents}x{d_model}", f"{repeat}.parquet")

    def overlap(self, cohort: str) -> str:
        """The folder of a cohort's overlap tables."""
        return self.path("overlap", cohort)

    def overlap_tables(self, cohort: str) -> list[str]:
        """The overlap tables of a cohort."""
        return [f"{self.overlap(cohort)}/{table}.parquet" for table in OVERLAP_TABLES]

    def explanations(self, explainer: str, cohort: str, seed: int | str) -> str:
        """What a judge says of an SAE's latents."""
        return self.path("explanations", explainer, cohort, f"seed-{seed}.parquet")

    def similarity(self, explainer: str, cohort: str) -> str:
        """How alike the explanations of matched latents are."""
        return self.path("explanations", explainer, cohort, "similarity.parquet")

    def scores(self, explainer: str, scorer: str, cohort: str, seed: int | str) -> str:
        """The scores of an SAE's explanations."""
        return self.path("scores", explainer, scorer, cohort, f"seed-{seed}.parquet")

    def score_summary(self, explainer: str, scorer: str, cohort: str) -> str:
        """What the scores of a cohort come to."""
        return self.path("scores", explainer, scorer, cohort, "summary.parquet")

    def answers(self, judge: str) -> str:
        """The folder of what an endpoint has answered."""
        return self.path("answers", judge)

    def figure(self, figure: str, ending: str) -> str:
        """A figure's table (parquet, csv), picture (svg, pdf, png), caption (rst), or record of these (json)."""
        return self.path("figures", f"{figure}.{ending}")

    @property
    def explorer(self) -> str:
        """The first page of the site in which latents are looked at."""
        return self.path("explorer", "index.html")

    @property
    def explorer_record(self) -> str:
        """What the site was made from, with the digests of its data."""
        return self.path("explorer", "data", "record.json")

    @property
    def summary(self) -> str:
        """The key numbers in words: the report's first page."""
        return self.path("summary.rst")

    @property
    def summary_record(self) -> str:
        """What the key numbers were made from, with their digest."""
        return self.path("summary.json")

    def report(self, ending: str) -> str:
        """The paper: a page (html), a PDF (pdf), or the record of both (json)."""
        return self.path(f"report.{ending}")

    @property
    def workflow_report(self) -> str:
        """Snakemake's own report."""
        return self.path("workflow-report.html")

    @property
    def workflow_report_record(self) -> str:
        """What Snakemake's report was made from, with its digest."""
        return self.path("workflow-report.json")


def fetched_name(sae: ExternalSae) -> str:
    """What an SAE from the hub is called on the disk: a hash, and the repository's name, which may say k."""
    repository = re.sub(r"[^A-Za-z0-9._-]", "-", sae.repo.rpartition("/")[2])
    return f"{key(sae.repo, sae.folder, sae.revision)}-{repository}"


def _chunk(chunk: int | str) -> str:
    """A chunk's name, from its number or a wildcard for it; "heldout" as it is."""
    if chunk == "heldout":
        return chunk
    return f"chunk-{chunk:04d}" if isinstance(chunk, int) else f"chunk-{chunk}"
