"""How far apart two arms' logarithmic times lie, where some of the times are only known to be longer.

The model: in one seed the logarithms of the baseline's and the method's time, x and y, are bivariate normal,

    (x, y) ~ N((μ − δ/2, μ + δ/2), σ² [[1, ρ], [ρ, 1]]),        |ρ| ≤ 0.9,

with one variance for both arms, and δ the logarithm of the ratio that is asked for. A time that is only known to be
longer than a bound enters by its probability of being so. Written with the difference d = y − x and the middle
m = (x + y)/2, which are independent, with variances τ² = 2σ²(1−ρ) and ω² = σ²(1+ρ)/2, the likelihood of complete
pairs falls apart into one of d and one of m. So the expectation–maximization algorithm (Dempster, Laird & Rubin 1977)
has closed steps: it fills in the moments of each censored time given its partner's, then takes means and variances.

Why ρ is bounded: with few complete pairs the likelihood grows without end towards a correlation of one. It grows
without end towards σ = 0 where all events of each arm lie at one time and no bound is beyond it, as may be where
evaluations are far apart. Then δ is that of these times, every other is infinitely less likely, and the interval has no
width, as that of complete pairs with one ratio has none.

The limits of δ are those of its profile likelihood. With n pairs and t the quantile of Student's t with n − 1 degrees
of freedom they lie where the deviance, twice the loss in log likelihood, reaches

    n·ln(1 + t²/(n − 1)),

because that is the deviance of the t interval of complete pairs: without censoring both are the same interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from grokkit.analyse.distributions import t_quantile, t_two_sided

MAX_CORRELATION = 0.9

_LOG_2PI = float(np.log(2 * np.pi))
_STILL = 1e-6  # an expectation–maximization step that moves every parameter less, beside the variance, ends the search
_STEPS = 5_000
_ONE_TIME = 1e-8  # logarithms that differ by no more are of one time, but for rounding
_UPPER = 0.975  # of the quantile for an interval of 95 %
_CLOSE = 1e-7  # how near the square root of the deviance at a limit comes to that of the level


class Pairs(NamedTuple):
    """Logarithmic times of n seeds: the baseline's ``x`` and the method's ``y``, events where ``x_known``,
    ``y_known``, else lower bounds. In each seed at least one of the two is an event."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_known: NDArray[np.bool_]
    y_known: NDArray[np.bool_]

    @property
    def complete(self) -> NDArray[np.bool_]:
        return self.x_known & self.y_known


class _Complete(NamedTuple):
    """All that is asked of the complete pairs: how many there are, the means of their differences and middles, and the
    sums of squares about these."""

    n: int
    difference: float
    middle: float
    difference_squares: float
    middle_squares: float


class _Censored(NamedTuple):
    """The pairs of which one time is censored: its ``bound``, the ``partner`` that is known, and ``towards``, 1 where
    it is the method's, whose mean is μ + δ/2, and −1 where it is the baseline's."""

    bound: NDArray[np.float64]
    partner: NDArray[np.float64]
    towards: NDArray[np.float64]


class _Data(NamedTuple):
    """The pairs, and what each of some hundred steps asks of them."""

    pairs: Pairs
    complete: _Complete
    censored: _Censored


class Estimate(NamedTuple):
    """The logarithm of a ratio, its 95 % limits, and the two-sided p value of "the ratio is 1"."""

    value: float
    low: float
    high: float
    p: float


class _Parameters(NamedTuple):
    """δ, μ and the variances of the difference and of the middle."""

    delta: float
    middle: float
    difference_variance: float
    middle_variance: float

    def sigma_rho(self) -> tuple[float, float]:
        """The standard deviation of one arm and the correlation of both."""
        variance = self.middle_variance + self.difference_variance / 4
        return variance**0.5, (self.middle_variance - self.difference_variance / 4) / variance


class _Fit(NamedTuple):
    parameters: _Parameters
    log_likelihood: float


