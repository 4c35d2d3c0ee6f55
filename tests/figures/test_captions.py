"""Captions and the summary say what the tables hold, and nothing from a config turns into markup."""

import re
from pathlib import Path

import docutils.core
import jinja2
import pandas as pd
import pytest

from sae_stability import files
from sae_stability.figures import drawings, phrases, registry, summary
from tests.figures.kinds import STITCHED, WITHOUT_THRESHOLD

NAN = float("nan")


def caption(figure: str, inputs, *, published: bool = True) -> str:
    table = registry.load(figure, "table").table(inputs)
    _, text = drawings.draw(figure, table, {"published": published})
    return text


def html(text: str) -> str:
    """What the report makes of it: Jinja, then reStructuredText; any complaint is an error."""
    rendered = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text).render()
    settings = {"halt_level": 2, "report_level": 2, "file_insertion_enabled": False}
    return docutils.core.publish_parts(rendered, writer="html", settings_overrides=settings)["body"]


def pair(a, b, latents="all", source="trained", *, shared, same=0.8, n=8) -> dict:
    values = {"cohort": "c", "a": a, "b": b, "source": source, "latents": latents, "n": n, "shared": shared}
    values |= {"mean_cosine_decoder": 0.5, "mean_absolute_cosine_decoder": 0.625 if latents == "all" else NAN}
    return values | {"same_counterpart": same, "joint": shared, "decoder_only": shared}


def sentences(text: str) -> int:
    return len(re.findall(r"\.(?= [A-Z*\d]|$)", text))


@pytest.mark.parametrize("figure", registry.FIGURES)
@pytest.mark.parametrize("published", [True, False])
def test_every_caption_is_short_valid_and_says_what_shared_means(figure, published, table_of):
    _, text = drawings.draw(figure, files.read_table(table_of(figure))[0], {"published": published})
    assert "n = " in text
    assert 3 <= sentences(text) <= 8
    assert html(text).startswith("<p>")
    if figure in STITCHED:
        return
    if figure not in WITHOUT_THRESHOLD:
        assert "at least 0.7" in text
        assert "same counterpart by the encoder and by the decoder assignment" in text
    assert "random" in text
    assert "live" in text


def test_a_sweep_caption_states_the_ends_the_extremes_the_spread_and_the_floor(make):
    small = make.pairs("s", [pair(0, 1, shared=0.5), pair(0, 1, "live", shared=0.625)])
    middle = make.pairs("m", [pair(0, b, shared=shared) for b, shared in ((1, 0.6), (2, 0.7), (3, 0.8))])
    large = make.pairs(
        "l",
        [pair(0, 1, shared=0.25, same=0.5), pair(0, 1, "live", shared=0.3), pair(0, 0, source="floor", shared=0.001)],
    )
    text = caption("size", [("8", small), ("16", middle), ("1536", large)])
    assert "the shared fraction goes from 50.0% at 8 to 25.0% at 1,536 (highest 70.0% at 16); counting" in text
    assert "counting live latents only, it goes from 62.5% at 8 to 30.0% at 1,536" in text
    assert "same counterpart, at any cosine, goes from 80.0% at 8 to 50.0% at 1,536; counting live latents only" in text
    assert "a little left of their value" in text
    assert "n = 1 to 3 pairs at a place; the widest range over pairs is 60.0% to 80.0% at 16" in text
    assert "where n = 1 no spread can be given" in text
    assert "the random floor is 0.1%" in text
    assert "exceeds" not in text, "joint and shared are equal here"


def test_one_pair_at_every_value_is_said_to_have_no_spread(make):
    folder = make.pairs("s", [pair(0, 1, shared=0.5)])
    text = caption("k", [("4", folder), ("8", folder)])
    assert "n = 1 pair at every place, so no spread can be given" in text
    assert "no random floor was computed" in text
    assert "counting live latents only, it was not measured" in text


