"""What a factory is called with, checked where it comes in: a value that is not possible never reaches a gradient.

Settings are Python numbers. numpy's scalars and tensors of one number become such; what a number is not, or is outside
its range, is refused in one line. Tensors that cannot be read stay: the lab stacks many runs into one program, where
each has its own value and no function may branch on it, and what requires a gradient must not lose it here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from grokkit.errors import InputError, shown

Setting: TypeAlias = float | Tensor

POSITIVE = "a finite number > 0"
NOT_NEGATIVE = "a finite number >= 0"


def number(name: str, value: object, ok: Callable[[float], bool], allowed: str, default: object) -> Any:
    """``value`` as a Python number for which ``ok`` holds.

    Raises:
        InputError: for a truth value, what is no number, and a number outside the range.

    >>> number("lamb", 2, lambda v: v >= 0, "a number >= 0", 2.0)
    2
    >>> number("lamb", "high", lambda v: v >= 0, "a number >= 0", 2.0)
    Traceback (most recent call last):
    grokkit.errors.InputError: lamb='high' is not possible: a number >= 0; the default is 2.0
    """
    found = plain(value)
    if _is_stacked(found):
        return found
    readable = found.detach().item() if isinstance(found, Tensor) and not found.ndim else found
    if isinstance(readable, bool) or not isinstance(readable, int | float) or not _holds(ok, readable):
        raise InputError(f"{name}={shown(value)} is not possible: {allowed}; the default is {default}")
    return found


def positive(name: str, value: object, default: object, allowed: str = POSITIVE) -> Any:
    """``value`` as a finite number above 0."""
    return number(name, value, lambda v: 0.0 < v < float("inf"), allowed, default)


def not_negative(name: str, value: object, default: object) -> Any:
    """``value`` as a finite number of at least 0."""
    return number(name, value, lambda v: 0.0 <= v < float("inf"), NOT_NEGATIVE, default)


def whole(name: str, value: object, least: int, default: object) -> int:
    """``value`` as a Python integer of at least ``least``: a setting of this kind cannot differ within one program."""
    found = plain(value)
    if type(found) is not int or found < least:
        raise InputError(f"{name}={shown(value)} is not possible: a whole number >= {least}; the default is {default}")
    return found


def flag(name: str, value: object, default: bool) -> bool:
    """``value`` as True or False: other things are true as well, ``"no"`` for one."""
    found = plain(value)
    if not isinstance(found, bool):
        raise InputError(f"{name}={shown(value)} is not possible: True or False; the default is {default}")
    return found


def check_kind(name: str, value: object, kinds: type | UnionType, allowed: str) -> None:
    """Refuse ``value`` unless it is an instance of ``kinds``; ``allowed`` says in words what that is."""
    if not isinstance(value, kinds):
        raise InputError(f"{name}={shown(value)} is not possible: {allowed}")


def plain(value: object) -> Any:
    """numpy's scalars, and 0-d tensors that hold one number each, as Python's; anything else as it is."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad and not _is_stacked(value):
        return value.item()
    return value


def like(tensor: Tensor, setting: Setting) -> Setting:
    """``setting`` in the dtype of the ``tensor`` that it is combined with, which a number takes by itself."""
    return setting.to(tensor.dtype) if isinstance(setting, Tensor) else setting


def _is_stacked(value: object) -> bool:
    """Whether it is a 0-d tensor of which there is one value for each run of a program, so that none can be read."""
    if not isinstance(value, Tensor) or value.ndim:
        return False
    try:
        value.detach().item()
    except RuntimeError:  # what torch.vmap raises, and what a tensor without data does
        return True
    return False


def _holds(ok: Callable[[float], bool], value: float) -> bool:
    try:
        return ok(float(value))
    except OverflowError:  # an integer beyond all floats
        return False
