"""A search space as a line of text: which settings of a part are searched, and where.

    alpha=0.8..0.99, lamb=0.1..10 log, filter_type=mean|sum

A range ``low..high`` is drawn from evenly, and evenly in the logarithm with ``log``; a setting whose annotation is
``int``, or that has none and is a whole number by default, gets whole numbers. ``a|b`` is a choice.
Cards state their spaces so, and people write their own the same way.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from grokkit.arguments import shortest
from grokkit.call_syntax import parse_call, show_value, split_list
from grokkit.errors import InputError

_EXAMPLE = "e.g. 'lr=1e-4..1e-1 log, wd=0..3'"


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{shortest(self.low)}..{shortest(self.high)}{' log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[Any, ...]
    texts: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """As they were typed, for a setting that is a word."""

    def __str__(self) -> str:
        return "|".join(map(show_value, self.values))


Space: TypeAlias = dict[str, Range | Choice]
"""By the name of the setting."""


def parse_space(text: str) -> Space:
    """The space that ``text`` writes; empty for an empty text.

    Raises:
        InputError: for what cannot be read, an empty range, or a logarithm of what is not positive.

    >>> parse_space("lr=1e-4..1e-1 log, kind=a|b")
    {'lr': Range(low=0.0001, high=0.1, log=True), 'kind': Choice(values=('a', 'b'))}
    """
    space: Space = {}
    for item in split_list(text) if text.strip() else ():
        name, equals, values = (part.strip() for part in item.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise InputError(f"{item!r} is not a setting with its range; write {_EXAMPLE}")
        if name in space:
            raise InputError(f"{name} is given twice in {text!r}; give it once")
        space[name] = _values(name, values)
    return space


def show_space(space: Space) -> str:
    """The text of a space; :func:`parse_space` reads it."""
    return ", ".join(f"{name}={values}" for name, values in space.items())


def _values(name: str, text: str) -> Range | Choice:
    if "|" in text:
        # Each is read as a setting in parentheses would be: a number, true, none, a word, a call.
        read = [parse_call(f"choice(value={value.strip()})")[1] for value in text.split("|")]
        return Choice(tuple(one["value"] for one in read), tuple(one.texts["value"] for one in read))
    match = re.fullmatch(r"(\S+?)\.\.(\S+?)(\s+log)?", text)
    try:
        low, high = (float(end) for end in match.group(1, 2)) if match else (math.nan, math.nan)
    except ValueError:
        low = high = math.nan
    if match is None or not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{name}={text} is not possible: low..high, low..high log, or a|b; {_EXAMPLE}")
    log = match.group(3) is not None
    if not low < high:
        raise InputError(f"{name}={text} is not possible: the first number must be less than the second")
    if log and low <= 0:
        raise InputError(f"{name}={text} is not possible: a logarithmic range begins above 0")
    return Range(low, high, log)