def test_a_layer_caption_names_the_best_and_the_worst_layer_of_every_size(make):
    folders = [
        make.pairs(f"l{layer}", [pair(0, 1, shared=layer / 10), pair(0, 1, "live", shared=0.9 - layer / 10)])
        for layer in range(3)
    ]
    text = caption("layer", [(f"layers.{layer}.mlp", folder) for layer, folder in enumerate(folders)])
    assert "with 8 latents, lowest 0.0% at layer 0, highest 20.0% at layer 2 (live latents only: lowest 70.0%" in text


def test_a_position_caption_gives_every_position_its_numbers(make):
    folders = [make.pairs("r", [pair(0, b, shared=b / 10) for b in (1, 3)]), make.pairs("a", [pair(0, 1, shared=0.5)])]
    text = caption("position", list(zip(("residual stream", "attention"), folders, strict=True)))
    numbers = "{0} (live latents only not measured; decoder cosine alone {0}, live not measured; "
    assert f"residual stream {numbers.format('20.0%')}" in text
    assert "n = 2 pairs, shared 10.0% to 30.0%, decoder cosine alone 10.0% to 30.0%)" in text
    assert f"attention {numbers.format('50.0%')}n = 1 pair, no spread)" in text


def randomness(make, **shared: list[float]) -> str:
    """The caption for these shared fractions of the pairs of each kind; live ones share a tenth more."""
    inputs = []
    for kind, fractions in shared.items():
        rows = [pair(0, b, shared=fraction) for b, fraction in enumerate(fractions, start=1)]
        rows += [pair(0, b, "live", shared=fraction + 0.1) for b, fraction in enumerate(fractions, start=1)]
        inputs.append((kind, make.pairs(kind, [*rows, pair(0, 0, source="floor", shared=0.001)])))
    return caption("randomness", inputs)


def test_a_randomness_caption_says_which_matters_more_and_by_how_much(make):
    text = randomness(make, init=[0.2, 0.3, 0.25], order=[0.4, 0.5, 0.6], both=[0.1, 0.2, 0.3])
    verdict = "the initial weights matter more than the order of the data (25.0 percentage points less is shared"
    assert f"Over all latents, {verdict}, beyond the spread over pairs)" in text
    assert f"over live latents, {verdict}, beyond the spread over pairs)." in text
    assert (
        "initial weights 25.0% (live latents only 35.0%; same counterpart 80.0%, live 80.0%; "
        "n = 3 pairs, shared 20.0% to 30.0%, same counterpart 80.0%)" in text
    )
    assert "both 20.0% (live latents only 30.0%; " in text
    assert "For *shared*, the random floor is 0.1%; for the same counterpart, the random floor is 80.0%." in text
    turned = randomness(make, order=[0.2, 0.3], init=[0.4, 0.5])
    assert "the order of the data matters more than the initial weights (20.0 percentage points less" in turned


def test_a_difference_within_the_spread_is_said_to_be_none(make):
    text = randomness(make, init=[0.2, 0.4], order=[0.3, 0.6])
    neither = "neither the initial weights nor the order of the data can be said to matter more"
    assert f"Over all latents, {neither} (15.0 percentage points; within the spread over pairs)" in text
    text = randomness(make, init=[0.2, 0.3], order=[0.9])
    assert f"over live latents, {neither} (65.0 percentage points; n = 1 pair has no spread)" in text


def test_live_latents_may_say_something_else(make):
    def folder(name: str, live: list[float]) -> Path:
        rows = [pair(0, b, shared=0.1 if name == "init" else 0.9) for b in range(1, 3)]
        return make.pairs(name, rows + [pair(0, b, "live", shared=value) for b, value in enumerate(live, start=1)])

    text = caption("randomness", [("init", folder("init", [0.5, 0.6])), ("order", folder("order", [0.55, 0.7]))])
    assert "Over all latents, the initial weights matter more" in text
    assert "over live latents, neither the initial weights nor the order of the data can be said" in text
    text = caption("randomness", [("init", folder("init", [NAN, NAN])), ("order", folder("order", [0.5, 0.5]))])
    assert "over live latents, there is nothing to compare" in text


