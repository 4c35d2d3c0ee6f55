"""Command-line arguments from a function's signature: flags from its parameters, help from its docstring.

A keyword-only parameter is a flag, any other a positional argument. Its annotation says how its value is read:

- `str`, `int`, `float`, `Path`; `bool` (true or false; the flag alone is true); `Literal[...]` (one of these words);
  `dict` (JSON);
- `X | None`: as X; `int | Literal["heldout"]`: that word or a number;
- `Annotated[X, ranges.Within(...)]`: as X, within these limits;
- `list[X]` or `Sequence[X]`: the flag is given once for each, or once before all; a positional argument takes one word
  or more; X may be `tuple[str, Path]` or `tuple[int, Path]`,
  written KEY=PATH, or `tuple[str, str]`, written NAME=VALUE;
- a dataclass: a flag for each of its fields, named after the field or by `flag` in the field's metadata. A field whose
  flag is already that of a parameter is left out and keeps its default.
"""

import argparse
import ast
import collections.abc
import dataclasses
import functools
import inspect
import itertools
import json
import re
import textwrap
import types
import typing
from collections.abc import Callable
from pathlib import Path

from sae_stability.errors import StudyError
from sae_stability.ranges import Within

_REQUIRED = inspect.Parameter.empty


class Argument(typing.NamedTuple):
    """One argument of a verb: its parameter, its field if the parameter is a dataclass, and what argparse needs."""

    parameter: str
    field: str | None
    name: str
    """The flag with its dashes, or the name of a positional argument."""
    annotation: object
    default: object
    text: str

    @property
    def key(self) -> str:
        """Where argparse puts the value."""
        return self.name.lstrip("-").replace("-", "_")


def declare(parser: argparse.ArgumentParser, function: Callable) -> None:
    """Add an argument to `parser` for every parameter of `function`.

    Raises:
        TypeError: a parameter has an annotation that the list above lacks.
    """
    for argument in arguments(function):
        options = _options(argument.annotation)
        if not argument.name.startswith("-"):
            options |= {} if argument.default is _REQUIRED else {"nargs": "?", "default": argument.default}
            options.pop("action", None)
        else:
            # The default of a flag is filled in by `call`, so that it can tell which flags are on the command line.
            options |= {"required": argument.default is _REQUIRED}
        parser.add_argument(argument.name, **options, help=_help(argument))


def call(function: Callable, values: argparse.Namespace) -> object:
    """Call `function` with the values that a parser set up by `declare` has read; return its result.

    Raises:
        StudyError: of an optional dataclass, the flag of a field is on the command line, but not that of the first.
    """
    by_parameter: dict[str, object] = {}
    by_field: dict[str, list[tuple[Argument, object]]] = {}
    for argument in arguments(function):
        value = getattr(values, argument.key)
        if argument.field is not None:
            by_field.setdefault(argument.parameter, []).append((argument, value))
        else:
            by_parameter[argument.parameter] = _or_default(value, argument)
    hints, parameters = typing.get_type_hints(function), inspect.signature(function).parameters
    for name, fields in by_field.items():
        if parameters[name].default is None and fields[0][1] is None:
            _check_absent(fields)
            by_parameter[name] = None
        else:
            settings = {argument.field: _or_default(value, argument) for argument, value in fields}
            by_parameter[name] = _dataclass(hints[name])(**settings)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    positional = [
        by_parameter.pop(name) for name, parameter in parameters.items() if parameter.kind is not keyword_only
    ]
    return function(*positional, **by_parameter)


def _or_default(value: object, argument: Argument) -> object:
    return argument.default if value is None and argument.default is not _REQUIRED else value


def _check_absent(fields: list[tuple[Argument, object]]) -> None:
    """Check that no flag of an optional dataclass is on the command line, since that of its first field is not."""
    first, *others = (argument.name for argument, _ in fields)
    lonely = [name for name, (_, value) in zip(others, fields[1:], strict=True) if value is not None]
    if lonely:
        raise StudyError(f"{lonely[0]} is given without {first}; give both, or neither")


def arguments(function: Callable) -> list[Argument]:
    """The arguments of a function, in the order of its parameters."""
    hints, texts = typing.get_type_hints(function, include_extras=True), argument_texts(function)
    parameters, declared = inspect.signature(function).parameters, []
    plain = {name for name in parameters if not _dataclass(hints[name])}
    for name, parameter in parameters.items():
        if owner := _dataclass(hints[name]):
            fields = _field_arguments(name, owner, optional=parameter.default is None)
            declared += [argument for argument in fields if argument.key not in plain]
        else:
            flag = f"--{name.replace('_', '-')}" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else name
            declared.append(Argument(name, None, flag, hints[name], parameter.default, texts.get(name, "")))
    return declared


