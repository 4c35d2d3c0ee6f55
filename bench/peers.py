"""The libraries that this one is compared with, each in an environment of its own under results/bench/envs."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path("results/bench/envs")
# Package -> what pip installs, and with which options.
PEERS = {
    "eai-sparsify": ("eai-sparsify==1.3.3", []),
    "sae-lens": ("sae-lens==6.54.12", []),
    # Without its dependency nnsight, which needs an older transformers and is only for reading language models.
    "dictionary-learning": ("dictionary-learning==0.1.0", ["--no-deps"]),
}


def environment(name: str) -> str:
    """The Python of a peer's environment, which is made if it is missing, with the torch version of this one."""
    folder = FOLDER / name
    ready = folder / "ready"
    if not ready.exists():
        package, options = PEERS[name]
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
        torch = f"torch=={version('torch').split('+')[0]}"
        # torch first, with its version pinned, so that the next install keeps this build.
        subprocess.run([*pip, torch], check=True)
        pinned = folder / "constraints.txt"
        pinned.write_text(torch + "\n")
        subprocess.run([*pip, "--constraint", str(pinned), *options, package], check=True)
        if options:
            subprocess.run([*pip, "--constraint", str(pinned), "einops", "tqdm", "numpy"], check=True)
        ready.touch()
    return str(folder / "bin/python")