def seeds_folder(make, n_seeds: int) -> Path:
    folder = make.pairs(f"s{n_seeds}", [pair(0, 1, shared=0.5)])
    rows = [
        ("c", "trained", "all", "only_in_base", m, mean, 0.01, 12)
        for m, mean in zip(range(2, n_seeds + 1), (0.5, 0.375, 0.25), strict=False)
    ]
    rows += [("c", "trained", "all", "in_exactly", m, m / 10, 0.02, n_seeds) for m in range(1, n_seeds + 1)]
    rows += [("c", "floor", "all", "only_in_base", 2, 0.999, NAN, 1)]
    columns = ["cohort", "source", "latents", "statistic", "m", "mean", "std", "n"]
    files.write_table(folder / "seeds.parquet", pd.DataFrame(rows, columns=columns))
    return folder


def test_a_seeds_caption_goes_from_two_saes_to_all_with_its_spread(make):
    text = caption("seeds", [("c", seeds_folder(make, 4))])
    assert "50.0% with 2 SAEs, 25.0% with all 4" in text
    assert "the random floor is 99.9%" in text
    assert "one standard deviation (1.0%) over base SAEs and combinations of the others, n = 12 values" in text


def test_a_sharing_caption_gives_one_alone_and_all(make):
    text = caption("sharing", [("c", seeds_folder(make, 3))])
    assert "Of a base SAE's latents, 10.0% are found in that SAE alone and 30.0% in all 3 SAEs" in text
    assert "one standard deviation (2.0%) over base SAEs, n = 3 values" in text
    assert "34.8% in one alone, 17.3% in all 9" in text


@pytest.mark.parametrize("figure", ["seeds", "sharing"])
def test_two_seeds_are_said_to_be_one_pair(make, figure):
    text = caption(figure, [("c", seeds_folder(make, 2))])
    assert "n = 1 pair and no spread can be given" in text
    assert "standard deviation" not in text


def test_a_joint_caption_counts_shared_latents_and_live_ones(make, tmp_path):
    # Four latents: two shared, one of them with a dead counterpart; three have the same counterpart; one is dead.
    match = pd.DataFrame(
        {
            "latent": [0, 1, 2, 3],
            "counterpart_encoder": [0, 1, 2, 3],
            "cosine_encoder": [0.9, 0.9, 0.1, 0.1],
            "counterpart_decoder": [0, 1, 2, 0],
            "cosine_decoder": [0.9, 0.9, 0.9, 0.5],
            "alive": [True, True, True, False],
            "alive_b": [True, False, True, True],
        }
    )
    files.write_table(
        tmp_path / "0-1.parquet", match, {"a": {"cohort": "c", "seed": 0}, "b": {"cohort": "c", "seed": 1}}
    )
    text = caption("joint", [("0-1", tmp_path / "0-1.parquet"), ("c", make.cohort("c").overlap)])
    assert "n = 4 latents of n = 1 pair" in text
    assert "75.0% have the same counterpart by both assignments (66.7% of the 3 live latents" in text
    assert (
        "the random floor is 0.3%; with the encoder tied to the decoder, as before training, it is 100.0%). 50.0% are"
        in text
    )
    assert "33.3% of the 3 live latents" in text
    assert "the mean cosines are 0.80 and 0.50" in text


def test_a_thresholds_caption_reads_the_curves_at_the_threshold(make):
    folder = make.pairs("t", [pair(0, 1, shared=0.5)])
    grid = [0.5, 0.7, 0.9]
    rows = [("c", 0, 1, "trained", "all", t, 1 - t, 1.1 - t, 1.05 - t, 1.0) for t in grid]
    rows += [("c", 0, 0, "floor", "all", t, 0.0, 0.0, 0.02 * (t < 0.6), 1.0) for t in grid]
    columns = ["cohort", "a", "b", "source", "latents", "threshold", "shared", "joint", "max", "same"]
    files.write_table(folder / "thresholds.parquet", pd.DataFrame(rows, columns=columns))
    text = caption("thresholds", [("c", folder)])
    assert "at 0.7, shared 30.0%, joint 40.0%, max cosine 35.0% (live latents only, shared: not measured)" in text
    assert "mean over n = 1 pair, so no spread can be given" in text
    assert "reach more than 1% by max cosine up to a threshold of 0.5" in text


