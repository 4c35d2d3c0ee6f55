"""Only replies of the form that was asked for count."""

import pytest

from sae_stability.interpret import replies


@pytest.mark.parametrize(
    ("text", "outcome", "value"),
    [
        ("EXPLANATION: names of rivers", "ok", "names of rivers"),
        ('I think\n**Explanation:** "names\nEXPLANATION: of rivers"\n', "ok", "of rivers"),
        ("EXPLANATION:\u202e\x07  a\tb ", "ok", "a b"),
        ("EXPLANATION: " + "x" * 900, "ok", "x" * 500),
        ("EXPLANATION:", "unparsed", None),
        ("Names of rivers.", "unparsed", None),
        ("I'm sorry, but I can't.", "refused", None),
        ("As an AI, I have no view.", "refused", None),
        ("  ", "empty", None),
    ],
)
def test_explanations(text: str, outcome: str, value: str | None):
    assert replies.explanation(text) == (outcome, value)


@pytest.mark.parametrize(
    ("text", "outcome", "value"),
    [
        ("[10, 0, 5]", "ok", (1.0, 0.0, 0.5)),
        ("Grades [1] and [2, 3]:\n```json\n[3, 4, 5]\n```", "ok", (0.3, 0.4, 0.5)),
        ("[10, 0]", "unparsed", None),
        ("[10, 0, 11]", "unparsed", None),
        ("[10, 0, -1]", "unparsed", None),
        ("[1.5, 0, 1]", "unparsed", None),
        ("10, 0, 5", "unparsed", None),
        ("[,,]", "unparsed", None),
        ("I cannot grade these. []", "refused", None),
        ("", "empty", None),
    ],
)
def test_grades(text: str, outcome: str, value: tuple | None):
    assert replies.grades(text, 3) == (outcome, value)


@pytest.mark.parametrize(
    ("text", "outcome", "value"),
    [
        ("[1]", "ok", 0),
        ("Not [2] but [5].", "ok", 4),
        ("[6]", "unparsed", None),
        ("[0]", "unparsed", None),
        ("3", "unparsed", None),
    ],
)
def test_choices(text: str, outcome: str, value: int | None):
    assert replies.choice(text, 5) == (outcome, value)
