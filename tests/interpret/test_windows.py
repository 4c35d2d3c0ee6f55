"""Windows of text, as judges see them."""

import pytest

from sae_stability.errors import StudyError
from sae_stability.files import read_table, write_table
from sae_stability.interpret.windows import Contexts, Pool, Window


def window(pieces: list[str], activations: list[float]) -> Window:
    return Window((3, 0), "top", tuple(pieces), tuple(activations))


def test_runs_of_firing_tokens_are_marked_and_spaces_stay_outside():
    some = window(["An", " old", " riv", "er", " bank", "."], [0, 0, 2, 1, 0, 3])
    assert some.text == "An old river bank."
    assert some.marked(some.firing) == "An old <<river>> bank<<.>>"
    assert some.marked([True] + [False] * 5) == "<<An>> old river bank."


def test_marks_in_the_text_are_no_marks():
    some = window(["cout", " <<", " x", " >>"], [0, 0, 1, 0])
    assert some.marked(some.firing) == "cout < < <<x>> > >"


def test_words_that_hold_a_firing_token():
    some = window(["The", " riv", "er", "-", "bank", " is"], [0, 0, 2, 0, 1, 0])
    assert some.words == ("the", "river", "-", "bank", "is")
    assert some.firing_words == (1, 3)


def test_a_leading_space_shifts_no_word():
    some = window([" a", " stone"], [0, 1])
    assert some.firing_words == (1,)
    some = window(["", "é", " a"], [1, 0, 1])
    assert [some.words[place] for place in some.firing_words] == ["a"]


def test_contexts_keep_latents_and_splits_apart(planted):
    contexts = Contexts(planted.files("contexts")[0][1], [2])
    assert contexts.positives(1, "score") == []
    explain, score = contexts.positives(2, "explain"), contexts.positives(2, "score")
    assert {"lamp"} == {some.pieces[some.firing.index(True)].strip() for some in explain + score}
    assert not contexts.blocks(2, "explain") & contexts.blocks(2, "score")
    assert all("lamp" not in some.text for some in contexts.negatives(2, "explain"))


def test_the_pool_knows_where_a_latent_fires(planted):
    pool = Pool(planted.files("pool")[0][1])
    for place, some in pool.windows.items():
        assert (place in pool.fires(2)) == ("lamp" in some.text)


def test_a_table_without_a_column_is_refused(planted, tmp_path):
    table, _ = read_table(planted.files("contexts")[0][1])
    write_table(tmp_path / "contexts.parquet", table.drop(columns=["pieces"]))
    with pytest.raises(StudyError, match=r"contexts.parquet: has no column pieces; delete it and run again"):
        Contexts(tmp_path / "contexts.parquet", [0])
