"""Which differences a study may claim, with what probability of claiming one that is not there.

A study asks several questions at once, one an arm: does it need less, or more, than the baseline? Each has one p value:
that of the paired ratio in the one cost that the study claims in (FLOPs unless said), or where fewer than three pairs
are complete, and so no ratio has an interval, that of Fisher's exact test on how often both arms got there. Where pairs
are complete and their cost is not known, as seconds are not before they are measured, there is none. All of them
together are the family, arms that a report leaves out included. Holm's procedure (Holm 1979) keeps the probability that
any claim of the family is false at α:

    with p_(1) ≤ p_(2) ≤ … of m arms, claim arm after arm as long as p_(i) ≤ α/(m − i + 1).

A study with a primary arm, named before its first run, tests that one first and alone at α; only if it may be claimed
do the others follow, among themselves. Looking again after more seeds is another chance to be deceived: look k, from
the second on, is tested at α = 0.05/2^k. The sum over all looks stays below 0.075.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from grokkit.analyse.distributions import noncentral_t_tail, t_quantile
from grokkit.analyse.leaderboard import ratio_keys
from grokkit.analyse.paired import ENOUGH
from grokkit.analyse.survival import Cost

LEVEL = 0.05
WORTH_SHOWING = 1.2
"""The ratio for which a study that shows nothing says how many seeds it would take."""

POWER = 0.8

Row = Mapping[str, Any]
Test = Literal["ratio", "successes"]
Direction = Literal["less", "more", "more often", "less often"]
HeldBack = Literal["resolution", "others", "primary", "looks"]
Lack = Literal["evaluations", "pace"]


class Claim(NamedTuple):
    """What may be said of one arm beside the baseline.

    Attributes:
        method: the arm.
        test: what p is of, None if there is no p.
        p: unadjusted.
        p_adjusted: Holm's, to be compared with ``level``; 1 for an arm that a primary one without a claim keeps from
            being tested.
        level: α of this look.
        direction: what the test points to, claimed or not: "less" or "more" of the cost, or "more often" or "less
            often"; None without a test, and of a ratio that is exactly 1.
        claimed: whether it may be said.
        held_back: why it may not although p is at most 0.05: because this arm's evaluations were too far apart
            ("resolution"), because of the other arms that were tried ("others"), because the primary arm comes first
            and has no claim ("primary"), or because the study was looked at before ("looks").
    """

    method: str
    test: Test | None
    p: float | None
    p_adjusted: float | None
    level: float
    direction: Direction | None
    claimed: bool
    held_back: HeldBack | None = None

    @property
    def within_resolution(self) -> bool:
        """Whether it may not be said only because this arm's evaluations were too far apart."""
        return self.held_back == "resolution"


def claims(rows: Sequence[Row], study: Mapping[str, Any]) -> list[Claim]:
    """The claims on the arms of ``rows`` (of leaderboard.json, baseline first), in their order, without the baseline.

    ``study`` as in study.json: ``claim`` is the cost, ``primary`` the arm that is tested first, ``family`` all arms of
    the folder, ``looks`` one entry for each look.
    """
    cost, level = claimed_cost(rows, study), level_of(study)
    tests = {row["method"]: _test(row, rows[0], cost) for row in rows[1:]}
    p = {method: test.p for method, test in tests.items() if test.p is not None}
    worst = {method: max(test.p, test.p_unfavourable) for method, test in tests.items() if test.p is not None}
    adjusted, adjusted_worst = (_adjusted(values, rows, study, level) for values in (p, worst))
    claimed = {method for method, value in adjusted_worst.items() if value <= level}
    primary = study.get("primary")
    primary_stands = primary is None or primary in claimed

    def held_back(method: str) -> HeldBack | None:
        if method in claimed or method not in p or p[method] > LEVEL:
            return None
        if p[method] > level:
            return "looks"
        if not primary_stands and method != primary:
            return "primary"
        if worst[method] > level:  # fewer arms would change nothing
            return "resolution"
        # By its own evaluations as well, if with all other arms' known finely it would still be none.
        alone = _adjusted({**p, method: worst[method]}, rows, study, level)
        return "resolution" if adjusted[method] <= level < alone[method] else "others"

    return [
        Claim(
            method,
            test.kind,
            test.p,
            adjusted.get(method),
            level,
            test.direction,
            method in claimed,
            held_back(method),
        )
        for method, test in tests.items()
    ]


def claimed_cost(rows: Sequence[Row], study: Mapping[str, Any]) -> Cost:
    """The cost that the study claims in. One of before says none: FLOPs, where its runs say what they cost."""
    if study.get("claim"):
        return study["claim"]
    value = ratio_keys("flops")["value"]
    return "flops" if any(row.get(value) is not None for row in rows) else "steps"


def level_of(study: Mapping[str, Any]) -> float:
    """α of the present look: 0.05 at the first, and 0.05/2^k at the k-th, from the second on."""
    return _level(len(study.get("looks") or ()))


def next_level(study: Mapping[str, Any]) -> float:
    """α of the look after the present one."""
    return _level(max(1, len(study.get("looks") or ())) + 1)


def _level(looks: int) -> float:
    return LEVEL if looks <= 1 else LEVEL / 2**looks


