"""Paired ratios: the t interval without censoring, bounds where there is no interval, and how finely events are
known."""

import numpy as np
import pytest
from scipy import stats

from grokkit.analyse.paired import Error, PairedRatio, Time, paired_ratio


def events(*times: float) -> dict[int, Time]:
    """Negative: censored there."""
    return {seed: Time(abs(time), time > 0) for seed, time in enumerate(times)}


def test_without_censoring_it_is_the_t_interval_on_logarithms_and_the_paired_t_test() -> None:
    own, base = np.array([552.0, 331, 353, 500, 511]), np.array([521.0, 381, 430, 610, 700])
    found = paired_ratio(events(*own), events(*base))
    logs = np.log(own / base)
    low, high = np.exp(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs)))
    assert (found.value, found.low, found.high) == pytest.approx((np.exp(logs.mean()), low, high), rel=1e-12)
    assert found.p == pytest.approx(stats.ttest_rel(np.log(own), np.log(base)).pvalue, rel=1e-12)
    assert (found.pairs, found.complete, found.bound) == (5, 5, None)
    assert found.spread == pytest.approx(logs.std(ddof=1))


@pytest.mark.parametrize("own", [(10, 30, 25, 9), (10, 30, -50, 9), (10, -40, 25, 9, 7)], ids=str)
def test_swapping_method_and_baseline_inverts_value_and_interval(own: tuple[float, ...]) -> None:
    a, b = events(*own), events(20, 31, 44, 33, 28)
    there, back = paired_ratio(a, b), paired_ratio(b, a)
    assert there.value is not None
    assert there.low is not None
    assert there.high is not None
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 / there.value, 1 / there.high, 1 / there.low), rel=1e-5
    )
    assert back.p == pytest.approx(there.p, rel=1e-5)


def test_only_seeds_of_both_and_in_which_one_arrived_say_something() -> None:
    own = {0: Time(50, True), 1: Time(200, True), 2: Time(90, False), 7: Time(1, True)}
    base = {0: Time(100, True), 1: Time(100, True), 2: Time(90, False), 8: Time(9, True)}
    found = paired_ratio(own, base)
    assert (found.pairs, found.complete) == (2, 2)
    assert found.value == pytest.approx(1.0)  # √(0.5 · 2)
    assert (found.low, found.p) == (None, None)


@pytest.mark.parametrize(
    ("own", "base", "value"),
    [((40, 40), (50, 50), 0.8), ((80,), (100,), 0.8), ((), (), None), ((-80,), (-100,), None)],
    ids=["two pairs", "one pair", "none", "both censored"],
)
def test_below_three_pairs_there_is_no_interval_and_no_p(own, base, value) -> None:
    found = paired_ratio(events(*own), events(*base))
    assert found == PairedRatio(
        value if value is None else pytest.approx(value), pairs=found.pairs, complete=len(own) if value else 0
    )


def test_a_time_of_zero_makes_no_pair() -> None:
    assert paired_ratio({0: Time(0, True)}, {0: Time(5, True)}).pairs == 0
    assert paired_ratio({0: Time(0, False)}, {0: Time(5, True)}).pairs == 0


def test_with_too_few_complete_pairs_the_bound_is_the_near_end_of_the_t_interval() -> None:
    base, own = (100.0, 120, 90, 110, 95), (-1000, -1000, -1000, -1000, 600)
    found = paired_ratio(events(*own), events(*base))
    logs = np.log(np.abs(own) / np.array(base))
    low = np.exp(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))[0])
    assert (found.bound, found.side) == (pytest.approx(low), "at least")
    assert (found.value, found.low, found.p) == (None, None, None)
    back = paired_ratio(events(*base), events(*own))
    assert (back.bound, back.side) == (pytest.approx(1 / low), "at most")
    off = paired_ratio(events(*own), events(*base), Error(0.9, 1.2))
    assert off.bound == pytest.approx(0.9 * low)


