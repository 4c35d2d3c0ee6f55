"""Settings as words of a command line."""

import shlex

from sae_stability.pipeline.command import flags, folders


def test_none_is_left_out_and_zero_and_false_are_not():
    assert flags(revision=None, seed=0, packing=False, keep=True) == "--seed 0 --packing false --keep true"


def test_a_name_becomes_a_long_flag():
    assert flags(n_latents=8) == "--n-latents 8"


def test_the_shell_gives_back_every_value_as_it_was():
    values = ["two words", "it's", '{"a": "b$c"}', "*.txt", "", "a;b", "a=b"]
    words = shlex.split(" ".join(flags(value=value) for value in values))
    assert words == [word for value in values for word in ("--value", value)]
    assert shlex.split(flags(value="-1 {x}")) == ["--value=-1 {x}"]  # argparse would take -1 for a flag of its own


def test_a_folder_of_several_files_is_one_folder():
    assert folders(["b/one", "a/one", "b/two", "a/b/one"]) == ["b", "a", "a/b"]
    assert folders([]) == []


def test_nothing_is_no_words():
    assert flags() == flags(a=None) == ""
