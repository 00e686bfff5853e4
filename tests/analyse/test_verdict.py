"""What the verdict must say, rule by rule, and what it must not."""

from typing import Any

import pytest

from grokkit.analyse import verdict

STUDY = {"title": "a*b mod 97", "target": 0.95, "budget": 20_000}


def row(method: str, **changes: Any) -> dict[str, Any]:
    base = {
        "method": method,
        "runs": 6,
        "successes": 6,
        "success_rate": 1.0,
        "median_steps": 5000.0,
        "median_train_seconds": 10.0,
        "ratio_steps_vs_baseline": 1.0,
        "ratio_ci_low": None,
        "ratio_ci_high": None,
        "ratio_seconds_vs_baseline": 1.0,
        "ratio_seconds_ci_low": None,
        "ratio_seconds_ci_high": None,
        "pairs": 6,
        "logrank_p": None,
        "best_accuracy": 0.97,
        "best_loss": 0.1,
    }
    made = base | changes
    made["success_rate"] = made["successes"] / made["runs"] if made["runs"] else None
    return made


def other(method: str, ratio: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    numbers = {"ratio_steps_vs_baseline": ratio, "ratio_ci_low": low, "ratio_ci_high": high}
    seconds = {"ratio_seconds_vs_baseline": ratio, "ratio_seconds_ci_low": low, "ratio_seconds_ci_high": high}
    return row(method, **{**numbers, **seconds, "logrank_p": 0.01, **changes})


def never(method: str, runs: int = 6) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ["median_steps", "median_train_seconds", "ratio_steps_vs_baseline", "ratio_seconds_vs_baseline"]
    )
    return row(method, runs=runs, successes=0, pairs=0, **nothing)


def test_faster_is_said_with_its_interval_and_its_seeds() -> None:
    text = verdict([row("adamw"), other("grad-norm", 0.8, 0.71, 0.93)], STUDY)
    assert text == ("On a*b mod 97, grad-norm needs 0.80× the steps of adamw (95 % interval 0.71–0.93, 6 seeds).")


def test_slower_is_named_as_plainly() -> None:
    text = verdict([row("adamw"), other("grad-norm", 1.5, 1.2, 1.9)], STUDY)
    assert text == ("On a*b mod 97, nothing tried beats adamw. Slower: grad-norm 1.50× (1.20–1.90, 6 seeds).")


def test_an_interval_that_contains_one_is_no_clear_difference() -> None:
    text = verdict([row("adamw"), other("grad-norm", 0.9, 0.7, 1.0)], STUDY)
    assert "nothing tried clearly beats adamw. No clear difference: grad-norm 0.90× (0.70–1.00, 6 seeds)." in text


def test_one_seed_is_an_anecdote() -> None:
    single = {"runs": 1, "successes": 1, "pairs": 1}
    fast = row("fast", **single, ratio_steps_vs_baseline=0.5, ratio_seconds_vs_baseline=0.6)
    text = verdict([row("adamw", **single), fast, never("lost", runs=1)], STUDY)
    assert "in one seed, which is an anecdote and not evidence: fast took 0.50× the steps of adamw" in text
    assert "lost: 1 of 1 run never reached 95 % within 20,000 steps" in text
    assert "few" not in text
    assert "interval" not in text


def test_one_seed_where_steps_and_seconds_disagree_says_both() -> None:
    single = {"runs": 1, "successes": 1, "pairs": 1}
    fast = row("fast", **single, ratio_steps_vs_baseline=0.5, ratio_seconds_vs_baseline=1.2)
    text = verdict([row("adamw", **single), fast], STUDY)
    assert "0.50× the steps of adamw but 1.20× its training time" in text


@pytest.mark.parametrize(("pairs", "warned"), [(2, True), (4, True), (5, False)])
def test_fewer_than_five_pairs_are_called_few(pairs: int, warned: bool) -> None:
    text = verdict([row("adamw"), other("fast", 0.5, 0.4, 0.6, pairs=pairs)], STUDY)
    assert (f"only {pairs} seeds: few" in text.lower()) == warned


def test_a_method_that_never_generalizes_is_named_with_the_budget() -> None:
    text = verdict([row("adamw"), never("adam-paper")], STUDY)
    assert "nothing tried beats adamw" in text
    assert "adam-paper: 6 of 6 runs never reached 95 % within 20,000 steps" in text


