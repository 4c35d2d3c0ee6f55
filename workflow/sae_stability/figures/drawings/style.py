"""One look for every figure: colours, sizes and fonts. A picture's bytes depend on nothing but table and style."""

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from sae_stability import files
from sae_stability.errors import StudyError

# The three colours of Okabe & Ito 2008 whose contrast with white is at least 3 to 1, and three darker ones to match.
DEFAULT = {
    "palette": ["#0072B2", "#D55E00", "#009E73", "#8F2D78", "#5C3A00", "#3018D8"],
    # Points, for the text of axes and keys.
    "font_size": 8.0,
    # Inches: 3.35 is a column of a two-column page, 6.9 both.
    "width": 3.35,
    # Dots per inch of PNGs, and of point clouds inside SVG and PDF.
    "dpi": 200,
    # Whether the paper's values are drawn as a second series.
    "published": True,
}

# Comes with Matplotlib.
FONT = "DejaVu Sans"
FLOOR = "#666666"
PUBLISHED = "#000000"
# Marks and lines that belong to no one series.
NEUTRAL = "#404040"


def resolve(style: dict) -> dict:
    """`DEFAULT` with the keys of `style` replaced.

    Raises:
        StudyError: a key that does not exist, or a value that cannot be drawn with.
    """
    for key in style:
        if key not in DEFAULT:
            near = difflib.get_close_matches(str(key), DEFAULT, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise StudyError(f"figure style: no key {key!r}; there are {', '.join(DEFAULT)}{hint}")
    resolved = {**DEFAULT, **style}
    for key in ("font_size", "width", "dpi"):
        value = resolved[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
            raise StudyError(f"figure style: {key} is {value!r}; it must be a positive number")
    palette = resolved["palette"]
    if not isinstance(palette, list) or len(palette) < 3 or not all(map(matplotlib.colors.is_color_like, palette)):
        raise StudyError("figure style: palette must be a list of at least three colours such as '#0072B2'")
    if not isinstance(resolved["published"], bool):
        raise StudyError(f"figure style: published is {resolved['published']!r}; it must be true or false")
    return resolved


def settings(style: dict) -> dict:
    """Matplotlib settings for a resolved style."""
    size = style["font_size"]
    return {
        "font.family": "sans-serif",
        "font.sans-serif": [FONT],
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "xtick.labelsize": size - 1,
        "ytick.labelsize": size - 1,
        "legend.fontsize": size - 1,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.2,
        "legend.frameon": False,
        "figure.dpi": style["dpi"],
        # Labels come from a config: a dollar sign in one is a dollar sign.
        "text.parse_math": False,
        "axes.unicode_minus": False,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "sae-stability",
    }


@contextlib.contextmanager
def in_use(style: dict) -> Iterator[None]:
    """A context in which Matplotlib draws or saves in a resolved style.

    All other settings are Matplotlib's defaults, whatever a matplotlibrc or the caller has set.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings(style))
        yield


class SameLayout(ConstrainedLayoutEngine):
    """Matplotlib's constrained layout, with the same places in every run.

    Its solver adds up in the order of memory addresses, so the last bits of its places vary.
    """

    def execute(self, fig: Figure) -> None:
        """Place the axes of `fig`."""
        super().execute(fig)
        for axes in fig.axes:
            axes.set_position(Bbox(axes.get_position(original=True).get_points().round(9)))
            # `set_position` takes the axes out of the layout.
            axes.set_in_layout(True)


def figure(style: dict, height: float) -> Figure:
    """An empty figure of the style's width, `height` inches high at column width and a little higher at two."""
    width = style["width"]
    grown = height * max(1.0, min(1.35, width / DEFAULT["width"]))
    return Figure(figsize=(width, grown), layout=SameLayout())


def save(picture: Figure, out: str | Path, style: dict) -> None:
    """Write `picture` to `out` without date or version in it.

    Raises:
        StudyError: `out` does not end in .svg, .pdf or .png.
    """
    suffix = Path(out).suffix
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
    if suffix not in metadata:
        raise StudyError(f"{out}: a figure is written as .svg, .pdf or .png")
    with in_use(style), files.atomic(out) as temporary:
        if fallbacks := _fallbacks(text_of(picture)):
            for text in picture.findobj(Text):
                text.set_fontfamily([FONT, *fallbacks])
        picture.savefig(temporary, dpi=style["dpi"], metadata=metadata[suffix])


def without_font(text: str) -> list[str]:
    """The characters of a text that no installed font has, sorted."""
    missing = _missing(text)
    for font in _fallbacks(text).values():
        missing -= font
    return sorted(missing)


def text_of(picture: Figure) -> str:
    """All text of a picture."""
    return "".join(text.get_text() for text in picture.findobj(Text))


def _fallbacks(text: str) -> dict[str, set[str]]:
    """Installed fonts that have characters which `FONT` lacks, and those characters; none for most texts."""
    missing, found = _missing(text), {}
    if not missing:
        return found
    for name in sorted({font.name for font in font_manager.fontManager.ttflist}):
        # The font of last resort has a box for every character.
        covered = set() if name.startswith("Last Resort") else missing & _characters(font_manager.findfont(name))
        if covered:
            found[name] = covered
            missing -= covered
    return found


def _missing(text: str) -> set[str]:
    return {character for character in text if not character.isspace()} - _characters(font_manager.findfont(FONT))


def _characters(font: str) -> set[str]:
    return set(map(chr, font_manager.get_font(font).get_charmap()))


def fraction_axis(axis, limit: float = 1.0) -> None:
    """Percent ticks for an axis from 0 to `limit`, with a little room so that dots at 0 are not cut."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    axis.axes.set(**{f"{axis.axis_name}lim": (-0.03 * limit, 1.03 * limit)})


def key(picture: Figure, handles: list[Line2D], columns: int = 1) -> None:
    """The figure's key, above the axes so that it covers no mark; a wide figure has at least two columns."""
    picture.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns if picture.get_figwidth() < 5 else max(columns, 2),
        handlelength=2.0,
        labelspacing=0.25,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def mark(label: str, **look) -> Line2D:
    """An entry of a key."""
    return Line2D([], [], label=label, **look)


def colour_of_each(names: list, style: dict, *, figure: str, noun: str) -> dict:
    """A colour of the palette for each name, in order.

    Args:
        names: what the lines of a figure stand for.
        style: the resolved style.
        figure: kind of the figure, for the error.
        noun: what the names are, in the plural, for the error.

    Raises:
        StudyError: more names than the palette has colours.
    """
    palette = style["palette"]
    if len(names) > len(palette):
        raise StudyError(
            f"figure {figure}: {len(names)} {noun} but {len(palette)} colours in figures.style.palette; add colours "
            "or draw fewer in one figure"
        )
    return dict(zip(names, palette, strict=False))


def compact(value: float) -> str:
    """A count in few characters: 384, 1,536, 131k, 2.4M, 8B."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.3g}{letter}"
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def label_beside(axes: Axes, text: str, at: tuple[float, float], style: dict, colour: str, points: float) -> None:
    """Write a small label to the right of a place, `points` away from it."""
    axes.annotate(
        text,
        at,
        textcoords="offset points",
        xytext=(points, 0),
        va="center",
        color=colour,
        fontsize=style["font_size"] - 1,
    )


def label_ends(axes: Axes, ends: list[tuple[float, str]], style: dict, colour: str) -> None:
    """Write labels right of the axes, each as near as possible to its height, none over another.

    Args:
        axes: with its y limits set.
        ends: (height wanted in data units, text).
        style: the resolved style.
        colour: of the labels.
    """
    size = style["font_size"] - 1
    low, high = axes.get_ylim()
    # A line of text in data units; the axes take about seven tenths of the figure's height.
    step = 1.35 * size / 72 / (0.7 * axes.figure.get_size_inches()[1]) * (high - low)
    placed = high + step
    for wanted, text in sorted(ends, reverse=True):
        placed = min(wanted, placed - step)
        axes.annotate(
            text,
            (1.02, placed),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            color=colour,
            fontsize=size,
            annotation_clip=False,
        )
