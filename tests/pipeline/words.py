"""A command line as a person reads it."""

import shlex


def flags_of(command: str) -> dict[str, list[str]]:
    """The values of each flag of a command, in order."""
    found: dict[str, list[str]] = {}
    words = shlex.split(command)
    for flag, value in zip(words[::2], words[1::2], strict=True):
        found.setdefault(flag, []).append(value)
    return found
