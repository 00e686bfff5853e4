"""From a name to a part: built in, from an entry point ``grokkit.<kind>``, or ``module:NAME``."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from grokkit.errors import unknown

_HOUSES = {"models": ("grokkit.models", "ModelCard"), "tasks": ("grokkit.tasks", "TaskCard")}


class Part(NamedTuple):
    """A registered thing and where it is from."""

    kind: str
    name: str
    value: Any
    origin: str
    code: str


@cache
def parts(kind: str) -> Mapping[str, Part]:
    """All registered parts of a kind: those in our modules, and entry points."""
    package_name, card_name = _HOUSES[kind]
    package = import_module(package_name)
    card_class = getattr(import_module(f"{package_name}.card"), card_name)
    found: dict[str, Part] = {}
    for info in pkgutil.iter_modules(package.__path__, f"{package_name}."):
        for value in vars(import_module(info.name)).values():
            if isinstance(value, card_class):
                found[value.name] = Part(kind, value.name, value, "grokkit", "")  # pyright: ignore
    for point in entry_points(group=f"grokkit.{kind}"):
        value = point.load()
        found[point.name] = Part(kind, point.name, value, point.value, "")
    return found


def find(kind: str, name: str) -> Part:
    """The part called ``name``."""
    if name in parts(kind):
        return parts(kind)[name]
    module, _, attribute = name.rpartition(":")
    if module and "." in module:
        return Part(kind, name, getattr(import_module(module), attribute), module, "")
    raise unknown(kind.removesuffix("s"), name, parts(kind))
