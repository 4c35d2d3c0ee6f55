"""Settings as words of a command line."""

import shlex


def flags(**settings: object) -> str:
    """Settings as command-line flags, `n_latents=8` as `--n-latents 8`; None is left out."""
    words = []
    for name, value in settings.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(words)