HOSTILE = [
    "{{ config }}",
    "{% raw %}",
    "{# note #}",
    "`x <javascript:alert(1)>`_",
    "<script>alert(1)</script>",
    "*a* **b** |c| :math:`d` x_ _y [1]_",
    "a\n\n.. raw:: html\n\n   <b>x</b>",
    "http://example.org/{{7*7}}",
    "me@example.org",
    "a\\b\x1b\u2028c",
    "--option ... ::",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_config_text_comes_out_as_the_words_it_was(text, make):
    expected = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    body = html(f"Before {phrases.escape(text)} after.")
    assert "<a " not in body
    assert docutils_text(body) == f"Before {expected} after."
    folder = make.pairs("p", [pair(0, 1, shared=0.5)])
    assert expected in docutils_text(html(caption("position", [(text, folder)])))


def docutils_text(body: str) -> str:
    import html as entities

    assert set(re.findall(r"<(/?\w+)", body)) <= {"p", "/p", "em", "/em"}
    return entities.unescape(re.sub(r"<[^>]*>", "", body)).strip()


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.3416, "34.2%"), (0.0, "0.0%"), (0.0004, "0.04%"), (1.0, "100.0%"), (NAN, "not measured")]
)
def test_percentages_do_not_round_a_small_fraction_to_nothing(fraction, text):
    assert phrases.percent(fraction) == text


def test_the_summary_states_the_numbers_of_the_base_cohort(make):
    rows = [pair(0, 1, shared=0.25, same=0.75), pair(0, 2, shared=0.5, same=0.75), pair(1, 2, shared=0.75, same=0.75)]
    rows += [pair(0, 1, "live", shared=0.5), pair(0, 0, source="floor", shared=0.0, same=0.002)]
    rows += [pair(0, 0, source="tied", shared=0.0, same=1.0), pair(1, 1, source="tied", shared=0.0, same=1.0)]
    folder = seeds_folder(make, 3)
    files.write_table(folder / "pairs.parquet", pd.DataFrame(rows))
    evaluations = [
        ("base", make.evaluation("0", fvu=0.10, l0=16, dead_fraction=0.01)),
        ("base", make.evaluation("1", fvu=0.12, l0=16, dead_fraction=0.03)),
        ("wide", make.evaluation("2", fvu=0.30, l0=32, dead_fraction=0.0)),
    ]
    overlaps = [("base", folder), ("wide", folder)]
    text = summary.summary(
        study="small {{ study }}",
        base="base",
        about=[("model", "my_model_"), ("k", "16")],
        overlap=overlaps,
        evaluation=evaluations,
    )
    body = html(text)
    for expected in (
        "3 SAEs in 2 cohorts; base cohort base with 3 seeds",
        "50.0% are shared with another that differs from it in its seed only; 50.0% are not",
        "50.0% (25.0% to 75.0%, n = 3 pairs)",
        "50.0% (no spread, n = 1 pair)",
        "found only in the base, of 3 SAEs",
        "PW-MCC of the decoders, absolute cosine",
        "0.625 (0.625 to 0.625, n = 3 pairs)",
        "0.500 (no spread, n = 1 repetition)",
        "37.5% (standard deviation 1.0%, n = 12 bases)",
        "model my_model_; k 16.",
        "100.0% (100.0%, n = 2 repetitions)",
        "0.0% (no spread, n = 1 repetition)",
        "0.110 (0.100 to 0.120)",
        "2.0% (1.0% to 3.0%)",
        "1,000",
        "CE recovered: not measured",
        "two untrained SAEs agree on every counterpart",
        "cfg.json",
        "What it cannot say",
    ):
        assert expected in body, expected
    assert "small {{ study }}" in body
    assert "<table" in body


def test_the_summary_gives_the_recovered_cross_entropy_where_it_was_measured(make):
    folder = make.cohort("c").overlap
    language = make.evaluation("0", ce_recovered_zero=0.9, ce_recovered_mean=0.8, kl=0.25)
    evaluations = [("c", language), ("d", make.evaluation("1"))]
    body = html(summary.summary(study="s", base="c", overlap=[("c", folder)], evaluation=evaluations))
    assert "<td>90.0%</td>\n<td>80.0%</td>\n<td>0.250</td>" in body
    assert "<td>not measured</td>\n<td>not measured</td>\n<td>not measured</td>" in body


