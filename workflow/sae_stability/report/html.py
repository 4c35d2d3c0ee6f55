"""A paper as one HTML page that needs no other file and no network. All text is escaped."""

from html import escape

from sae_stability.report import page, svg
from sae_stability.report.blocks import Block, Equation, Paper, Paragraph, Picture, Points, Section, Table
from sae_stability.report.markup import Span, plain, printable

_LOOKS = {"emphasis": "em", "strong": "strong"}


def write(paper: Paper) -> str:
    """The page's text.

    Raises:
        StudyError: a picture that cannot be read.
    """
    numbered = list(enumerate(paper.sections, 1))
    links = "".join(f'<li><a href="#{section.name}">{_text(section.title)}</a></li>' for _, section in numbered)
    body = [
        f"<header><h1>{_spans(paper.title)}</h1><p class=subtitle>{_spans(paper.subtitle)}</p></header>",
        f'<main><section class=lead id="{paper.lead.name}"><h2>{_text(paper.lead.title)}</h2>',
        f"{_blocks(paper.lead)}</section>",
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{links}</ol></nav>',
        *(
            f'<section id="{section.name}"><h2>{number}. {_text(section.title)}</h2>{_blocks(section)}</section>'
            for number, section in numbered
        ),
        "</main><footer>Tables sort by a click on a heading.</footer>",
    ]
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(page.policy())}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(plain(paper.title))}</title><style>{page.STYLE}</style></head><body>"
    )
    return "\n".join([head, *body, f"<script>{page.SCRIPT}</script></body></html>"]) + "\n"


def _blocks(section: Section) -> str:
    return "\n".join(map(_block, section.blocks))


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_spans(block.text)}</p>"
    if isinstance(block, Points):
        tag = "ol" if block.numbered else "ul"
        return f"<{tag}>{''.join(f'<li>{_spans(item)}</li>' for item in block.items)}</{tag}>"
    if isinstance(block, Equation):
        return f'<math display="block" tabindex="0">{block.formula.mathml}</math>'
    return _table(block) if isinstance(block, Table) else _picture(block)


def _table(table: Table) -> str:
    heading = "".join(f'<th scope="col"><button type="button">{_spans(cell)}</button></th>' for cell in table.heading)
    rows = "".join(f"<tr>{''.join(f'<td>{_spans(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    label = _text(plain(table.title))
    return (
        f'<div class=wide role="region" aria-label="{label}" tabindex="0"><table>'
        f"<caption>{_spans(table.title)}</caption><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _picture(picture: Picture) -> str:
    name = _text(picture.slug)
    drawing = svg.inline(picture.svg, f"{picture.slug}-")
    return (
        f'<figure id="figure-{name}"><div class=drawing>{drawing}</div>'
        f"<figcaption><strong>Figure {name}.</strong> {_spans(picture.caption)}</figcaption></figure>"
    )


def _spans(some: tuple[Span, ...]) -> str:
    return "".join(_span(span) for span in some)


def _span(span: Span) -> str:
    text = _text(span.text)
    return f"<{_LOOKS[span.look]}>{text}</{_LOOKS[span.look]}>" if span.look else text


def _text(text: str) -> str:
    return escape(printable(text))