@pytest.mark.parametrize(
    ("own", "bounds"),
    [
        ((-1000, -1000, -1000, 600, 700), None),
        ((-1000, -1000, -1000, -1000, 600), pytest.approx(6.75, abs=0.01)),
        ((-110, -120, -90), pytest.approx(0.9, abs=0.01)),
    ],
    ids=["2 of 5 and 5 of 5", "1 of 5 and 5 of 5", "one that holds 1"],
)
def test_a_bound_excludes_one_only_where_arrivals_differ_by_more_than_chance(own, bounds) -> None:
    """That two of five arrive and all of the other arm is common between arms that are alike, and no bound is made
    where it is not so."""
    base = events(*(100.0, 120, 90, 110, 95)[: len(own)])
    assert paired_ratio(events(*own), base).bound == bounds
    back = paired_ratio(base, events(*own)).bound
    assert (None if back is None else 1 / back) == bounds


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_alike_arms_rarely_have_a_bound_that_excludes_one(rho: float) -> None:
    """2,000 studies of five seeds and arms that are alike; about 70 had one by the t interval alone."""
    rng = np.random.default_rng(0)
    logs = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=(2000, 5)) * 0.3
    limit = 0.3 * stats.norm.ppf(0.7)
    excluding = 0
    for study in logs:
        base, own = (
            {seed: Time(float(np.exp(min(log, limit))), bool(log <= limit)) for seed, log in enumerate(arm)}
            for arm in study.T
        )
        if len({time.reached for time in [*base.values(), *own.values()]}) > 1:
            found = paired_ratio(own, base) if sum(base[s].reached and own[s].reached for s in base) < 3 else None
            if found is not None and found.bound is not None:
                excluding += found.bound > 1 if found.side == "at least" else found.bound < 1
    assert excluding <= 2000 * 0.01


def test_where_runs_of_both_arms_are_censored_nothing_bounds_the_ratio() -> None:
    found = paired_ratio(events(-1000, 500, -1000), events(100, -1000, 300))
    assert (found.value, found.bound, found.side, found.pairs) == (None, None, None, 3)


def test_seeds_in_which_neither_arrived_leave_no_bound() -> None:
    """The rest is then chosen by what is asked: of the arm that arrives later, more of the seeds that tell are lost."""
    own, base = events(-1000, -1000, -1000, -1000, 600), events(100, 120, 90, 110, 95)
    assert paired_ratio(own, base).side == "at least"
    silent = {5: Time(1000, False)}
    found = paired_ratio(own | silent, base | silent)
    assert (found.bound, found.side, found.pairs, found.complete) == (None, None, 5, 1)


def test_a_constant_ratio_has_an_interval_of_no_width() -> None:
    base = {seed: Time(100.0 + 13 * seed, True) for seed in range(6)}
    found = paired_ratio({seed: time._replace(value=0.8 * time.value) for seed, time in base.items()}, base)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))
    assert found.p == pytest.approx(0.0, abs=1e-12)


def test_a_difference_within_the_resolution_does_not_survive_the_unfavourable_ends() -> None:
    base = {seed: Time(time, True, 0.8 * time) for seed, time in enumerate([100, 140, 90, 120, 70])}
    own = {seed: Time(0.75 * f * base[seed].value, True) for seed, f in enumerate([1, 1.05, 0.95, 1.02, 0.98])}
    found = paired_ratio(own, base)
    assert found.p is not None
    assert found.p < 0.001
    assert found.p_unfavourable is not None
    assert found.p_unfavourable > 0.01, "at 0.8 times the baseline's time little is left of the difference"
    assert found.resolution == pytest.approx(1.25)
    fine = {seed: time._replace(early=0.96 * time.value) for seed, time in base.items()}
    assert paired_ratio(own, fine).p_unfavourable is None


def test_seeds_that_scatter_less_than_they_are_known_show_nothing_smaller_than_that() -> None:
    """All at one step, and a step some millionths dearer: the seeds have no spread, and what is known of them has."""
    base = {seed: Time(500.0, True, 490.0) for seed in range(3)}
    own = {seed: Time(500.0 * 1.00001, True, 490.0) for seed in range(3)}
    found = paired_ratio(own, base)
    assert (found.p, found.p_unfavourable) == (1.0, 1.0)
    assert (found.low, found.high) == pytest.approx((0.98, 500 / 490), rel=1e-4)
    alike = paired_ratio(base, base)
    assert (alike.value, alike.low, alike.high) == pytest.approx((1, 0.98, 500 / 490))
    assert (alike.p, alike.spread, alike.resolution) == (1.0, 0.0, pytest.approx(500 / 490))


