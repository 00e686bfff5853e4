"""The settings of a part are the arguments of the function that builds it; here they are found, completed and checked.

A default is the argument's, and what is allowed is what its annotation says: ``int``, ``float``, ``bool``, ``str``, a
``Literal``, a tuple, any of them joined by ``|``, or a :data:`Size` or :data:`Scale`. An argument without annotation
goes by its default, if that is a number or a truth value; what is left is the function's own to check. A value is
brought into one form, so that ``2`` and ``2.0`` are the same setting. The options of a command are checked alike.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

from grokkit.call_syntax import LARGEST, entries, number, show_value, texts_of
from grokkit.errors import InputError, shown, typed, unknown

Build = Callable[..., Any]


class Range(NamedTuple):
    """What a number may be, in words and as a test; stands in an ``Annotated``."""

    allowed: str
    holds: Callable[[Any], bool]


def whole(least: int, most: int) -> Range:
    """The range of a whole number from ``least`` to ``most``."""
    return Range(f"a whole number from {least:,} to {most:,}", lambda value: least <= value <= most)


Size = Annotated[int, whole(1, 10_000_000)]  # of a layer; what is larger fits into no machine
Scale = Annotated[float, Range("a finite number > 0", lambda value: value > 0)]
Text = Annotated[str, Range("a text", lambda value: bool(value.strip()))]
Place = Annotated[
    str,
    Range(
        "a path of 1 to 4,096 characters", lambda path: bool(path.strip()) and "\0" not in path and len(path) <= 4096
    ),
]

_WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a word"}


def settings_of(build: Build, *, leave: tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    """The arguments of ``build`` that are settings: all that have names of their own, but for those to ``leave``."""
    parameters = inspect.signature(build).parameters
    named = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    return {name: p for name, p in named.items() if name not in leave}


def complete(
    what: str, build: Build, given: Mapping[str, Any], *, leave: tuple[str, ...] = (), example: str = ""
) -> dict[str, Any]:
    """All settings of ``build``: those ``given``, checked, and the defaults of the others, without those that cannot be
    written, such as a path or a class, which are left to ``build``.

    Args:
        what: whose settings they are, for errors.
        build: the function; with an argument ``**others`` it takes names of any kind, each with that annotation.
        given: the settings that were typed.
        leave: arguments that are no settings.
        example: how to write it with a setting that has no default, if not as ``what(setting=...)``.

    Raises:
        InputError: for a name that there is not, a value that is not allowed, or a setting that is missing.

    >>> def build(task, *, width: Size = 32, scale: float = 1.0): ...
    >>> complete("mine", build, {"scale": 2}, leave=("task",))
    {'width': 32, 'scale': 2.0}
    >>> complete("mine", build, {"width": 0}, leave=("task",))
    Traceback (most recent call last):
    grokkit.errors.InputError: mine: width=0 is not possible: a whole number from 1 to 10,000,000; the default is 32
    """
    known, hints = settings_of(build, leave=leave), _hints(build)
    others = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.VAR_KEYWORD]
    texts = texts_of(given)
    for name in given:
        if name in leave or (name not in known and not others):
            raise unknown(f"setting of {what}", name, known)
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in given:
            value = _in_words(given[name], hints.get(name), texts.get(name))
            found[name] = _checked(what, name, value, hints.get(name), parameter.default)
        elif parameter.default is parameter.empty:
            raise InputError(f"{what} needs its {name}; write {example or f'{what}({name}=...)'}")
        elif can_be_written(parameter.default):
            found[name] = parameter.default
    for name in sorted(given.keys() - known.keys()):
        value = _in_words(given[name], hints.get(others[0]), texts.get(name))
        found[name] = _checked(what, name, value, hints.get(others[0]), inspect.Parameter.empty)
    return found


def can_be_written(value: Any) -> bool:
    """Whether a setting is what can be typed, and read again from a record in any process."""
    if isinstance(value, Enum) or (isinstance(value, tuple) and type(value) is not tuple) or _is_nan(value):
        return False
    if isinstance(value, tuple):
        return all(map(can_be_written, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_nan(value: Any) -> bool:
    """NaN is no setting: it is not even equal to itself."""
    return any(map(_is_nan, value)) if isinstance(value, tuple | list) else isinstance(value, float) and value != value


def option(name: str, value: Any, hint: Any, default: Any = None, remedy: str = "") -> Any:
    """The ``value`` of a command's option, typed as a text or given in Python, in the form that ``hint`` has it in.

    Args:
        name: the option's, for errors.
        value: where a number is wanted, a text is read as one.
        hint: what is allowed, as the annotation of an argument says it.
        default: the option's. None is allowed if it is that, unless there is a remedy.
        remedy: what to do instead, where leaving the option out is not the thing.

    Raises:
        InputError: for a value that is not allowed.

    >>> option("--jobs", "2", Size)
    2
    >>> option("--jobs", "0", Size, 4)
    Traceback (most recent call last):
    grokkit.errors.InputError: --jobs 0 is not possible: a whole number from 1 to 10,000,000; the default is 4
    """
    if value is None and default is None and not remedy:
        return None
    found = tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
    try:
        return _as_typed(found, hint)
    except _NotAllowed as error:
        usual = "leave it out for the usual" if default is None else f"the default is {_written(default)}"
        raise InputError(f"{name} {typed(value)} is not possible: {error}; {remedy or usual}") from None


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, paths as texts."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _as_typed(value: Any, hint: Any) -> Any:
    """As :func:`_as`, and if a text is not allowed, then the number that it is."""
    try:
        return _as(value, hint)
    except _NotAllowed:
        found = _number(value) if isinstance(value, str) else None
        if found is None:
            raise
    return _as(found, hint)


def _number(text: str) -> int | float | None:
    """None also for a number that is too large for any setting."""
    try:
        return number(text)
    except InputError:
        return None


def _written(default: Any) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def takes(build: Build, name: str, value: Any) -> bool:
    """Whether ``value`` is of the kind that the setting ``name`` has: a number or a word, in its range or not."""
    hint = _hints(build).get(name)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return isinstance(value, str) if get_origin(hint) is Literal else _allows(value, hint)


def is_whole(build: Build, name: str) -> bool | None:
    """Whether the setting ``name`` takes whole numbers and no others; None where its annotation does not say.

    >>> def build(width: Size = 32, scale: float = 1, others=2): ...
    >>> is_whole(build, "width"), is_whole(build, "scale"), is_whole(build, "others")
    (True, False, None)
    """
    kinds = _kinds(_hints(build).get(name))
    return False if float in kinds else True if int in kinds else None


def _kinds(hint: Any) -> set[Any]:
    """Of what kinds a value may be: the classes that ``hint`` joins."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(hint)))
    return {hint}


