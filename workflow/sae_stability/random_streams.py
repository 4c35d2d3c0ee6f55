"""Independent random streams from named parts, so that no two uses of a seed share numbers."""

import hashlib


def stream(*parts: object) -> int:
    """A 63-bit seed that depends on every part and on their order.

    `stream("init", 3, "layers.6.mlp")` names another stream than `stream("init", 3, "layers.7.mlp")`:
    two hookpoints of equal width must not start from the same dictionary, or their SAEs look aligned.

    Args:
        parts: strings and integers naming the use; compared by their `repr`.

    Returns:
        An integer in [0, 2**63), fit for `torch.Generator.manual_seed` and `numpy.random.default_rng`.
    """
    digest = hashlib.sha256("\x1f".join(map(repr, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
