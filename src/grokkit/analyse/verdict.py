"""The leaderboard in a few plain sentences: what helps, by how much, and how far to believe it.

Only what :mod:`grokkit.analyse.claims` allows is said to be less or more than the baseline. Everything else is "no
clear difference", with what the study could have shown; a bound where there is only one; or that runs never got there.
What costs more, or gets there less often, is named as plainly as what costs less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from grokkit.analyse.claims import (
    Claim,
    Sensitivity,
    claimed_cost,
    claims,
    level_of,
    sensitivity,
    unclaimed_primary,
)
from grokkit.analyse.format import (
    COST_WORDS,
    bound,
    count,
    listed,
    number,
    p_value,
    ratio,
    ratio_interval,
    whole,
)
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.paired import ENOUGH
from grokkit.analyse.survival import COSTS, Cost
from grokkit.analyse.target import best_shown, best_text, target_of

Row = Mapping[str, Any]
Standing = Literal[
    "no runs", "less", "more", "more often", "less often", "never", "given up", "unclear", "bound", "few", "apart"
]


def verdict(rows: Sequence[Row], study: Mapping[str, Any]) -> str:
    """The verdict on ``rows`` (of leaderboard.json, baseline first) of ``study`` (as in study.json).

    ``study["not_shown"]``, if there is any, are arms of the folder that ``rows`` leave out: what is said is then of
    those shown.
    """
    hidden = study.get("not_shown")
    return " ".join([*_of_shown(rows, study), *([f"Not shown: {listed(list(hidden))}."] if hidden else [])])


def _of_shown(rows: Sequence[Row], study: Mapping[str, Any]) -> list[str]:
    words = _Words(study, rows)
    others = rows[1:]
    if not any(row["runs"] for row in rows):
        which = "run of the methods shown" if words.is_part else "run"
        return [f"On {study['title']}, no {which} has finished yet."]
    if not others:
        rest = "no method that was compared with it is shown" if words.is_part else "nothing was compared with it"
        return [f"On {study['title']}, {words.reached(rows[0])}; {rest}."]
    if not rows[0]["runs"]:
        arms = "; ".join(words.reached(row) if row["runs"] else words.absent(row) for row in others)
        return [f"On {words.title}, the baseline {words.base} has no finished run to compare with; {arms}."]
    if _seeds(rows) == 1:
        found = _anecdotes(rows, words)
        return [f"On {study['title']}, in one seed, which is an anecdote and not evidence: {found}."]
    found = dict(zip([row["method"] for row in others], claims(rows, study), strict=True))
    sentences = _comparison(others, found, words)
    if not rows[0]["successes"]:
        sentences += _best(rows, words)
    return [*sentences, *_cautions(rows, found, words, study)]


class _Words:
    """Phrases that need the study: its target, its budget, its baseline, and the cost that it claims in."""

    def __init__(self, study: Mapping[str, Any], rows: Sequence[Row]) -> None:
        self.title = study["title"]
        self.target = target_of(study).phrase
        self.best = best_shown(rows, study)[:1]
        self.budget = count(study["budget"], "step")
        self.is_part = bool(study.get("not_shown"))
        self.baseline = rows[0]
        self.base = rows[0]["method"]
        self.cost: Cost = claimed_cost(rows, study)
        self.unit = COST_WORDS[self.cost]
        self._keys = ratio_keys(self.cost)

    def part(self, row: Row, name: str) -> Any:
        """A part of the ratio in the claimed cost: its value, low, high, bound or side."""
        return row.get(self._keys[name])

    def reached(self, row: Row) -> str:
        if row.get("given_up"):
            return f"{row['method']}: {self.misses(row)}"
        if not row["successes"]:
            return self.never(row)
        median = row["median_steps"]
        when = f", at a median of {number(median)} steps" if median is not None else ""
        return f"{row['method']} reached {self.target} in {row['successes']} of {count(row['runs'], 'run')}{when}"

    def absent(self, row: Row) -> str:
        return f"{row['method']} has no finished run"

    def never(self, row: Row) -> str:
        missed = row["runs"] - row["successes"]
        return f"{row['method']}: {missed} of {count(row['runs'], 'run')} never held {self.target} within {self.budget}"

    def bounded_never(self, row: Row) -> str:
        """``adam-paper (0 of 5 runs, at least 5.40× the FLOPs)``."""
        often = self.misses(row) if row.get("given_up") else f"0 of {count(row['runs'], 'run')}"
        return f"{row['method']} ({often}{self._at_least(row)})"

    def needs(self, row: Row) -> str:
        """``grad-norm needs 0.80× the FLOPs of adamw (95 % interval 0.71–0.93, 6 seeds)``."""
        evidence = self._evidence(row, f"95 % interval {self.interval(row)}", self.trade(row))
        return f"{row['method']} needs {ratio(self.part(row, 'value'))} the {self.unit} of {self.base} ({evidence})"

    def short(self, row: Row, *notes: str) -> str:
        """``grad-norm 0.80× (0.71–0.93, 6 seeds)``, for all but the first ratio named."""
        return f"{row['method']} {ratio(self.part(row, 'value'))} ({self._evidence(row, self.interval(row), *notes)})"

    def few(self, row: Row) -> str:
        """``grad-norm 0.80× (1 seed, 1 of 5 runs got there)``."""
        return f"{row['method']} {ratio(self.part(row, 'value'))} ({self._evidence(row)})"

    def _evidence(self, row: Row, *parts: str) -> str:
        return ", ".join(part for part in (*parts, count(row["pairs"], "seed"), self.misses(row)) if part)

    def interval(self, row: Row) -> str:
        return ratio_interval(self.part(row, "low"), self.part(row, "high"))

    def misses(self, row: Row) -> str:
        """Where some run did not get there a ratio may not stand alone."""
        if row.get("given_up"):
            return f"{row['given_up']} of {count(row['runs'], 'run')} given up"
        return "" if row["success_rate"] == 1 else f"{row['successes']} of {count(row['runs'], 'run')} got there"

    def trade(self, row: Row) -> str:
        """Where an arm that needs less gets there less often, or one that needs more does so more often."""
        own, base = row["success_rate"], self.baseline["success_rate"]
        if own is None or base is None:
            return ""
        is_less = self.part(row, "value") < 1
        if own == base or (own > base) == is_less:
            return ""
        often = f"{self.baseline['successes']} of {self.baseline['runs']} for {self.base}"
        return f"but gets there {'less' if is_less else 'more'} often than {often}"

    def rates(self, row: Row, claim: Claim) -> str:
        """How often both got there, where that is what is claimed, or all there is to say."""
        if row.get("given_up"):
            return f"{row['method']}: {self.misses(row)}"
        p = f" (p {p_value(claim.p)})" if claim.p is not None else ""
        return (
            f"{row['method']} reached {self.target} in {row['successes']} of {count(row['runs'], 'run')} against "
            f"{self.baseline['successes']} of {self.baseline['runs']} for {self.base}{p}"
        )

    def rate(self, row: Row, claim: Claim) -> str:
        """``adam-paper 0 of 5 (p 0.008, at least 4.51× the FLOPs)``."""
        return f"{row['method']} {row['successes']} of {row['runs']} (p {p_value(claim.p)}{self._at_least(row)})"

    def bounded(self, row: Row, claim: Claim) -> str:
        return f"{self.rates(row, claim)}{self._limit(row)}"

    def _at_least(self, row: Row) -> str:
        """Its bound, if that is a lower one."""
        return self._limit(row) if self.part(row, "side") == "at least" else ""

    def _limit(self, row: Row) -> str:
        return f", {bound(self.part(row, 'bound'), self.part(row, 'side'))} the {self.unit}"


def _standing(row: Row, claim: Claim, words: _Words) -> Standing:
    if not row["runs"]:
        return "no runs"
    if claim.claimed and claim.direction is not None:
        return claim.direction
    if not row["successes"]:
        return "given up" if row.get("given_up") else "never"
    if words.part(row, "low") is not None:
        return "unclear"
    if words.part(row, "bound") is not None:
        return "bound"
    return "few" if words.part(row, "value") is not None else "apart"


def _comparison(others: Sequence[Row], found: Mapping[str, Claim], words: _Words) -> list[str]:
    """The best, or that there is none, in one sentence; all the others in a second."""
    groups: dict[Standing, list[Row]] = {}
    for row in sorted(others, key=lambda row: words.part(row, "value") or 0.0):
        groups.setdefault(_standing(row, found[row["method"]], words), []).append(row)

    def rates(kind: Standing) -> list[str]:
        return [words.rates(row, found[row["method"]]) for row in groups.get(kind, [])]

    less, few, more_often = groups.get("less", []), groups.get("few", []), rates("more often")
    of_shown = "of the methods shown, " if words.is_part else ""
    if less:
        head, less = of_shown + words.needs(less[0]), less[1:]
    elif more_often:
        head, more_often = of_shown + more_often[0], more_often[1:]
    elif not words.baseline["successes"]:
        head = (
            f"the baseline {words.base} itself never held {words.target} within {words.budget} "
            f"(0 of {count(words.baseline['runs'], 'run')}), so no ratio to it exists"
        )
    else:
        head = f"{of_shown}nothing tried was shown to beat {words.base}"
    parts = ["also less: " + listed([words.short(row, words.trade(row)) for row in less])] if less else []
    parts += more_often
    if unclear := groups.get("unclear"):
        shown = [words.short(row, *_held_back(found[row["method"]])) for row in unclear]
        parts.append("no clear difference: " + listed(shown))
    if more := groups.get("more"):
        parts.append("more: " + listed([words.short(row, words.trade(row)) for row in more]))
    if less_often := groups.get("less often"):
        base = f"{words.baseline['successes']} of {count(words.baseline['runs'], 'run')} for {words.base}"
        shown = [words.rate(row, found[row["method"]]) for row in less_often]
        parts.append(f"reached {words.target} less often than the {base}: {listed(shown)}")
    short = [words.few(row) for row in few]
    short += [words.bounded(row, found[row["method"]]) for row in groups.get("bound", [])]
    if short:
        parts.append("too few complete pairs for an interval, and so no claim: " + "; ".join(short))
    parts += rates("apart")
    if never := groups.get("never"):
        shown = listed([words.bounded_never(row) for row in never])
        parts.append(f"never held {words.target} within {words.budget}: {shown}")
    if late := groups.get("given up"):
        parts.append("given up: " + listed([words.bounded_never(row) for row in late]))
    parts += [words.absent(row) for row in groups.get("no runs", [])]
    return [f"On {words.title}, {head}.", *_sentence(parts)]


_HELD_BACK = {
    "resolution": "within the resolution of its evaluations",
    "others": "not claimed, because so many arms were tried",
}
"""What its interval, which leaves 1 out, does not say; looks and a primary arm have sentences of their own."""


def _held_back(claim: Claim) -> tuple[str, ...]:
    return (_HELD_BACK[claim.held_back],) if claim.held_back in _HELD_BACK else ()


def _anecdotes(rows: Sequence[Row], words: _Words) -> str:
    parts, taken = [], []
    missed = [row for row in rows if row["runs"] and not row["successes"] and not row.get("given_up")]
    if len(missed) > 1:
        parts.append(f"{listed([row['method'] for row in missed])} never held {words.target} within {words.budget}")
    for row in rows[1:]:
        value = words.part(row, "value")
        if row in missed and len(missed) > 1:
            continue
        if not row["runs"]:
            parts.append(words.absent(row))
        elif value is None:
            parts.append(words.reached(row))
        elif not taken:
            taken.append(f"{row['method']} took {ratio(value)} the {words.unit} of {words.base}")
        else:
            taken.append(f"{row['method']} {ratio(value)}")
    if taken:
        parts.insert(0, listed(taken))
    if not taken and not (words.baseline in missed and len(missed) > 1):  # no ratio names it, and no list
        parts.insert(0, words.reached(words.baseline))
    return "; ".join(parts)


def _best(rows: Sequence[Row], words: _Words) -> list[str]:
    """How near they came to the target, where times say little."""
    sentences = []
    for measure in words.best:
        known = [row for row in rows if row[f"best_{measure}"] is not None]
        ordered = sorted(known, key=lambda row: row[f"best_{measure}"], reverse=measure == "accuracy")
        values = [f"{row['method']} {best_text(measure, row[f'best_{measure}'])}" for row in ordered]
        sentences.append(f"Best held-out {measure} of a run, in the median: {', '.join(values)}.")
    return sentences


def _cautions(rows: Sequence[Row], found: Mapping[str, Claim], words: _Words, study: Mapping[str, Any]) -> list[str]:
    """What else a reader has to know: other costs that say otherwise, few seeds, looks, what could have been shown."""
    parts = _other_costs(rows, found, words)
    seeds = _seeds(rows)
    if seeds < ENOUGH:
        parts.append(f"only {count(seeds, 'seed')}: an interval, and so a claim, takes at least {ENOUGH}")
    if words.baseline["successes"] and words.baseline["successes"] < words.baseline["runs"]:
        missed = words.baseline["runs"] - words.baseline["successes"]
        parts.append(
            f"{words.base} itself missed {words.target} in {missed} of {count(words.baseline['runs'], 'run')}; "
            "such runs count as longer than what they were given"
        )
    looks = len(study.get("looks") or ())
    if looks > 1:
        parts.append(f"after {looks} looks at this study, claims are tested at {level_of(study):.3g}")
    methods = [row["method"] for row in rows]
    for caution in cautions(study, methods):
        if caution:
            parts.append(caution)
    if caution := unclaimed_primary(found, study):
        parts.append(caution)
    return [*_sentence(parts), *_sentence(_missed(rows, found, words, study))]


def _other_costs(rows: Sequence[Row], found: Mapping[str, Claim], words: _Words) -> list[str]:
    """Other costs in which a claimed difference cannot be seen, or is the other way round, with the arms that it is so
    of. Where there is no interval there is no order either."""
    claimed = [row for row in rows[1:] if found[row["method"]].claimed and found[row["method"]].test == "ratio"]
    parts = []
    for cost in COSTS:
        if cost == words.cost:
            continue
        keys, arms = ratio_keys(cost), []
        for row in claimed:
            low, high = row.get(keys["low"]), row.get(keys["high"])
            if low is None or high is None:
                continue
            agrees = high < 1 if found[row["method"]].direction == "less" else low > 1
            if not agrees:
                verb = "" if arms else "is "
                arms.append(f"{row['method']} {verb}at {ratio(row[keys['value']])} ({ratio_interval(low, high)})")
        if arms:
            parts.append(f"in {COST_WORDS[cost]} {listed(arms)}")
    return parts


def _missed(rows: Sequence[Row], found: Mapping[str, Claim], words: _Words, study: Mapping[str, Any]) -> list[str]:
    """What the study could have shown of the arms without a clear difference, and what it would take."""
    unclear = [row for row in rows[1:] if _standing(row, found[row["method"]], words) == "unclear"]
    powers = [power for row in unclear if (power := sensitivity(row, rows, study)) is not None]
    if not powers:
        return []
    return [f"this study could have shown {could_show(powers, 'arm')}; to show 1.20× would take {_needed(powers)}"]


def could_show(powers: Sequence[Sensitivity], each: str) -> str:
    """``a ratio of 1.14× to 1.37×, by arm``, where each of them is an ``each``."""
    low, high = (ratio(f([power.shown for power in powers])) for f in (min, max))
    return f"a ratio of {low if low == high else f'{low} to {high}, by {each}'}"


_LACKS = {"evaluations": "evaluations closer together", "pace": "a pace measured more finely"}


def _needed(powers: Sequence[Sensitivity]) -> str:
    """``7 to 12 seeds``, and of arms that no number of seeds is enough for what is."""
    lacks = " and ".join(words for lack, words in _LACKS.items() if any(power.lacks == lack for power in powers))
    seeds = [power.seeds for power in powers if power.lacks is None]
    if not seeds:
        return lacks
    known = sorted(number for number in seeds if number is not None)
    if None in seeds:
        needed = f"{whole(known[0])} to more than 1,000 seeds" if known else "more than 1,000 seeds"
    else:
        most = count(known[-1], "seed")
        needed = most if known[0] == known[-1] else f"{whole(known[0])} to {most}"
    return f"{needed}, and for some arms {lacks}" if lacks else needed


_OPENINGS = (
    "after ",
    "also ",
    "given up",
    "in FLOPs",
    "in seconds ",
    "in steps",
    "reached ",
    "settings ",
    "more:",
    "never held ",
    "no clear ",
    "only ",
    "this ",
    "too few ",
)


def _sentence(parts: list[str]) -> list[str]:
    """The parts as one sentence, or none. Only plain words get a capital: a method's name stays as it is."""
    if not parts:
        return []
    text = "; ".join(parts)
    plain = text.startswith(_OPENINGS)
    return [f"{text[0].upper() if plain else text[0]}{text[1:]}."]