def unclaimed_primary(found: Mapping[str, Claim], study: Mapping[str, Any]) -> str | None:
    """Why nothing is claimed of the arms after a primary one, ``found`` being all claims; None if that is not so."""
    primary = study.get("primary")
    if primary is None or primary not in found or found[primary].claimed or len(found) == 1:
        return None
    return f"{primary} was named to be tested first, and without its claim there is none of the others"


class _Test(NamedTuple):
    kind: Test | None = None
    p: float | None = None
    p_unfavourable: float = 0.0
    direction: Direction | None = None


def _test(row: Row, baseline: Row, cost: Cost) -> _Test:
    keys = ratio_keys(cost)
    p, value = row.get(keys["p"]), row.get(keys["value"])
    if p is not None and value is not None:
        direction = None if value == 1 else "less" if value < 1 else "more"
        return _Test("ratio", p, row.get(keys["p_unfavourable"]) or 0.0, direction)
    p = success_p(row)
    if p is None:
        return _Test()
    more = (row["success_rate"] or 0.0) > (baseline["success_rate"] or 0.0)
    return _Test("successes", p, 0.0, "more often" if more else "less often")


def success_p(row: Row) -> float | None:
    """p of how often both arms got there, where that is what tells them apart: where the steps of three pairs are known
    their ratio does, in whatever cost."""
    return row.get("p_success") if row.get(ratio_keys("steps")["p"]) is None else None


def _adjusted(p: Mapping[str, float], rows: Sequence[Row], study: Mapping[str, Any], level: float) -> dict[str, float]:
    """p values after the primary arm's precedence and Holm's procedure."""
    untested = len(_arms(rows, study) - p.keys())
    primary: str | None = study.get("primary")
    if primary is None:
        return _holm(p, untested)
    if primary not in p:  # a primary arm without a test claims nothing, and so nothing follows it
        return dict.fromkeys(p, 1.0)
    others = {method: value for method, value in p.items() if method != primary}
    if p[primary] > level:
        return {**dict.fromkeys(others, 1.0), primary: p[primary]}
    return {**_holm(others, untested), primary: p[primary]}


def _arms(rows: Sequence[Row], study: Mapping[str, Any]) -> set[str]:
    """All arms of the folder but the baseline, of which a report may show a part."""
    return {*(study.get("family") or ()), *(row["method"] for row in rows)} - {rows[0]["method"]}


def _holm(p: Mapping[str, float], untested: int) -> dict[str, float]:
    """Adjusted p values; ``untested`` members of the family have none, or are not shown, and count as the largest."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, method in enumerate(sorted(p, key=lambda method: p[method])):
        largest = max(largest, min(1.0, p[method] * (len(p) + untested - place)))
        adjusted[method] = largest
    return adjusted


class Sensitivity(NamedTuple):
    """What a study could have shown of an arm, and what it would take to show 1.2× four times in five.

    Attributes:
        shown: the ratio above 1 from which on the study, with the spread that it saw and evaluations as far apart,
            would have claimed a difference (and its inverse below 1).
        seeds: how many in all it would take, at the level of the look that more of them are; None beyond 1,000.
        lacks: what would have to be known more finely first, as no number of seeds would show it; else None.
    """

    shown: float
    seeds: int | None
    lacks: Lack | None


def sensitivity(row: Row, rows: Sequence[Row], study: Mapping[str, Any]) -> Sensitivity | None:
    """What the study could have shown of an arm, and what more seeds would. None without an interval, or where all
    pairs have one ratio that is known exactly; and of arms behind a primary one that has no claim, which nothing could
    have shown."""
    cost = claimed_cost(rows, study)
    spread = row.get(ratio_keys(cost)["spread"])
    pace = max(row.get("pace_error_high", 1.0), 1 / row.get("pace_error_low", 1.0)) if cost == "seconds" else 1.0
    off = pace * row.get(ratio_keys(cost)["resolution"], 1.0)
    if spread is None or (spread == 0 and off == 1):
        return None
    arms = _arms(rows, study)
    if (primary := study.get("primary")) in arms:
        if row["method"] == primary:
            arms = {primary}
        elif unclaimed_primary({claim.method: claim for claim in claims(rows, study)}, study):
            return None
        else:
            arms -= {primary}
    # Alone at its part of α, as if no other arm could be claimed before it.
    share, n = max(1, len(arms)), row["pairs"]
    shown = off * float(np.exp(t_quantile(1 - level_of(study) / share / 2, n - 1) * spread / np.sqrt(n)))
    difference = math.log(WORTH_SHOWING / off)
    if difference <= 0:
        return Sensitivity(shown, None, "pace" if pace >= WORTH_SHOWING else "evaluations")
    return Sensitivity(shown, _seeds_for(difference, spread, next_level(study) / share), None)


def _seeds_for(difference: float, spread: float, level: float) -> int | None:
    """The least number of pairs whose t test at ``level`` finds ``difference`` in four cases of five."""

    def power(n: int) -> float:
        limit = t_quantile(1 - level / 2, n - 1)
        return noncentral_t_tail(limit, n - 1, difference / spread * math.sqrt(n))

    if spread == 0:
        return ENOUGH
    few, many = ENOUGH - 1, ENOUGH
    while power(many) < POWER:
        few, many = many, 2 * many
        if many > 2_000:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if power(middle) >= POWER else (middle, many)
    return many if many <= 1_000 else None
