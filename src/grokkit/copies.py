"""Copies of an optimizer that something is attached to: they have a transform and a state of their own.

PyTorch drops the hooks of an optimizer that is copied or pickled. So an attached optimizer says itself how that is
done: ``copy`` and ``pickle`` look for ``__reduce_ex__`` and ``__setstate__`` on the object first, and its class stays
what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from grokkit.errors import InputError
from grokkit.hooks import MARK

_REDUCE, _SET = "__reduce_ex__", "__setstate__"


class Recipe:
    """How to attach to a copy: ``attach(optimizer, *arguments)``. ``copy.copy`` hands on the same one."""

    def __init__(self, attach: Callable[..., Any], *arguments: Any) -> None:
        self.attach, self.arguments = attach, arguments
        self.is_copied = False

    def __reduce__(self) -> Any:
        return _copied, (self.attach, *self.arguments)


def let_copies_attach(optimizer: Any, recipe: Callable[[Any], Recipe]) -> None:
    """Have every copy of ``optimizer`` follow the ``recipe(optimizer)`` as it is then."""
    setattr(optimizer, _REDUCE, partial(_reduced, ref(optimizer), recipe))


def leave_copies(optimizer: Any) -> None:
    """Have it copied as its class says again."""
    delattr(optimizer, _REDUCE)


def _reduced(optimizer: ref[Any], recipe: Callable[[Any], Recipe], protocol: Any) -> Any:
    original: Any = optimizer()
    make, arguments, state, *rest = (*type(original).__reduce_ex__(original, protocol), None)[:5]  # pyright: ignore[reportCallIssue]
    if isinstance(state, dict):  # of some classes it is all of the object's attributes
        state = {key: value for key, value in state.items() if key not in (_REDUCE, MARK, "load_state_dict")}
    return _made, (make, arguments), (state, recipe(original)), *rest


def _made(make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    copied = make(*arguments)
    setattr(copied, _SET, partial(_set_state, ref(copied)))
    return copied


def _set_state(optimizer: ref[Any], state: tuple[Any, Recipe]) -> None:
    copied: Any = optimizer()
    own, recipe = state
    delattr(copied, _SET)
    if not recipe.is_copied:
        raise InputError(
            f"copy.copy() of {type(copied).__name__} would share its state with the original, which has a transform "
            "attached; use copy.deepcopy()"
        )
    if own is not None:
        copied.__setstate__(own)
    recipe.attach(copied, *recipe.arguments)


def _copied(attach: Callable[..., Any], *arguments: Any) -> Recipe:
    recipe = Recipe(attach, *arguments)
    recipe.is_copied = True
    return recipe
