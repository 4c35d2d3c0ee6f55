"""Data of the explorer as scripts.

A page that is opened from the disk may load scripts and nothing else. So each chunk of data is a script that hands a
name and a text to the page; the text is JSON, compressed by gzip, in base64. No text of a corpus or of a judge stands
in HTML or in a script.
"""

import base64
import gzip
import json

import numpy as np
import pandas as pd


def script(name: str, value: object) -> bytes:
    """The script that hands `value` to the page under `name`. The same value always gives the same bytes.

    Args:
        name: letters, digits and `-_.`, as in the file's name.
        value: what JSON can hold; no NaN.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()
    return f'explorerData("{name}","{packed}");\n'.encode()


def columns(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Numeric columns as the page reads them: `{"type": "f4" or "i4", "data": base64}`, little-endian."""
    return {name: _column(table[name].to_numpy()) for name in table}


def plain(value: float) -> float | None:
    """A number with 6 significant digits for JSON, which has no NaN."""
    return float(f"{value:.6g}") if value is not None and np.isfinite(value) else None


def _column(values: np.ndarray) -> dict[str, str]:
    kind = "f4" if values.dtype.kind == "f" else "i4"
    return {"type": kind, "data": base64.b64encode(values.astype(f"<{kind}").tobytes()).decode()}
