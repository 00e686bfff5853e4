"""What a study may claim: one family, one cost, a primary arm first, and every look counted."""

import math
from typing import Any

import polars as pl
import pytest
from scipy import stats

from grokkit.analyse import claims, leaderboard
from grokkit.analyse.claims import claimed_cost, level_of, sensitivity

STUDY: dict[str, Any] = {"claim": "flops"}


def row(method: str, p: float | None = None, ratio: float | None = 0.8, **changes: Any) -> dict[str, Any]:
    made = {
        "method": method,
        "runs": 6,
        "successes": 6,
        "success_rate": 1.0,
        "ratio_flops_vs_baseline": ratio,
        "p_flops": p,
        "p_flops_unfavourable": None,
        "ratio_flops_spread": 0.2,
        "pairs": 6,
        "p_success": None,
    }
    return made | changes


def claimed(rows: list[dict[str, Any]], study: dict[str, Any] = STUDY) -> list[str]:
    return [claim.method for claim in claims(rows, study) if claim.claimed]


def test_holm_by_hand() -> None:
    rows = [row("base"), row("a", 0.012), row("b", 0.02), row("c", 0.004), row("d", 0.9)]
    found = {claim.method: claim.p_adjusted for claim in claims(rows, STUDY)}
    assert found == {"c": pytest.approx(0.016), "a": pytest.approx(0.036), "b": pytest.approx(0.04), "d": 0.9}
    assert claimed(rows) == ["a", "b", "c"]


def test_an_arm_after_one_that_fails_is_not_claimed() -> None:
    assert claimed([row("base"), row("a", 0.03), row("b", 0.04)]) == []  # 0.03 > 0.05/2
    assert claimed([row("base"), row("a", 0.02), row("b", 0.04)]) == ["a", "b"]


def test_arms_that_the_report_leaves_out_count() -> None:
    rows = [row("base"), row("a", 0.02)]
    assert claimed(rows) == ["a"]
    assert claimed(rows, STUDY | {"family": ["base", "a", "b", "c"]}) == []


def test_an_arm_without_a_test_counts_whether_it_is_shown_or_not() -> None:
    family = STUDY | {"family": ["base", "a", "late"]}
    rows = [row("base"), row("a", 0.03)]
    shown, hidden = claims([*rows, row("late", None, None)], family), claims(rows, family)
    assert {claim.method: claim.p_adjusted for claim in shown}["a"] == hidden[0].p_adjusted == pytest.approx(0.06)


def test_the_primary_arm_is_tested_alone_and_before_the_others() -> None:
    rows = [row("base"), row("a", 0.001), row("b", 0.04), row("c", 0.02)]
    assert claimed(rows, STUDY | {"primary": "b"}) == ["a", "b", "c"]
    assert claimed(rows, STUDY | {"primary": "a"}) == ["a", "b", "c"]
    rows[2] = row("b", 0.06)
    assert claimed(rows, STUDY | {"primary": "b"}) == []
    assert claimed([row("base"), row("a", 0.001), row("b", None, None)], STUDY | {"primary": "b"}) == []


@pytest.mark.parametrize(("looks", "level"), [(0, 0.05), (1, 0.05), (2, 0.0125), (3, 0.00625)])
def test_every_further_look_is_tested_at_half_of_the_level_before(looks: int, level: float) -> None:
    study = STUDY | {"looks": [{"seeds": [0]}] * looks}
    assert level_of(study) == pytest.approx(level)
    rows = [row("base"), row("a", 0.99 * level)]
    assert claimed(rows, study) == ["a"]
    assert claimed([row("base"), row("a", 1.01 * level)], study) == []


def test_the_claim_is_in_one_cost() -> None:
    rows = [row("base"), row("a", 0.5, p_steps=0.001, ratio_steps_vs_baseline=0.5)]
    assert claimed(rows) == []
    assert claimed(rows, {"claim": "steps"}) == ["a"]
    assert claimed_cost(rows, {}) == "flops"
    assert claimed_cost([row("base", ratio=None), row("a", ratio=None)], {}) == "steps"