def test_faster_but_less_reliable_does_not_win() -> None:
    fragile = other("risky", 0.5, 0.4, 0.6, successes=3, pairs=3)
    text = verdict([row("adamw"), fragile], STUDY)
    assert "nothing tried clearly beats adamw" in text
    assert "Faster, but gets there less often: risky 0.50× (0.40–0.60, 3 seeds, 3 of 6 runs got there)" in text


def test_reaching_the_target_more_often_counts() -> None:
    sure = row("sure", pairs=1, ratio_steps_vs_baseline=0.9, logrank_p=0.004)
    text = verdict([row("adamw", successes=1), sure], STUDY)
    assert text.startswith(
        "On a*b mod 97, sure reached 95 % in 6 of 6 runs against 1 of 6 for adamw (log-rank p 0.004)."
    )
    assert "adamw itself missed 95 % in 5 of 6 runs" in text
    assert "Only 1 seed: an anecdote" in text


def test_steps_and_seconds_in_another_order_are_both_told() -> None:
    dear = other(
        "dear",
        0.8,
        0.7,
        0.9,
        ratio_seconds_vs_baseline=1.4,
        ratio_seconds_ci_low=1.3,
        ratio_seconds_ci_high=1.6,
    )
    text = verdict([row("adamw"), dear], STUDY)
    assert "dear needs 0.80× the steps" in text
    assert "In seconds of training the order is another: adamw 1.00×, dear 1.40×." in text


def test_a_baseline_that_never_generalizes_leaves_no_ratio() -> None:
    best = row("best", ratio_steps_vs_baseline=None, ratio_seconds_vs_baseline=None, pairs=0)
    text = verdict([never("adamw"), best, never("lost")], STUDY)
    assert "the baseline adamw itself never reached 95 % within 20,000 steps (0 of 6 runs)" in text
    assert "best reached 95 % in 6 of 6 runs, at a median of 5,000 steps" in text
    assert "lost: 6 of 6 runs never reached" in text
    assert "beats" not in text


def test_a_baseline_that_sometimes_fails_is_said() -> None:
    text = verdict([row("adamw", successes=5), other("fast", 0.5, 0.4, 0.6, pairs=5)], STUDY)
    assert "Adamw" not in text
    assert "adamw itself missed 95 % in 1 of 6 runs" in text


def test_no_common_seed_no_runs_and_no_rivals() -> None:
    apart = row("apart", successes=3, pairs=0, ratio_steps_vs_baseline=None, ratio_seconds_vs_baseline=None)
    assert "but in no seed together with adamw" in verdict([row("adamw", successes=3), apart], STUDY)
    empty = never("empty", runs=0)
    assert "empty has no finished run" in verdict([row("adamw"), empty], STUDY)
    assert verdict([never("adamw", runs=0), empty], STUDY) == "On a*b mod 97, no run has finished yet."
    assert verdict([row("adamw")], STUDY) == (
        "On a*b mod 97, adamw reached 95 % in 6 of 6 runs, at a median of 5,000 steps; nothing was compared with it."
    )


def test_the_fastest_comes_first() -> None:
    rows = [row("adamw"), other("good", 0.8, 0.7, 0.9), other("best", 0.5, 0.4, 0.6)]
    text = verdict(rows, STUDY)
    assert text.startswith("On a*b mod 97, best needs 0.50×")
    assert "Also faster: good 0.80× (0.70–0.90, 6 seeds)." in text


def test_never_more_than_three_sentences() -> None:
    rows = [
        row("adamw", successes=5),
        other("best", 0.5, 0.4, 0.6, pairs=3, ratio_seconds_vs_baseline=1.2),
        other("slow", 1.5, 1.4, 1.6, pairs=3),
        other("same", 1.0, 0.9, 1.1, pairs=3),
        never("lost"),
    ]
    assert verdict(rows, STUDY).count(". ") == 2


def test_a_target_that_is_a_loss_is_called_one() -> None:
    study = STUDY | {"target_loss": 0.05}
    text = verdict([row("adamw"), never("slow")], study)
    assert "slow: 6 of 6 runs never reached a loss of 0.05 within 20,000 steps" in text


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
