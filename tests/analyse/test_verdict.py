"""What the verdict must say, rule by rule, and what it must not."""

from typing import Any

import pytest

from grokkit.analyse import verdict

STUDY = {"title": "a*b mod 97", "target": 0.95, "budget": 20_000, "claim": "flops"}


def row(method: str, **changes: Any) -> dict[str, Any]:
    base = {
        "method": method,
        "runs": 6,
        "successes": 6,
        "success_rate": 1.0,
        "median_steps": 5000.0,
        "ratio_flops_vs_baseline": 1.0,
        "ratio_flops_ci_low": None,
        "ratio_flops_ci_high": None,
        "ratio_flops_bound": None,
        "ratio_flops_bound_side": None,
        "ratio_flops_spread": None,
        "p_flops": None,
        "p_flops_unfavourable": None,
        "pairs": 6,
        "p_success": None,
        "best_accuracy": 0.97,
        "best_loss": 0.1,
    }
    made = base | changes
    made["success_rate"] = made["successes"] / made["runs"] if made["runs"] else None
    return made


def other(method: str, ratio: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    """An arm with an interval; claimed if that excludes 1, unless ``p_flops`` says otherwise."""
    numbers = {"ratio_flops_vs_baseline": ratio, "ratio_flops_ci_low": low, "ratio_flops_ci_high": high}
    p = 0.5 if low <= 1 <= high else 0.0001
    return row(method, **{**numbers, "p_flops": p, "ratio_flops_spread": 0.1, **changes})


def never(method: str, runs: int = 6, **changes: Any) -> dict[str, Any]:
    nothing = {"median_steps": None, "ratio_flops_vs_baseline": None}
    return row(method, **{"runs": runs, "successes": 0, "pairs": 0, **nothing, **changes})


def test_less_is_said_with_its_cost_its_interval_and_its_seeds() -> None:
    text = verdict([row("adamw"), other("grad-norm", 0.8, 0.71, 0.93)], STUDY)
    assert text == "On a*b mod 97, grad-norm needs 0.80× the FLOPs of adamw (95 % interval 0.71–0.93, 6 seeds)."


def test_more_is_named_as_plainly() -> None:
    text = verdict([row("adamw"), other("grad-norm", 1.5, 1.2, 1.9)], STUDY)
    assert text == ("On a*b mod 97, nothing tried was shown to beat adamw. More: grad-norm 1.50× (1.20–1.90, 6 seeds).")


def test_no_clear_difference_says_what_could_have_been_shown() -> None:
    text = verdict([row("adamw"), other("grad-norm", 0.9, 0.7, 1.01)], STUDY)
    # A spread of 0.1 over six pairs: exp(2.571 · 0.1/√6) = 1.11; at a second look 1.2× takes seven pairs.
    assert text == (
        "On a*b mod 97, nothing tried was shown to beat adamw. "
        "No clear difference: grad-norm 0.90× (0.70–1.01, 6 seeds). "
        "This study could have shown a ratio of 1.11×; to show 1.20× would take 7 seeds."
    )


def test_an_interval_that_excludes_one_is_no_claim_where_the_family_does_not_allow_it() -> None:
    rows = [row("adamw"), *(other(name, 0.8, 0.65, 0.99, p_flops=0.04) for name in "abc")]
    text = verdict(rows, STUDY)
    assert (
        "nothing tried was shown to beat adamw. No clear difference: a 0.80× (0.65–0.99, not claimed, because so many "
        "arms were tried, 6 seeds), b"
    ) in text


def test_what_evaluations_cannot_tell_apart_is_marked() -> None:
    text = verdict([row("adamw"), other("a", 0.9, 0.8, 0.95, p_flops_unfavourable=0.4)], STUDY)
    assert "No clear difference: a 0.90× (0.80–0.95, within the resolution of its evaluations, 6 seeds)" in text


def test_one_seed_is_an_anecdote() -> None:
    single = {"runs": 1, "successes": 1, "pairs": 1}
    fast = row("fast", **single, ratio_flops_vs_baseline=0.5)
    text = verdict([row("adamw", **single), fast, never("lost", runs=1)], STUDY)
    assert text == (
        "On a*b mod 97, in one seed, which is an anecdote and not evidence: fast took 0.50× the FLOPs of adamw; "
        "lost: 1 of 1 run never held 95 % within 20,000 steps."
    )
    text = verdict([never("adamw", runs=1), never("lost", runs=1), never("late", runs=1)], STUDY)
    assert "not evidence: adamw, lost and late never held 95 % within 20,000 steps." in text


def test_two_seeds_make_no_interval_and_no_claim() -> None:
    double = {"runs": 2, "successes": 2, "pairs": 2}
    text = verdict([row("adamw", **double), row("fast", **double, ratio_flops_vs_baseline=0.8)], STUDY)
    assert "to beat adamw. Too few complete pairs for an interval, and so no claim: fast 0.80× (2 seeds)." in text
    assert text.endswith("Only 2 seeds: an interval, and so a claim, takes at least 3.")


def test_a_method_that_never_generalizes_is_named_with_the_budget_and_its_bound() -> None:
    bound = {"ratio_flops_bound": 3.14, "ratio_flops_bound_side": "at least", "pairs": 6}
    text = verdict([row("adamw"), never("adam-paper", **bound), never("other")], STUDY)
    assert "nothing tried was shown to beat adamw" in text
    assert (
        "Never held 95 % within 20,000 steps: adam-paper (0 of 6 runs, at least 3.14× the FLOPs) "
        "and other (0 of 6 runs)."
    ) in text


def test_cheaper_but_less_often_says_both() -> None:
    text = verdict([row("adamw"), other("risky", 0.5, 0.4, 0.6, successes=4)], STUDY)
    assert (
        "risky needs 0.50× the FLOPs of adamw (95 % interval 0.40–0.60, but gets there less often than 6 of 6 for adamw"
        in text
    )
    assert "4 of 6 runs got there" in text


def test_dearer_but_more_often_says_both() -> None:
    text = verdict([row("adamw", successes=4), other("sure", 1.5, 1.2, 1.9)], STUDY)
    assert "More: sure 1.50× (1.20–1.90, but gets there more often than 4 of 6 for adamw, 6 seeds)." in text


@pytest.mark.parametrize(("p", "claimed"), [(0.004, True), (0.2, False)])
def test_reaching_the_target_more_often_counts_where_it_may_be_claimed(p: float, claimed: bool) -> None:
    bound = {"ratio_flops_vs_baseline": None, "ratio_flops_bound": 0.9, "ratio_flops_bound_side": "at most"}
    text = verdict([row("adamw", successes=1), row("sure", **bound, p_success=p)], STUDY)
    said = f"sure reached 95 % in 6 of 6 runs against 1 of 6 for adamw (p {'0.004' if claimed else '0.20'})"
    if claimed:
        assert text.startswith(f"On a*b mod 97, {said}.")
    else:
        assert text.startswith(
            "On a*b mod 97, nothing tried was shown to beat adamw. "
            "Too few complete pairs for an interval, and so no claim: "
        )
        assert f"{said}, at most 0.90× the FLOPs" in text
    assert "more:" not in text.lower()
    assert "adamw itself missed 95 % in 5 of 6 runs" in text


def test_getting_there_less_often_is_said() -> None:
    text = verdict([row("adamw"), row("lost", successes=1, ratio_flops_vs_baseline=None, p_success=0.015)], STUDY)
    assert "Reached 95 % less often than the 6 of 6 runs for adamw: lost 1 of 6 (p 0.015)." in text


def test_other_costs_that_do_not_agree_are_told_with_their_intervals() -> None:
    seconds = {"ratio_seconds_vs_baseline": 1.4, "ratio_seconds_ci_low": 1.3, "ratio_seconds_ci_high": 1.6}
    steps = {"ratio_steps_vs_baseline": 0.8, "ratio_ci_low": 0.7, "ratio_ci_high": 0.9}
    text = verdict([row("adamw"), other("dear", 0.8, 0.7, 0.9, **seconds, **steps)], STUDY)
    assert text.endswith("In seconds of training dear is at 1.40× (1.30–1.60).")
    assert "in steps" not in text


def test_a_study_claims_in_its_own_cost() -> None:
    steps = {"ratio_steps_vs_baseline": 0.8, "ratio_ci_low": 0.7, "ratio_ci_high": 0.9, "p_steps": 0.001}
    text = verdict([row("adamw"), row("x", ratio_flops_vs_baseline=None, **steps)], STUDY | {"claim": "steps"})
    assert text == "On a*b mod 97, x needs 0.80× the steps of adamw (95 % interval 0.70–0.90, 6 seeds)."


def test_a_baseline_that_never_generalizes_leaves_no_ratio() -> None:
    best = row("best", ratio_flops_vs_baseline=None, pairs=0, p_success=0.3)
    text = verdict([never("adamw"), best, never("lost")], STUDY)
    assert "the baseline adamw itself never held 95 % within 20,000 steps (0 of 6 runs)" in text
    assert "best reached 95 % in 6 of 6 runs against 0 of 6 for adamw (p 0.30)" in text
    assert "never held 95 % within 20,000 steps: lost (0 of 6 runs)" in text
    assert "beat" not in text


def test_no_runs_and_no_rivals() -> None:
    empty = never("empty", runs=0)
    assert "empty has no finished run" in verdict([row("adamw"), empty], STUDY)
    assert verdict([never("adamw", runs=0), empty], STUDY) == "On a*b mod 97, no run has finished yet."
    assert verdict([row("adamw")], STUDY) == (
        "On a*b mod 97, adamw reached 95 % in 6 of 6 runs, at a median of 5,000 steps; nothing was compared with it."
    )


@pytest.mark.parametrize("runs", [1, 6])
def test_of_a_baseline_without_a_finished_run_it_is_not_said_that_it_never_got_there(runs: int) -> None:
    arms = [row("ema", runs=runs, successes=runs, pairs=0, ratio_flops_vs_baseline=None), never("late", runs=runs)]
    text = verdict([never("adamw", runs=0), *arms, never("none", runs=0)], STUDY)
    reached = f"ema reached 95 % in {runs} of {runs} run{'s' if runs > 1 else ''}, at a median of 5,000 steps"
    assert text.startswith(f"On a*b mod 97, the baseline adamw has no finished run to compare with; {reached}; late: ")
    assert text.endswith("; none has no finished run.")
    assert "0 of 0" not in text


def test_the_cheapest_comes_first() -> None:
    rows = [row("adamw"), other("good", 0.8, 0.7, 0.9), other("best", 0.5, 0.4, 0.6)]
    text = verdict(rows, STUDY)
    assert text.startswith("On a*b mod 97, best needs 0.50×")
    assert "Also less: good 0.80× (0.70–0.90, 6 seeds)." in text


def test_looks_and_a_primary_arm_without_its_claim_are_said() -> None:
    rows = [row("adamw"), other("a", 0.8, 0.7, 0.9), other("b", 0.9, 0.7, 1.1)]
    text = verdict(rows, STUDY | {"looks": [{}, {}], "primary": "b"})
    assert (
        "After 2 looks at this study, claims are tested at 0.0125; b was named to be tested first, and without" in text
    )
    assert "nothing tried was shown to beat adamw" in text


def test_a_target_that_is_a_loss_is_called_one() -> None:
    text = verdict([row("adamw"), never("slow")], STUDY | {"target_loss": 0.05})
    assert "Never held a loss of 0.05 within 20,000 steps: slow (0 of 6 runs)" in text


def test_where_the_baseline_never_got_there_the_best_is_told() -> None:
    rows = [never("adamw") | {"best_accuracy": 0.84}, never("ema") | {"best_accuracy": 0.901}]
    text = verdict(rows, STUDY)
    assert text.endswith("Best held-out accuracy of a run, in the median: ema 90.1 %, adamw 84.0 %.")
    losses = [
        row | {"best_accuracy": None, "best_loss": loss} for row, loss in zip(rows, (0.00659, 0.00348), strict=True)
    ]
    text = verdict(losses, STUDY | {"target_loss": 0.001})
    assert text.endswith("Best held-out loss of a run, in the median: ema 0.00348, adamw 0.00659.")


def test_the_best_is_not_told_where_all_got_there() -> None:
    assert "Best" not in verdict([row("adamw"), other("fast", 0.8, 0.7, 0.9)], STUDY)


def test_the_unit_is_said_once_for_all_arms() -> None:
    seconds = {"ratio_seconds_vs_baseline": 1.4, "ratio_seconds_ci_low": 1.3, "ratio_seconds_ci_high": 1.6}
    arms = [other(name, 0.8, 0.7, 0.9, **seconds) for name in ("dear", "dearer", "dearest")]
    text = verdict([row("adamw"), *arms], STUDY)
    shown = "1.40× (1.30–1.60)"
    assert f"In seconds of training dear is at {shown}, dearer at {shown} and dearest at {shown}" in text
    assert text.count("seconds of training") == 1
    single = verdict([row("adamw", runs=1, successes=1), *(row(name, runs=1, successes=1) for name in "ab")], STUDY)
    assert single.count("FLOPs of adamw") == 1


def test_methods_that_were_searched_longer_than_others_are_named() -> None:
    rows = [row("adamw"), other("a", 0.8, 0.7, 0.9)]

    def said(adamw: int, a: int) -> str:
        return verdict(rows, STUDY | {"tuned": {"adamw": {"costs": [[1, True, 0]] * adamw}, "a": {"costs": [[]] * a}}})

    assert "settings were not searched alike, adamw with 1 trial and a with 3 trials" in said(1, 3).lower()
    assert "alike" not in said(3, 3)
    unsearched = verdict(rows, STUDY | {"tuned": {"a": {"costs": [[1, True, 0]] * 3}}})
    assert "Settings were not searched alike, adamw not at all and a with 3 trials: give all methods" in unsearched


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([other("b", 0.95, 0.8, 1.1)], "On a*b mod 97, of the methods shown, nothing tried was shown to beat adamw."),
        ([other("b", 0.8, 0.71, 0.93)], "On a*b mod 97, of the methods shown, b needs 0.80× the FLOPs of adamw"),
        ([], "95 % in 6 of 6 runs, at a median of 5,000 steps; no method that was compared with it is shown."),
    ],
    ids=["none", "one", "baseline alone"],
)
def test_where_arms_are_not_shown_it_is_said_of_those_shown_and_which_are_not(rows, says) -> None:
    text = verdict([row("adamw"), *rows], {**STUDY, "not_shown": ["grad-norm", "grokfast-ma"]})
    assert says in text
    assert text.endswith(" Not shown: grad-norm and grokfast-ma.")
    assert text.count("not shown") + text.count("Not shown") == 1
    whole = verdict([row("adamw"), *rows], {**STUDY, "not_shown": []})
    assert whole == verdict([row("adamw"), *rows], STUDY)
    assert "shown:" not in whole


def test_a_baseline_that_never_arrived_did_not_whatever_is_shown() -> None:
    text = verdict([never("adamw"), never("b")], {**STUDY, "not_shown": ["c"]})
    assert text.startswith("On a*b mod 97, the baseline adamw itself never held 95 %")
    assert text.endswith("Not shown: c.")
    nothing = [row(method, runs=0, successes=0) for method in ("adamw", "b")]
    unfinished = verdict(nothing, {**STUDY, "not_shown": ["c"]})
    assert unfinished == "On a*b mod 97, no run of the methods shown has finished yet. Not shown: c."
