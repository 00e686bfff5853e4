"""What counts as generalized, in words: a held-out accuracy or a held-out loss. And how near the runs came to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from grokkit.analyse.format import number, percent

Measure = Literal["accuracy", "loss"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


class Target(NamedTuple):
    """A study's target: ``value`` of ``measure``, and for how many steps it must be stable; 0 where it must stay."""

    value: float
    measure: Measure
    stable_for: int = 0

    @property
    def short(self) -> str:
        """For the head of a column: ``95 %``, ``loss 0.05``, ``stable 95 %``."""
        value = self.value_text if self.measure == "accuracy" else f"loss {self.value_text}"
        return f"stable {value}" if self.stable_for else value

    @property
    def phrase(self) -> str:
        """To reach or to miss: ``95 %``, ``a loss of 0.05``, ``a stable 95 %``."""
        if self.stable_for:
            return f"a {self.short}"
        return self.value_text if self.measure == "accuracy" else f"a loss of {self.value_text}"

    @property
    def lasts(self) -> str:
        """What a run does that counts: ``stays``, ``is stable``."""
        return "is stable" if self.stable_for else "stays"

    @property
    def at_least(self) -> str:
        """After its part, "train" or "held-out": ``accuracy of at least 95 %``, ``loss of at most 0.05``."""
        return f"{self.measure} of at {'least' if self.measure == 'accuracy' else 'most'} {self.value_text}"

    @property
    def value_text(self) -> str:
        """``95 %``, ``0.05``."""
        return percent(self.value) if self.measure == "accuracy" else f"{self.value:.3g}"


def target_of(study: Mapping[str, Any]) -> Target:
    """The target of study.json.

    >>> target_of({"target": 0.95}).at_least, target_of({"target": 0.95, "target_loss": 0.05}).at_least
    ('accuracy of at least 95 %', 'loss of at most 0.05')
    >>> target_of({"target": 0.95, "event": "stable", "after": 500}).phrase
    'a stable 95 %'
    """
    loss, stable_for = study.get("target_loss"), study["after"] if study.get("event") == "stable" else 0
    return Target(study["target"], "accuracy", stable_for) if loss is None else Target(loss, "loss", stable_for)


def best_shown(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> list[Measure]:
    """The measures whose best values say something about ``rows`` of leaderboard.json, the target's first.

    None where the target is an accuracy and every run reached it: they stopped there, and the rest is chance.
    """
    target = target_of(study)
    if target.measure == "accuracy" and all(row["success_rate"] in (1, None) for row in rows):
        return []
    order: list[Measure] = ["accuracy", "loss"] if target.measure == "accuracy" else ["loss", "accuracy"]
    return [measure for measure in order if any(row[f"best_{measure}"] is not None for row in rows)]


def best_text(measure: Measure, value: float | None) -> str:
    """A best value: ``84.3 %`` of an accuracy, three digits of a loss.

    >>> best_text("accuracy", 0.843), best_text("loss", 0.003481), best_text("loss", None)
    ('84.3 %', '0.00348', '–')
    """
    if measure == "loss" or value is None:
        return number(value)
    return f"{100 * value:.1f} %"
