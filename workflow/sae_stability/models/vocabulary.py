"""How many tokens a model knows."""

import torch


def known_tokens(model: torch.nn.Module) -> int | None:
    """Rows of the model's table of tokens; None where it has none, as a model that reads characters or pictures."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return None
    weight = getattr(table, "weight", None)
    return len(weight) if isinstance(weight, torch.Tensor) and weight.ndim == 2 else None