def estimate(pairs: Pairs) -> Estimate:
    """The logarithm of the ratio with its 95 % limits; it takes at least three complete pairs.

    Without censoring this is the t interval on the differences y − x, with the p value of the paired t test.

    Raises:
        ValueError: if a time is not finite: the search for a limit would find no end.
    """
    if not (np.isfinite(pairs.x).all() and np.isfinite(pairs.y).all()):
        raise ValueError("a time of a pair is not a finite number")
    if pairs.complete.all() or (_at_one_time(pairs.x, pairs.x_known) and _at_one_time(pairs.y, pairs.y_known)):
        return _by_t((pairs.y - pairs.x)[pairs.complete])
    n = len(pairs.x)
    quantile = t_quantile(_UPPER, n - 1)
    data = _read(pairs)
    free = _maximize(data, _start(pairs))
    reach = quantile * np.sqrt(free.parameters.difference_variance / pairs.complete.sum())
    at_level = n * np.log1p(quantile**2 / (n - 1))
    low, high = (_limit(data, free, sign * reach, at_level) for sign in (-1.0, 1.0))
    null, _ = _deviance(data, free, 0.0, free.parameters)
    # The inverse of the level's deviance: the t at which the interval would just reach a ratio of one.
    t = np.sqrt((n - 1) * np.expm1(null / n))
    return Estimate(free.parameters.delta, low, high, t_two_sided(t, n - 1))


def _at_one_time(times: NDArray[np.float64], known: NDArray[np.bool_]) -> bool:
    """Whether all events of an arm lie at one time, and no bound beyond it."""
    return bool(np.ptp(times[known]) <= _ONE_TIME and times.max() <= times[known].max() + _ONE_TIME)


def _by_t(differences: NDArray[np.float64]) -> Estimate:
    n = len(differences)
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n))
    reach = t_quantile(_UPPER, n - 1) * error
    if error == 0:  # n times the same ratio: no spread, and no t either
        return Estimate(mean, mean, mean, 0.0 if mean else 1.0)
    return Estimate(mean, mean - reach, mean + reach, t_two_sided(mean / error, n - 1))


def _limit(data: _Data, free: _Fit, reach: float, at_level: float) -> float:
    """Where the deviance is ``at_level``, on the side of the estimate to which ``reach`` points.

    The square root of the deviance is nearly a straight line in δ, so false position finds the place in a few steps.
    """
    goal = np.sqrt(at_level)
    inside, short = free.parameters.delta, -goal
    outside, parameters = inside + reach, free.parameters
    while True:
        deviance, parameters = _deviance(data, free, outside, parameters)
        over = np.sqrt(deviance) - goal
        if over > 0:
            break
        inside, short = outside, over
        outside += reach
    at = outside
    for _ in range(60):
        at = outside - over * (outside - inside) / (over - short)
        deviance, parameters = _deviance(data, free, at, parameters)
        miss = np.sqrt(deviance) - goal
        if abs(miss) < _CLOSE:
            break
        if miss * over < 0:
            inside, short = outside, over
        else:
            short /= 2  # the Illinois rule: the end that stays loses half its weight, or it would stay for ever
        outside, over = at, miss
    return float(at)


def _deviance(data: _Data, free: _Fit, delta: float, start: _Parameters) -> tuple[float, _Parameters]:
    """Twice the loss in log likelihood if δ is ``delta``, and the other parameters that fit best with it."""
    bound = _maximize(data, start._replace(delta=delta), delta=delta)
    return max(0.0, 2 * (free.log_likelihood - bound.log_likelihood)), bound.parameters


def _read(pairs: Pairs) -> _Data:
    difference, middle = (own[pairs.complete] for own in (pairs.y - pairs.x, (pairs.x + pairs.y) / 2))
    complete = _Complete(
        len(difference),
        float(difference.mean()),
        float(middle.mean()),
        float(((difference - difference.mean()) ** 2).sum()),
        float(((middle - middle.mean()) ** 2).sum()),
    )
    x, y, of_method = (own[~pairs.complete] for own in (pairs.x, pairs.y, pairs.x_known))
    censored = _Censored(np.where(of_method, y, x), np.where(of_method, x, y), np.where(of_method, 1.0, -1.0))
    return _Data(pairs, complete, censored)


def _start(pairs: Pairs) -> _Parameters:
    """The bounds taken for times: a start, from which the first steps lead away."""
    difference, middle = pairs.y - pairs.x, (pairs.x + pairs.y) / 2
    # A little spread is added, since all differences may be equal.
    return _Parameters(
        float(difference.mean()), float(middle.mean()), float(difference.var()) + 1e-6, float(middle.var()) + 1e-6
    )


