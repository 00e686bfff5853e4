"""The settings of a part are the arguments of the function that builds it; here they are found, completed and checked.

A default is the argument's, and what is allowed is what its annotation says: ``int``, ``float``, ``bool``, ``str``, a
``Literal``, a tuple, any of them ``| None``, or a :data:`Size` or :data:`Scale`. An argument without annotation goes by
its default, if that is a number or a truth value; what is left is the function's own to check. A value is brought into
one form, so that ``2`` and ``2.0`` are the same setting.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from grokkit.errors import InputError, shown, unknown

Build = Callable[..., Any]


class Range(NamedTuple):
    """What a number may be, in words and as a test; stands in an ``Annotated``."""

    allowed: str
    holds: Callable[[Any], bool]


Size = Annotated[int, Range("a whole number >= 1", lambda value: value >= 1)]
Scale = Annotated[float, Range("a finite number > 0", lambda value: value > 0)]

_WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a word"}


def settings_of(build: Build, *, leave: tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    """The arguments of ``build`` that are settings: all but its first one, if that is a task's shape, and ``leave``."""
    parameters = inspect.signature(build).parameters
    named = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    return {name: p for name, p in named.items() if name not in leave}


def complete(
    what: str, build: Build, given: Mapping[str, Any], *, leave: tuple[str, ...] = (), example: str = ""
) -> dict[str, Any]:
    """All settings of ``build``: those ``given``, checked, and the defaults of the others.

    Args:
        what: whose settings they are, for errors.
        build: the function; with an argument ``**others`` it takes names of any kind, each with that annotation.
        given: the settings that were typed.
        leave: arguments that are no settings.
        example: how to write it, for an error about a setting without a default.

    Raises:
        InputError: for a name that there is not, a value that is not allowed, or a setting that is missing.

    >>> def build(task, *, width: Size = 32, scale: float = 1.0): ...
    >>> complete("mine", build, {"scale": 2}, leave=("task",))
    {'width': 32, 'scale': 2.0}
    >>> complete("mine", build, {"width": 0}, leave=("task",))
    Traceback (most recent call last):
    grokkit.errors.InputError: mine: width=0 is not possible: a whole number >= 1; the default is 32
    """
    known, hints = settings_of(build, leave=leave), _hints(build)
    others = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.VAR_KEYWORD]
    for name in given:
        if name in leave or (name not in known and not others):
            raise unknown(f"setting of {what}", name, known)
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in given:
            found[name] = _checked(what, name, given[name], hints.get(name), parameter.default)
        elif parameter.default is parameter.empty:
            raise InputError(f"{what} needs its {name}{example and f'; write {example}'}")
        else:
            found[name] = parameter.default
    for name in sorted(given.keys() - known.keys()):
        found[name] = _checked(what, name, given[name], hints.get(others[0]), inspect.Parameter.empty)
    return found


def takes(build: Build, name: str, value: Any) -> bool:
    """Whether ``value`` is of the kind that the setting ``name`` has: a number or a word, in its range or not."""
    hint = _hints(build).get(name)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return isinstance(value, str)
    try:
        _as(value, hint)
    except _NotAllowed:
        return False
    return True


def _hints(build: Build) -> dict[str, Any]:
    function = build.__init__ if inspect.isclass(build) else build
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # names that only a type checker sees, or no function of Python's: nothing to check
        return {}


def _checked(what: str, name: str, value: Any, hint: Any, default: Any) -> Any:
    """``value`` in the form that ``hint`` has it in."""
    if get_origin(hint) is Literal and isinstance(value, str) and value not in get_args(hint):
        raise unknown(f"{name} of {what}", value, map(str, get_args(hint)))
    problem = ""
    try:
        return _as(value, hint) if hint is not None else _like(value, default)
    except _NotAllowed as error:
        problem = str(error)
    remedy = "" if default is inspect.Parameter.empty else f"; the default is {default!r}"
    raise InputError(f"{what}: {name}={shown(value)} is not possible: {problem}{remedy}")


def in_one_form(value: Any, default: Any) -> Any:
    """A number as a float where ``default`` is one, else a whole number as an integer; a list as a tuple.

    Anything else stays as it is, for whoever takes it to check.
    """
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not isinstance(default, float):
        return shortest(value)
    try:
        return float(value) + 0.0  # -0.0 is 0.0
    except OverflowError:  # an integer beyond all floats, which the part refuses
        return value


def shortest(value: Any) -> Any:
    """A whole number as an integer, anything else as it is.

    >>> shortest(2.0), shortest(0.5), shortest(True), shortest(float("inf"))
    (2, 0.5, True, inf)
    """
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
        found, ranges = _as(value, parts[0]), [extra for extra in parts[1:] if isinstance(extra, Range)]
        for one in ranges:
            if not one.holds(found):
                raise _NotAllowed(one.allowed)
        return found
    if origin is Literal:
        if value not in parts:
            raise _NotAllowed(" or ".join(map(str, parts)))
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        others = [part for part in parts if part is not NoneType]
        return _as(value, others[0]) if len(others) == 1 else value
    if hint not in _WORDS and origin is not tuple:
        return value
    if origin is tuple:
        return _as_tuple(value, parts)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is float and is_number:
        return in_one_form(value, 0.0)
    if hint is int and is_number and value == int(value):
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise _NotAllowed(_WORDS[hint])


def _as_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        raise _NotAllowed("a tuple, e.g. (128,128)")
    return tuple(_as(entry, parts[0]) for entry in value) if parts[1:] == (...,) else tuple(value)
