"""Importing this module loads everything that training needs, also compiled kernels, so that forks start at once."""

import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from sae_stability.sae.training.settings import TrainSettings
from tests.sae.training import killed
from tests.sae.training.chunks import planted_dictionary, planted_rows, write_chunk

# A process with other threads must not be forked.
torch.set_num_threads(1)
tqdm.monitor_interval = 0
tqdm.set_lock(threading.RLock())  # the default lock is shared: a fork killed with it would block others
with tempfile.TemporaryDirectory() as name:
    rows = planted_rows(planted_dictionary(8, 4), 64, active=2, seed=0)
    chunk = write_chunk(Path(name) / "chunk-0000", rows, shards=1)
    settings = TrainSettings(
        n_latents=32, k=2, tokens=64, chunk_tokens=64, batch_size=16, auxk_alpha=0.1, dead_tokens=1
    )
    killed.run(Path(name) / "topk", [chunk], settings)
    killed.run(Path(name) / "jumprelu", [chunk], replace(settings, architecture="jumprelu", auxk_alpha=0))
