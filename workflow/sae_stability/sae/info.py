"""What an SAE is, in a few lines for a person."""

from pathlib import Path

from sae_stability.files import read_json
from sae_stability.sae.checkpoint import arrays, read_cfg


def describe(path: Path) -> str:
    """Shapes, settings and training metrics of an SAE folder, one `name: value` a line.

    Raises:
        StudyError: the folder is no SAE, or its files are damaged.
    """
    tensors = {name: f"{values.dtype} {values.shape}" for name, values in arrays(path).items()}
    metrics_file = Path(path) / "metrics.json"
    metrics = read_json(metrics_file) if metrics_file.exists() else {}
    lines = []
    for title, values in (("tensors", tensors), ("settings", read_cfg(path)), ("training", metrics)):
        if values:
            lines += [f"{title}:", *(f"  {name}: {value}" for name, value in values.items())]
    return "\n".join(lines)
