"""Reading YAML strictly, and checking a study against its schema with errors that a person can act on."""

import dataclasses
import difflib
import functools
import json
import math
import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import TextIO

import yaml

from sae_stability.corpus.documents import DEFAULTS
from sae_stability.errors import StudyError
from sae_stability.figures.registry import names
from sae_stability.match.threshold import THRESHOLD
from sae_stability.ranges import range_fault
from sae_stability.sae.format_names import FORMATS
from sae_stability.sae.training.limits import LIMITS
from sae_stability.sae.training.settings import TrainSettings

SCHEMA = Path(__file__).with_name("config.schema.yaml")

_TYPES = {
    "object": (dict, "a mapping"),
    "array": (list, "a list"),
    "string": (str, "text"),
    "integer": (int, "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": (bool, "true or false"),
    "null": (type(None), "null"),
}
# YAML 1.1 takes 1e-3 and 8e9 (no point, or no sign) for text, and so does Snakemake when it reads a config file.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
# More than any study holds; a few lines of nested aliases can stand for billions.
_MOST_VALUES = 1_000_000
# Values inside values: more than any study has. PyYAML builds them by recursion, which thousands would break.
_DEEPEST = 50
_SLUG = "must be lower-case letters, digits and hyphens, such as layer-3 (it becomes a file name)"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Builds plain values only; refuses a value inside itself, and a key given twice in one mapping."""

    def construct_object(self, node, deep=False):
        # If not deep, PyYAML fills lists and mappings later, and so allows an alias inside the value that it names.
        return super().construct_object(node, deep=True)

    def construct_mapping(self, node, deep=False):
        seen = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise StudyError(f"{_where(key_node)}: a key must be a word or a number")
            if key in seen:
                raise StudyError(f"{_where(key_node)}: {key} is given twice (first in line {seen[key]}); keep one")
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _where(node: yaml.Node) -> str:
    return f"{node.start_mark.name}, line {node.start_mark.line + 1}"


def load_yaml(path: str | os.PathLike) -> dict:
    """The mapping in a YAML file.

    Raises:
        StudyError: no such file, not YAML, not a mapping, or a key given twice; names file and line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            _check_depth(file)
            file.seek(0)
            value = yaml.load(file, Loader=_Loader)  # a subclass of SafeLoader: builds plain values only
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise StudyError(f"{path}, line {line}: not valid YAML ({error.problem})") from None
    except yaml.reader.ReaderError as error:
        line = Path(path).read_bytes()[: error.position].count(b"\n") + 1
        raise StudyError(f"{path}, line {line}: not valid YAML ({error.reason})") from None
    if not isinstance(value, dict):
        raise StudyError(f"{path}: must hold `key: value` lines at the top level")
    count, depth = _written_out(value, {})
    if count > _MOST_VALUES or depth > _DEEPEST:
        what = f"{_MOST_VALUES:,} values" if count > _MOST_VALUES else f"{_DEEPEST} values inside each other"
        raise StudyError(f"{path}: its aliases (*name) stand for more than {what}; write fewer")
    return value


def _check_depth(file: TextIO) -> None:
    """Refuse YAML of too many values inside values."""
    depth = 0
    for event in yaml.parse(file, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line + 1
            raise StudyError(f"{file.name}, line {line}: more than {_DEEPEST} values inside each other; write fewer")


def _written_out(value: object, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values there are, and how deep, with each alias as what it stands for; `known` has those seen before."""
    if not isinstance(value, dict | list):
        return 1, 0
    if id(value) not in known:
        inner = [_written_out(item, known) for item in (value.values() if isinstance(value, dict) else value)]
        known[id(value)] = 1 + sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    return known[id(value)]


@functools.cache
def schema() -> dict:
    """The schema of a study as one nested dict, filled with what other modules state.

    Those are limits and defaults of hyper-parameters (`sae.training.limits` and `settings`), defaults of corpora
    (`corpus.documents`), the threshold (`match.threshold`), the names of checkpoint formats (`sae.format_names`), and
    the kinds of figures (`figures.registry`).
    """
    loaded = load_yaml(SCHEMA)
    loaded["properties"]["threshold"]["default"] = THRESHOLD
    properties = loaded["$defs"]["cohort"]["properties"]
    for name in LIMITS.keys() & properties.keys():
        properties[name] |= LIMITS[name]
    for field in dataclasses.fields(TrainSettings):
        if field.name in properties and field.default is not dataclasses.MISSING:
            properties[field.name].setdefault("default", field.default)
    loaded["$defs"]["external_cohort"]["properties"]["format"]["enum"] = [*FORMATS, None]
    for kind, defaults in DEFAULTS.items():
        for name, value in defaults.items():
            loaded["$defs"][kind]["properties"][name]["default"] = value
    for draws in ("cohort", "sweep", "stitch"):
        loaded["$defs"][f"{draws}_figure"]["properties"]["figure"]["enum"] = [*names(draws), None]
    return loaded


def definition(name: str) -> dict:
    """One of the schema's definitions, such as "cohort"."""
    return schema()["$defs"][name]


def check(value: object, rule: dict, where: str = "", *, fill: bool = True) -> object:
    """A copy of `value` checked against `rule`, with defaults filled in and whole floats such as 8e9 made integers.

    Args:
        value: plain data from YAML.
        rule: a schema, of the subset of JSON Schema that config.schema.yaml uses.
        where: dotted path of `value`, for errors.
        fill: False is for a part of a study: no defaults are filled in, and required keys may be missing.

    Raises:
        StudyError: the first thing that is wrong, with its path, what was given and what is allowed.
    """
    rule = _resolve(rule)
    if "oneOf" in rule:
        rule = _choose(value, [_resolve(branch) for branch in rule["oneOf"]], where)
    value = _check_type(value, rule, where)
    _check_value(value, rule, where)
    if isinstance(value, dict):
        return _check_mapping(value, rule, where, fill)
    if isinstance(value, list):
        return _check_list(value, rule, where, fill)
    return value


def fail_unknown(where: str, key: object, known, what: str = "unknown key") -> None:
    """Raise the error for a name that is not among `known`, with the nearest one."""
    names = [str(name) for name in known]
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    allowed = f"Allowed: {', '.join(names)}" if names else "there is none"
    raise StudyError(f"{where}: {what}; {hint}{allowed}")


def look_up(where: str, slug: str, known: dict):
    """The entry of that name.

    Raises:
        StudyError: there is none; names the nearest.
    """
    if slug not in known:
        fail_unknown(f"{where}: {slug}", slug, known, "no such entry")
    return known[slug]


def _resolve(rule: dict) -> dict:
    """The rule with its $ref replaced by the definition that it names; keys beside the $ref take precedence."""
    if "$ref" not in rule:
        return rule
    target = definition(rule["$ref"].removeprefix("#/$defs/"))
    return {**_resolve(target), **{key: item for key, item in rule.items() if key != "$ref"}}


def _choose(value: object, branches: list[dict], where: str) -> dict:
    """The branch that `value` belongs to, by its type, its `kind`, or the required key that it holds."""
    types = {branch["type"] for branch in branches}
    if len(types) > 1:
        return next((b for b in branches if _is(value, b["type"])), {"type": sorted(types)})
    if not isinstance(value, dict):
        return branches[0]
    kinds = [branch["properties"].get("kind", {}).get("const") for branch in branches]
    if None not in kinds:
        if "kind" not in value:
            raise StudyError(f"{where}.kind: missing; one of {', '.join(kinds)}")
        if value["kind"] not in kinds:
            fail_unknown(f"{where}.kind: {value['kind']}", value["kind"], kinds, "no such kind")
        return branches[kinds.index(value["kind"])]
    marks = [branch.get("required", [None])[0] for branch in branches]
    held = [mark for mark in marks if mark in value] or [mark for mark in marks if mark is None]
    if len(held) == 1:
        return branches[marks.index(held[0])]
    for key in value:
        if not any(key in branch["properties"] for branch in branches):
            fail_unknown(f"{where}.{key}", key, dict.fromkeys(name for b in branches for name in b["properties"]))
    both, neither = ("both are given", "neither is") if len(marks) == 2 else ("several are given", "none is")
    names = f"{', '.join(marks[:-1])} or {marks[-1]}"
    raise StudyError(f"{where}: needs either {names}; {both if held else neither}")


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name][0])


def _check_type(value: object, rule: dict, where: str) -> object:
    wanted = rule.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if {"integer", "number"} & set(wanted) and isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    if "integer" in wanted and isinstance(value, float) and value.is_integer():
        return int(value)
    if wanted and not any(_is(value, name) for name in wanted):
        allowed = " or ".join(_TYPES[name][1] for name in wanted)
        raise StudyError(f"{where or 'the study'}: must be {allowed}, not {_show(value)}")
    return value


def _check_mapping(value: dict, rule: dict, where: str, fill: bool) -> dict:
    dot = f"{where}." if where else ""
    properties = rule.get("properties", {})
    others = rule.get("additionalProperties", True)
    if len(value) < rule.get("minProperties", 0):
        raise StudyError(f"{where}: is empty; at least one entry is needed")
    checked = {}
    for key, item in value.items():
        path = f"{dot}{_cut(str(key))}"
        if "propertyNames" in rule and not re.search(_resolve(rule["propertyNames"])["pattern"], str(key)):
            raise StudyError(f"{path}: a name here {_SLUG}")
        if key not in properties and others is False:
            fail_unknown(path, key, properties)
        name = str(key) if "propertyNames" in rule else key
        inner = properties.get(key, {} if others is True else others)
        checked[name] = check(item, inner, path, fill=fill)
    if fill:
        for key in rule.get("required", []):
            if key not in value:
                meaning = _resolve(properties[key]).get("description", "it is needed")
                raise StudyError(f"{dot}{key}: missing ({meaning.rstrip('.')})")
        for key, inner in properties.items():
            if key not in value and "default" in (inner := _resolve(inner)):
                checked[key] = check(inner["default"], inner, f"{dot}{key}")
    return checked


def _check_list(value: list, rule: dict, where: str, fill: bool) -> list:
    checked = [check(item, rule.get("items", {}), f"{where}[{i}]", fill=fill) for i, item in enumerate(value)]
    if len(value) < rule.get("minItems", 0):
        raise StudyError(f"{where}: needs at least {rule['minItems']}, has {len(value)}")
    if rule.get("uniqueItems"):
        seen = set()
        for item in checked:
            plain = item if isinstance(item, Hashable) else json.dumps(item, sort_keys=True, default=str)
            if plain in seen:
                raise StudyError(f"{where}: {item} is there twice; keep one")
            seen.add(plain)
    return checked


def _check_value(value: object, rule: dict, where: str) -> None:
    if "enum" in rule and value not in rule["enum"]:
        words = [str(item) for item in rule["enum"] if item is not None]
        fail_unknown(f"{where}: {_show(value)}", value, words, "not possible here")
    if isinstance(value, str):
        if "pattern" in rule and not re.search(rule["pattern"], value):
            raise StudyError(f"{where}: {_show(value)}; {_pattern_in_words(rule['pattern'])}")
        if not value and rule.get("minLength"):
            raise StudyError(f"{where}: is empty")
    elif _is(value, "number") and not math.isfinite(value):
        raise StudyError(f"{where}: {value} given; it must be finite")
    elif _is(value, "number") and (fault := range_fault(value, rule)):
        raise StudyError(f"{where}: {fault}")


def _pattern_in_words(pattern: str) -> str:
    if pattern.startswith("^#"):
        return 'must be a colour such as "#0072B2", in quotes'
    return "must be 64 hexadecimal digits" if "64" in pattern else _SLUG


def _show(value: object) -> str:
    """A value much as a person would write it in YAML, cut."""
    return _cut(json.dumps(value, default=str))


def _cut(words: str) -> str:
    """Words, cut to fit a line."""
    return words if len(words) <= 60 else f"{words[:57]}..."
