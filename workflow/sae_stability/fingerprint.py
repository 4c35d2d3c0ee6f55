"""Fingerprints: a hash of what a result was made from."""

import dataclasses
import hashlib
import json


def key(*parts: object) -> str:
    """The fingerprint of plain data and dataclasses: 16 hexadecimal digits, independent of the order of keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=dataclasses.asdict).encode()).hexdigest()[:16]
