"""The registered probes: every :class:`Probe` that stands in a module of this package."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import grokkit.probe
from grokkit.probe.contract import Probe


@cache
def probes() -> tuple[Probe, ...]:
    """In the order of their names."""
    modules = [
        importlib.import_module(f"grokkit.probe.{found.name}") for found in pkgutil.iter_modules(grokkit.probe.__path__)
    ]
    named = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Probe)}
    return tuple(named[name] for name in sorted(named))
