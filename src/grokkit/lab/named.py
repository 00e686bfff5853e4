"""A name for an object of Python, by which worker processes find it as well.

What an importable module holds goes by ``module:NAME``. What only this process has, in a notebook or the running
script, is handed to the workers by cloudpickle. Its identity is the source text of its functions and of all that they
name in their own module; where that cannot be read, its ``version``.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

from grokkit.errors import InputError, shown
from grokkit.registry import card_class, give, parts
from grokkit.tasks.problem import Problem


class UnreadableError(InputError):
    """A function has no source text, as one from standard input; what to do about it is for the caller to say."""


def name_of(kind: str, value: Any) -> str:
    """The text that stands for ``value``: a problem, a card, or a function that returns one.

    Raises:
        InputError: for a value of another kind, and if its source text cannot be read and it has no ``version``.
    """
    if isinstance(value, str):
        return value
    for part in parts(kind).values():
        if part.value is value:
            return part.name
    is_function = callable(value) and not isinstance(value, nn.Module)
    if not isinstance(value, card_class(kind)) and not is_function:
        wanted = {"tasks": "a Problem", "methods": "a MethodCard"}[kind]
        raise InputError(
            f"{shown(value)} is not possible: {wanted}, a function that returns one, or a text; see grokkit {kind}"
        )
    if (name := _in_a_module(value)) is not None:
        return name
    try:
        return give(kind, _own_name(value), value, source_digest(value))
    except UnreadableError as error:
        remedy = (
            'give the problem a version, e.g. version="1", and raise it with every change'
            if isinstance(value, Problem)
            else "put it into a file, and give file.py:NAME"
        )
        raise InputError(f"{error}; {remedy}") from None


def method_names(methods: Any) -> Any:
    """The texts that stand for ``methods``, a list of texts and cards; a text and None stay."""
    if methods is not None and (not isinstance(methods, Sequence) or not methods):
        raise InputError(f"methods={shown(methods)} is not possible: a list of texts or cards, e.g. ['adamw']")
    return methods if methods is None or isinstance(methods, str) else [name_of("methods", one) for one in methods]


def _own_name(value: Any) -> str:
    """``here:NAME``, which can be read as any other name of a part."""
    name = getattr(value, "name", None) or getattr(value, "__name__", "part")
    word = re.sub(r"\W+", "_", name).strip("_") or "part"
    return f"here:{word if word.isidentifier() else f'_{word}'}"


def _in_a_module(value: Any) -> str | None:
    """``module:NAME``, if workers can import it from there."""
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        for name, found in list(vars(module).items()):
            if found is value and _is_importable(module):
                return f"{module.__name__}:{name}"
    return None


def _is_importable(module: ModuleType) -> bool:
    """Whether another process would find it by its name. ``importlib.util.find_spec`` would ask this one's modules."""
    name = module.__name__
    if name in ("__main__", "__mp_main__"):
        return False
    package, path = name.rpartition(".")[0], None
    if package:
        parent = sys.modules.get(package)
        if parent is None or not _is_importable(parent):
            return False
        path = getattr(parent, "__path__", None)
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec.origin in (getattr(module, "__file__", None), "built-in", "frozen")
    return False


def source_digest(value: Any) -> str:
    """Twelve hexadecimal digits for the code of ``value``: its ``version``, or all source text that it depends on."""
    if version := getattr(value, "version", None):
        return f"version {version}"
    found = hashlib.sha256()
    for text in _sources(value, set()):
        found.update(text.encode())
    return found.hexdigest()[:12]


def _sources(value: Any, seen: set[int]) -> Iterator[str]:
    """The source text of functions and classes, and of what they name; of other values what they show, if that says it.

    What a module on disk holds is somebody's package, and only its name counts.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, FunctionType):
        yield _text(value)
        for other in [
            *_named(value),
            *(value.__defaults__ or ()),
            *(cell.cell_contents for cell in value.__closure__ or ()),
        ]:
            yield from _sources(other, seen)
    elif isinstance(value, type):
        yield value.__qualname__
        if _is_here(value.__module__):
            for name, member in sorted(vars(value).items()):
                if name not in ("__dict__", "__weakref__", "__module__", "__doc__"):
                    yield name
                    yield from _sources(getattr(member, "__func__", member), seen)
            for base in value.__bases__:
                yield from _sources(base, seen)
    elif is_dataclass(value):
        yield type(value).__qualname__
        for field in fields(value):
            found = getattr(value, field.name)
            if field.name != "data" or callable(found):  # data have a digest of their own
                yield from _sources(found, seen)
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from _sources(entry, seen)
    elif isinstance(value, dict):
        yield from _sources(sorted(value.items(), key=repr), seen)
    elif value is None or isinstance(value, str | bytes | int | float | bool):
        yield repr(value)
    elif isinstance(value, Callable):
        yield getattr(value, "__qualname__", type(value).__qualname__)
    else:
        yield type(value).__qualname__


def _text(function: FunctionType) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    # A lambda, or a function within another one, has no name that is its own.
    if not _is_here(function.__module__) and "<" not in name:
        return name
    try:
        text = inspect.getsource(function)  # of a lambda all lines of the statement, in which there may be others
        columns = [column for _, _, column, _ in function.__code__.co_positions() if column]
        return f"{text} {min(columns, default=0)}" if function.__name__ == "<lambda>" else text
    except (OSError, TypeError):
        raise UnreadableError(
            f"the source text of {function.__qualname__} cannot be read, and so nobody would notice that it has changed"
        ) from None


def _is_here(name: str) -> bool:
    """Whether a module is of this process: nobody else can import it."""
    module = sys.modules.get(name)
    return module is None or getattr(module, "__file__", None) is None or not _is_importable(module)


def _named(function: FunctionType) -> list[Any]:
    """The objects that the function's code names in its module."""
    names: list[str] = []

    def read(code: CodeType) -> None:
        names.extend(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                read(constant)

    read(function.__code__)
    if not _is_here(function.__module__):
        return []
    return [function.__globals__[name] for name in dict.fromkeys(names) if name in function.__globals__]
