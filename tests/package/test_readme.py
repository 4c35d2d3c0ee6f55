"""The Python in README.md runs as it stands, on small files and a small model in the places that it names."""

import ast
import re
from importlib import import_module

import numpy as np
import pytest
import torch

from sae_stability import sae
from sae_stability.sae.model import SAE
from tests import pages, tiny

README = (pages.ROOT / "README.md").read_text()
(BLOCK,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict:
    """What the block takes for granted: two SAEs, two dictionaries, texts, and a model under the hub name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiny, "LAYERS", 4)
    monkeypatch.setattr(tiny, "CONTEXT", 128)
    tiny.tiny_gpt_neox(tmp_path / "EleutherAI" / "pythia-70m", head=False)
    rows = np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32)
    for seed, name in enumerate(("one", "two")):
        found = sae.train(rows, n_latents=12, k=2, batch_size=50, init_seed=seed)
        sae.save(tmp_path / "saes" / name, found)
    return {"dictionary_a": rows[:20], "dictionary_b": rows[5:30], "texts": tiny.sentences(150)}


def test_the_python_in_the_readme_runs(names, tmp_path, capsys):
    exec(compile(BLOCK, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    for word in ("shared", "joint", "same counterpart", "decoder only", "nearest", "PW-MCC"):
        assert word in printed
    assert names["found"].counterpart[5:].tolist() == list(range(15))
    assert names["found"].gap < 1e-6
    mine = names["mine"]
    x = torch.ones(3, 8)
    torch.testing.assert_close(mine.decode(mine.encode(x)), mine.forward(x))
    assert torch.equal(sae.load(tmp_path / "converted").decoder, mine.decoder)
    assert names["x"].shape[1] == tiny.WIDTH
    assert isinstance(names["first"], SAE)
    assert not torch.equal(names["first"].decoder, names["second"].decoder)


def test_the_names_in_the_readme_are_public():
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(BLOCK))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    rooms = {room: import_module(f"sae_stability.{room}") for room in ("activations", "match", "sae")}
    calls = {(room, name) for room, name in used if room in rooms}
    assert len(calls) >= 6
    assert [f"{room}.{name}" for room, name in calls if name not in rooms[room].__all__] == []