def argument_texts(function: Callable) -> dict[str, str]:
    """The entries of the docstring's `Args:`, by parameter; an entry `a, b: text` is for both."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring(function), re.MULTILINE)
    texts: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(section[1]).strip()) if section else ():
        names, _, text = entry.partition(":")
        texts |= dict.fromkeys(re.split(r",\s*", names.strip()), " ".join(text.split()))
    return texts


def docstring(function: Callable) -> str:
    """The docstring of a function, or "". Under `python -OO` there is none in memory; then it is read in the source."""
    if found := inspect.getdoc(function):
        return found
    return ast.get_docstring(ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]) or ""


@functools.cache
def field_texts(owner: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, by field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body
    texts = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


def _field_arguments(parameter: str, owner: type, *, optional: bool) -> list[Argument]:
    """The arguments for the fields of a dataclass; if the dataclass is optional, so are all of them."""
    hints, texts, declared = typing.get_type_hints(owner, include_extras=True), field_texts(owner), []
    for field in dataclasses.fields(owner):
        required = field.default is dataclasses.MISSING
        default = (None if optional else _REQUIRED) if required else field.default
        flag = f"--{field.metadata.get('flag', field.name).replace('_', '-')}"
        text = texts.get(field.name, "")
        declared.append(Argument(parameter, field.name, flag, hints[field.name], default, text))
    return declared


def _dataclass(annotation: object) -> type | None:
    """The dataclass that an annotation stands for, `X` or `X | None`, if it is one."""
    kinds = [kind for kind in typing.get_args(annotation) or (annotation,) if isinstance(kind, type)]
    return next(filter(dataclasses.is_dataclass, kinds), None)


def _options(annotation: object) -> dict:
    """Options for argparse: the type of a value, its choices, whether the flag may be repeated."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return {"type": _number_within(*inner)}
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return _options(kinds[0]) if len(kinds) == 1 else {"type": _number_or_word(kinds)}
    if origin in (list, collections.abc.Sequence):
        return _options(inner[0]) | {"action": "extend", "nargs": "+"}
    if origin is typing.Literal:
        return {"choices": list(inner)}
    readers = {dict: _json, str: str, int: int, float: float, Path: Path}
    readers |= {tuple[str, Path]: _path_of(str), tuple[int, Path]: _path_of(int), tuple[str, str]: _name_and_value}
    if annotation is bool:
        return {"type": _boolean, "nargs": "?", "const": True}
    if annotation not in readers:
        raise TypeError(f"no flag can be made for a parameter of type {annotation}")
    return {"type": readers[annotation]}


def _help(argument: Argument) -> str:
    default = argument.default
    shown = default is not _REQUIRED and default is not None and default != () and default != ""
    words = str(default).lower() if isinstance(default, bool) else default
    # argparse formats help texts with %.
    return (argument.text.rstrip(".") + (f" (default: {words})" if shown else "")).replace("%", "%%")


def _number_or_word(kinds: list) -> Callable[[str], object]:
    """A reader for `X | Literal["word"]`, where X is a number."""
    word = next(typing.get_args(kind)[0] for kind in kinds if typing.get_origin(kind) is typing.Literal)
    number = next(_options(kind)["type"] for kind in kinds if typing.get_origin(kind) is not typing.Literal)

    def read(text: str) -> object:
        return text if text == word else number(text)

    read.__name__ = f"number or {word}"  # argparse shows it: invalid number or heldout value: 'x'
    return read


def _number_within(kind: Callable, limits: Within) -> Callable[[str], float]:
    """A reader for a number of type `kind` within `limits`."""

    def read(text: str) -> float:
        value = kind(text)
        if fault := limits.fault(value):
            raise argparse.ArgumentTypeError(fault)
        return value

    read.__name__ = kind.__name__
    return read


def _path_of(key: Callable) -> Callable[[str], tuple]:
    """A reader of KEY=PATH, which returns (key, Path). In the key, %3D stands for an =, and %25 for a %."""

    def read(text: str) -> tuple:
        name, _, path = text.partition("=")
        if not name or not path:
            raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=PATH")
        return key(_unescaped(name)), Path(path)

    read.__name__ = "KEY=PATH"
    return read


def _name_and_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    return _unescaped(name), value


def _unescaped(key: str) -> str:
    return key.replace("%3D", "=").replace("%25", "%")


def _json(text: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r}: expected {{"key": value, ...}}')
    return value


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected true or false") from None
