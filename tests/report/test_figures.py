"""The numbers behind the figures, and that what is drawn from them is valid Vega-Lite."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
import vl_convert

from grokkit.report import figures
from grokkit.report.figures.parts import log_ticks, specification, square_ticks
from grokkit.report.images import vega_lite_version
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
            "filtered_gradient_entropy": value,
            "gradient_cosine": value,
        }
        for run_id, points in values.items()
        for step, value in points
    ]
    return runs, pl.DataFrame(rows, schema_overrides={"gradient_cosine": pl.Float64}, infer_schema_length=None)


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


def test_the_angle_is_the_cosine_s_in_degrees() -> None:
    runs, curves = curves_of({"a": [(0, None), (1, 1.0), (10, 0.5), (100, 0.0), (1000, -1.0)]})
    expected = pytest.approx([0, 60, 90, 180])
    assert figures.seed_curves_data(runs, curves)["gradient_angle"].to_list() == expected
    assert figures.median_curve_data(runs, curves, "gradient_angle")["value"].to_list() == expected


@pytest.mark.parametrize(("cosines", "top"), [([1.0, 1.0], 10), ([1.0, 1 - 1e-16], 10), ([1.0, 0.0], 90)])
def test_rounding_is_not_drawn_as_an_angle(cosines, top) -> None:
    runs, curves = curves_of({"a": list(enumerate(cosines, 1))})
    seeds = figures.seed_curves_data(runs, curves)
    medians = figures.median_curve_data(runs, curves, "gradient_angle")
    spec = specification(figures.curve_chart(seeds, medians, ["m"], "gradient_angle"))
    scale = spec["layer"][0]["encoding"]["y"]["scale"]
    assert scale["domain"] == [0, pytest.approx(top)]
    assert "type" not in scale, "linear"


def amplifier_of(steps_of: dict[tuple[str, int], list[int]]) -> pl.DataFrame:
    """amplifier.parquet of runs, by method and seed evaluated at these steps: log weight = step · gradient."""
    rows = [
        {
            "run_id": f"{method}-{seed}",
            "method": method,
            "seed": seed,
            "step": step,
            "gradient": x,
            "log_weight": step * x,
        }
        for (method, seed), steps in steps_of.items()
        for step in steps
        for x in (-0.1, 0.0, 0.1)
    ]
    return pl.DataFrame(rows)


def test_amplifiers_are_the_first_seeds_at_six_evaluations_even_in_log_steps() -> None:
    many = list(range(10, 10_001, 10))
    data = figures.amplifier_data(amplifier_of({("a", 3): [7], ("a", 1): many, ("b", 0): [10, 20]}))
    steps = data.filter(pl.col("method") == "a")["step"].unique().sort().to_numpy()
    assert len(steps) == 6
    assert (steps[0], steps[-1]) == (10, 10_000)
    np.testing.assert_allclose(steps, np.geomspace(10, 10_000, 6), atol=10)
    assert data.filter(pl.col("method") == "b")["step"].unique().sort().to_list() == [10, 20]
    assert data.filter(pl.col("step") == 20).rows() == [
        ("b", 20, -0.1, -2.0),
        ("b", 20, 0.0, 0.0),
        ("b", 20, 0.1, 2.0),
    ]


def test_an_amplifier_s_curves_are_drawn_from_left_to_right_coloured_by_step() -> None:
    data = figures.amplifier_data(amplifier_of({("a", 0): [10, 100], ("b", 0): [5]}))
    spec = specification(figures.amplifier_chart(data, "a"))
    (rows,) = spec["datasets"].values()
    assert {row["step"] for row in rows} == {10, 100}
    assert spec["encoding"]["order"]["field"] == "gradient"
    assert spec["encoding"]["color"]["field"] == "step"
    assert spec["encoding"]["x"]["axis"]["values"] == pytest.approx(square_ticks(0.1))


def test_the_labels_of_a_square_root_axis_are_its_ticks(synthetic) -> None:
    data = figures.amplifier_data(synthetic.probes(synthetic.AMPLIFIED, ["neuralgrok"])["amplifier"])
    wide = data.with_columns(pl.col("gradient") * (0.35 / data["gradient"].to_numpy().max()))
    chart = figures.amplifier_chart(wide, "neuralgrok").properties(width=800)
    svg = vl_convert.vegalite_to_svg(specification(chart), vl_version=vega_lite_version())
    assert re.findall(r">([−\d.e-]+)</text>", svg)[:9] == [
        *("−0.32", "−0.18", "−0.08", "−0.02", "0", "0.02", "0.08", "0.18", "0.32"),
    ]


@pytest.mark.parametrize("longest", [1e-7, 0.031, 0.15, 0.5, 16.0, 99.0])
def test_ticks_of_a_square_root_axis_are_even_on_it_and_inside(longest: float) -> None:
    ticks = np.array(square_ticks(longest))
    roots = np.sign(ticks) * np.sqrt(np.abs(ticks))
    np.testing.assert_allclose(np.diff(roots), roots[-1] / 4, rtol=1e-6)
    assert longest / 2 < ticks[-1] <= longest


def test_divergence_is_median_and_largest_over_the_tensors_of_an_evaluation() -> None:
    table = pl.DataFrame(
        {
            "run_id": ["r"] * 6 + ["s"] * 2,
            "step": [1, 1, 1, 2, 2, 2, 1, 1],
            "tensor": ["a", "b", "c", "a", "b", "c", "a", "b"],
            "kl_from_uniform": [0.3, 0.1, 0.2, 0.0, -1e-17, 0.5, 0.0, 0.0],
        }
    )
    assert figures.divergence_data(table).rows() == [("r", 1, 0.2, 0.3), ("r", 2, 0.5, 0.5), ("s", 1, None, None)]


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
