"""The language of captions: what is markup, and what is text."""

import pytest

from sae_stability.figures import phrases
from sae_stability.report.markup import Span, list_table, plain, spans


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a *b* c", [Span("a "), Span("b", "emphasis"), Span(" c")]),
        ("**a b**.", [Span("a b", "strong"), Span(".")]),
        (r"a\*b\*\\", [Span(r"a*b*" + "\\")]),
        ("2 * 3", [Span("2 * 3")]),
        ("**open *and* so", [Span("**open *and* so")]),
        ("a (k-1)^-b + c", [Span("a (k-1)^-b + c")]),
        ("", []),
    ],
)
def test_the_pieces_of_a_text(text: str, expected: list[Span]):
    assert list(spans(text)) == expected


@pytest.mark.parametrize("name", ["<b>*x*</b>", "{{ 1 }}", "a\\b", "#let x", "$x$", 'say "no"', "`_|"])
def test_text_that_was_escaped_is_text_again(name: str):
    assert plain(spans(f"*{phrases.escape(name)}*")) == name
    assert [span.look for span in spans(f"*{phrases.escape(name)}*")] == ["emphasis"]


def test_the_cells_of_a_table():
    text = ".. list-table::\n   :header-rows: 1\n\n   * - \n     - a\n   * - b\n     - c * - d"
    assert list_table(text) == [["", "a"], ["b", "c * - d"]]
    assert list_table("How to read it: ...") is None
