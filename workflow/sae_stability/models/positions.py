"""How many positions a model has: what its configuration states, and where its tables end."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# LED states a number for each of its halves, MPT and DBRX `max_seq_len`, ChatGLM `seq_length`.
_STATED = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_encoder_position_embeddings",
    "max_seq_len",
    "seq_length",
)
# Their positions begin after the padding index, which therefore takes a part of the table.
_AFTER_PADDING = {
    "altclip_text_model",
    "camembert",
    "clap_text_model",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "prophetnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
# Positions are distances here; what their configurations state is no limit.
_RELATIVE = {"bloom", "longt5", "mt5", "switch_transformers", "t5", "umt5", "xlnet"}
# MPNet states no padding index in older files; all these models take 1.
_PADDING_INDEX = 1
_TABLES = {"embed_positions", "position_embedding", "position_embeddings", "positions_embed", "wpe"}
# Tables that CTRL, GPT-J and CodeGen compute once, as long as their configurations say.
_COMPUTED_ONCE = ("pos_encoding", "embed_positions")


def stated_positions(config: dict) -> int | None:
    """The longest context that a configuration, as a mapping, states in tokens; None if it states no limit."""
    found = [config[name] for name in _STATED if type(config.get(name)) is int]
    if not found or found[0] < 1 or _distances(config):
        return None
    if config.get("model_type") not in _AFTER_PADDING or config.get("position_embedding_type") == "rotary":
        return found[0]
    padding = config.get("pad_token_id")
    return found[0] - (padding if type(padding) is int else _PADDING_INDEX) - 1


def _distances(config: dict) -> bool:
    """Whether positions are distances between tokens alone: relative positions, or ALiBi that goes on for ever."""
    alibi = config.get("alibi") is True or config.get("position_embedding_type") == "alibi"
    deberta = config.get("relative_attention") is True and config.get("position_biased_input") is False
    return alibi or deberta or config.get("model_type") in _RELATIVE


def table_positions(model: "torch.nn.Module") -> int | None:
    """The longest context that a model's tables of positions allow; None where it has none, as with rotary positions.

    Other modalities have tables of their own, which text does not meet.
    """
    limits = [
        limit
        for name, module in model.named_modules()
        if not any(word in name for word in ("vision", "image", "visual", "audio"))
        for limit in _limits(module)
    ]
    return min(limits, default=None)


def _limits(module: "torch.nn.Module") -> list[int]:
    """Positions that the tables of positions in a module have for tokens."""
    children = dict(module.named_children())
    limits = [_usable(children[name]) for name in sorted(_TABLES & children.keys())]
    found = [limit for limit in limits if limit is not None]
    listed = getattr(module, "position_ids", None)
    if found and listed is not None:
        found.append(listed.shape[-1])  # some tables have rows that no number in this list leads to
    tables = [getattr(module, name, None) for name in _COMPUTED_ONCE]
    return found + [len(table) for table in tables if getattr(table, "ndim", 0) == 2]


def _usable(table: "torch.nn.Module") -> int | None:
    """Positions of a table that stand for tokens; None if it has no rows, or makes more as it needs them."""
    rows = getattr(table, "weight", None)
    if rows is None or hasattr(table, "make_weight"):
        return None
    # RoBERTa's positions begin after the padding index; BART's and OPT's tables have rows before the first position.
    padding = getattr(table, "padding_idx", None)
    return len(rows) - (getattr(table, "offset", 0) if padding is None else padding + 1)
