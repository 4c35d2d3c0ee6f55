"""A paper as a PDF, typeset by Typst. Every text of the paper is a string of Typst, so none can turn into markup."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import typst

from sae_stability.report.blocks import Block, Equation, Paper, Paragraph, Picture, Points, Table
from sae_stability.report.markup import Span, plain, printable

_LAYOUT = """
#set document(title: {title}, date: none)
#set page(paper: "a4", margin: (x: 2.4cm, y: 2.4cm), numbering: "1")
#set text(size: 10pt, lang: "en")
#set par(justify: true)
#set heading(numbering: "1.")
#set table(stroke: (x, y) => (bottom: if y == 0 {{ 0.8pt }} else {{ 0.3pt + luma(180) }}), inset: (x: 3pt, y: 3pt))
#show table: set text(size: 7.5pt)
#show table: set par(justify: false)
#show table: it => {{ show regex("\\S{{24,}}"): word => word.text.clusters().join(sym.zws); it }}
#show table.cell.where(y: 0): strong
#show heading: set block(above: 1.6em, below: 0.8em)
#show figure: set block(breakable: true)
#show figure.caption: set text(size: 9pt)
#show figure.caption: set align(left)
#show math.equation.where(block: true): set block(above: 1em, below: 1em)
"""


def write(paper: Paper, folder: Path) -> bytes:
    """The PDF. The same paper gives the same bytes.

    Args:
        paper: the paper.
        folder: an empty folder to work in.
    """
    source = folder / "paper.typ"
    source.write_text(_source(paper, folder), encoding="utf-8")
    return typst.compile(str(source), root=str(folder), format="pdf", timestamp=datetime.fromtimestamp(0, UTC))


def _source(paper: Paper, folder: Path) -> str:
    parts = [
        _LAYOUT.format(title=_string(plain(paper.title))),
        f'#text(size: 17pt, weight: "bold")[{_spans(paper.title)}]\n',
        f"#text(fill: luma(90))[{_spans(paper.subtitle)}]\n",
        "#block(fill: luma(243), inset: 9pt, radius: 3pt, width: 100%)[",
        f"#strong[#{_string(paper.lead.title)}]\n",
        *(_block(block, folder) for block in paper.lead.blocks),
        "]",
    ]
    for section in paper.sections:
        parts += [f"#heading[#{_string(section.title)}]", *(_block(block, folder) for block in section.blocks)]
    return "\n".join(parts) + "\n"


def _block(block: Block, folder: Path) -> str:
    if isinstance(block, Paragraph):
        return f"#par[{_spans(block.text)}]\n"
    if isinstance(block, Points):
        items = ", ".join(f"[{_spans(item)}]" for item in block.items)
        return f"#{'enum' if block.numbered else 'list'}({items},)\n"
    if isinstance(block, Equation):
        return f"$ {block.formula.typst} $\n"
    return _table(block) if isinstance(block, Table) else _picture(block, folder)


def _table(table: Table) -> str:
    heading = ", ".join(f"[{_spans(cell)}]" for cell in table.heading)
    rows = "".join(", ".join(f"[{_spans(cell)}]" for cell in row) + ",\n" for row in table.rows)
    return (
        f"#block(below: 0.5em, sticky: true)[#strong[{_spans(table.title)}]]\n"
        f"#table(columns: {len(table.heading)}, align: left, table.header({heading}),\n{rows})\n"
    )


def _picture(picture: Picture, folder: Path) -> str:
    """The figure at its own width, at most that of the text."""
    shutil.copyfile(picture.pdf, folder / f"{picture.slug}.pdf")
    name = _string(f"{picture.slug}.pdf")
    return (
        f"#figure(layout(size => {{ let own = measure(image({name})).width; "
        f"image({name}, width: calc.min(own, size.width)) }}), numbering: none, "
        f"caption: [#strong[Figure #{_string(picture.slug)}.] {_spans(picture.caption)}])\n"
    )


def _spans(some: tuple[Span, ...]) -> str:
    return "".join(_span(span) for span in some)


def _span(span: Span) -> str:
    text = f"#{_string(span.text)}"
    looks = {"emphasis": f"#emph[{text}]", "strong": f"#strong[{text}]"}
    return looks.get(span.look, text)


def _string(text: str) -> str:
    """Text as a string of Typst."""
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
