"""Every figure is drawn for every kind of cohort, looks as the style says, and gives the same bytes twice."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import drawings, registry, tables
from sae_stability.figures.drawings import style as styles
from tests.figures.kinds import OTHERS, UNPUBLISHED


def write(figure: str, inputs, folder: Path, style: dict | None = None) -> tuple[bytes, str]:
    """Make table, SVG and caption; returns the bytes of the SVG, and the caption."""
    style = styles.resolve(style or {})
    picture, caption = drawings.draw(figure, saved_table(figure, inputs, folder), style)
    styles.save(picture, folder / f"{figure}.svg", style)
    return (folder / f"{figure}.svg").read_bytes(), caption


def saved_table(figure: str, inputs, folder: Path) -> pd.DataFrame:
    """The figure's table as a drawing gets it: written and read again."""
    tables.write_table(figure=figure, input=inputs, out=folder / f"{figure}.parquet")
    return files.read_table(folder / f"{figure}.parquet")[0]


@pytest.mark.parametrize("figure", registry.FIGURES)
def test_the_same_table_and_style_give_the_same_bytes(figure, table_of, tmp_path):
    outs = {name: tmp_path / f"{figure}.{name}" for name in ("svg", "pdf", "png", "caption")}

    def written() -> list[bytes]:
        drawings.write_figure(figure=figure, table=table_of(figure), **outs)
        return [path.read_bytes() for path in outs.values()]

    first = written()
    assert written() == first
    svg, pdf, png, caption = first
    assert caption.endswith(b".\n")
    assert b"<text" in svg  # text stays text
    assert b"/Type3" not in pdf  # fonts are embedded whole, as TrueType
    assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("figure", registry.FIGURES)
def test_the_published_series_can_be_switched_off(figure, table_of):
    table, _ = files.read_table(table_of(figure))
    for published in (True, False):
        picture, caption = drawings.draw(figure, table, {"published": published})
        expected = published and figure not in UNPUBLISHED
        assert ("Paulo" in caption) == expected
        assert not OTHERS.get(figure) or (OTHERS[figure] in caption) == published
        assert any("Paulo" in text.get_text() for text in picture.findobj(Text)) == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("figure", registry.FIGURES)
@pytest.mark.parametrize(
    "options",
    [{"live": False}, {"floor": False}, {"live": False, "floor": False}, {"shared": 0.0}, {"seeds": 2}],
    ids=["every latent dead", "no floor", "neither", "nothing shared", "one pair"],
)
def test_cohorts_with_something_missing_are_drawn(figure, options, make, study_inputs, tmp_path):
    table = saved_table(figure, study_inputs(make, figure, **options), tmp_path)
    picture, caption = drawings.draw(figure, table, {"published": False})
    picture.draw_without_rendering()
    assert "nan" not in caption


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("figure", registry.FIGURES)
def test_a_wide_figure_has_the_width_asked_for(figure, table_of):
    picture, _ = drawings.draw(figure, files.read_table(table_of(figure))[0], {"width": 6.9})
    assert picture.get_figwidth() == 6.9


@pytest.mark.parametrize("figure", registry.FIGURES)
@pytest.mark.parametrize("published", [True, False])
def test_no_two_texts_lie_on_each_other_and_none_leaves_the_figure(figure, published, table_of):
    table, _ = files.read_table(table_of(figure))
    picture, _ = drawings.draw(figure, table, {"published": published})
    FigureCanvasAgg(picture).draw()
    boxes = text_boxes(picture)
    frame = picture.bbox
    for text, box in boxes:
        assert frame.x0 - 1 <= box.x0, text
        assert box.x1 <= frame.x1 + 1, text
        assert frame.y0 - 1 <= box.y0, text
        assert box.y1 <= frame.y1 + 1, text
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        assert not overlap(a, b), f"{one!r} lies on {two!r}"


