"""A package whose public names are imported, each from its module, when they are first used.

PyTorch takes seconds to import, and much of what is said about a study needs none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def import_at_first_use(package: str, places: Mapping[str, str]) -> None:
    """Give the ``package``, which is being imported, the names of ``places``: name → the module that it lies in."""
    module = sys.modules[package]
    vars(module)["_places"] = places
    module.__class__ = _Package


class _Package(ModuleType):
    _places: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._places:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module(self._places[name]), name)

    def __setattr__(self, name: str, value: Any) -> None:
        # Python binds every module that is imported in its package; grokkit.lab.compare shall remain the function.
        if not (name in self._places and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._places})
