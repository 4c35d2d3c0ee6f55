"""The drawing step: one tidy table -> pictures and a caption. Reads nothing but that table."""

from pathlib import Path
from typing import TYPE_CHECKING

from sae_stability import files
from sae_stability.errors import StudyError
from sae_stability.figures import phrases, registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_figure(
    *,
    figure: str,
    table: Path,
    style: dict | None = None,
    config_hash: str = "",
    svg: Path,
    pdf: Path,
    png: Path,
    caption: Path,
    record: Path | None = None,
) -> None:
    """Draw a figure from its tidy table, and write its caption.

    The same table and style give the same bytes.

    Args:
        figure: kind of the figure.
        table: its tidy table, a Parquet file.
        style: settings that differ from the default style, such as width; published: false leaves out the paper's
            values.
        config_hash: fingerprint of the table, the style and the code behind the picture.
        svg: file for the picture as SVG.
        pdf: file for the picture as PDF.
        png: file for the picture as PNG.
        caption: file for the caption, reStructuredText that may pass through Jinja.
        record: file for the fingerprint and the digests of the other files; none if left out.

    Raises:
        StudyError: no such figure, a setting of the style that does not exist, or a missing or damaged table.
    """
    _check_matplotlib()
    from sae_stability.figures.drawings import style as styles

    resolved = styles.resolve(style or {})
    rows, _ = files.read_table(table)
    picture, text = draw(figure, rows, resolved)
    for out in (svg, pdf, png):
        styles.save(picture, out, resolved)
    with files.atomic(caption) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    if record is not None:
        files.write_record(file=[svg, pdf, png, caption], config_hash=config_hash, out=record)


def draw(figure: str, table: "pd.DataFrame", style: dict) -> "tuple[Figure, str]":
    """The picture of a figure and its caption.

    Args:
        figure: a name in `registry.FIGURES`.
        table: the figure's tidy table.
        style: what differs from `style.DEFAULT`.

    Raises:
        StudyError: no such figure, or a setting of the style that does not exist or cannot be drawn with.
    """
    _check_matplotlib()
    from sae_stability.figures.drawings import style as styles

    module = registry.load(figure, "drawing")
    style = styles.resolve(style)
    if not style["published"]:
        table = table[table["source"] != "published"].reset_index(drop=True)
    with styles.in_use(style):
        picture = module.draw(table, style)
    text = module.caption(table)
    if boxes := styles.without_font(styles.text_of(picture)):
        text += f" No installed font has {phrases.escape(' '.join(boxes))}: PDF and PNG show boxes in their place."
    return picture, text


def _check_matplotlib() -> None:
    """Matplotlib reads a matplotlibrc when it is imported, and fails on one that is not text.

    Raises:
        StudyError: in place of its error.
    """
    try:
        import matplotlib  # noqa: F401
    except UnicodeDecodeError as error:
        raise StudyError(
            f"matplotlibrc, in this folder or among your settings of Matplotlib, is not UTF-8 text ({error.reason}); "
            "correct or remove it"
        ) from None