def text_boxes(picture) -> list:
    """Every visible, non-empty text of a drawn figure with its box in pixels."""
    renderer = picture.canvas.get_renderer()
    shown = [axes for axes in picture.axes if axes.axison]
    hidden = {text for axes in picture.axes if axes not in shown for text in axes.findobj(Text)}
    ticks = {
        label
        for axes in shown
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels()
        if not axis.get_view_interval()[0] <= tick_place(label, axis) <= axis.get_view_interval()[1]
    }
    texts = [text for text in picture.findobj(Text) if text not in hidden and text not in ticks]
    return [
        (text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_visible() and text.get_text()
    ]


def tick_place(label, axis) -> float:
    return label.get_position()[0 if axis.axis_name == "x" else 1]


def overlap(a, b) -> bool:
    return a.x0 < b.x1 - 0.5 and b.x0 < a.x1 - 0.5 and a.y0 < b.y1 - 0.5 and b.y0 < a.y1 - 0.5


def drawn(figure: str, inputs, style: dict | None = None):
    picture, _ = drawings.draw(figure, registry.load(figure, "table").table(inputs), style or {})
    FigureCanvasAgg(picture).draw()
    return picture


@pytest.mark.parametrize("figure", ["size", "k", "tokens"])
def test_every_value_of_this_run_has_a_tick(figure, study):
    labels = {label.get_text() for label in drawn(figure, study[figure]).axes[0].get_xticklabels()}
    assert {styles.compact(float(label)) for label, _ in study[figure]} <= labels


@pytest.mark.parametrize("figure", ["position", "randomness"])
def test_live_latents_hide_no_dot_of_all_latents(figure, study):
    (axes,) = drawn(figure, study[figure]).axes
    heights = {
        marker: {round(y) for line in axes.lines if line.get_marker() == marker for y in pixels(line)}
        for marker in ("o", "D")
    }
    apart = min(abs(one - other) for one in heights["o"] for other in heights["D"])
    assert apart * 72 / styles.DEFAULT["dpi"] > 2.5, "points"


def pixels(line) -> np.ndarray:
    return line.get_transform().transform(line.get_xydata())[:, 1]


@pytest.mark.parametrize("figure", ["size", "randomness"])
def test_the_same_counterpart_stands_beside_the_tied_floor(figure, study, tmp_path):
    svg, caption = write(figure, study[figure], tmp_path)
    assert b"encoder tied to decoder" in svg
    assert "as before training, it is 100.0%" in caption


def test_a_dollar_sign_or_markup_in_a_label_is_drawn_as_it_stands(make, tmp_path):
    label = "<b>$x_1$ & {{ y }}"
    svg, _ = write("position", [(label, make.cohort("c").overlap)], tmp_path)
    assert b"&lt;b&gt;$x_1$ &amp; {{ y }}" in svg


def test_a_cloud_of_many_points_becomes_a_bitmap_in_vector_files(make, tmp_path):
    def image_count(size: int) -> int:
        cohort = make.cohort(f"c{size}", size=size)
        svg, _ = write("joint", [("0-1", cohort.match), ("c", cohort.overlap)], tmp_path)
        return svg.count(b"<image")

    assert image_count(500) == 0
    assert image_count(6000) > 0


@pytest.mark.filterwarnings("error")
def test_saes_with_tied_weights_have_no_contours(make, tmp_path):
    """Encoder and decoder cosines are then equal: the points lie on one line."""
    cohort = make.cohort("c")
    table, metadata = files.read_table(cohort.match)
    table["cosine_encoder"], table["counterpart_encoder"] = table["cosine_decoder"], table["counterpart_decoder"]
    files.write_table(cohort.match, table, metadata)
    svg, _ = write("joint", [("0-1", cohort.match), ("c", cohort.overlap)], tmp_path)
    assert b"same counterpart" in svg


def luminance(colour: str) -> float:
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_colour_stands_out_from_white_as_graphics_must():
    # WCAG 2.2, criterion 1.4.11: 3 to 1.
    for colour in (*styles.DEFAULT["palette"], styles.FLOOR, styles.PUBLISHED):
        assert 1.05 / (luminance(colour) + 0.05) >= 3, colour


# Viénot, Brettel & Mollon 1999: dichromats' view of linear RGB.
DICHROMATS = {
    "normal": np.eye(3),
    "protanope": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranope": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("viewer", DICHROMATS)
def test_the_colours_of_one_figure_differ_for_every_viewer(viewer):
    # 15 is several just-noticeable differences in CIELAB.
    colours = [*styles.DEFAULT["palette"], styles.FLOOR, styles.PUBLISHED]
    seen = [lab(DICHROMATS[viewer] @ linear(colour)) for colour in colours]
    for (one, a), (two, b) in itertools.combinations(zip(colours, seen, strict=True), 2):
        assert np.linalg.norm(a - b) > 15, (one, two)


def linear(colour: str) -> np.ndarray:
    channels = np.array(to_rgb(colour))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ np.clip(rgb, 0, 1), 0) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"colour": "red"}, "no key 'colour'"),
        ({"widht": 3}, "did you mean 'width'"),
        ({"width": 0}, "width is 0"),
        ({"dpi": True}, "dpi is True"),
        ({"palette": ["#0072B2"]}, "palette must be a list of at least three"),
        ({"palette": ["#0072B2", "#D55E00", "bleu"]}, "palette must be"),
        ({"published": "no"}, "published is 'no'"),
    ],
    ids=str,
)
def test_a_style_that_cannot_be_drawn_with_is_refused(style, message):
    with pytest.raises(StudyError, match=message):
        styles.resolve(style)


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"written as \.svg, \.pdf or \.png"):
        styles.save(styles.figure(styles.DEFAULT, 3.0), tmp_path / "seeds.gif", styles.DEFAULT)


def test_labels_at_line_ends_keep_their_order_and_distance():
    picture = styles.figure(styles.DEFAULT, 3.0)
    axes = picture.add_subplot()
    axes.set_ylim(0, 1)
    styles.label_ends(axes, [(0.5, "b"), (0.52, "a"), (0.1, "c")], styles.DEFAULT, "k")
    places = {text.get_text(): text.xy[1] for text in axes.texts}
    assert places["a"] == 0.52
    assert places["a"] - places["b"] >= 0.05
    assert places["c"] == 0.1


@pytest.mark.parametrize(
    ("value", "text"), [(384, "384"), (1536, "1,536"), (131072, "131k"), (2.4e6, "2.4M"), (8e9, "8B"), (8, "8")]
)
def test_axis_numbers_are_short(value, text):
    assert styles.compact(value) == text


def test_two_seeds_have_no_error_bars(make):
    two, three = (
        drawn("seeds", [("c", make.cohort(f"c{seeds}", seeds=seeds).overlap)], {"published": False}) for seeds in (2, 3)
    )
    assert bars(two) == 0
    assert bars(three) > 0


def bars(picture) -> int:
    """Error bars with a length, in all axes."""
    segments = [segment for axes in picture.axes for lines in axes.collections for segment in lines.get_segments()]
    return sum(bool(np.isfinite(segment).all()) for segment in map(np.asarray, segments) if len(segment))


def test_drawing_needs_only_the_table_saved_beside_it(study, tmp_path):
    """A person can redraw a figure from its CSV."""
    saved_table("size", study["size"], tmp_path)
    table = pd.read_csv(tmp_path / "size.csv", keep_default_na=False, na_values=["nan"])
    assert drawings.draw("size", table, {})[0].axes
