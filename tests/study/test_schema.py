"""Reading YAML strictly, and the schema in step with code, comments and the default study."""

import copy
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given, settings

from sae_stability.errors import StudyError
from sae_stability.study.build import Study
from sae_stability.study.schema import check, load_yaml, schema
from tests.study_config import changed, small_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", r"study.yaml, line 5: c is given twice \(first in line 3\)"),
        ("a: [1\n", r"study.yaml, line \d: not valid YAML"),
        ("just words\n", "at the top level"),
        ("[1, 2]: 3\n", "line 1: a key must be"),
        ("a: !!python/object:os.system x\n", "line 1: not valid YAML"),
        ("a: é\nb: \0x\n", "study.yaml, line 2: not valid YAML"),
        ("a: 1\nb: &b [*b]\n", "study.yaml, line 2: not valid YAML"),
        ("a: 1\nb: &b {c: *b}\n", "study.yaml, line 2: not valid YAML"),
        ("a: 1\nb: " + "[" * 100_000 + "]" * 100_000, "study.yaml, line 2: more than 50 values inside each other"),
        (
            "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 900)),
            "stand for more than 50 values inside",
        ),
    ],
    ids=[
        "key twice",
        "unclosed",
        "no mapping",
        "list as key",
        "python object",
        "NUL",
        "list in itself",
        "map in itself",
        "deep lists",
        "deep aliases",
    ],
)
def test_bad_yaml_names_file_and_line(tmp_path, text, expected):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=expected):
        load_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match="nowhere"):
        load_yaml(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(("text", "value"), [("8e3", 8000), ("4.0e+3", 4000)])
def test_numbers_that_yaml_takes_for_text_are_numbers(text, value):
    config = changed("tokens.tiny-web.train_tokens", text)
    assert Study.from_config(config).tokens["tiny-web"].train_tokens == value
    assert Study.from_config(changed("cohorts.base.learning_rate", "1e-3")).cohorts["base"].learning_rate == 1e-3


def test_a_list_in_the_place_of_a_word_is_refused():
    with pytest.raises(StudyError, match=r"passes.mlp.dtype: \[\"bfloat16\"\]: not possible here"):
        Study.from_config(changed("passes.mlp.dtype", ["bfloat16"]))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_are_finite(value):
    with pytest.raises(StudyError, match=r"cohorts.base.learning_rate: (inf|nan) given; it must be finite"):
        Study.from_config(changed("cohorts.base.learning_rate", value))


def test_a_long_name_is_cut():
    with pytest.raises(StudyError) as error:
        Study.from_config(changed("cohorts." + "long " * 1000, {}))
    assert len(str(error.value)) < 300


def entries(node: yaml.Node, path: tuple[str, ...] = ()):
    """(path, line from 0) of every key of a YAML document that begins its line."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if key.start_mark.column == 2 * len(path):
            yield (*path, key.value), key.start_mark.line
            yield from entries(value, (*path, key.value))


# Below these, keys are names that the study's author chose.
NAMED = {("models",), ("corpora",), ("tokens",), ("passes",), ("cohorts",), ("sweeps",), ("figures", "draw")}
NAMED |= {("interpret", "judges"), ("interpret", "scorers")}


def bare_keys(text: str) -> list[str]:
    """Keys without a comment above them where they first occur; names that the author chose need none."""
    lines = text.split("\n")
    first: dict[tuple[str, ...], int] = {}
    for path, line in entries(yaml.compose(text)):
        depth = next((len(section) for section in NAMED if path[: len(section)] == section), len(path))
        general = (*path[:depth], *("*" for _ in path[depth : depth + 1]), *path[depth + 1 :])
        if general[-1] != "*" and not {"vary", "cohorts"} & {*general[1:-1]}:
            first.setdefault(general, line)
    return [".".join(path) for path, line in first.items() if not lines[line - 1].lstrip().startswith("#")]


def test_every_key_of_the_default_study_carries_a_comment():
    text = (ROOT / "config.yaml").read_text()
    assert bare_keys(text) == []
    assert bare_keys(re.sub(r"\n *# Activations a step.", "", text)) == ["cohort_defaults.batch_size"]
    assert bare_keys(re.sub(r"\n *# A name from `models`.*", "", text)) == ["tokens.*.model"]


def test_every_key_of_the_schema_is_in_the_default_study():
    text = (ROOT / "config.yaml").read_text()
    rules = [schema(), *schema()["$defs"].values(), *schema()["properties"].values()]
    rules += [schema()["properties"]["figures"]["properties"]["style"]]
    missing = {key for rule in rules for key in rule.get("properties", {}) if not re.search(rf"\b{key}\b", text)}
    assert missing == set()


def test_every_setting_in_the_schema_says_what_it_is():
    silent = [
        f"{name}.{key}"
        for name, rule in schema()["$defs"].items()
        for key, inner in rule.get("properties", {}).items()
        if key != "kind" and len(inner.get("description", "")) < 8
    ]
    assert silent == []


def places(value: object, path: tuple = ()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield from places(item, (*path, key))


ODD = st.sampled_from(
    [None, True, 0, -1, 1, 2.0, 0.5, 10**9, "", "x", "topk", "float16", [], ["a"], [1, 1], {}, {"k": 3}]
)
KEYS = st.sampled_from(["k", "kind", "sweep", "cohorts", "vary", "matrix", "tokens", "name", "style", "x"])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_the_schema_is_read_as_the_standard_says(data):
    """Our reader of the schema and jsonschema's accept the same studies, whatever is done to one."""
    from jsonschema import Draft202012Validator

    config = small_config()
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from([path for path in places(config) if path]))
        here = config
        for name in parents:
            here = here[name]
        action = data.draw(st.sampled_from(["set", "remove", "add"]))
        if action == "add" and isinstance(here, dict):
            here[data.draw(KEYS)] = copy.deepcopy(data.draw(ODD))
        elif action == "remove":
            del here[last]
        else:
            here[last] = copy.deepcopy(data.draw(ODD))
    try:
        check(config, schema())
        accepted = True
    except StudyError:
        accepted = False
    assert accepted == Draft202012Validator(schema()).is_valid(config)