def _maximize(data: _Data, start: _Parameters, delta: float | None = None) -> _Fit:
    """Expectation–maximization from ``start``, with δ held at ``delta`` if that is given."""
    parameters = _with_bounded_correlation(start)
    for _ in range(_STEPS):
        before, parameters = parameters, _improved(data, parameters, delta)
        moved = max(abs(after - was) for after, was in zip(parameters, before, strict=True))
        # All four are in the scale of the logarithms or its square, so one small number serves for all.
        if moved < _STILL * parameters.difference_variance:
            break
    return _Fit(parameters, _log_likelihood(data.pairs, parameters))


def _improved(data: _Data, parameters: _Parameters, delta: float | None) -> _Parameters:
    """One step: expected times and their variances under ``parameters``, then the parameters that fit these best."""
    censored, complete = data.censored, data.complete
    time, variance = _expected(censored, parameters)
    difference, middle = censored.towards * (time - censored.partner), (time + censored.partner) / 2
    n = complete.n + len(time)
    new_delta = (complete.n * complete.difference + float(difference.sum())) / n if delta is None else delta
    new_middle = (complete.n * complete.middle + float(middle.sum())) / n
    difference, middle, unknown = difference - new_delta, middle - new_middle, float(variance.sum())
    # In a pair at most one time is censored, so its variance is that of d, and a quarter of it that of m.
    squares = (
        complete.difference_squares + complete.n * (complete.difference - new_delta) ** 2 + unknown,
        complete.middle_squares + complete.n * (complete.middle - new_middle) ** 2 + unknown / 4,
    )
    return _with_bounded_correlation(
        _Parameters(
            new_delta,
            new_middle,
            (squares[0] + float(difference @ difference)) / n,
            (squares[1] + float(middle @ middle)) / n,
        )
    )


def _expected(censored: _Censored, parameters: _Parameters) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each censored time, given its partner's and that it is longer than its bound."""
    sigma, rho = parameters.sigma_rho()
    half = censored.towards * (parameters.delta / 2)
    given = parameters.middle + half + rho * (censored.partner - (parameters.middle - half))
    scale = sigma * (1 - rho**2) ** 0.5
    z = (censored.bound - given) / scale
    # The hazard of a standard normal, φ(z)/(1 − Φ(z)), from logarithms, since both vanish for large z.
    hazard = np.exp(-(z**2 + _LOG_2PI) / 2 - special.log_ndtr(-z))
    return given + scale * hazard, scale**2 * (1 + z * hazard - hazard**2)


def _with_bounded_correlation(parameters: _Parameters) -> _Parameters:
    """The variances that fit best among those with a correlation of at most 0.9 either way."""
    _, rho = parameters.sigma_rho()
    if abs(rho) <= MAX_CORRELATION:
        return parameters
    rho = MAX_CORRELATION if rho > 0 else -MAX_CORRELATION
    # With ρ held, σ² is the mean of what d and m say of it: τ² = 2σ²(1−ρ) and ω² = σ²(1+ρ)/2.
    by_difference = parameters.difference_variance / (2 * (1 - rho))
    by_middle = parameters.middle_variance * 2 / (1 + rho)
    variance = (by_difference + by_middle) / 2
    return parameters._replace(difference_variance=2 * variance * (1 - rho), middle_variance=variance * (1 + rho) / 2)


def _log_likelihood(pairs: Pairs, parameters: _Parameters) -> float:
    sigma, rho = parameters.sigma_rho()
    u = (pairs.x - (parameters.middle - parameters.delta / 2)) / sigma
    v = (pairs.y - (parameters.middle + parameters.delta / 2)) / sigma
    rest = np.sqrt(1 - rho**2)
    density = -_LOG_2PI - 2 * np.log(sigma) - np.log(rest) - (u**2 - 2 * rho * u * v + v**2) / (2 * rest**2)
    alone = -_LOG_2PI / 2 - np.log(sigma)  # of the one time that is known, and the other is longer, given it
    y_longer = alone - u**2 / 2 + special.log_ndtr(-(v - rho * u) / rest)
    x_longer = alone - v**2 / 2 + special.log_ndtr(-(u - rho * v) / rest)
    return float(np.where(pairs.complete, density, np.where(pairs.x_known, y_longer, x_longer)).sum())
