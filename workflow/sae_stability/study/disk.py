"""Chunk sizes from a budget of disk: how many tokens a chunk may have so that shards deleted after use fit into it."""

import math
from collections.abc import Mapping

from sae_stability.errors import StudyError
from sae_stability.study.parts import Model

# A chunk of a pass is extracted while SAEs are trained on the one before it.
CHUNKS_AT_ONCE = 2
_ROW_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_INDEX_BYTES = 8
# How many numbers of chunks are tried before one divides the tokens.
_TRIED = 100_000


def row_bytes(d_model: int, dtype: str) -> int:
    """What a row of one hookpoint takes on disk: its numbers, and an int64 that says where it comes from."""
    return d_model * _ROW_BYTES[dtype] + _INDEX_BYTES


def chunk_sizes(config: dict, models: Mapping[str, Model]) -> dict[str, int]:
    """Tokens a chunk of every token set.

    A token set that states `chunk_tokens` has that, and its shards take their part of `disk_budget`. All others whose
    shards are deleted after use get chunks of as many tokens as fit into the rest, the same number for all, rounded
    down to a divisor of their `train_tokens`. Without a budget, and where shards are kept, there is one chunk.

    Args:
        config: the study's, with defaults filled in.
        models: the study's models, by name.

    Raises:
        StudyError: the budget is too small.
    """
    tokens, budget = config["tokens"], config["disk_budget"]
    sizes = {slug: given["chunk_tokens"] or given["train_tokens"] for slug, given in tokens.items()}
    rows = _deleted_rows(config, models)
    free = [slug for slug in rows if tokens[slug]["chunk_tokens"] is None]
    if budget is None or not free:
        return sizes
    left = budget - CHUNKS_AT_ONCE * sum(sizes[slug] * row for slug, row in rows.items() if slug not in free)
    most = int(left / (CHUNKS_AT_ONCE * sum(rows[slug] for slug in free)))
    for slug in free:
        sizes[slug] = _divisor(slug, tokens[slug]["train_tokens"], most)
    return sizes


def _deleted_rows(config: dict, models: Mapping[str, Model]) -> dict[str, int]:
    """Bytes that a token takes in all shards that are deleted after use, by token set."""
    found: dict[str, int] = {}
    for given in config["passes"].values():
        token_set = config["tokens"].get(given.get("tokens"))
        model = models.get(token_set["model"]) if token_set else None
        # A name that is not there is refused where the pass is built.
        if model and not given["keep_shards"]:
            row = len(given["hookpoints"]) * row_bytes(given["d_model"] or model.d_model, given["dtype"])
            found[given["tokens"]] = found.get(given["tokens"], 0) + row
    return found


def _divisor(slug: str, train: int, most: int) -> int:
    """The largest divisor of `train` that is at most `most`."""
    if most < 1:
        raise StudyError(
            "disk_budget: too small for even one token a chunk beside the token sets that state chunk_tokens; raise it"
        )
    fewest = math.ceil(train / most)
    chunks = next((count for count in range(fewest, fewest + _TRIED) if train % count == 0), None)
    if chunks is None:
        raise StudyError(
            f"tokens.{slug}.train_tokens: {train:,} has no divisor near {most:,}, the tokens a chunk that disk_budget "
            "allows; write a rounder number, or chunk_tokens"
        )
    return train // chunks
