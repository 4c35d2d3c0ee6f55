"""Contexts in the terminal."""

import numpy as np
import pandas as pd
import pytest

from sae_stability.errors import StudyError
from sae_stability.firing.job import measure_firing
from sae_stability.firing.show import lines, show_contexts
from tests.firing.conftest import N_LATENTS, Planted


@pytest.fixture
def contexts() -> pd.DataFrame:
    pieces = ["the", " cat", "\x1b[31m", "\n", " sat"]
    rows = [
        ("top", 4.0, pieces, [0, 4.0, 0, 0, 2.0]),
        ("decile-3", 1.0, pieces, [1.0, 0, 0, 0, 0]),
        ("random", 0.0, pieces, [0.0] * 5),
    ]
    return pd.DataFrame(rows, columns=["stratum", "activation", "pieces", "activations"])


def test_without_colours_firing_tokens_stand_in_quotes(contexts: pd.DataFrame):
    assert lines(contexts, 3, shaded=False) == [
        "",
        "top",
        "    4.000  the «cat»\ufffd[31m⏎ «sat»",
        "",
        "decile-3",
        "    1.000  «the» cat\ufffd[31m⏎ sat",
        "",
        "random: it does not fire",
        "    0.000  the cat\ufffd[31m⏎ sat",
    ]


def test_shades_follow_activations_and_the_corpus_steers_no_terminal(contexts: pd.DataFrame):
    text = lines(contexts, 3, shaded=True)[2]
    assert " \x1b[48;2;255;140;0m\x1b[38;2;0;0;0mcat\x1b[0m" in text
    assert "\x1b[48;2;255;198;128m\x1b[38;2;0;0;0msat\x1b[0m" in text
    assert "\x1b[31m" not in text


def test_at_most_so_many_of_each_kind(contexts: pd.DataFrame):
    assert len(lines(pd.concat([contexts] * 5), 2, shaded=False)) == 3 * (2 + 2)


def test_of_a_study_and_of_any_sae(planted: Planted, tmp_path, monkeypatch):
    sae = planted.sae("results/saes/base/seed-0", np.arange(N_LATENTS))
    with pytest.raises(StudyError, match="no contexts have been chosen for it"):
        show_contexts(sae, latent=4)
    computed = show_contexts(sae, latent=4, activations=planted.chunk, tokens=planted.token_set)
    results = planted.folder / "results"
    measure_firing(
        sae=[("0", sae)],
        chunk=planted.chunk,
        tokens=planted.token_set,
        out=[("0", results / "firing/base/seed-0.parquet")],
        contexts_out=[("0", results / "contexts/base/seed-0.parquet")],
        work=tmp_path / "work",
    )
    monkeypatch.chdir(results / "saes")
    assert show_contexts(sae, latent=4) == computed
    assert computed.count("«") == 1
    assert "\x1b" not in computed
    assert show_contexts(sae.relative_to(results / "saes"), latent=0).endswith("does not fire on these rows")
    with pytest.raises(StudyError, match="there is no latent 12; it has latents 0 to 11"):
        show_contexts(sae, latent=12)
    with pytest.raises(StudyError, match="give --activations and --tokens together"):
        show_contexts(sae, latent=4, tokens=planted.token_set)
