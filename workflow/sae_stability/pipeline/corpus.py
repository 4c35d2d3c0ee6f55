"""Documents -> token blocks."""

import json
from typing import TYPE_CHECKING

from sae_stability.corpus.text_files import local_files
from sae_stability.pipeline.command import flags, given_inputs
from sae_stability.pipeline.cost import Cost, on_cores, used_passes
from sae_stability.pipeline.rates import Rates
from sae_stability.study.build import Study
from sae_stability.study.parts import TokenSet

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "tokenize"
"""The verb that makes the results."""

_TOKEN_BYTES = 13  # a block holds three int32 and a flag for each token
_TEXT_BYTES = 4  # of a token in a document
_HUB_BYTES = 2  # of a token in the packed files of a data set on the hub
_START_SECONDS = 17  # of a job, to load the tokenizer and put documents in order
_TOKENS_A_MINUTE = 60 * 200_000

MEMORY = 8000
"""What a job takes, in MB."""


def inputs(tokens: TokenSet) -> list[str]:
    """The local files of the corpus; none for another kind of corpus."""
    documents = tokens.corpus.documents
    return given_inputs(map(str, local_files(documents["paths"]))) if documents["kind"] == "files" else []


def outputs(pipeline: "Pipeline", tokens: TokenSet) -> list[str]:
    """The manifest, the held-out blocks and those of every chunk."""
    results = pipeline.results
    return [results.token_manifest(tokens), results.heldout_tokens(tokens), *results.token_chunks(tokens)]


def results(pipeline: "Pipeline") -> dict:
    """The blocks of every token set, and what they are made from."""
    return {
        slug: (outputs(pipeline, tokens), pipeline.fingerprints.tokens(tokens))
        for slug, tokens in pipeline.study.tokens.items()
    }


def reads(pipeline: "Pipeline", *_name: str | int) -> list[str]:
    """No other result."""
    return []


def command(pipeline: "Pipeline", tokens: TokenSet) -> str:
    """The text, the tokenizer and the sizes."""
    return flags(
        corpus=json.dumps(tokens.corpus.documents),
        corpus_seed=tokens.corpus.seed,
        tokenizer=tokens.model.name,
        revision=tokens.model.revision,
        context_length=tokens.context_length,
        packing=tokens.packing,
        heldout_tokens=tokens.heldout_tokens,
        train_tokens=tokens.train_tokens,
        chunk_tokens=tokens.chunk_tokens,
        shuffle_tokens=tokens.shuffle_tokens or None,
        config_hash=pipeline.fingerprints.tokens(tokens),
    )


def minutes(tokens: TokenSet) -> int:
    """How long a job may take."""
    return 60 + tokens.train_tokens // _TOKENS_A_MINUTE


def cost(study: Study, rates: Rates) -> Cost:
    """Every token is tokenised once and kept. Text of the hub is read as its files hold it, packed."""
    sets = {pass_.tokens.slug: pass_.tokens for pass_ in used_passes(study) if pass_.tokens}
    counts = {slug: item.heldout_tokens + item.train_tokens for slug, item in sets.items()}
    tokens = sum(counts.values())
    far = sum(counts[slug] for slug, item in sets.items() if item.corpus.documents["kind"] == "hub")
    stored = tokens * _TOKEN_BYTES
    text = tokens * _TEXT_BYTES
    longest = max(counts.values(), default=0) / rates.tokenizer_rate / 3600
    started = on_cores(rates, len(sets), _START_SECONDS * len(sets))["cpu_hours"]
    return Cost(
        "tokens",
        len(sets),
        tokens,
        cpu_hours=tokens / rates.tokenizer_rate / 3600 + started,
        chain_hours=longest,
        read=text,
        written=stored,
        peak=stored,
        downloaded=far * _HUB_BYTES,
    )
