"""What a method says of itself: one card each, read by the command line, the lab and the test suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grokkit.transform import GradientTransform

Hook = Literal["start", "loss", "gradient", "step", "weights"]


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """A method's facts.

    Attributes:
        name: what the command line calls it, e.g. ``grokfast-ema``.
        summary: one sentence.
        hooks: where it intervenes in training; empty for a bare optimizer.
        equations: with the paper's letters.
        cost: time and memory a step, in words.
        optimizer: the optimizer settings it is compared with by default, and
        optimizer_source: where these come from.
        factory: makes the gradient transform; its keyword arguments are the method's settings. None for a
            bare optimizer.
        smallest: settings under which the test suite can see the method act within a few steps.
        off: settings under which it must leave the optimizer as it is, bit for bit; None if there are none.
        tuned: how its defaults were chosen, if we chose them.
        departures: where it differs from the authors' code, and why.
        citation: BibTeX, empty if there is nothing to cite.
        aliases: other spellings of the name.
    """

    name: str
    summary: str
    hooks: tuple[Hook, ...]
    equations: str
    cost: str
    optimizer: Mapping[str, Any]
    optimizer_source: str
    factory: Callable[..., GradientTransform] | None = None
    smallest: Mapping[str, Any] = field(default_factory=dict)
    off: Mapping[str, Any] | None = None
    tuned: str = ""
    departures: str = ""
    citation: str = ""
    aliases: tuple[str, ...] = ()
