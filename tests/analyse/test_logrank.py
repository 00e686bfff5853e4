"""The log-rank test against its formula, lifelines, and a count of all labellings."""

from itertools import combinations

import numpy as np
import pytest
from lifelines.statistics import logrank_test
from scipy import stats

from grokkit.analyse.logrank import logrank
from grokkit.analyse.survival import Times


def times(*values: float) -> Times:
    """Negative: censored there."""
    return Times(np.abs(np.array(values, dtype=float)), np.array(values) > 0)


def random_groups(seed: int, n: int, shift: float = 0.0) -> tuple[Times, Times]:
    draw = np.exp(np.random.default_rng(seed).normal(0, 0.4, (2, n)) + np.array([[shift], [0.0]]))
    return tuple(Times(np.minimum(row, 1.3), row < 1.3) for row in draw)  # type: ignore[return-value]


def z_by_hand(a: Times, b: Times, in_a: np.ndarray | None = None) -> float:
    time, reached = np.concatenate([a.time, b.time]), np.concatenate([a.reached, b.reached])
    in_a = np.arange(len(time)) < len(a.time) if in_a is None else in_a
    difference = variance = 0.0
    for t in np.unique(time[reached]):
        risk, risk_a = (time >= t).sum(), ((time >= t) & in_a).sum()
        dead, dead_a = ((time == t) & reached).sum(), ((time == t) & reached & in_a).sum()
        difference += dead_a - dead * risk_a / risk
        if risk > 1:
            variance += dead * risk_a / risk * (1 - risk_a / risk) * (risk - dead) / (risk - 1)
    return difference / np.sqrt(variance) if variance else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_of_ten_runs_or_more_it_is_lifelines(seed: int) -> None:
    a, b = random_groups(seed, 12, shift=0.4)
    theirs = logrank_test(a.time, b.time, a.reached, b.reached)
    ours = logrank(a, b)
    assert ours is not None
    assert ours.p == pytest.approx(theirs.p_value, rel=1e-9)
    assert ours.direction == ("earlier" if z_by_hand(a, b) > 0 else "later")
    assert ours.least == 0.0


def test_of_fewer_it_counts_the_labellings() -> None:
    a, b = times(1, 4, 6, -9), times(3, 7, 8, 9, -10)
    observed = abs(z_by_hand(a, b))
    every = []
    for chosen in combinations(range(9), 4):
        in_a = np.isin(np.arange(9), chosen)
        every.append(abs(z_by_hand(a, b, in_a)))
    found = logrank(a, b)
    assert found is not None
    assert found.p == pytest.approx(np.mean(np.array(every) >= observed - 1e-9))
    assert found.least == pytest.approx(np.mean(np.array(every) >= max(every) - 1e-9))
    assert found.direction == "earlier"


def test_three_runs_each_cannot_have_a_p_below_a_tenth() -> None:
    found = logrank(times(1, 2, 3), times(7, 8, 9))
    assert found is not None
    assert found.p == found.least == pytest.approx(2 / 20)  # of 20 labellings, the observed one and its mirror image
    assert found.direction == "earlier"


@pytest.mark.parametrize(("n", "other"), [(3, 3), (5, 5), (2, 10), (3, 20)])
def test_it_claims_a_difference_that_is_none_no_more_often_than_it_says(n: int, other: int) -> None:
    """The normal limit does so in 10 % of cases with three runs each, in 8 % with five, or with three and twenty."""
    groups = [(random_groups(seed, n)[0], random_groups(seed, other)[1]) for seed in range(600)]
    claimed = [found.p < 0.05 for pair in groups if (found := logrank(*pair)) is not None]
    assert np.mean(claimed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_of_very_many_labellings_some_are_drawn_always_the_same() -> None:
    a, b = random_groups(1, 9, 0.5)[0], random_groups(2, 30)[1]
    drawn, again = logrank(a, b), logrank(a, b)
    assert drawn == again
    assert drawn is not None
    z = abs(z_by_hand(a, b))
    rng, every = np.random.default_rng(7), []
    for _ in range(4000):
        every.append(abs(z_by_hand(a, b, np.isin(np.arange(39), rng.permutation(39)[:9]))))
    # Four standard errors of a share of 4,000, and what the observed labelling adds.
    share = np.mean(np.array(every) >= z - 1e-9)
    assert drawn.p == pytest.approx(share, abs=4 * np.sqrt(0.25 / 4000))
    assert 0 < drawn.least < 1e-3


@pytest.mark.parametrize(
    ("a", "b"), [((-9, -9), (-9, -9)), ((1,), (2, 3, 4)), ((), (1, 2))], ids=["all censored", "one run", "no run"]
)
def test_it_is_none_where_it_says_nothing(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert logrank(times(*a), times(*b)) is None


def test_all_tied_is_no_difference() -> None:
    found = logrank(times(5, 5), times(5, 5))
    assert found is not None
    assert (found.p, found.direction) == (1.0, "equal")


def test_the_formula_and_scipy_agree_on_what_z_is() -> None:
    a, b = random_groups(0, 12, shift=0.4)
    found = logrank(a, b)
    assert found is not None
    assert found.p == pytest.approx(stats.chi2.sf(z_by_hand(a, b) ** 2, 1))
