"""A name for an object of Python, by which worker processes find it as well.

What an importable module holds goes by ``module:NAME``. What only this process has, in a notebook or the running
script, is handed to the workers by cloudpickle, and its identity is that of its code, :mod:`grokkit.lab.code_digest`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from grokkit.errors import InputError, shown
from grokkit.lab.code_digest import UnreadableError, is_importable, source_digest
from grokkit.registry import card_class, give, parts
from grokkit.tasks.problem import Problem


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
            if found is value and is_importable(module):
                return f"{module.__name__}:{name}"
    return None
