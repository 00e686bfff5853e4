"""Paired ratios: closed forms, and what the bootstrap interval must do."""

import numpy as np
import pytest

from grokkit.analyse.paired import PairedRatio, paired_ratio


def test_geometric_mean_over_shared_seeds_only() -> None:
    found = paired_ratio({0: 50, 1: 200, 7: 1}, {0: 100, 1: 100, 2: 9})
    assert found.value == pytest.approx(1.0)  # √(0.5 · 2)
    assert found.pairs == 2


def test_swapping_method_and_baseline_inverts_value_and_interval() -> None:
    a, b = {0: 10, 1: 30, 2: 25, 3: 9}, {0: 20, 1: 31, 2: 44, 3: 33}
    there, back = paired_ratio(a, b), paired_ratio(b, a)
    assert there.value is not None
    assert back.value == pytest.approx(1 / there.value)
    assert there.low is not None
    assert back.high == pytest.approx(1 / there.low)


def test_a_constant_ratio_has_an_interval_of_no_width() -> None:
    base = {seed: 100.0 + 13 * seed for seed in range(6)}
    found = paired_ratio({seed: 0.8 * time for seed, time in base.items()}, base)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))


def test_one_seed_has_no_interval_and_none_no_ratio() -> None:
    assert paired_ratio({3: 80}, {3: 100}) == PairedRatio(pytest.approx(0.8), None, None, 1)
    assert paired_ratio({1: 80}, {3: 100}) == PairedRatio(None, None, None, 0)
    assert paired_ratio({}, {}) == PairedRatio(None, None, None, 0)
    assert paired_ratio({0: 0.0}, {0: 5.0}).pairs == 0


def test_the_interval_is_the_same_every_time_and_inside_the_extremes() -> None:
    a, b = {0: 90, 1: 60, 2: 130}, {0: 100, 1: 100, 2: 100}
    first = paired_ratio(a, b)
    assert first == paired_ratio(dict(reversed(a.items())), b)
    assert first.low is not None
    assert first.high is not None
    assert 0.6 - 1e-9 <= first.low <= first.value <= first.high <= 1.3 + 1e-9


def test_the_interval_agrees_with_the_normal_one_for_many_seeds() -> None:
    logs = np.random.default_rng(0).normal(-0.2, 0.3, 200)
    found = paired_ratio(dict(enumerate(np.exp(logs))), dict.fromkeys(range(200), 1.0))
    half = 1.96 * logs.std() / np.sqrt(200)
    assert found.low == pytest.approx(np.exp(logs.mean() - half), rel=0.01)
    assert found.high == pytest.approx(np.exp(logs.mean() + half), rel=0.01)
