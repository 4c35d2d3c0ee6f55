"""What is drawn stands where the table says: dots, lines, bars and error bars, read back from the pictures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from sae_stability import files
from sae_stability.figures import drawings, published, registry
from sae_stability.figures.drawings import style as styles
from tests.figures.kinds import WITHOUT_AXES

COLOURS = styles.DEFAULT["palette"]


def table_and_axes(figure: str, inputs) -> tuple[pd.DataFrame, list]:
    table = registry.load(figure, "table").table(inputs)
    picture, _ = drawings.draw(figure, table, {})
    return table, picture.axes


def points(axes, *, colour: str, marker: str, face: str | None = None) -> set[tuple[float, float]]:
    """Where marks of this look stand, in data units."""
    lines = [line for line in axes.lines if line.get_marker() == marker and to_hex(line.get_color()) == colour.lower()]
    lines = [line for line in lines if face is None or line.get_markerfacecolor() == face]
    return rounded(*np.concatenate([line.get_xydata() for line in lines]).T)


def rounded(x, y) -> set[tuple[float, float]]:
    found = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1)
    return {(round(a, 6), round(b, 6)) for a, b in found[np.isfinite(found).all(axis=1)]}


def of(table: pd.DataFrame, y: str = "fraction", x: str = "x", **where) -> set[tuple[float, float]]:
    rows = table[np.logical_and.reduce([table[column] == value for column, value in where.items()])]
    assert len(rows), where
    return rounded(rows[x], rows[y])


@pytest.mark.parametrize("figure", ["size", "k", "tokens"])
def test_a_sweep_shows_every_pair_and_the_paper(figure, study):
    table, axes = table_and_axes(figure, study[figure])
    for statistic, colour in zip(("shared", "same_counterpart"), COLOURS, strict=False):
        trained = {"source": "trained", "statistic": statistic}
        assert points(axes[0], colour=colour, marker="o") == of(table, latents="all", **trained)
        assert points(axes[0], colour=colour, marker="D") == of(table, latents="live", **trained)
    for statistic, face in (("joint", styles.PUBLISHED), ("same_counterpart", "white")):
        expected = of(table, source="published", statistic=statistic)
        assert points(axes[-1], colour=styles.PUBLISHED, marker="s", face=face) == expected


@pytest.mark.parametrize("figure", ["size-cosine", "k-cosine", "tokens-cosine"])
def test_a_sweep_shows_the_mean_cosines_of_every_pair_and_of_the_paper(figure, study):
    table, axes = table_and_axes(figure, study[figure])
    sides = ("mean_cosine_decoder", "mean_cosine_encoder")
    for statistic, colour, face in zip(sides, COLOURS, (styles.PUBLISHED, "white"), strict=False):
        expected = of(table, latents="all", source="trained", statistic=statistic)
        assert points(axes[0], colour=colour, marker="o") == expected
        expected = of(table, source="published", statistic=statistic)
        assert points(axes[-1], colour=styles.PUBLISHED, marker="s", face=face) == expected


def test_a_paper_far_from_this_run_gets_its_own_panel(study):
    assert len(table_and_axes("k", study["k"])[1]) == 1
    table, axes = table_and_axes("tokens", study["tokens"])
    assert len(axes) == 2
    assert axes[0].get_xlim()[1] < table.loc[table["source"] == "published", "x"].min() < axes[1].get_xlim()[1]
    # One value alone would have room on the paper's axis, at the end of a long empty stretch.
    assert len(table_and_axes("tokens", study["tokens"][:1])[1]) == 2


def test_layers_show_every_pair_in_the_colour_of_its_size(study):
    table, (axes,) = table_and_axes("layer", study["layer"])
    for size, colour in zip((384, 1536), COLOURS, strict=False):
        trained = {"source": "trained", "statistic": "shared", "size": size}
        assert points(axes, colour=colour, marker="o") == of(table, latents="all", **trained)
        assert points(axes, colour=colour, marker="D") == of(table, latents="live", **trained)
    assert points(axes, colour=styles.PUBLISHED, marker="s") == of(table, source="published")


@pytest.mark.parametrize("figure", ["size", "layer", "architecture", "seeds"])
def test_filled_dots_stand_left_of_their_value_and_hollow_ones_right(figure, study):
    _, (axes, *_) = table_and_axes(figure, study[figure])
    for marker, points_right in (("o", -2.0), ("D", 2.0)):
        lines = [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]
        assert lines
        for line in lines:
            moved = line.get_transform().transform(line.get_xydata()) - axes.transData.transform(line.get_xydata())
            assert moved[:, 0] * 72 / axes.figure.dpi == pytest.approx(points_right)
            assert moved[:, 1] == pytest.approx(0)


@pytest.mark.parametrize("figure", ["size", "layer"])
def test_the_mean_of_the_pairs_and_the_floor_are_lines(figure, study):
    table, axes = table_and_axes(figure, study[figure])
    for source, colour in (("trained", COLOURS[0]), ("floor", styles.FLOOR)):
        rows = table[(table["source"] == source) & (table["latents"] == "all") & (table["statistic"] == "shared")]
        rows = rows[rows["size"] == 384] if figure == "layer" else rows
        mean = rows.groupby("x")["fraction"].mean()
        drawn = [rounded(*line.get_xydata().T) for line in axes[0].lines if to_hex(line.get_color()) == colour.lower()]
        assert rounded(mean.index, mean) in drawn


@pytest.mark.parametrize(
    ("figure", "statistics"),
    [("position", ("shared", "decoder_only")), ("randomness", ("shared", "same_counterpart"))],
)
def test_named_places_show_every_pair_in_its_row(figure, statistics, study):
    table, (axes,) = table_and_axes(figure, study[figure])
    shifts = []
    for statistic, colour in zip(statistics, COLOURS, strict=False):
        for marker, latents in (("o", "all"), ("D", "live")):
            drawn = points(axes, colour=colour, marker=marker)
            expected = of(table, "x", "fraction", source="trained", statistic=statistic, latents=latents)
            # The dots of one row stand a little apart from its middle.
            assert {(x, round(y)) for x, y in drawn} == expected
            (shift,) = {round(y - round(y), 6) for _, y in drawn}
            shifts.append(shift)
    assert shifts == sorted(shifts), "from top to bottom: each statistic, all latents and then live ones"
    published = table[table["source"] == "published"]
    for statistic, face in zip(dict.fromkeys(published["statistic"]), (styles.PUBLISHED, "white"), strict=False):
        expected = of(published, "x", "fraction", statistic=statistic)
        assert points(axes, colour=styles.PUBLISHED, marker="s", face=face) == expected
    names = dict(zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True))
    first = table.iloc[0]
    assert names[first["x"]] == {"order": "order of the data"}.get(first["value"], first["value"])


def test_architectures_stand_at_their_fvu_and_at_their_l0(study):
    table, axes = table_and_axes("architecture", study["architecture"])
    run = table[(table["source"] == "trained") & (table["statistic"] == "shared")]
    order = list(dict.fromkeys(run["value"]))
    assert len(order) == 4
    for panel, by in zip(axes, ("fvu", "l0"), strict=True):
        for architecture, colour in zip(order, COLOURS, strict=False):
            for marker, latents in (("o", "all"), ("D", "live")):
                expected = of(run, x=by, value=architecture, latents=latents)
                assert points(panel, colour=colour, marker=marker) == expected
        (value,) = set(table.loc[table["matched"] == by, by])
        assert [line for line in panel.lines if list(line.get_xdata()) == [value, value]]
    published = {y for _, y in points(axes[1], colour=styles.PUBLISHED, marker="s")}
    assert published == set(table.loc[table["source"] == "published", "fraction"])


def test_the_joint_figure_shows_every_latent_and_crosses_dead_ones(study):
    table, axes = table_and_axes("joint", study["joint"])
    latents = table[table["row"] == "latent"]
    cosines = {"x": "cosine_decoder", "y": "cosine_encoder"}
    for same, colour in zip((True, False), COLOURS, strict=False):
        assert points(axes[0], colour=colour, marker="o") == of(latents, same_counterpart=same, **cosines)
    dead = latents.assign(dead=~(latents["alive"] & latents["counterpart_alive"]))
    assert points(axes[0], colour="#202020", marker="x") == of(dead, dead=True, **cosines)
    assert points(axes[0], colour=styles.PUBLISHED, marker="s") == of(table, source="published", **cosines)
    floors = [line for line in axes[0].lines if line.get_marker() == "P"]
    assert rounded(*floors[0].get_xydata().T) == of(table, source="floor", **cosines)


def test_seeds_show_means_and_standard_deviations(study):
    table, (axes,) = table_and_axes("seeds", study["seeds"])
    for latents, marker in (("all", "o"), ("live", "D")):
        where = {"source": "trained", "latents": latents}
        assert points(axes, colour=COLOURS[0], marker=marker) == of(table, "mean", "m", **where)
    every = table[(table["source"] == "trained") & (table["latents"] == "all")]
    drawn = [np.asarray(bar) for lines in axes.collections for bar in lines.get_segments()]
    for row in every.itertuples():
        ends = [(row.m, row.mean - row.std), (row.m, row.mean + row.std)]
        assert any(np.allclose(bar, ends) for bar in drawn), row
    assert points(axes, colour=styles.PUBLISHED, marker="s") == of(table, "mean", "m", source="published")


def test_sharing_shows_a_bar_for_each_number_of_saes(study):
    table, axes = table_and_axes("sharing", study["sharing"])
    for panel, where in zip(axes, ({"source": "trained", "latents": "all"}, {"source": "published"}), strict=True):
        bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in panel.patches]
        assert rounded(*zip(*bars, strict=True)) == of(table, "mean", "m", **where)
    live = {(round(x), y) for x, y in points(axes[0], colour="#000000", marker="D")}
    assert live == of(table, "mean", "m", source="trained", latents="live")


def test_a_floor_far_above_the_bars_is_an_arrow_with_its_value(study):
    table, (axes, _) = table_and_axes("sharing", study["sharing"])
    assert axes.get_ylim()[1] < 1
    floor = table[(table["source"] == "floor") & (table["latents"] == "all")].set_index("m")["mean"]
    assert floor[1] == 1
    assert [text.get_text() for text in axes.texts] == ["100.0%"]
    assert {x for x, _ in points(axes, colour=styles.FLOOR, marker="^")} == {1}
    assert points(axes, colour=styles.FLOOR, marker="_") == rounded(floor.index[1:], floor[1:])


def test_thresholds_show_the_mean_over_pairs_by_all_three_definitions(study):
    table, (axes,) = table_and_axes("thresholds", study["thresholds"])
    for statistic, colour in zip(("shared", "joint", "max"), COLOURS, strict=False):
        drawn = [rounded(*line.get_xydata().T) for line in axes.lines if to_hex(line.get_color()) == colour.lower()]
        for latents in ("all", "live"):
            rows = table[(table["source"] == "trained") & (table["statistic"] == statistic)]
            mean = rows[rows["latents"] == latents].groupby("threshold")["fraction"].mean()
            assert rounded(mean.index, mean) in drawn
        expected = of(table, "fraction", "threshold", source="published", statistic=statistic)
        assert points(axes, colour=colour, marker="s") == expected
    floors = [line.get_linestyle() for line in axes.lines if to_hex(line.get_color()) == styles.FLOOR]
    assert floors == ["-", "--", ":"]
    (chosen,) = set(table["chosen"])
    assert [line for line in axes.lines if list(line.get_xdata()) == [chosen, chosen]]
    assert [text.get_text() for text in axes.texts] == [f"{chosen:g}"]


@pytest.mark.parametrize("figure", registry.FIGURES)
def test_colours_and_sizes_are_those_of_the_style(figure, table_of):
    table, _ = files.read_table(table_of(figure))
    palette = ["#112233", "#223344", "#334455", "#445566", "#556677", "#667788"]
    picture, _ = drawings.draw(figure, table, {"palette": palette, "font_size": 7.0})
    used = {to_hex(line.get_color()) for axes in picture.axes for line in axes.lines}
    used |= {to_hex(bar.get_facecolor()) for axes in picture.axes for bar in axes.patches}
    assert palette[0] in used
    assert not used & {colour.lower() for colour in COLOURS}
    labels = [axes.yaxis.label for axes in picture.axes] + [axes.xaxis.label for axes in picture.axes]
    assert {label.get_fontsize() for label in labels if label.get_text()} == (
        set() if figure in WITHOUT_AXES else {7.0}
    )


def test_a_png_has_the_resolution_of_the_style(study, tmp_path):
    table = registry.load("seeds", "table").table(study["seeds"])
    files.write_table(tmp_path / "seeds.parquet", table)
    outs = {name: tmp_path / f"seeds.{name}" for name in ("svg", "pdf", "png", "caption")}
    drawings.write_figure(figure="seeds", table=tmp_path / "seeds.parquet", style={"width": 4.0, "dpi": 100}, **outs)
    assert int.from_bytes(outs["png"].read_bytes()[16:20]) == 400


def test_more_lines_than_colours_are_refused(study):
    from sae_stability.errors import StudyError

    table = registry.load("architecture", "table").table(study["architecture"])
    with pytest.raises(StudyError, match=r"figure architecture: 4 architectures but 3 colours in figures\.style\.pal"):
        drawings.draw("architecture", table, {"palette": COLOURS[:3]})


def test_parts_of_latents_stand_beside_chance_and_the_paper(study):
    table, axes = table_and_axes("meta", study["meta"])
    last, choice = axes[-1], {"panel": "choice", "detail": "right"}
    assert [label.get_text() for label in last.get_yticklabels()] == ["right of five", "edges of small"]

    def drawn(marker: str) -> list[float]:
        found = np.concatenate([line.get_xdata() for line in last.lines if line.get_marker() == marker])
        return sorted(np.round(found.astype(float), 6))

    runs = [
        *table[(table["source"] == "trained") & (table["panel"] == "choice") & (table["detail"] == "right")]["value"]
    ]
    runs += [*table[(table["source"] == "trained") & (table["panel"] == "graph")]["value"]]
    assert drawn("o") == sorted(np.round(runs, 6))
    assert set(drawn("|")) == {0.2, 0.05}
    assert drawn("s") == [published.META_GRAPH, 0.73]
    intervals = np.concatenate([found.get_segments() for found in last.collections])
    low, high = (of(table, "value", "n", **choice | {"detail": end}) for end in ("low", "high"))
    assert {round(float(x), 6) for x in intervals[:, 0, 0]} == {value for _, value in low}
    assert {round(float(x), 6) for x in intervals[:, 1, 0]} == {value for _, value in high}


def test_what_the_paper_says_of_descriptions_stands_beside_the_same_one(study):
    _, axes = table_and_axes("meta", study["meta"])
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names.count("meta-SAE, trained") == 1
    expected = {(0.5547, names.index("meta-SAE, trained")), (0.42, names.index("smaller SAEs, kept"))}
    assert expected <= points(axes[0], colour=styles.PUBLISHED, marker="s")


def test_interpolation_shows_both_published_models(study):
    table, (errors, l0) = table_and_axes("interpolation", study["interpolation"])
    gemma = of(table, "relative_mse", series=published.GEMMA)
    assert points(errors, colour=styles.PUBLISHED, marker="s", face=styles.PUBLISHED) == gemma
    assert (1.855469, 1.349432) in points(l0, colour=styles.PUBLISHED, marker="s", face="white")
