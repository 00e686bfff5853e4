"""The rows of leaderboard.json: keys, order, values, and that they are JSON."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from grokkit.analyse import leaderboard
from grokkit.analyse.leaderboard import times_by_seed
from grokkit.errors import InputError


def table(times: dict[str, list[int | None]], budget: int = 1000) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "method": method,
                "seed": seed,
                "budget": budget,
                "steps": budget if at is None else at + 100,
                "memorized_at": 50,
                "generalized_at": at,
                "delay_steps": None if at is None else at - 50,
                "train_seconds": (budget if at is None else at + 100) * 0.01,
                "train_seconds_to_target": None if at is None else at * 0.01,
                "best_test_accuracy": 0.5 if at is None else 0.96 + 0.01 * seed,
                "best_test_loss": 2.0 if at is None else 0.2 - 0.01 * seed,
            }
            for method, found in times.items()
            for seed, at in enumerate(found)
        ],
        infer_schema_length=None,
    )


def test_values_worked_out_by_hand() -> None:
    runs = table({"slow": [800, 400, None], "base": [400, 400, 200], "never": [None] * 3})
    base, slow, never = leaderboard(runs, ["slow", "base", "never"], "base")
    assert [row["method"] for row in (base, slow, never)] == ["base", "slow", "never"]
    assert base["ratio_steps_vs_baseline"] == 1
    assert base["ratio_ci_low"] is None
    assert base["logrank_p"] is None
    assert base["median_steps"] == 400
    assert base["median_delay_steps"] == 350
    assert base["median_train_seconds"] == pytest.approx(4)
    assert (slow["runs"], slow["successes"], slow["pairs"], slow["complete_pairs"]) == (3, 2, 3, 2)
    assert slow["success_rate"] == pytest.approx(2 / 3)
    logs = np.log([800 / 400, 400 / 400, 1000 / 200])  # the third run took longer than its 1,000 steps
    bound = np.exp(logs.mean() - stats.t.ppf(0.975, 2) * stats.sem(logs))
    assert (slow["ratio_steps_vs_baseline"], slow["ratio_ci_low"]) == (None, None)
    assert (slow["ratio_bound"], slow["ratio_bound_side"]) == (pytest.approx(bound), "at least")
    assert slow["ratio_seconds_bound"] == pytest.approx(bound)
    assert slow["ratio_flops_bound"] is None  # nobody counted any
    assert slow["median_steps"] == 800
    assert never["success_rate"] == 0
    assert never["median_steps"] is None
    assert never["ratio_steps_vs_baseline"] is None
    assert (never["logrank_p"], never["logrank_direction"]) == (pytest.approx(0.1), "later")  # 2 of 20 labellings
    assert never["p"] == never["p_success"] == pytest.approx(stats.fisher_exact([[0, 3], [3, 0]]).pvalue)
    best = [[row[f"best_accuracy{end}"] for end in ("", "_low", "_high")] for row in (base, slow, never)]
    assert best == [pytest.approx([0.97, 0.96, 0.98]), pytest.approx([0.96, 0.5, 0.97]), [0.5, 0.5, 0.5]]
    assert base["best_loss"] == pytest.approx(0.19)


def test_three_pairs_have_the_paired_t_test_in_every_cost_that_is_known() -> None:
    runs = table({"base": [400, 300, 500], "fast": [200, 180, 300]})
    fast = leaderboard(runs, ["base", "fast"], "base")[1]
    expected = stats.ttest_rel(np.log([200, 180, 300]), np.log([400, 300, 500])).pvalue
    assert [fast["p_steps"], fast["p_seconds"], fast["p"]] == pytest.approx([expected] * 3)
    assert fast["p_flops"] is None
    counted = runs.with_columns(flops=pl.col("steps") * 1e6, flops_to_target=pl.col("generalized_at") ** 2 * 1.0)
    fast = leaderboard(counted, ["base", "fast"], "base")[1]
    assert fast["p"] == fast["p_flops"]
    assert fast["ratio_flops_vs_baseline"] == pytest.approx(fast["ratio_steps_vs_baseline"] ** 2)
    assert fast["median_flops"] == pytest.approx(200.0**2)
    assert leaderboard(counted, ["base", "fast"], "base", "steps")[1]["p"] == fast["p_steps"]


def test_of_a_claim_in_seconds_that_are_not_known_p_is_not_that_of_steps() -> None:
    runs = table({"base": [400, 300, 500], "fast": [200, 180, 300]}).drop("train_seconds", "train_seconds_to_target")
    fast = leaderboard(runs, ["base", "fast"], "base", "seconds")[1]
    assert fast["p_steps"] < 0.05
    assert (fast["p"], fast["pairs"], fast["complete_pairs"]) == (None, 0, 0)


def test_seconds_of_two_processors_make_no_ratio() -> None:
    runs = table({"base": [400, 300, 500, 450], "fast": [200, 180, 300, 250]})
    ran_on = ["a"] * 4 + ["a", "a", "b", "a"]
    runs = runs.with_columns(pl.Series("provenance", [json.dumps({"processor": name}) for name in ran_on]))
    fast = leaderboard(runs, ["base", "fast"], "base")[1]
    logs = np.log([200 / 400, 180 / 300, 250 / 450])
    assert fast["ratio_seconds_vs_baseline"] == pytest.approx(np.exp(logs.mean()))
    assert fast["p_seconds"] == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)
    assert fast["pairs"] == 4  # in steps all count


def test_what_a_start_cost_was_not_paid_between_two_evaluations() -> None:
    """Events are known to a fifth of their steps, but the steps are less than a tenth of what a run costs."""
    steps = pl.col("generalized_at").cast(pl.Float64)
    runs = table({"base": [1000, 1100, 900], "fast": [300, 340, 260]}).with_columns(
        resolution_steps=0.2 * steps,
        start_flops=pl.lit(1e10),
        flops=1e10 + steps * 1e6,
        flops_to_target=1e10 + steps * 1e6,
    )
    fast = leaderboard(runs, ["base", "fast"], "base")[1]
    assert fast["p_steps_unfavourable"] is not None
    assert fast["p_flops"] < 0.05
    assert fast["p_flops_unfavourable"] is None
    early = leaderboard(runs.with_columns(start_flops=None), ["base", "fast"], "base")[1]
    assert early["p_flops_unfavourable"] == 1.0


@pytest.mark.parametrize("last", [90, None], ids=["all arrive", "one is censored"])
def test_a_run_at_the_target_before_its_first_step_was_there_no_earlier(last: int | None) -> None:
    """Its start costs, so the pair has a ratio; no steps had made no number of its resolution."""
    runs = table({"base": [400, 430, 460, 490, 520], "started": [0, 60, 70, 80, last]}).with_columns(
        resolution_steps=pl.col("generalized_at") / 10,
        start_flops=pl.when(method="started").then(2000.0),
        flops=pl.col("steps").cast(pl.Float64),
        flops_to_target=pl.col("generalized_at").cast(pl.Float64),
    )
    spent = pl.col("flops", "flops_to_target") + pl.col("start_flops").fill_null(0)
    found = times_by_seed(runs.with_columns(spent).filter(method="started"), runs.filter(method="base"), "flops")
    assert found[0] == (2000.0, True, 2000.0)
    assert found[1].early == pytest.approx(2055), "at step 54 it was not there yet"
    started = leaderboard(runs.with_columns(spent), ["base", "started"], "base")[1]
    assert started["pairs"] == 5
    assert started["p_flops_unfavourable"] < 0.05


def test_events_beside_each_other() -> None:
    runs = table({"base": [400, 300, None], "none": [None, None, None]}).with_columns(
        generalized_first_at=pl.Series([350, 300, 800, None, None, None]),
        stable_at=pl.Series([500, None, None, None, None, None]),
        dips=pl.Series([2, 0, 5, None, None, None]),
        deepest_dip=pl.Series([0.02, 0.0, 0.31, None, None, None]),
    )
    base, none = leaderboard(runs, ["base", "none"], "base")
    assert (base["median_first_steps"], base["median_steps"], base["median_stable_steps"]) == (350, 400, None)
    assert (base["stable"], base["dips"], base["deepest_dip"]) == (1, 5, 0.31)
    assert (none["median_first_steps"], none["stable"], none["dips"], none["deepest_dip"]) == (None, None, None, None)


def test_twenty_arms_of_twenty_seeds_have_their_numbers() -> None:
    rng = np.random.default_rng(0)
    times = np.exp(6 + 0.3 * rng.standard_normal((20, 20)))
    found = {f"m{arm}": [int(t) if t < 500 else None for t in row] for arm, row in enumerate(times)}
    rows = leaderboard(table(found, budget=500), list(found), "m0")
    assert all(row["ratio_ci_low"] < row["ratio_steps_vs_baseline"] < row["ratio_ci_high"] for row in rows[1:])


def test_what_has_no_accuracy_has_no_best_one() -> None:
    runs = table({"base": [400, 300]}).with_columns(pl.lit(None, pl.Float64).alias("best_test_accuracy"))
    row = leaderboard(runs, ["base"], "base")[0]
    assert [row["best_accuracy"], row["best_accuracy_low"], row["best_accuracy_high"]] == [None, None, None]
    assert row["best_loss"] == pytest.approx(0.195)


def test_keys_are_those_of_the_documented_format_in_its_order() -> None:
    text = (Path(__file__).parents[2] / "docs/results-format.md").read_text(encoding="utf-8")
    section = text.split("## `leaderboard.json`")[1].split("Medians are")[0]
    row = leaderboard(table({"base": [400]}), ["base"], "base")[0]
    assert list(row) == re.findall(r"`(\w+)`", section)


@pytest.mark.parametrize("times", [[None, None], [1, 2], [5], []], ids=str)
def test_rows_are_json_without_nan(times: list[int | None]) -> None:
    runs = table({"base": [3, 4], "other": times})
    rows = leaderboard(runs, ["base", "other", "not run yet"], "base")
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[2]["runs"] == 0
    assert rows[2]["success_rate"] is None


def test_an_unknown_baseline_is_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"unknown baseline 'bass'; did you mean 'base'\?"):
        leaderboard(table({"base": [1]}), ["base"], "bass")