@pytest.mark.parametrize(("ratio", "is_decided"), [(0.90, True), (0.97, False), (1.03, False), (1.10, True)])
def test_an_interval_is_no_shorter_than_what_evaluations_leave_open_however_fine_they_are(ratio, is_decided) -> None:
    base = {seed: Time(time, True, 0.96 * time) for seed, time in enumerate([100.0, 140, 90, 120, 70])}
    own = {seed: Time(ratio * time.value, True, 0.96 * ratio * time.value) for seed, time in base.items()}
    found = paired_ratio(own, base)
    assert (found.low, found.high) == pytest.approx((0.96 * ratio, ratio / 0.96))
    assert found.p == pytest.approx(0.0 if is_decided else 1.0, abs=1e-9)
    assert found.p_unfavourable == (None if is_decided else 1.0)


def test_a_ratio_less_than_twice_as_far_from_one_as_events_are_known_is_tried_at_their_unfavourable_ends() -> None:
    """Its interval is further from 1, but a claim may be made at a stricter level than the interval's."""
    base = {seed: Time(time, True, time / 1.045) for seed, time in enumerate([100.0, 140, 90, 120, 70])}
    noise = [1.0, 1.01, 0.99, 1.005, 0.995]
    for ratio, is_tried in ((0.933, True), (0.9, False)):
        own = {seed: Time(ratio * noise[seed] * base[seed].value, True) for seed in base}
        found = paired_ratio(own, base)
        assert (found.p_unfavourable is not None) == is_tried


def test_a_bound_takes_events_to_have_been_as_early_as_they_may_have_been() -> None:
    base = events(*[100.0] * 8)
    own = events(*[-105.0] * 6, 105, 105)
    exact = paired_ratio(own, base)
    assert (exact.bound, exact.side) == (pytest.approx(1.05), "at least")
    early = {seed: time._replace(early=56.0 if time.reached else None) for seed, time in own.items()}
    assert paired_ratio(early, base).bound == pytest.approx(1.05 * (56 / 105) ** 0.25)


@pytest.mark.parametrize("censored", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_what_all_pairs_share_makes_the_interval_longer_and_p_is_of_that_interval(seed: int, censored: bool) -> None:
    rng = np.random.default_rng(seed)
    logs = rng.normal([5.0, 4.0], [0.25, 0.25], size=(6, 2))
    base, own = ({place: Time(float(np.exp(log)), True) for place, log in enumerate(arm)} for arm in logs.T)
    if censored:
        base[2] = base[2]._replace(reached=False)
    exact = paired_ratio(own, base)
    assert exact.low is not None
    assert exact.high is not None
    off = Error(0.93, 1.05)
    found = paired_ratio(own, base, off)
    assert (found.value, found.low, found.high) == (exact.value, exact.low * 0.93, exact.high * 1.05)
    assert found.spread == exact.spread
    assert exact.high < 0.999, "nothing to bring to 1"
    for error in (off, Error(1.0, 0.999 / exact.high), Error(1.0, 1.001 / exact.high), Error(1.0, 2.0)):
        ratio = paired_ratio(own, base, error)
        assert None not in (ratio.low, ratio.high, ratio.p)
        assert (ratio.p < 0.05) == (not ratio.low <= 1 <= ratio.high)  # type: ignore[operator]


def test_a_large_difference_survives_the_unfavourable_ends() -> None:
    base = {seed: Time(time, True, 0.8 * time) for seed, time in enumerate([100, 140, 90, 120, 70])}
    own = {seed: Time(factor * base[seed].value, True) for seed, factor in enumerate([0.3, 0.35, 0.33, 0.28, 0.31])}
    found = paired_ratio(own, base)
    assert found.p is not None
    assert found.p_unfavourable is not None
    assert found.p < found.p_unfavourable < 0.001