def unequal_search(tuned: Mapping[str, Any], methods: Sequence[str]) -> str:
    """That ``methods`` were not searched with the same number of trials, where that is so; else empty. One that is not
    in ``tuned``, which is as in study.json, was not searched at all."""

    def trials_of(method: str) -> int:
        found = tuned.get(method)
        return 0 if found is None else found.get("trials", len(found["costs"]))

    trials = {method: trials_of(method) for method in methods}
    if len({*trials.values()}) < 2:
        return ""
    each = listed([f"{method} {_searched(number)}" for method, number in trials.items()])
    return f"settings were not searched alike, {each}: give all methods as many --trials"


def _searched(trials: int) -> str:
    return f"with {count(trials, 'trial')}" if trials else "not at all"


_WORDS = {
    "train_fraction": "training share",
    "train_size": "training share",
    "validation_fraction": "validation share",
    "data_dir": "data",
    "batch_size": "batch",
    "target_loss": "target",
    "sustain": "--sustain",
    "after": "--after",
}
"""Of what settings depend on, where its name is no word for it."""


def cautions(study: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """What is to be known of how the settings of ``methods`` were found, a line each."""
    tuned = study.get("tuned") or {}
    lines = (
        unequal_search(tuned, methods),
        searched_elsewhere(study, methods),
        _searched_with_other_code(tuned, methods),
    )
    return [line for line in lines if line]


def _searched_with_other_code(tuned: Mapping[str, Any], methods: Sequence[str]) -> str:
    changed = [method for method in methods if tuned.get(method, {}).get("with_other_code")]
    return f"settings of {listed(changed)} were searched with other code than now" if changed else ""


def searched_elsewhere(study: Mapping[str, Any], methods: Sequence[str]) -> str:
    """That the settings of ``methods`` were searched on another task than this study's, or on it with other settings,
    another model or batch, or for another target, event or length of it, and what it is; where that is not so, empty.
    """
    tuned = study.get("tuned") or {}
    searches = [tuned[method]["tasks"] for method in methods if "tasks" in tuned.get(method, {})]
    tasks = [task for search in searches if not _asks(search, study) for task in search]
    if not tasks:
        return ""
    where = listed(list(dict.fromkeys(task["title"] for task in tasks)))
    same = [task for task in tasks if task["title"] == study["title"]]
    if not same:
        return f"settings were searched on {where}, not on {study['title']}: they are carried over"
    differs = [name for task in same for name in _named_differences(task, study)]
    what = listed(list(dict.fromkeys(_WORDS.get(name, name) for name in differs)))
    return f"settings were searched on {where} with another {what}: they are carried over"


def _asks(search: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> bool:
    """Whether one of the tasks of ``search`` is what ``study`` asks, in everything that settings depend on."""
    return any(not _differences(task, study) for task in search)


def _differences(task: Mapping[str, Any], study: Mapping[str, Any]) -> list[str]:
    """The names of what settings depend on in which ``task``, of a search, is another than ``study``. How long it lasts
    can be compared of one event alone."""
    names = [str(name) for name in task if task[name] != study.get(name)]
    return [name for name in names if name not in ("sustain", "after")] if "event" in names else names


def _named_differences(task: Mapping[str, Any], study: Mapping[str, Any]) -> list[str]:
    """The same, and of the task itself what of it: a title leaves out its split, its data, and most of its settings,
    such as the width of a network that it brings with it."""
    names: list[str] = []
    for name in _differences(task, study):
        there, here = task[name], study.get(name)
        if name != "task" or not isinstance(there, Mapping) or not isinstance(here, Mapping):
            names.append(name)
            continue
        flat = [{**own, **own.get("settings", {})} for own in (there, here)]
        parts = [part for part in {**flat[0], **flat[1]} if part != "settings"]
        names += [part for part in parts if flat[0].get(part) != flat[1].get(part)]
    return names


def _seeds(rows: Sequence[Row]) -> int:
    """The seeds behind the comparison: the most runs any method has."""
    return max(row["runs"] for row in rows)
