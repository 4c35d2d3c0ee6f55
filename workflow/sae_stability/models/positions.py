"""How many positions a model has: what its configuration states, and where its tables end."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATED = ("max_position_embeddings", "n_positions", "n_ctx")
# Their positions begin after the padding index, which therefore takes a part of the table.
_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
# Positions are distances here; what their configurations state is no limit.
_RELATIVE = {"bloom", "longt5", "mpt", "mt5", "switch_transformers", "t5", "umt5", "xlnet"}
# MPNet states no padding index in older files; all these models take 1.
_PADDING_INDEX = 1
_TABLES = {"embed_positions", "position_embedding", "position_embeddings", "positions_embed", "wpe"}


def stated_positions(config: dict) -> int | None:
    """The longest context that a configuration, as a mapping, states in tokens; None if it states no limit."""
    found = [config[name] for name in _STATED if type(config.get(name)) is int]
    if not found or found[0] < 1 or config.get("model_type") in _RELATIVE:
        return None
    if config.get("model_type") not in _AFTER_PADDING or config.get("position_embedding_type") == "rotary":
        return found[0]
    padding = config.get("pad_token_id")
    return found[0] - (padding if type(padding) is int else _PADDING_INDEX) - 1


def table_positions(model: "torch.nn.Module") -> int | None:
    """The longest context that a model's tables of positions allow; None where it has none, as with rotary positions.

    Other modalities have tables of their own, which text does not meet.
    """
    sizes = [
        _usable(module)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in _TABLES
        and not any(word in name for word in ("vision", "image", "visual", "audio"))
    ]
    return min([size for size in sizes if size is not None], default=None)


def _usable(table: "torch.nn.Module") -> int | None:
    """Positions of a table that stand for tokens; None if it is computed as needed and ends nowhere."""
    rows = getattr(table, "num_embeddings", None)
    if rows is None or "Sinusoidal" in type(table).__name__:
        return None
    # RoBERTa's positions begin after the padding index; BART's and OPT's tables have rows before the first position.
    before = table.padding_idx + 1 if table.padding_idx is not None else getattr(table, "offset", 0)
    return rows - before
