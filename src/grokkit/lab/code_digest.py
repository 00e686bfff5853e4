"""A digest of code that only this process has, such as a notebook's: whether it is what it was.

It is the source text of functions and classes and of all that they name in their own module, and what objects there
hold; where that cannot be read, a ``version``.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from grokkit.errors import InputError
from grokkit.tasks.problem import Problem, feed_digest


class UnreadableError(InputError):
    """A function has no source text, as one from standard input; what to do about it is for the caller to say."""


def is_importable(module: ModuleType) -> bool:
    """Whether another process would find it by its name. ``importlib.util.find_spec`` would ask this one's modules."""
    name = module.__name__
    if name in ("__main__", "__mp_main__"):
        return False
    package, path = name.rpartition(".")[0], None
    if package:
        parent = sys.modules.get(package)
        if parent is None or not is_importable(parent):
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
    for text in _sources(value, {}):
        found.update(f"{len(text)} {text}".encode())  # with its length, so that 1, 23 is not 12, 3
    return found.hexdigest()[:12]


def _sources(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    """The source text of functions and classes, and of what they name; of other values what they hold.

    What a module on disk holds is somebody's package, and only its name counts; of objects whose class is one of these
    also what they show, if that says it. ``seen`` has by its id what was met before, and keeps it, since the id of what
    is gone may be another object's.
    """
    if value is None or isinstance(value, str | bytes | int | float | complex):
        yield repr(value)
        return
    if isinstance(value, tuple | list | dict | set | frozenset | Tensor | np.ndarray):
        yield from _sources(type(value), seen)
    if isinstance(value, tuple | frozenset):  # unlike all below in no circle by themselves
        yield from _sources_of_all(_in_order(value), seen)
        return
    if id(value) in seen:
        yield f"number {seen[id(value)][0]} again"
        return
    seen[id(value)] = len(seen), value
    if isinstance(value, FunctionType):
        yield _text(value)
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        yield from _sources_of_all([*_named(value), value.__defaults__, value.__kwdefaults__, *inside], seen)
    elif isinstance(value, type):
        yield from _sources_of_class(value, seen)
    elif isinstance(value, list | set):
        yield from _sources_of_all(_in_order(value), seen)
    elif isinstance(value, dict):
        yield from _sources_of_all(sorted(value.items(), key=lambda item: repr(item[0])), seen)
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        yield from _sources(value.tolist(), seen)
    elif isinstance(value, Tensor | np.ndarray):
        found = hashlib.sha256()
        feed_digest(found, value)
        yield f"{value.dtype} {tuple(value.shape)} {found.hexdigest()}"
    elif isinstance(value, ModuleType):
        yield value.__name__
    else:
        yield from _sources(type(value), seen)
        yield from _sources_of_all(_parts(value), seen)


def _sources_of_all(values: Iterable[Any], seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    for value in values:
        yield from _sources(value, seen)
    yield "end"


def _in_order(values: Collection[Any]) -> Iterable[Any]:
    return sorted(values, key=repr) if isinstance(values, set | frozenset) else values


def _sources_of_class(value: type, seen: dict[int, tuple[int, Any]]) -> Iterator[str]:
    yield value.__qualname__
    if not _is_here(value.__module__):
        return
    has_fields = is_dataclass(value) or hasattr(value, "_field_defaults")
    for name, member in sorted(vars(value).items()):
        if name in _OF_EVERY_CLASS or (has_fields and name in _OF_FIELDS and _is_generated(member)):
            continue
        yield name
        yield from _sources(member, seen)
    if is_dataclass(value):
        yield from _sources_of_all([(one.name, one.default, one.default_factory) for one in fields(value)], seen)
    yield from _sources_of_all(value.__bases__, seen)


_OF_EVERY_CLASS = (
    "__dict__", "__weakref__", "__module__", "__doc__", "__dataclass_fields__", "__dataclass_params__",
    "__firstlineno__",
)  # fmt: skip
_OF_FIELDS = (
    "__new__", "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__",
    "__setattr__", "__delattr__", "__replace__",
)  # fmt: skip


def _is_generated(member: Any) -> bool:
    """Whether a dataclass or a NamedTuple has made this function of its fields. It has no source text."""
    function = inspect.unwrap(getattr(member, "__func__", member))
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith("<string")


def _parts(value: Any) -> list[Any]:
    """What an object is made of."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, cached_property):
        return [value.func]
    if is_dataclass(value):
        of_value = {field.name: getattr(value, field.name) for field in fields(value)}
        is_data = isinstance(value, Problem) and not callable(value.data)  # which have a digest of their own
        return [{**of_value, "data": None} if is_data else of_value]
    if isinstance(value, nn.Module) or _is_here(type(value).__module__):
        return [getattr(value, "__dict__", None)]
    if hasattr(value, "__wrapped__"):  # such as functools.cache makes of a function
        return [value.__wrapped__]
    shown = repr(value)
    # An object that shows its address says nothing else, and is at another one the next time.
    return [getattr(value, "__qualname__", "") if " at 0x" in shown else shown]


def _text(function: FunctionType) -> str:
    # A decorator's function goes by the name of what it wraps; its code says what it is itself.
    module, code = _module_of(function), function.__code__
    name = f"{module}.{code.co_qualname}"
    # A lambda, or a function within another one, has no name that is its own.
    if not _is_here(module) and "<" not in name:
        return name
    try:
        text = inspect.getsource(code)  # of a lambda all lines of the statement, in which there may be others
        columns = [column for _, _, column, _ in code.co_positions() if column]
        return f"{text} {min(columns, default=0)}" if function.__name__ == "<lambda>" else text
    except (OSError, TypeError):
        raise UnreadableError(
            f"the source text of {function.__qualname__} cannot be read, and so nobody would notice that it has changed"
        ) from None


def _module_of(function: FunctionType) -> str:
    """The module that the function's code is in."""
    return str(function.__globals__.get("__name__", ""))


def _is_here(name: str) -> bool:
    """Whether a module is of this process: nobody else can import it."""
    module = sys.modules.get(name) or sys.modules.get(name.partition(".")[0])
    return module is None or not is_importable(module)


_NAMING = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def _named(function: FunctionType) -> list[Any]:
    """The objects that the function's code names in its module."""
    names: list[str] = []

    def read(code: CodeType) -> None:
        # Not co_names, where attributes stand as well: `outputs.loss` names no `loss` that the notebook has.
        names.extend(one.argval for one in dis.get_instructions(code) if one.opname in _NAMING)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                read(constant)

    read(function.__code__)
    if not _is_here(_module_of(function)):
        return []
    return [function.__globals__[name] for name in dict.fromkeys(names) if name in function.__globals__]
