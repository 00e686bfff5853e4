"""The model of censored pairs against a slow maximization of its likelihood, written out once more."""

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.stats import multivariate_normal

from grokkit.analyse.censored_pairs import Pairs, estimate


def sample(seed: int, n: int, ratio: float, correlation: float, censored: float) -> Pairs:
    """Logarithmic times of standard deviation 0.3, cut at the quantile beyond which ``censored`` of the slower lie."""
    rng = np.random.default_rng(seed)
    z, w = rng.standard_normal((2, n))
    x, y = 6 + 0.3 * z, 6 + np.log(ratio) + 0.3 * (correlation * z + np.sqrt(1 - correlation**2) * w)
    end = 6 + np.log(max(ratio, 1)) + 0.3 * stats.norm.ppf(1 - censored)
    known = (x < end) | (y < end)
    return Pairs(np.minimum(x, end)[known], np.minimum(y, end)[known], (x < end)[known], (y < end)[known])


def minus_log_likelihood(nuisance: np.ndarray, delta: float, pairs: Pairs) -> float:
    """Pair by pair, from the bivariate density and the conditional distribution."""
    middle, log_sigma, squeezed = nuisance
    sigma, rho = np.exp(log_sigma), 0.9 * np.tanh(squeezed)
    mean = np.array([middle - delta / 2, middle + delta / 2])
    covariance = sigma**2 * np.array([[1, rho], [rho, 1]])
    total = 0.0
    for x, y, x_known, y_known in zip(*pairs, strict=True):
        if x_known and y_known:
            total += multivariate_normal.logpdf([x, y], mean, covariance)
            continue
        (seen, own_mean), (bound, other_mean) = (
            ((x, mean[0]), (y, mean[1])) if x_known else ((y, mean[1]), (x, mean[0]))
        )
        given = other_mean + rho * (seen - own_mean)
        total += stats.norm.logpdf(seen, own_mean, sigma)
        total += stats.norm.logsf(bound, given, sigma * np.sqrt(1 - rho**2))
    return -total


def profile(delta: float, pairs: Pairs) -> float:
    """The least over the other parameters, from three starts."""
    return min(
        optimize.minimize(minus_log_likelihood, [6.0, -1.2, start], args=(delta, pairs), method="BFGS").fun
        for start in (-1.0, 0.0, 1.5)
    )


@pytest.mark.parametrize(
    ("n", "ratio", "correlation", "censored"),
    [(5, 1.5, 0.0, 0.4), (8, 1.0, 0.5, 0.3), (8, 1.5, 0.5, 0.4), (12, 1.0, 0.95, 0.4), (12, 2.0, -0.4, 0.4)],
    ids=str,
)
def test_estimate_and_limits_are_those_of_the_likelihood(n, ratio, correlation, censored) -> None:
    seed = next(
        seed
        for seed in range(100)
        if 3
        <= sample(seed, n, ratio, correlation, censored).complete.sum()
        < len(sample(seed, n, ratio, correlation, censored).x)
    )
    pairs = sample(seed, n, ratio, correlation, censored)
    found = estimate(pairs)
    best = optimize.minimize_scalar(
        profile, args=(pairs,), bounds=(found.low, found.high), method="bounded", options={"xatol": 1e-5}
    )
    assert found.value == pytest.approx(best.x, abs=1e-3)
    pairs_told = len(pairs.x)
    at_level = pairs_told * np.log1p(stats.t.ppf(0.975, pairs_told - 1) ** 2 / (pairs_told - 1))
    for limit in (found.low, found.high):
        assert 2 * (profile(limit, pairs) - best.fun) == pytest.approx(at_level, abs=1e-3)
    at_null = 2 * (profile(0.0, pairs) - best.fun)
    t = np.sqrt((pairs_told - 1) * np.expm1(max(at_null, 0) / pairs_told))
    assert found.p == pytest.approx(2 * stats.t.sf(t, pairs_told - 1), abs=1e-3)


def test_p_is_below_five_percent_exactly_where_the_interval_excludes_one() -> None:
    for seed in range(40):
        pairs = sample(seed, 8, 1.4, 0.3, 0.3)
        if pairs.complete.sum() >= 3:
            found = estimate(pairs)
            assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_censoring_far_beyond_the_other_times_tends_to_the_interval_of_the_complete_pairs_and_beyond() -> None:
    """One time that is known to be at least twenty times its partner's moves estimate and upper limit up."""
    complete = sample(3, 8, 1.0, 0.5, 1e-9)
    y, known = complete.y.copy(), complete.y_known.copy()
    y[0], known[0] = complete.x[0] + 3, False
    assert estimate(complete._replace(y=y, y_known=known)).value > estimate(complete).value + 0.3


@pytest.mark.parametrize("tied", [0.0, 1e-12], ids=["equal", "nearly equal"])
def test_pairs_without_spread_and_a_censored_one_have_finite_limits(tied) -> None:
    x = np.array([5.0, 5.5, 6.0, 5.2])
    y = x - 0.3 + tied * np.arange(4)
    y[3] = 5.6
    found = estimate(Pairs(x, y, np.full(4, True), np.array([True, True, True, False])))
    assert np.isfinite([found.value, found.low, found.high, found.p]).all()
    assert found.low < found.value < found.high


@pytest.mark.parametrize("noise", [0.0, 1e-9], ids=["equal", "nearly equal"])
@pytest.mark.parametrize(("ratio", "bound"), [(1, 50), (1, 100), (2, 50), (2, 200)], ids=str)
def test_where_each_arm_has_one_time_and_no_bound_is_beyond_it_the_interval_has_no_width(ratio, bound, noise) -> None:
    """The likelihood grows without end there."""
    x = np.log(100.0) * (1 + noise * np.array([0, 1, -1, 0]))
    y = np.log([100.0 * ratio] * 3 + [bound])
    found = estimate(Pairs(x, y, np.full(4, True), np.array([True, True, True, False])))
    assert found[:3] == pytest.approx([np.log(ratio)] * 3, abs=1e-7)
    assert found.p == pytest.approx(0.0 if ratio == 2 else 1.0) or noise


def test_a_bound_beyond_the_one_time_of_its_arm_gives_the_interval_a_width() -> None:
    x, y = np.log([100.0] * 4), np.log([200.0, 200, 200, 300])
    found = estimate(Pairs(x, y, np.full(4, True), np.array([True, True, True, False])))
    assert found.low < np.log(2) < found.value < found.high


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("is_censored", [True, False])
def test_what_is_not_finite_is_refused(wrong, is_censored) -> None:
    """With a NaN the search for the limits of censored pairs had no end."""
    known = np.array([True, True, True, not is_censored])
    pairs = Pairs(np.array([6.0, 6.1, wrong, 6.3]), np.array([5.0, 5.3, 5.1, 6.4]), np.full(4, True), known)
    with pytest.raises(ValueError, match="not a finite number"):
        estimate(pairs)
