"""A readable summary of an SAE."""

from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.files import read_json
from sae_stability.sae import formats
from sae_stability.sae.formats import own


def describe(checkpoint: Path) -> str:
    """Shapes, settings and training metrics of an SAE of any format, one `name: value` per line.

    Args:
        checkpoint: folder or file of an SAE, in any format that is read.

    Raises:
        StudyError: there is no SAE at that path, or its files are damaged.
    """
    path = Path(checkpoint)
    if formats.detect(path) == "own":
        tensors, settings = own.arrays(path), own.read_cfg(path)
    else:
        weights = formats.read(path)
        tensors, settings = weights.tensors, weights.settings | weights.origin
    metrics_file = path / "metrics.json"
    metrics = read_json(metrics_file) if metrics_file.exists() else {}
    if not isinstance(metrics, dict):
        raise StudyError(f"{metrics_file}: must hold a JSON mapping; delete it")
    shapes = {name: f"{values.dtype} {values.shape}" for name, values in tensors.items()}
    lines = []
    for title, values in (("tensors", shapes), ("settings", settings), ("training", metrics)):
        if values:
            lines += [f"{title}:", *(f"  {name}: {value}" for name, value in values.items())]
    return "\n".join(lines)
