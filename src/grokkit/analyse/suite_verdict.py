"""What a suite says, in sentences: which method needs less over its held-out tasks, and where nothing is claimed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from grokkit.analyse.claims import Claim, HeldBack, claims, level_of, sensitivity, unclaimed_primary
from grokkit.analyse.format import COST_WORDS, bound, count, listed, ratio, ratio_interval
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.paired import ENOUGH
from grokkit.analyse.verdict import could_show

Row = Mapping[str, Any]
Standing = Literal["less", "more", "open", HeldBack, "few", "bound", "nothing", "no runs"]


_NOT_CLAIMED: dict[HeldBack, str] = {
    "others": "so many methods were tried",
    "resolution": "evaluations were too far apart",
    "primary": "the method that is tested first has no claim",
    "looks": "the suite was looked at before",
}


def standing(row: Row, claim: Claim, suite: Mapping[str, Any]) -> Standing:
    """What may be said of a method: that it needs less or more; that its interval leaves it ``open``; by what it is
    held back (:class:`grokkit.analyse.claims.Claim`) where its interval does not; that its tasks are too ``few`` for
    one; that there is a ``bound`` alone, or ``nothing``; or that it was not run on the held-out tasks."""
    keys = ratio_keys(suite["claim"])
    if not row["runs"]:
        return "no runs"
    if claim.claimed:
        return "less" if claim.direction == "less" else "more"
    if claim.held_back is not None:
        return claim.held_back
    if row[keys["low"]] is not None:
        return "open"
    if row[keys["value"]] is not None:
        return "few"
    return "bound" if row[keys["bound"]] is not None else "nothing"


def suite_verdict(rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """The verdict on ``rows`` of :func:`grokkit.analyse.suite.suite_rows`, the baseline first.

    ``suite`` has what study.json has for claims (``claim``, ``family``, ``looks``, ``primary``), and ``suite``, the
    name.
    """
    base, others = rows[0], rows[1:]
    unit, keys = COST_WORDS[suite["claim"]], ratio_keys(suite["claim"])
    over = f"Over the {count(base['tasks'], 'held-out task')} of {suite['suite']}"
    if not base["runs"]:
        return f"On the held-out tasks of {suite['suite']}, no run of {base['method']} has finished to compare with."
    if not others:
        return f"{over}, nothing was compared with {base['method']}."
    groups: dict[Standing, list[Row]] = {}
    ordered = sorted(others, key=lambda row: row[keys["value"]] or 0.0)
    found = {claim.method: claim for claim in claims(rows, suite)}
    for row in ordered:
        groups.setdefault(standing(row, found[row["method"]], suite), []).append(row)

    head = f"nothing was shown to need less than the tuned {base['method']}"
    less = groups.get("less", [])
    if less:
        best = less[0]
        evidence = ("95 % interval " + ratio_interval(best[keys["low"]], best[keys["high"]]), *_notes(best))
        needs = f"needs {ratio(best[keys['value']])} the {unit} of the tuned {base['method']}"
        head = f"{best['method']} {needs} ({', '.join(evidence)})"
    sentences = [f"{over}, {head}.", *_of_others({**groups, "less": less[1:]}, rows, suite)]
    return " ".join([*sentences, *_cautions(base, found, suite)])


def _of_others(groups: Mapping[Standing, Sequence[Row]], rows: Sequence[Row], suite: Mapping[str, Any]) -> list[str]:
    """A sentence for each group of methods of which the same may be said."""
    still_open = groups.get("open", ())
    late = " or were given up" if any(row["given_up"] for row in groups.get("bound", ())) else ""
    said: dict[Standing, tuple[str, str]] = {
        "less": ("Also less: ", ""),
        "more": ("More: ", ""),
        "open": (
            "Nothing is claimed of these, whose intervals leave it open whether they need less or more: ",
            _shown(still_open, rows, suite),
        ),
        **{reason: (f"Not claimed, because {why}: ", "") for reason, why in _NOT_CLAIMED.items()},
        "few": (f"Fewer than {ENOUGH} tasks make no interval, and so no claim: ", ""),
        "bound": (f"Runs did not arrive{late}, so there is a bound alone, and no claim: ", ""),
        "nothing": ("No number: ", ""),
        "no runs": ("Not taken to the held-out tasks: ", ""),
    }
    words: dict[Standing, Callable[[Row], str]] = {"nothing": _count, "no runs": lambda row: row["method"]}
    short = partial(_short, ratio_keys(suite["claim"]))
    return [
        f"{before}{listed([words.get(standing, short)(row) for row in groups[standing]])}.{after}"
        for standing, (before, after) in said.items()
        if groups.get(standing)
    ]


def _short(keys: Mapping[str, str], row: Row) -> str:
    """``grad-norm 0.80× (0.71–0.93)``, with what else the number may not stand without."""
    limit = bound(row[keys["bound"]], row[keys["side"]])
    notes = (ratio_interval(row[keys["low"]], row[keys["high"]]), *_notes(row))
    said = ", ".join(note for note in notes if note)
    return f"{row['method']} {limit or ratio(row[keys['value']])}{said and f' ({said})'}"


def _notes(row: Row) -> list[str]:
    """Tasks that are not in the number, and how many runs arrived where not all did."""
    silent = row["tasks"] - row["pairs"]
    told = [f"{row['pairs']} of {count(row['tasks'], 'task')} tell"] if silent else []
    return [*told, *([_arrivals(row)] if _misses(row) else [])]


def _misses(row: Row) -> bool:
    return row["successes"] < row["runs"]


def _count(row: Row) -> str:
    return f"{row['method']} ({_arrivals(row)})"


def _arrivals(row: Row) -> str:
    """How many runs arrived; only how many were given up, if some were."""
    if row["given_up"]:
        return f"{row['given_up']} of {count(row['runs'], 'run')} given up"
    return f"{row['successes']} of {count(row['runs'], 'run')} arrived"


def _shown(still_open: Sequence[Row], rows: Sequence[Row], suite: Mapping[str, Any]) -> str:
    """What so few tasks could have shown."""
    powers = [power for row in still_open if (power := sensitivity(row, rows, suite)) is not None]
    if not powers:
        return ""
    return f" So many tasks could have shown {could_show(powers, 'method')}."


def _cautions(base: Row, found: Mapping[str, Claim], suite: Mapping[str, Any]) -> list[str]:
    said = []
    if _misses(base):
        said.append(
            f"The tuned {base['method']} itself arrived in {base['successes']} of {count(base['runs'], 'run')}; a run "
            "that did not counts as longer than what it was given."
        )
    looks = len(suite.get("looks") or ())
    if looks > 1:
        said.append(f"After {looks} looks, claims are tested at {level_of(suite):.3g}.")
    if caution := unclaimed_primary(found, suite):
        said.append(f"{caution}.")
    return said
