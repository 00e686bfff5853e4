"""Measurements that are no comparison of trainings: each module has a function ``run(seed, **settings)``.

It returns numbers by name, None for what did not happen, or times, each with whether it happened (else it is longer),
and is found by its module's name: ``run = "xor-scales"`` in a recipe is ``experiments/xor_scales.py``. What it has an
argument for it gets: with ``folder`` a folder of its own, for studies that it carries out, and may be resumed; with
``how`` what the user said of carrying them out, such as ``device``, to hand on to :func:`grokkit.lab.compare`; with
``part`` a function of a name and of what finds that part of it, a list or an object of JSON, which is kept, so that a
long search goes on where it stopped. A function ``picture(**settings)``, if there is one, draws seed 0.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from grokkit.errors import unknown

Found = Mapping[str, float | None] | Mapping[str, tuple[float, bool]]
Experiment = Callable[..., Found]


def find_experiment(name: str) -> Experiment:
    """The experiment called ``name``.

    Raises:
        InputError: if there is none.
    """
    known = [module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise unknown("experiment", name, known)
    return _module(name).run


def find_picture(name: str) -> Callable[..., Any] | None:
    """What draws the experiment called ``name``, None if nothing does."""
    return getattr(_module(name), "picture", None)


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name.replace('-', '_')}")
