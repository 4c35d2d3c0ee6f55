"""Formulas in two notations at once: MathML for HTML, and Typst's for the PDF."""

from html import escape
from typing import NamedTuple


class Formula(NamedTuple):
    """A formula or a part of one, in both notations."""

    mathml: str
    typst: str


def name(letter: str) -> Formula:
    """A quantity with a name of one letter."""
    return Formula(f"<mi>{escape(letter)}</mi>", letter)


def word(text: str) -> Formula:
    """A name of several letters, upright."""
    return Formula(f"<mtext>{escape(text)}</mtext>", f'"{text}"')


def sign(text: str) -> Formula:
    """An operator, a bracket or a number, as in `sign("=")`."""
    return Formula(f'<mo stretchy="false">{escape(text)}</mo>', text)


def number(text: str) -> Formula:
    """A number."""
    return Formula(f"<mn>{escape(text)}</mn>", text)


def row(*parts: Formula | str) -> Formula:
    """Parts side by side. A string is a quantity if it is one letter, else an operator."""
    made = [_part(part) for part in parts]
    return Formula("<mrow>" + "".join(part.mathml for part in made) + "</mrow>", " ".join(part.typst for part in made))


def below(base: Formula | str, index: Formula | str) -> Formula:
    """An index below the line."""
    base, index = _part(base), _part(index)
    return Formula(f"<msub>{base.mathml}{index.mathml}</msub>", f"{base.typst}_({index.typst})")


def above(base: Formula | str, exponent: Formula | str) -> Formula:
    """An exponent."""
    base, exponent = _part(base), _part(exponent)
    return Formula(f"<msup>{base.mathml}{exponent.mathml}</msup>", f"{base.typst}^({exponent.typst})")


def under(base: Formula | str, index: Formula | str) -> Formula:
    """An index under an operator such as a sum."""
    base, index = _part(base), _part(index)
    return Formula(f"<munder>{base.mathml}{index.mathml}</munder>", f"limits({base.typst})_({index.typst})")


def hat(letter: str) -> Formula:
    """A letter with a hat."""
    return Formula(f'<mover accent="true"><mi>{escape(letter)}</mi><mo>^</mo></mover>', f"hat({letter})")


def fraction(top: Formula, bottom: Formula) -> Formula:
    """A fraction."""
    return Formula(f"<mfrac>{top.mathml}{bottom.mathml}</mfrac>", f"({top.typst}) / ({bottom.typst})")


def _part(part: Formula | str) -> Formula:
    if isinstance(part, Formula):
        return part
    return name(part) if len(part) == 1 and part.isalpha() else sign(part)


_ENCODER, _DECODER = below("π", "E"), below("π", "D")
_COS_E, _COS_D = below(word("cos"), "E"), below(word("cos"), "D")


def _norm(inside: Formula) -> Formula:
    return above(row("‖", inside, "‖"), number("2"))


_SPACE = Formula('<mspace width="2em"/>', "quad")

SAE = row(
    *("z", "=", "f", "(", "E", "(", "x", "−", "b", ")", "+", "c", ")", _SPACE),
    *(hat("x"), "=", above("D", word("T")), "z", "+", "b"),
)
"""What an SAE computes."""

FVU = row(
    word("FVU"),
    "=",
    fraction(
        row(under("∑", "x"), _norm(row("x", "−", hat("x")))),
        row(under("∑", "x"), _norm(row("x", "−", word("mean")))),
    ),
)
"""The fraction of variance unexplained."""

ASSIGNMENT = row(
    _DECODER,
    "=",
    under(word("arg max"), "π"),
    *(under("∑", "i"), _COS_D, "(", "i", ",", "π", "(", "i", ")", ")", _SPACE),
    _ENCODER,
    "=",
    under(word("arg max"), "π"),
    *(under("∑", "i"), _COS_E, "(", "i", ",", "π", "(", "i", ")", ")"),
)
"""The decoder and the encoder assignment."""

SHARED = row(
    *(_ENCODER, "(", "i", ")", "=", _DECODER, "(", "i", ")", _SPACE),
    *(_COS_E, "(", "i", ",", _ENCODER, "(", "i", ")", ")", "≥", "t", _SPACE),
    *(_COS_D, "(", "i", ",", _DECODER, "(", "i", ")", ")", "≥", "t"),
)
"""When latent i is shared."""

ONLY_IN_BASE = above(row("(", number("1"), "−", "p", ")"), row("m", "−", number("1")))
"""What part of a base's latents none of m - 1 others shares, if each shares a part p by chance."""

BALANCED_ACCURACY = row(
    *(word("balanced accuracy"), "="),
    fraction(
        row(word("recall where it fires"), "+", word("recall where it does not")),
        number("2"),
    ),
)
"""The score of an explanation."""
