"""The answers about features that do not depend on the seed are those of the tables, and turn with them."""

import pandas as pd
import pytest

from sae_stability.figures import tables
from sae_stability.report import seed_features
from sae_stability.report.evidence import Drawn, Evidence
from tests.figures.conftest import Maker, study_inputs


@pytest.fixture
def told(tmp_path):
    """Makes the sentences of a figure's table, which `change` may change first."""

    def tell(kind: str, change=lambda table: table, **options) -> str:
        file = tmp_path / f"{kind}.parquet"
        tables.write_table(figure=kind, input=study_inputs(Maker(tmp_path), kind, **options), out=file)
        figure = Drawn(kind, change(pd.read_parquet(file)), None)
        found = Evidence("s", "base", {}, None, [figure])
        return " ".join([*seed_features.of_several_seeds(found), *seed_features.of_one_seed(found)])

    return tell


def test_how_much_the_consensus_explains_of_what_an_sae_explains(told):
    words = told("consensus")
    # The FVU of all 5 seeds' consensus is 0.6, that of a whole SAE 0.15: 0.4 / 0.85.
    assert "What all 5 seeds of base found (16 latents, L0 4.0) explains 40.0% of the variance" in words
    assert "a whole SAE (L0 8.0) 85.0%: **47.1% of what an SAE explains**" in words
    assert "as many latents of one seed explain 20.0% (drawn at random) and 30.0% (those that fire most often)" in words
    assert "What at least 2 seeds of base found (40 latents, L0 4.0) explains 70.0%" in words
    assert "Of what 4 seeds of base found, 80.0% are shared with a seed that had no part in it" in words


def test_without_groups_or_without_rows_nothing_is_claimed(told):
    without = told("consensus", lambda table: table[table.group != "consensus"])
    assert without == "No latent is shared by two seeds of base, so there is no consensus of seeds."
    unmeasured = told("consensus", lambda table: table.assign(value=table.value.where(table.panel != "curve")))
    assert unmeasured.startswith("Of what 4 seeds of base found")


@pytest.mark.parametrize(("sign", "answer"), [(-1, "mostly new information"), (1, "mostly redundant")])
def test_seed_specific_latents_are_judged_by_the_error_and_not_by_the_cosine(told, sign: int, answer: str):
    def unshared(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(value=table.value.where(table.shared != "unshared", 0.01 * sign), kind="novel")

    words = told("insertion", unshared)
    assert "100.0% have no decoder cosine of 0.7 or more there" in words
    assert words.endswith(f"what only one of the two finds is {answer}.")
    assert told("insertion", lambda table: table.assign(shared="")) == ""


def test_what_is_shared_goes_by_the_threshold_of_the_study_and_not_of_the_chain(told):
    usual, strict = (told("insertion", threshold=threshold) for threshold in (0.7, 1.01))
    assert "60 firing latents" not in usual
    assert "Of 60 firing latents of base seed 1 that base seed 0 does not share" in strict
    assert "no decoder cosine of 0.7 or more" in strict


@pytest.mark.parametrize(
    ("all_latents", "live", "answer"),
    [(0.9, 0.9, "more stable than"), (0.01, 0.01, "less stable than"), (0.9, 0.01, "neither clearly more nor")],
)
def test_meta_latents_are_called_more_stable_only_if_every_pair_is(told, all_latents, live, answer: str):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        of_meta = (table.panel == "stability") & (table.source == "trained") & (table.group == table.cohort)
        values = table.detail.map({"all": all_latents, "live": live})
        return table.assign(value=table.value.where(~of_meta, values))

    words = told("meta", change)
    assert words.startswith(f"Meta-latents are {answer}")
    assert f"{all_latents:.1%} (live {live:.1%}) of them are shared between seeds, of the latents of flat" in words