def _hints(build: Build) -> dict[str, Any]:
    function: Any = build
    while isinstance(function, partial):
        function = function.func
    if inspect.isclass(function):
        function = function.__init__
    elif not inspect.isroutine(function):  # an object that is called: its own annotations are those of its attributes
        function = type(function).__call__
    try:
        written = dict(function.__annotations__)
    # It may be no function of Python's; Python 3.14 looks up here the names that only a type checker sees.
    except Exception:
        return {}
    names: Any = getattr(inspect.unwrap(function), "__globals__", {})
    hints: dict[str, Any] = {}
    for name, hint in written.items():
        alone: Any = SimpleNamespace(__annotations__={name: hint}, __globals__=names)
        with suppress(Exception):  # prose, or such a name: of this one nothing is checked, and of the others all
            hints |= get_type_hints(alone, include_extras=True)
    return {name: hint for name, hint in hints.items() if _is_kind(hint)}


def _is_kind(hint: Any) -> bool:
    """Whether an annotation says of what kind a value is; a list or a dict, say of what it means, does not."""
    try:
        hash(hint)
    except TypeError:
        return False
    return True


def in_words(build: Build, settings: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Those of ``settings`` that ``build`` takes; where it takes words ``none``, ``true``, ``false`` and digits are the
    words that were typed, and not what they stand for.

    >>> def build(mode: Literal["none", "cosine"] = "cosine", clip: float | None = 1.0, code: str = ""): ...
    >>> in_words(build, {"mode": None, "clip": None, "code": 7}, {"code": "007"})
    {'mode': 'none', 'clip': None, 'code': '007'}
    """
    hints = _hints(build)
    known = [name for name in settings_of(build) if name in settings]
    return {name: _in_words(settings[name], hints.get(name), texts.get(name)) for name in known}


def _in_words(value: Any, hint: Any, text: str | None) -> Any:
    """``value``, or the word that it was typed as: ``text``, or how it is written where nobody typed it."""
    if isinstance(value, tuple):
        return _each_in_words(value, hint, text)
    if not (value is None or isinstance(value, bool | int | float)) or _allows(value, hint):
        return value
    return next((word for word in (text, show_value(value)) if word is not None and _allows(word, hint)), value)


def _each_in_words(values: tuple[Any, ...], hint: Any, text: str | None) -> tuple[Any, ...]:
    kinds = [kind for kind in _kinds(hint) if get_origin(kind) is tuple]
    hints = _hints_of_entries(get_args(kinds[0]), len(values)) if len(kinds) == 1 else []
    if len(hints) != len(values):
        return values
    texts = [None] * len(values) if text is None else entries("", text)
    return tuple(map(_in_words, values, hints, texts))


def _hints_of_entries(parts: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Of a tuple's entries: one for each, or the same for all where ``parts`` ends with dots."""
    return parts[:1] * count if parts[1:] == (...,) else parts


def _allows(value: Any, hint: Any) -> bool:
    try:
        _as(value, hint)
    except _NotAllowed:
        return False
    return True


def _checked(what: str, name: str, value: Any, hint: Any, default: Any) -> Any:
    """``value`` in the form that ``hint`` has it in."""
    if get_origin(hint) is Literal and isinstance(value, str) and value not in get_args(hint):
        raise unknown(f"{name} of {what}", value, map(str, get_args(hint)))
    problem = ""
    try:
        found = _as(value, hint) if hint is not None else _like(value, default)
        if _is_nan(found):
            raise _NotAllowed("a number, and nan is none")
        return found
    except _NotAllowed as error:
        problem = str(error)
    remedy = "" if default is inspect.Parameter.empty else f"; the default is {default!r}"
    raise InputError(f"{what}: {name}={shown(value)} is not possible: {problem}{remedy}")


def in_one_form(value: Any, default: Any) -> Any:
    """A number as a float where ``default`` is one, else a whole number as an integer; a list as a tuple, each entry
    as the default's in its place, or its first where it has another number of them.

    Anything else stays as it is, for whoever takes it to check.
    """
    if isinstance(value, list) or type(value) is tuple:  # and not one with names, which cannot be typed
        usual = tuple(default) if isinstance(default, tuple | list) else ()
        each = usual if len(usual) == len(value) else (usual[:1] or (None,)) * len(value)
        return tuple(map(in_one_form, value, each))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not isinstance(default, float):
        return shortest(value)
    try:
        return float(value) + 0.0  # -0.0 is 0.0
    except OverflowError:  # an integer beyond all floats, which the part refuses
        return value


def shortest(value: Any) -> Any:
    """A whole number as an integer, also in a tuple; anything else as it is.

    >>> shortest(2.0), shortest(0.5), shortest(True), shortest(float("inf")), shortest((1.0, 0.5))
    (2, 0.5, True, inf, (1, 0.5))
    """
    if isinstance(value, tuple):
        return tuple(map(shortest, value))
    return int(value) if isinstance(value, float) and math.isfinite(value) and value == int(value) else value


def _like(value: Any, default: Any) -> Any:
    """``value`` in the form of a number or a truth value that is the default of an argument without annotation."""
    if value is None or not isinstance(default, bool | int | float):
        return value
    _as(value, bool if isinstance(default, bool) else float)
    return in_one_form(value, default)


class _NotAllowed(Exception):
    """What is allowed instead."""


def _as(value: Any, hint: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [extra for extra in parts[1:] if isinstance(extra, Range)]
        try:
            found = _as(value, parts[0])
        except _NotAllowed:
            if not ranges:
                raise
            raise _NotAllowed(ranges[0].allowed) from None
        for one in ranges:
            if not one.holds(found):
                raise _NotAllowed(one.allowed)
        return found
    if origin is Literal:
        if not any(value == part and isinstance(value, bool) == isinstance(part, bool) for part in parts):
            raise _NotAllowed(_either(list(map(str, parts))))
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        return _as_one_of(value, [part for part in parts if part is not NoneType])
    if hint not in _WORDS and origin is not tuple:
        return value
    if origin is tuple:
        return _as_tuple(value, parts)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    if hint is float and is_number:
        return in_one_form(value, 0.0)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise _NotAllowed(_WORDS[hint])


def _as_one_of(value: Any, hints: list[Any]) -> Any:
    """In the form of the first of ``hints`` that allows it. Of the classes that are no kind of setting each allows its
    instances, and one of paths a text."""
    allowed = []
    for hint in hints:
        try:
            if len(hints) > 1 and isinstance(hint, type) and hint not in _WORDS and not _is_one(value, hint):
                raise _NotAllowed(f"a {hint.__name__}")
            return _as(value, hint)
        except _NotAllowed as error:
            allowed.append(str(error))
    raise _NotAllowed(_either(allowed))


def _is_one(value: Any, kind: type) -> bool:
    return isinstance(value, (kind, str) if hasattr(kind, "__fspath__") else kind)


def _either(allowed: list[str]) -> str:
    return " or ".join([", ".join(allowed[:-1]), allowed[-1]] if len(allowed) > 1 else allowed)


def _as_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise _NotAllowed("a tuple, e.g. (128,128)")
    hints = _hints_of_entries(parts, len(value))
    if len(value) != len(hints):
        raise _NotAllowed(f"a tuple of {len(hints)}")
    return tuple(map(_as, value, hints))
