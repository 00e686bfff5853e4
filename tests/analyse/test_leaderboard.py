"""The rows of leaderboard.json: keys, order, values, and that they are JSON."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from grokkit.analyse import leaderboard
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
    assert (slow["runs"], slow["successes"], slow["pairs"]) == (3, 2, 2)
    assert slow["success_rate"] == pytest.approx(2 / 3)
    assert slow["ratio_steps_vs_baseline"] == pytest.approx(2**0.5)  # √(2 · 1)
    assert slow["ratio_seconds_vs_baseline"] == pytest.approx(2**0.5)
    assert slow["median_steps"] == 800
    assert never["success_rate"] == 0
    assert never["median_steps"] is None
    assert never["ratio_steps_vs_baseline"] is None
    assert never["logrank_p"] is not None
    best = [[row[f"best_accuracy{end}"] for end in ("", "_low", "_high")] for row in (base, slow, never)]
    assert best == [pytest.approx([0.97, 0.96, 0.98]), pytest.approx([0.96, 0.5, 0.97]), [0.5, 0.5, 0.5]]
    assert base["best_loss"] == pytest.approx(0.19)


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
