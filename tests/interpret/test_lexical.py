"""The judge without a model finds planted words."""

import pytest

from sae_stability.interpret.judges import Question
from sae_stability.interpret.lexical import Lexical, term_weights
from tests.interpret import verbs
from tests.interpret.synthetic import DEAD, RARE, word


def test_it_names_the_planted_word_of_every_latent(planted, tmp_path):
    for seed, table in verbs.explain(planted, tmp_path).items():
        assert table["first_latent"].tolist() == [latent for latent in range(12) if latent != DEAD]
        for row in table.itertuples():
            assert row.latent == planted.places[seed][row.first_latent]
            if row.first_latent == RARE:
                assert (row.status, row.explanation, row.reason) == ("too_rare", "", "")
            else:
                assert row.explanation.startswith(f'fires on "{word(row.first_latent)}"')
                assert (row.status, len(row.prompt_sha256), row.n_shown) == ("ok", 64, 20)


def test_weights_fall_along_each_list_and_signs_are_terms_too():
    weights = term_weights('fires on "a", ";"; in phrases "; near", "b c"; near "d"')
    assert weights == {"a": 1.0, ";": 0.5, "; near": 1.0, "b c": 0.5, "d": 0.5}


def test_the_words_of_any_other_sentence_count_alike():
    assert term_weights("Names of rivers.") == {"names": 1.0, "of": 1.0, "rivers": 1.0, ".": 1.0}
    assert term_weights('fires on "unfinished') == dict.fromkeys(["fires", "on", '"', "unfinished"], 1.0)


@pytest.mark.parametrize(("text", "score"), [("the River", 1.0), ("by a river bank", 2.0), ("rivers", 0.0), ("", 0.0)])
def test_a_text_scores_by_the_terms_in_it(text: str, score: float):
    question = Question('fires on "river"; in phrases "a river"', (text,))
    assert [[reply.value for reply in some] for some in Lexical().detect([question])] == [[score]]


@pytest.mark.parametrize(("text", "score"), [("a <<river>>", 2.0), ("<<a>> river", 0.0), ("a river <<holds>>", 0.0)])
def test_only_marked_words_count_in_fuzzing(text: str, score: float):
    question = Question('fires on "river"; in phrases "a river"', (text,))
    assert [[reply.value for reply in some] for some in Lexical().fuzz([question])] == [[score]]