def test_where_no_ratio_has_an_interval_success_rates_are_tested_in_the_same_family() -> None:
    often = {"p_success": 0.008, "success_rate": 1.0}
    base = row("base", successes=0, success_rate=0.0)
    rows = [base, row("a", None, None, **often), row("b", None, None, p_success=0.03)]
    first, second = claims(rows, STUDY)
    assert (first.test, first.direction, first.claimed, first.p_adjusted) == ("successes", "more often", True, 0.016)
    assert second.claimed
    assert (
        claims([row("base"), row("a", None, None, p_success=0.01, success_rate=0.0)], STUDY)[0].direction
        == "less often"
    )


def test_a_claim_that_the_resolution_may_have_made_is_none() -> None:
    (found,) = claims([row("base"), row("a", 0.01, p_flops_unfavourable=0.3)], STUDY)
    assert (found.claimed, found.held_back, found.p) == (False, "resolution", 0.01)
    (found,) = claims([row("base"), row("a", 0.01, p_flops_unfavourable=0.04)], STUDY)
    assert (found.claimed, found.held_back) == (True, None)
    (found,) = claims([row("base"), row("a", 0.3, p_flops_unfavourable=0.4)], STUDY)
    assert (found.claimed, found.held_back) == (False, None)


def test_what_holds_a_claim_back_is_told_apart() -> None:
    def held_back(study: dict[str, Any], **p: Any) -> list[str | None]:
        pairs = {method: value if isinstance(value, tuple) else (value, None) for method, value in p.items()}
        rows = [row(method, fine, p_flops_unfavourable=coarse) for method, (fine, coarse) in pairs.items()]
        return [claim.held_back for claim in claims([row("base"), *rows], STUDY | study)]

    assert held_back({}, a=0.03, b=0.04) == ["others", "others"]  # 0.03 > 0.05/2
    assert held_back({}, a=0.001, b=0.03) == [None, None]
    # One arm's own evaluations are too coarse; the other meets what it had to until that one fell out.
    assert held_back({}, a=(0.0001, 0.9), b=0.03) == ["resolution", "others"]
    assert held_back({}, a=(0.03, 0.6), b=0.9) == ["resolution", None], "with fewer arms it would be none either"
    assert held_back({"primary": "a"}, a=(0.001, 0.3), b=0.0001) == ["resolution", "primary"]
    assert held_back({"primary": "a"}, a=0.3, b=0.0001, c=0.3) == [None, "primary", None]
    assert held_back({"looks": [{}, {}]}, a=0.02) == ["looks"]
    assert held_back({"looks": [{}, {}]}, a=0.001) == [None]


def test_how_often_arms_arrive_is_no_test_where_the_steps_of_three_pairs_are_known() -> None:
    """So it is with seconds that were not measured, or that are of other processors."""
    unknown = row("a", None, None, p_success=0.01, p_steps=0.2, success_rate=0.4)
    (found,) = claims([row("base"), unknown], {"claim": "seconds"})
    assert (found.test, found.p, found.claimed) == (None, None, False)
    (found,) = claims([row("base"), unknown | {"p_steps": None}], {"claim": "seconds"})
    assert (found.test, found.claimed) == ("successes", True)


def test_direction_is_that_of_the_ratio() -> None:
    arms = [row("a", 0.01, 0.8), row("b", 0.01, 1.3), row("c", None, None), row("d", 1.0, 1.0)]
    assert [claim.direction for claim in claims([row("base"), *arms], STUDY)] == ["less", "more", None, None]


