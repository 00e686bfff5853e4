"""The leaderboard in one to three plain sentences: what helps, by how much, and how far to believe it.

An interval that contains 1 is "no clear difference". A method that is faster where it succeeds but succeeds
less often than the baseline does not count as better. What is slower, or never gets there, is named as plainly
as what is faster. One seed is an anecdote, fewer than five pairs are few, and the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from grokkit.analyse.target import best_shown, best_text, target_of
from grokkit.analyse.words import (
    count,
    listed,
    number,
    p_value,
    ratio,
    ratio_interval,
    whole,
)

FEW_PAIRS = 5
"""Below this a percentile bootstrap reaches no further than the extremes it saw."""

Row = Mapping[str, Any]
Standing = Literal["baseline", "no runs", "never", "no pair", "faster", "fragile", "surer", "slower", "unclear"]


def verdict(rows: Sequence[Row], study: Mapping[str, Any]) -> str:
    """The verdict on ``rows`` (of leaderboard.json, baseline first) of ``study`` (as in study.json)."""
    words = _Words(study, rows)
    others = rows[1:]
    if not any(row["runs"] for row in rows):
        return f"On {study['title']}, no run has finished yet."
    if not others:
        return f"On {study['title']}, {words.reached(rows[0])}; nothing was compared with it."
    cautions = _cautions(rows, words)
    if not rows[0]["successes"]:
        sentences = [_without_baseline(others, words), *_best(rows, words)]
    elif _seeds(rows) == 1:
        sentences = [_anecdote(others, words)]
    else:
        sentences = _comparison(others, words)
        if order := _by_seconds(rows):
            cautions = [order, *cautions]
    return " ".join([*sentences, *_sentence(cautions)])


class _Words:
    """Phrases that need the study: its target, its budget, its baseline."""

    def __init__(self, study: Mapping[str, Any], rows: Sequence[Row]) -> None:
        baseline = rows[0]
        self.title = study["title"]
        self.target = target_of(study).phrase
        self.best = best_shown(rows, study)[:1]
        self.budget = f"{whole(study['budget'])} steps"
        self.baseline = baseline
        self.base = baseline["method"]

    def reached(self, row: Row) -> str:
        if not row["successes"]:
            return self.never(row)
        median = row["median_steps"]
        when = f", at a median of {number(median)} steps" if median is not None else ""
        return f"{row['method']} reached {self.target} in {row['successes']} of {count(row['runs'], 'run')}{when}"

    def never(self, row: Row) -> str:
        missed = row["runs"] - row["successes"]
        return (
            f"{row['method']}: {missed} of {count(row['runs'], 'run')} never reached {self.target} within {self.budget}"
        )

    def full(self, row: Row) -> str:
        """``0.80× the steps of adamw (95 % interval 0.71–0.93, 3 seeds)``."""
        value, interval = ratio(row["ratio_steps_vs_baseline"]), _interval(row)
        evidence = [f"95 % interval {interval}" if interval else "", count(row["pairs"], "seed"), self.misses(row)]
        return f"{value} the steps of {self.base} ({', '.join(part for part in evidence if part)})"

    def short(self, row: Row) -> str:
        """``grad-norm 0.80× (0.71–0.93, 3 seeds)``, for all but the first ratio named."""
        evidence = [_interval(row), count(row["pairs"], "seed"), self.misses(row)]
        value = ratio(row["ratio_steps_vs_baseline"])
        return f"{row['method']} {value} ({', '.join(part for part in evidence if part)})"

    def misses(self, row: Row) -> str:
        """A ratio covers only the runs that got there; where some did not, it may not stand alone."""
        return "" if row["success_rate"] == 1 else f"{row['successes']} of {count(row['runs'], 'run')} got there"

    def surer(self, row: Row) -> str:
        return (
            f"{row['method']} reached {self.target} in {row['successes']} of {count(row['runs'], 'run')} against "
            f"{self.baseline['successes']} of {self.baseline['runs']} for {self.base} "
            f"(log-rank p {p_value(row['logrank_p'])})"
        )


def _interval(row: Row) -> str:
    return ratio_interval(row["ratio_ci_low"], row["ratio_ci_high"])


def _standing(row: Row, baseline: Row) -> Standing:
    if not row["runs"]:
        return "no runs"
    if not row["successes"]:
        return "never"
    side = _side(row["ratio_ci_low"], row["ratio_ci_high"])
    if side == "faster" and row["success_rate"] < baseline["success_rate"]:
        return "fragile"
    more_often = row["success_rate"] > baseline["success_rate"]
    if side == "unclear" and more_often and row["logrank_p"] is not None and row["logrank_p"] < 0.05:
        return "surer"
    return side if row["pairs"] else "no pair"


def _side(low: float | None, high: float | None) -> Literal["faster", "slower", "unclear"]:
    if low is None or high is None or low <= 1 <= high:
        return "unclear"
    return "faster" if high < 1 else "slower"


def _comparison(others: Sequence[Row], words: _Words) -> list[str]:
    """The best, or that there is none, in one sentence; all the others in a second."""
    groups: dict[Standing, list[Row]] = {}
    for row in sorted(others, key=lambda row: row["ratio_steps_vs_baseline"] or 0.0):
        groups.setdefault(_standing(row, words.baseline), []).append(row)
    faster, fragile, surer, unclear, no_pair, slower = (
        groups.get(kind, []) for kind in ("faster", "fragile", "surer", "unclear", "no pair", "slower")
    )
    if faster:
        head, faster = f"{faster[0]['method']} needs {words.full(faster[0])}", faster[1:]
    elif surer:
        head, surer = words.surer(surer[0]), surer[1:]
    else:
        head = f"nothing tried {'clearly ' if fragile or unclear or no_pair else ''}beats {words.base}"
    parts = []
    if faster:
        parts.append("also faster: " + listed([words.short(row) for row in faster]))
    parts += [words.surer(row) for row in surer]
    if fragile:
        parts.append("faster, but gets there less often: " + listed([words.short(row) for row in fragile]))
    if unclear:
        parts.append("no clear difference: " + listed([words.short(row) for row in unclear]))
    parts += [f"{words.reached(row)}, but in no seed together with {words.base}" for row in no_pair]
    if slower:
        parts.append("slower: " + listed([words.short(row) for row in slower]))
    parts += [words.never(row) for row in groups.get("never", [])]
    parts += [f"{row['method']} has no finished run" for row in groups.get("no runs", [])]
    return [f"On {words.title}, {head}.", *_sentence(parts)]


def _anecdote(others: Sequence[Row], words: _Words) -> str:
    parts = []
    for row in others:
        value = row["ratio_steps_vs_baseline"]
        if not row["runs"]:
            parts.append(f"{row['method']} has no finished run")
        elif value is None:
            parts.append(words.never(row) if not row["successes"] else words.reached(row))
        else:
            seconds = row["ratio_seconds_vs_baseline"]
            crossed = seconds is not None and (value < 1) != (seconds < 1)
            extra = f" but {ratio(seconds)} its training time" if crossed else ""
            parts.append(f"{row['method']} took {ratio(value)} the steps of {words.base}{extra}")
    return f"On {words.title}, in one seed, which is an anecdote and not evidence: {'; '.join(parts)}."


def _without_baseline(others: Sequence[Row], words: _Words) -> str:
    """The baseline is censored altogether: no ratio exists, only who got there and who did not."""
    parts = []
    if reached := [row for row in others if row["successes"]]:
        parts += [words.reached(row) for row in reached]
    parts += [words.never(row) for row in others if row["runs"] and not row["successes"]]
    parts += [f"{row['method']} has no finished run" for row in others if not row["runs"]]
    head = (
        f"the baseline {words.base} itself never reached {words.target} within {words.budget} "
        f"(0 of {count(words.baseline['runs'], 'run')}), so no ratio to it exists"
    )
    return f"On {words.title}, {head}: {'; '.join(parts)}."


def _best(rows: Sequence[Row], words: _Words) -> list[str]:
    """How near they came to the target, where times say little."""
    sentences = []
    for measure in words.best:
        known = [row for row in rows if row[f"best_{measure}"] is not None]
        ordered = sorted(known, key=lambda row: row[f"best_{measure}"], reverse=measure == "accuracy")
        values = [f"{row['method']} {best_text(measure, row[f'best_{measure}'])}" for row in ordered]
        sentences.append(f"Best held-out {measure} of a run, in the median: {', '.join(values)}.")
    return sentences


def _by_seconds(rows: Sequence[Row]) -> str | None:
    """Steps and seconds may disagree: a clause where they order the methods differently.

    Ratios that read the same count as equal, so that a difference nobody can see changes no order.
    """
    timed = [
        row
        for row in rows
        if row["ratio_steps_vs_baseline"] is not None and row["ratio_seconds_vs_baseline"] is not None
    ]
    by_steps = sorted(timed, key=lambda row: row["ratio_steps_vs_baseline"])
    by_seconds = sorted(by_steps, key=lambda row: round(row["ratio_seconds_vs_baseline"], 2))
    if by_seconds == by_steps:
        return None
    parts = [f"{row['method']} {ratio(row['ratio_seconds_vs_baseline'])}" for row in by_seconds]
    return f"in seconds of training the order is another: {', '.join(parts)}"


def _cautions(rows: Sequence[Row], words: _Words) -> list[str]:
    cautions = []
    if pairs := [row["pairs"] for row in rows[1:] if row["pairs"]]:
        fewest = min(pairs)
        if fewest < FEW_PAIRS and _seeds(rows) > 1:
            most = max(pairs)
            if most >= FEW_PAIRS:
                seeds = f"some comparisons rest on only {count(fewest, 'seed')}"
            else:
                seeds = f"only {count(fewest, 'seed')}" if most == fewest else f"only {fewest} to {most} seeds"
            hint = "few, so the intervals are likely too narrow, and this is a hint rather than a proof"
            cautions.append(f"{seeds}: {'an anecdote' if fewest == most == 1 else hint}")
    elif 1 < _seeds(rows) < FEW_PAIRS:
        cautions.append(f"only {count(_seeds(rows), 'seed')}: few")
    baseline = words.baseline
    if 0 < baseline["successes"] < baseline["runs"]:
        missed = baseline["runs"] - baseline["successes"]
        cautions.append(
            f"{words.base} itself missed {words.target} in {missed} of {count(baseline['runs'], 'run')}, "
            "and ratios cover only seeds in which both got there"
        )
    return cautions


_OPENINGS = ("also ", "faster, ", "in seconds ", "no clear ", "only ", "slower: ", "some ")


def _sentence(parts: list[str]) -> list[str]:
    """The parts as one sentence, or none. Only plain words get a capital: a method's name stays as it is."""
    if not parts:
        return []
    text = "; ".join(parts)
    plain = text.startswith(_OPENINGS)
    return [f"{text[0].upper() if plain else text[0]}{text[1:]}."]


def _seeds(rows: Sequence[Row]) -> int:
    """The seeds behind the comparison: the most runs any method has."""
    return max(row["runs"] for row in rows)
