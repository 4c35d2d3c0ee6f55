"""Text behind a token set's own -> held-out token blocks, where firing is measured on more than the token set keeps."""

import json
from typing import TYPE_CHECKING

from sae_stability.pipeline import corpus
from sae_stability.pipeline.command import flags
from sae_stability.study.build import Study
from sae_stability.study.firing import uses_model
from sae_stability.study.parts import TokenSet

if TYPE_CHECKING:
    from sae_stability.pipeline import Pipeline

VERB = "fresh-tokens"
"""The verb that makes the results."""


def token_sets(study: Study) -> list[TokenSet]:
    """The token sets that need further text."""
    passes = [study.cohorts[name].pass_ for name in study.firing.cohorts]
    return list({pass_.tokens.slug: pass_.tokens for pass_ in passes if uses_model(study.firing, pass_)}.values())


def outputs(pipeline: "Pipeline", tokens: TokenSet) -> list[str]:
    """The files of further token blocks."""
    folder = pipeline.results.fresh_tokens(tokens)
    return [f"{folder}/manifest.json", f"{folder}/heldout.parquet"]


def results(pipeline: "Pipeline") -> dict:
    """The further blocks of every such token set, and what they are made from."""
    return {
        tokens.slug: (outputs(pipeline, tokens), pipeline.fingerprints.fresh_tokens(tokens))
        for tokens in token_sets(pipeline.study)
    }


def reads(pipeline: "Pipeline", slug: str) -> list[str]:
    """The files that the result of this name is made from."""
    return corpus.outputs(pipeline, pipeline.study.tokens[slug])


def command(pipeline: "Pipeline", tokens: TokenSet) -> str:
    """The text of a token set, and how many tokens behind its own are wanted."""
    return flags(
        corpus=json.dumps(tokens.corpus.documents),
        corpus_seed=tokens.corpus.seed,
        count=pipeline.study.firing.tokens,
        config_hash=pipeline.fingerprints.fresh_tokens(tokens),
    )