def test_what_the_study_could_have_shown_and_what_it_takes() -> None:
    rows = [row("base"), row("a", 0.5, pairs=5, ratio_flops_spread=0.15)]
    power = sensitivity(rows[1], rows, STUDY)
    assert power is not None
    limit = stats.t.ppf(0.975, 4) * 0.15 / 5**0.5
    assert power.shown == pytest.approx(2.718281828**limit)
    assert power.seeds is not None

    def found_with(n: int) -> float:  # at the level of the second look, as more seeds are one
        return float(stats.nct.sf(stats.t.ppf(1 - 0.0125 / 2, n - 1), n - 1, 0.182321557 / 0.15 * n**0.5))

    assert found_with(power.seeds) >= 0.8 > found_with(power.seeds - 1)
    assert sensitivity(row("a", 1.0, ratio_flops_spread=0.0), rows, STUDY) is None
    tied = sensitivity(row("a", 1.0, ratio_flops_spread=0.0, ratio_flops_resolution=1.1), rows, STUDY)
    assert tied == (pytest.approx(1.1), 3, None), "an interval takes three seeds, however alike they are"
    coarse = sensitivity(row("a", 0.5, pairs=5, ratio_flops_spread=0.15, ratio_flops_resolution=1.25), rows, STUDY)
    assert coarse == (pytest.approx(1.25 * power.shown), None, "evaluations")
    wide = sensitivity(row("a", 0.5, ratio_flops_spread=9.0), rows, STUDY)
    assert wide is not None
    assert wide[1:] == (None, None)
    assert sensitivity(row("a", None, None, ratio_flops_spread=None), rows, STUDY) is None
    paced = {"pairs": 5, "ratio_seconds_vs_baseline": 0.9, "ratio_seconds_spread": 0.15, "p_seconds": 0.5}
    rows = [row("base"), row("a", 0.5, **paced, pace_error_low=0.8, pace_error_high=1.1)]
    off = sensitivity(rows[1], rows, STUDY | {"claim": "seconds"})
    assert off is not None
    assert off.shown == pytest.approx(1.25 * power.shown)
    assert off[1:] == (None, "pace"), "seconds a step that are known to a quarter show no fifth, however many seeds"


@pytest.mark.parametrize(
    ("p", "of_primary", "of_another"), [(0.5, 0.05, None), (0.001, 0.05, 0.05 / 2)], ids=["unclaimed", "claimed"]
)
def test_a_primary_arm_could_show_more_than_the_others_and_they_nothing_without_it(p, of_primary, of_another) -> None:
    rows, study = [row("base"), row("a", p), row("b", 0.5), row("c", 0.5)], STUDY | {"primary": "a"}
    for arm, level in ((rows[1], of_primary), (rows[2], of_another)):
        power = sensitivity(arm, rows, study)
        if level is None:
            assert power is None
        else:
            assert power is not None
            assert power.shown == pytest.approx(math.exp(stats.t.ppf(1 - level / 2, 5) * 0.2 / 6**0.5))


@pytest.mark.parametrize("share", [0.001, 0.1], ids=["fine", "coarse"])
@pytest.mark.parametrize("direction", [1, -1], ids=["more", "less"])
def test_what_could_have_been_shown_would_have_been_claimed(share: float, direction: int) -> None:
    """The same seeds and evaluations as far apart, and a ratio just beyond what the study says, or just short of it."""
    base, noise = [50_000, 44_000, 61_000, 53_000, 48_000], [1.0, 1.08, 0.95, 1.03, 0.97]

    def rows_at(factor: float) -> list[dict[str, Any]]:
        times = {"base": base, "a": [round(time * own * factor) for time, own in zip(base, noise, strict=True)]}
        runs = pl.DataFrame(
            [
                {"method": method, "seed": seed, "budget": 10**6, "steps": at, "flops": float(at)}
                | {"generalized_at": at, "flops_to_target": float(at), "resolution_steps": share * at}
                for method, found in times.items()
                for seed, at in enumerate(found)
            ]
        )
        return leaderboard(runs, ["base", "a"], "base")

    rows = rows_at(1 / math.prod(noise) ** 0.2)  # a ratio of 1
    power = sensitivity(rows[1], rows, STUDY)
    assert power is not None
    assert (power.shown > 1.1) == (share == 0.1), "evaluations a tenth apart leave more open than this spread does"
    at_one = 1 / math.prod(noise) ** 0.2
    assert claimed(rows_at(at_one * (1.01 * power.shown) ** direction)) == ["a"]
    assert claimed(rows_at(at_one * (power.shown / 1.01) ** direction)) == []
