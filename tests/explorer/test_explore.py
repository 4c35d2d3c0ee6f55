"""SAEs, a model and a text to a site, in one command without a study."""

from pathlib import Path

import numpy as np
import pytest

from sae_stability.cli import main
from sae_stability.sae.formats import own
from tests import tiny
from tests.explorer.test_write import column, unpacked

HOOKPOINT = "layers.1.mlp"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a text, two SAEs of 8 latents of which the second is the first in reverse, and one of 5."""
    folder = tmp_path_factory.mktemp("given")
    tiny.tiny_gpt_neox(folder / "model", head=False)
    tiny.tiny_corpus(folder)
    rows = np.random.default_rng(0).standard_normal((8, tiny.WIDTH)).astype(np.float32)
    for name, sides, origin in (
        ("first", rows, {"hookpoint": HOOKPOINT}),
        ("second", rows[::-1].copy(), {}),
        ("small", rows[:5], {}),
    ):
        biases = {"encoder_bias": np.zeros(len(sides), np.float32), "decoder_bias": np.zeros(tiny.WIDTH, np.float32)}
        cfg = {"architecture": "topk", "n_latents": len(sides), "d_model": tiny.WIDTH, "k": 2, **origin}
        own.save(folder / name, {"encoder": sides, "decoder": sides, **biases}, cfg)
    return folder


def run(given: Path, out: Path, *saes: str, **changes) -> int:
    flags = {"model": given / "model", "text": given / "corpus.jsonl", "tokens": 600, "context-length": 16} | changes
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return main(["explore", *(str(given / sae) for sae in saes), *words, "--out", str(out)])


def test_saes_of_one_size_are_partners_and_others_stand_beside(given: Path, tmp_path: Path):
    assert run(given, tmp_path / "site", "first", "second", "small") == 0
    study = unpacked(tmp_path / "site", "study")
    pair, alone = study["cohorts"]
    assert (pair["name"], len(pair["seeds"]), alone["name"], alone["shared"]) == ("saes-8", 2, "saes-5", None)
    assert pair["shared"]["all"] == 1.0 > pair["shared"]["floor"]
    assert ["seed 1", str(given / "second")] in pair["about"]
    (partners,) = unpacked(tmp_path / "site", "saes-8_seed-0_partners")["pairs"]
    assert column(partners, "counterpart_decoder").tolist() == list(range(8))[::-1]
    contexts = unpacked(tmp_path / "site", "saes-5_seed-0_contexts-0")
    fired = column(unpacked(tmp_path / "site", "saes-5_seed-0_latents"), "fired")
    assert fired.sum() <= 2 * 600
    assert {int(latent) for latent, some in contexts["latents"].items() if some} >= set(np.flatnonzero(fired).tolist())
    assert not pair["boosted"]  # the model has no head
    # Nothing in between is left.
    assert [file.name for file in tmp_path.iterdir()] == ["site"]
    assert run(given, tmp_path / "site", "small", hookpoint=HOOKPOINT) == 0  # over the former site


def test_a_model_with_a_head_tells_what_latents_boost(given: Path, tmp_path: Path):
    tiny.tiny_gpt_neox(tmp_path / "model")
    assert run(given, tmp_path / "site", "small", hookpoint=HOOKPOINT, model=tmp_path / "model") == 0
    (cohort,) = unpacked(tmp_path / "site", "study")["cohorts"]
    assert cohort["boosted"]
    highest, lowest = unpacked(tmp_path / "site", "saes_seed-0_boosted-0")["latents"]["4"]
    assert highest[0][1] > highest[9][1] > 0 > lowest[9][1] > lowest[0][1]


@pytest.mark.parametrize(
    ("saes", "changes", "words"),
    [
        (["second"], {}, "second: does not say where it reads the model; give --hookpoint"),
        (["nothing"], {}, "nothing"),
        (["first"], {"hookpoint": "layers.9.mlp"}, "layers.9.mlp"),
        (["first"], {"text": "nowhere.txt"}, "nowhere.txt"),
        (["first"], {"model": "/nowhere"}, "/nowhere"),
        (["first"], {"out": "."}, "is not empty and holds no site of this kind; give --out another folder"),
    ],
)
def test_a_mistake_is_told_in_a_line(given: Path, tmp_path: Path, capsys, saes: list, changes: dict, words: str):
    out = given if changes.pop("out", None) else tmp_path / "site"
    assert run(given, out, *saes, **changes) == 2
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1]
    assert "Traceback" not in "".join(said)
    assert not list(tmp_path.iterdir())
