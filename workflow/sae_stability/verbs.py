"""The verbs of the command line: the function that each one calls, and a line of help.

Functions are named and imported only when called, so a verb that needs no torch does not wait for its import.
"""

from importlib import import_module
from types import FunctionType
from typing import NamedTuple


class Verb(NamedTuple):
    """A verb's function as "module:function", and its line in the list of verbs."""

    function: str
    summary: str

    @property
    def module(self) -> str:
        """The dotted name of the function's module."""
        return f"{__package__}.{self.function.partition(':')[0]}"

    @property
    def name(self) -> str:
        """The function's name in its module."""
        return self.function.partition(":")[2]

    def load(self) -> FunctionType:
        """Import the module and return the function."""
        return getattr(import_module(self.module), self.name)


VERBS = {
    "validate": Verb("study.validate:validate", "check a study's file, its text and its hookpoints"),
    "plan": Verb("pipeline.plan:describe", "estimate what a study costs: jobs, hours, disk, network, money"),
    "calibrate": Verb("calibrate:calibrate", "measure this machine's rates for plan, in about a minute"),
    "train": Verb("sae.training.verb:train_saes", "train an SAE, or several, on one chunk of activations"),
    "match": Verb("match.pairs:match_pairs", "match two SAEs, or several pairs, exactly one to one"),
    "compare": Verb("compare.verb:compare", "compare two SAEs or more of any formats: what every pair shares"),
    "rate": Verb("consensus.rate:rate", "rate the latents of an SAE by how many other SAEs have them too"),
    "explore": Verb("explorer.explore:explore", "make a site of SAEs to look at their latents, without a study"),
    "dashboards": Verb(
        "explorer.dashboards:write_dashboards", "hand what latents fire on over to SAEDashboard and Neuronpedia"
    ),
    "contexts": Verb("firing.show:show_contexts", "show texts on which a latent fires, shaded by its activation"),
    "decompose": Verb("meta.decompose:decompose", "take a latent apart into the meta-latents of a meta-SAE"),
    "convert": Verb("sae.convert:convert", "convert an SAE from one library's format to another's"),
    "fetch": Verb("sae.hub:fetch", "download an SAE from the Hugging Face hub"),
    "convert-gguf": Verb("models.gguf:convert_gguf", "convert a quantised model of llama.cpp to one that studies name"),
    "info": Verb("sae.info:describe", "show what an SAE is: shapes, settings, quality"),
    "tokenize": Verb("corpus.tokenize:tokenize", "stage: documents to token blocks"),
    "extract": Verb("activations.extraction:extract", "stage: token blocks to shards of activations"),
    "import-matrix": Verb("activations.matrix:import_matrix", "stage: a matrix of your own to shards of activations"),
    "decoder-rows": Verb(
        "meta.decoder_rows:write_decoder_rows", "stage: decoder rows of SAEs to shards of activations"
    ),
    "evaluate": Verb("sae.quality.evaluate:evaluate", "stage: quality of SAEs on held-out activations"),
    "firing": Verb("firing.job:measure_firing", "stage: what latents fire on, contexts, and co-firing of matches"),
    "substitution": Verb(
        "firing.substitution_job:measure_substitution", "stage: what latents are worth beside their counterparts"
    ),
    "consensus": Verb("consensus.job:build_consensus", "stage: groups of latents over seeds, and the consensus SAE"),
    "meta-baselines": Verb("meta.job:measure_meta", "stage: meta-SAEs beside simpler descriptions of the same rows"),
    "choice": Verb("meta.choice:choose_by_parts", "stage: do the parts of a latent tell which explanation is its own?"),
    "stitch": Verb("stitch.job:stitch", "stage: what a larger SAE has that a smaller one lacks"),
    "fresh-tokens": Verb("firing.fresh_tokens:write_fresh_tokens", "stage: text behind a token set's own to blocks"),
    "floor": Verb("match.floors:write_floors", "stage: match pairs of random dictionaries"),
    "overlap": Verb("match.overlap_tables:write_overlap", "stage: matches of a cohort to overlap tables"),
    "explain": Verb("interpret.explain:explain_latents", "stage: explain in words what latents fire on"),
    "score": Verb("interpret.score:score_latents", "stage: score how well explanations predict where latents fire"),
    "score-summary": Verb("interpret.summary:summarise_scores", "stage: scores of a cohort to a summary"),
    "explanation-similarity": Verb(
        "interpret.similarity:compare_explanations", "stage: are the explanations of matched latents alike?"
    ),
    "figure-table": Verb("figures.tables:write_table", "stage: overlap tables to a figure's tidy table"),
    "figure": Verb("figures.drawings:write_figure", "stage: a tidy table to a figure and its caption"),
    "explorer": Verb("explorer.write:write_explorer", "stage: a site in which latents are looked at"),
    "trace": Verb("provenance.trace:trace", "show what a result is made from, down to the token blocks, and check it"),
    "archive": Verb("provenance.archive:archive", "pack a study's tables, figures, report and explorer into one file"),
    "rebuild": Verb("provenance.rebuild:rebuild", "make the figures and the report of an archive again"),
    "verify": Verb("files:verify", "check that tables and figures are as they were written"),
    "record": Verb("files:write_record", "stage: what a file was made from, beside it"),
    "report": Verb("report.paper:write_report", "stage: the paper, as an HTML page and a PDF"),
    "summary": Verb("figures.summary:write_summary", "stage: key numbers of the study in words"),
}
