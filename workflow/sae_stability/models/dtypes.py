"""Names of number types. Apart from `loading`, because a matrix is imported without transformers."""

import torch

from sae_stability.errors import StudyError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SHORT = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of "float32", "float16" or "bfloat16" (or fp32, fp16, bf16).

    Raises:
        StudyError: another name.
    """
    try:
        return DTYPES[_SHORT.get(name, name)]
    except KeyError:
        raise StudyError(f"dtype '{name}' is unknown; allowed: {', '.join(DTYPES)}") from None
