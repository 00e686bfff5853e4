"""The numbers behind the figures, and that what is drawn from them is valid Vega-Lite."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from grokkit.report import figures
from grokkit.report.figures.parts import log_ticks, specification
from grokkit.report.looks import looks


def curves_of(values: dict[str, list[tuple[int, float | None]]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Runs of one method, one seed each, whose every measure is the given value at the given step."""
    runs = pl.DataFrame({"run_id": list(values), "method": "m", "seed": range(len(values))})
    rows = [
        {
            "run_id": run_id,
            "step": step,
            "train_seconds": 0.5 * step,
            "flops": 1e6 * step,
            **dict.fromkeys(
                ["train_accuracy", "test_accuracy", "weight_norm", "weight_entropy", "gradient_entropy"], value
            ),
        }
        for run_id, points in values.items()
        for step, value in points
    ]
    return runs, pl.DataFrame(rows, infer_schema_length=None)


def test_seed_curves_leave_out_step_zero_and_non_finite_values() -> None:
    runs, curves = curves_of({"a": [(0, 0.1), (1, 0.2), (10, math.nan), (100, 0.123456789)]})
    data = figures.seed_curves_data(runs, curves)
    assert data["step"].to_list() == [1, 10, 100]
    assert data["test_accuracy"].to_list() == [0.2, None, 0.12346]
    assert data["seed"].unique().to_list() == [0]


def test_seed_curves_are_thinned_evenly_in_log_steps_and_keep_both_ends() -> None:
    runs, curves = curves_of({"a": [(step, 0.5) for step in range(10_001)]})
    steps = figures.seed_curves_data(runs, curves, points=41)["step"].to_numpy()
    assert steps[0] == 1
    assert steps[-1] == 10_000
    assert len(steps) <= 41
    late = steps[steps >= 100]
    np.testing.assert_allclose(late[1:] / late[:-1], 10_000 ** (1 / 40), rtol=0.02)


def test_median_is_over_seeds_and_a_finished_run_keeps_its_last_value() -> None:
    runs, curves = curves_of(
        {
            "fast": [(0, 0.0), (1, 0.0), (10, 1.0)],  # stops at 10
            "mid": [(0, 0.0), (1, 0.1), (10, 0.2), (100, 0.9)],
            "slow": [(0, 0.0), (1, 0.2), (10, 0.3), (100, 0.4)],
        }
    )
    data = figures.median_curve_data(runs, curves, "test_accuracy")
    assert data["x"].to_list() == [1, 10, 100]
    assert data["value"].to_list() == [0.1, 0.3, 0.9]  # without the fast run the last would be 0.65


def test_median_interpolates_in_log_x_between_evaluations() -> None:
    runs, curves = curves_of({"a": [(1, 0.0), (100, 1.0)], "b": [(1, 0.0), (10, 0.5), (100, 1.0)]})
    data = figures.median_curve_data(runs, curves, "test_accuracy", "train_seconds")
    assert data["x"].to_list() == [0.5, 5.0, 50.0]
    assert data["value"].to_list() == pytest.approx([0.0, 0.5, 1.0])


def test_a_measure_that_is_null_throughout_gives_no_line() -> None:
    runs, curves = curves_of({"a": [(1, None), (2, None)]})
    assert figures.median_curve_data(runs, curves, "gradient_entropy").is_empty()
    assert figures.seed_curves_data(runs, curves)["gradient_entropy"].null_count() == 2


def test_fraction_rises_by_kaplan_meier_and_counts_the_censored(synthetic) -> None:
    runs, _ = synthetic.tables()
    data = figures.fraction_data(runs, list(synthetic.CROSSINGS))
    rows = data.filter(pl.col("method") == "grad-norm").rows()
    assert rows == [
        ("grad-norm", 0.0, 0.0, 0),
        ("grad-norm", 9000.0, pytest.approx(1 / 3), 0),
        ("grad-norm", 11000.0, pytest.approx(2 / 3), 0),
        ("grad-norm", 20000.0, pytest.approx(2 / 3), 1),
    ]
    assert data.filter(pl.col("method") == "adam-paper")["fraction"].sum() == 0


def test_times_hold_every_run_once_with_its_budget_where_it_was_not_reached(synthetic) -> None:
    runs, _ = synthetic.tables()
    data = figures.times_data(runs, list(synthetic.CROSSINGS))
    assert data.height == runs.height
    assert data.filter(pl.col("method") == "grad-norm")["steps"].to_list() == [9000, 20000, 11000]
    assert data.filter(~pl.col("reached"))["steps"].to_list() == [20000] * 4
    assert data.filter(pl.col("method") == "adam-paper")["median"].null_count() == 3
    assert data.filter(pl.col("method") == "adamw")["median"].to_list() == [7000] * 3


def test_no_data_point_at_zero_reaches_a_logarithmic_axis(synthetic) -> None:
    runs, curves = synthetic.tables()
    methods = list(synthetic.CROSSINGS)
    seeds = figures.seed_curves_data(runs, curves)
    charts = [figures.fraction_chart(figures.fraction_data(runs, methods), methods)]
    for clock in ("step", "train_seconds", "flops"):
        medians = figures.median_curve_data(runs, curves, "test_accuracy", clock)
        charts.append(figures.learning_chart(seeds, medians, methods, "test", clock, target=0.95))
    for chart in charts:
        for rows in specification(chart)["datasets"].values():
            for row in rows:
                for field in ("x", "step", "steps", "train_seconds", "flops"):
                    assert row.get(field, 1) > 0


def test_methods_differ_in_colour_and_dash_and_the_baseline_is_black_and_solid() -> None:
    styles = looks([f"m{i}" for i in range(60)])
    assert len({(look.color, look.dash) for look in styles.values()}) == 60
    assert len({look.color for look in list(styles.values())[:7]}) == 7
    assert len({look.dash for look in list(styles.values())[:9]}) == 9
    assert styles["m0"][:2] == ("#000000", (1, 0))


@pytest.mark.parametrize(("low", "high"), [(1, 1e5), (0.003, 40), (900, 1100), (5000, 6600), (2e12, 9e14)])
def test_logarithmic_ticks_are_at_least_three_and_inside(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 15
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize("crossings", [{"only": [700]}, {"never": [None]}], ids=str)
def test_a_single_run_can_be_drawn(synthetic, crossings) -> None:
    runs, curves = synthetic.tables(crossings)
    methods = list(crossings)
    seeds = figures.seed_curves_data(runs, curves)
    medians = figures.median_curve_data(runs, curves, "weight_norm")
    charts = (
        figures.curve_chart(seeds, medians, methods, "weight_norm"),
        figures.fraction_chart(figures.fraction_data(runs, methods), methods),
        figures.times_chart(figures.times_data(runs, methods), methods),
    )
    assert all(specification(chart)["datasets"] for chart in charts)
