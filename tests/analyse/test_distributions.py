"""The distributions, and the Kaplan–Meier estimate with its interval, are scipy's."""

import warnings

import numpy as np
import pytest
from scipy import stats

from grokkit.analyse import distributions as ours
from grokkit.analyse.survival import Times, fraction_reached, median_time


@pytest.mark.parametrize("freedom", [1, 2, 4, 40])
def test_t_and_normal(freedom):
    for x in (0.0, 0.3, 2.0, 7.0):
        assert ours.t_two_sided(-x, freedom) == pytest.approx(2 * stats.t.sf(x, freedom), rel=1e-12)
        assert ours.normal_two_sided(-x) == pytest.approx(2 * stats.norm.sf(x), rel=1e-12)
        tail = ours.noncentral_t_tail(x, freedom, 1.5)
        assert tail == pytest.approx(stats.nct.sf(x, freedom, 1.5), rel=1e-6, abs=1e-9)
    for probability in (0.025, 0.5, 0.9, 0.9999):
        expected = stats.t.ppf(probability, freedom)
        assert ours.t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("runs", [1, 2, 5, 8, 30])
def test_shares(runs):
    for successes in range(runs + 1):
        expected = stats.binomtest(successes, runs).proportion_ci(method="exact")
        assert ours.share_interval(successes, runs) == pytest.approx((expected.low, expected.high), rel=1e-9)
    for probability in (0.001, 0.05, 0.5, 0.999):
        for chance in (0.5, 0.9):
            assert ours.binomial_quantile(probability, runs, chance) == stats.binom.ppf(probability, runs, chance)


def test_fisher():
    for runs, base in ((1, 1), (3, 5), (7, 7)):
        for a in range(runs + 1):
            for b in range(base + 1):
                expected = stats.fisher_exact([[a, runs - a], [b, base - b]]).pvalue
                assert ours.fisher_two_sided(a, runs, b, base) == pytest.approx(expected, rel=1e-9)


def test_kaplan_meier():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5, 8, 20) * 5:
        time, reached = rng.integers(1, 12, n).astype(float), rng.random(n) < 0.7
        reached[0] = True
        theirs = stats.ecdf(stats.CensoredData(uncensored=time[reached], right=time[~reached])).sf
        at, share = fraction_reached(Times(time, reached))
        np.testing.assert_array_equal(at, theirs.quantiles)
        np.testing.assert_allclose(share, 1 - theirs.probabilities, atol=1e-12)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            band = theirs.confidence_interval(method="log-log")
        found = median_time(Times(time, reached))
        for side, limit in ((found.low, band.low), (found.high, band.high)):
            below = theirs.quantiles[limit.probabilities <= 0.5]
            assert side == (below[0] if below.size else None)
