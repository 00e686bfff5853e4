"""Whether a published number holds in our runs, by the rule that its recipe stated before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from grokkit.reproduce.measures import MEASURES, Kind, Measured
from grokkit.reproduce.recipe import Claim

Answer = Literal["holds", "does not hold", "undecided"]
State = Literal["reproduced", "in part", "not reproduced", "undecided"]


WIDEST = 10.0
"""An interval of times, or of ratios, over more than this factor agrees with too much to agree with anything."""


def judged(claim: Claim, ours: Measured, *, budget: int | None = None) -> Answer:
    """What our number says of a claim.

    ``interval``: the published number lies in our 95 % interval. Where a limit is open because runs were censored, a
    number beyond everything seen is undecided, since no run was long enough to tell; so is one within an interval of
    times or ratios that spans more than a factor of :data:`WIDEST`. ``within``: our value lies within the claim's share
    of the published number. ``below``, ``above``: the whole interval lies on that side. A number without an interval
    decides nothing but ``within``, one side of which needs one run; an interval that holds the border is undecided.
    What was published to be absent from longer runs than ours, of ``budget`` steps, does not hold by being absent from
    ours.
    """
    answer = _answer(claim, ours)
    is_short = claim.within_steps is not None and budget is not None and budget < claim.within_steps
    return "undecided" if answer == "holds" and is_short else answer


def _answer(claim: Claim, ours: Measured) -> Answer:
    low, high, at = ours.low, ours.high, claim.published
    if claim.holds == "within":
        if ours.value is None or claim.tolerance is None:
            return "undecided" if low is None or low <= at * (1 + (claim.tolerance or 0)) else "does not hold"
        return "holds" if abs(ours.value - at) <= claim.tolerance * abs(at) else "does not hold"
    if claim.holds == "interval":
        if low is None and high is None:
            return "undecided"
        if (low is not None and _is_less(at, low)) or (high is not None and _is_less(high, at)):
            return "does not hold"
        return "undecided" if low is None or high is None or _is_too_wide(claim, low, high) else "holds"
    if claim.holds == "below":
        return _on_its_side(high is not None and high < at, low is not None and low >= at)
    return _on_its_side(low is not None and low > at, high is not None and high <= at)


def _is_less(one: float, other: float) -> bool:
    """Whether by more than rounding: a mean of logarithms of equal times is not quite that time."""
    return one < other and not math.isclose(one, other, rel_tol=1e-9)


def kind_of(claim: Claim) -> Kind:
    """Of which kind its number is: as the measure of a study's runs is, or as the claim says of an experiment's; a
    level beside another arm's is a ratio."""
    kind = MEASURES[claim.measure].kind if claim.arm and claim.measure in MEASURES else claim.kind
    return "ratio" if kind == "level" and claim.beside is not None else kind


def _is_too_wide(claim: Claim, low: float, high: float) -> bool:
    return kind_of(claim) in ("time", "ratio") and high > WIDEST * low


def _on_its_side(surely: bool, surely_not: bool) -> Answer:
    return "holds" if surely else "does not hold" if surely_not else "undecided"


def state_of(answers: Sequence[Answer]) -> State:
    """An item is reproduced if all of its claims hold, and in part if some do; what is undecided does not hold."""
    if all(answer == "holds" for answer in answers):
        return "reproduced"
    if any(answer == "holds" for answer in answers):
        return "in part"
    return "not reproduced" if "does not hold" in answers else "undecided"
