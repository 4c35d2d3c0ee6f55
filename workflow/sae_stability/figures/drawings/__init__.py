"""The drawing step: one tidy table -> pictures and a caption. Reads nothing but that table."""

from pathlib import Path

from sae_stability import files
from sae_stability.figures import registry


def write_figure(*, figure: str, table: Path, style: dict, outs: list[Path], caption: Path) -> None:
    """Draw `figure` from its tidy table and write its caption.

    Args:
        figure: a name in `registry.FIGURES`.
        table: what `tables.write_table` wrote.
        style: overrides of `style.DEFAULT`; `published: false` leaves the paper's values out of picture and caption.
        outs: pictures to write, each ending in .svg, .pdf or .png. The same table and style give the same bytes.
        caption: reStructuredText to write, safe to pass through Jinja.

    Raises:
        StudyError: no such figure, a style key that does not exist, or a missing or damaged table.
    """
    from sae_stability.figures.drawings import style as styles

    module = registry.load(figure, "drawing")
    style = styles.resolve(style)
    rows, _ = files.read_table(table)
    if not style["published"]:
        rows = rows[rows["source"] != "published"].reset_index(drop=True)
    picture = module.draw(rows, style)
    for out in outs:
        styles.save(picture, out, style)
    with files.atomic(caption) as temporary:
        temporary.write_text(module.caption(rows) + "\n")