def test_saes_that_were_shown_no_activations_have_no_quality_and_no_live_latents(make):
    folder = make.cohort("c", live=False).overlap
    unseen = make.evaluation("0", fvu=None, l0=None, dead_fraction=None, n_rows=0)
    text = summary.summary(study="s", base="c", overlap=[("c", folder)], evaluation=[("c", unseen)])
    assert "CE recovered: not measured, because the SAEs were shown no activations" in text
    assert "Live latents are those that fired" not in text
    assert "     - not measured" in text


def test_a_layer_caption_says_how_far_the_saes_differ_in_quality(make):
    inputs = []
    for layer, (fvu, dead) in enumerate([(0.25, 0.0), (0.012, 0.336)]):
        rows = [{**row, "cohort": f"c{layer}"} for row in (pair(0, 1, shared=0.2), pair(0, 1, "live", shared=0.2))]
        inputs.append((f"layers.{layer}.mlp", make.pairs(f"l{layer}", rows)))
        inputs.append((f"c{layer}", make.evaluation(str(layer), fvu=fvu, dead_fraction=dead)))
    text = caption("layer", inputs)
    assert "FVU from 0.012 at layer 1 to 0.250 at layer 0; dead latents from 0.0% to 33.6%, most at layer 1" in text
    assert "the figure cannot tell that from the layer" in text


def test_the_summary_of_two_seeds_claims_no_spread(make, tmp_path):
    folder = make.cohort("c", live=False, floor=False).overlap
    out = tmp_path / "summary.rst"
    summary.write_summary(study="s", base="c", overlap=[("c", folder)], evaluation=[], out=out)
    text = out.read_text()
    assert "(no spread, n = 1 pair)" in text
    assert "standard deviation" not in text
    assert "nothing about how much that fraction varies with the choice of seeds" in text
    assert "not measured" in text
    assert "nan" not in text
    assert html(text)


def test_an_architecture_caption_compares_at_one_fvu_and_one_l0_and_says_who_does_not_reach_it(make):
    inputs = []
    for name, points in {
        "topk": [(0.3, 8, 0.6), (0.1, 32, 0.2)],
        "gated": [(0.3, 8, 0.7), (0.1, 32, 0.3)],
        "relu": [(0.5, 8, 0.9), (0.4, 32, 0.8)],
    }.items():
        for fvu, l0, shared in points:
            cohort = f"{name}-{l0}"
            rows = [pair(0, 1, shared=shared), pair(0, 1, "live", shared=shared + 0.05)]
            inputs.append((name, make.pairs(cohort, [{**row, "cohort": cohort} for row in rows])))
            inputs.append((cohort, make.evaluation(cohort, fvu=fvu, l0=l0, dead_fraction=fvu)))
    text = caption("architecture", inputs)
    assert "at the same FVU, 0.200: Gated 50.0% (live latents only 55.0%), ReLU + L1 not reached (FVU 0.400 to" in (
        text.replace("\\", "")
    )
    assert "TopK 40.0% (live latents only 45.0%); at the same L0, 16.0: Gated 50.0%" in text
    assert "by *joint*, both cosines each in its own assignment, at the same FVU, 0.200: Gated 50.0%" in text
    assert "never beyond them; *not reached* means" in text
    assert "dead latents make up 10.0% to 50.0% of an SAE" in text
    assert "n = 1 pair at every place, so no spread can be given" in text


def test_the_consensus_caption_says_only_of_saes_that_select_that_all_select_equally_many(table_of):
    table, _ = files.read_table(table_of("consensus"))
    _, selects = drawings.draw("consensus", table, {})
    _, does_not = drawings.draw("consensus", table.assign(k=NAN), {})
    assert "all select equally many a row" in selects
    assert "select" not in does_not
    assert "All 5 seeds found 20.0% of the latents (20.0% if the pairs of seeds were independent)." in selects
