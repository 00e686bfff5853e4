"""The numbers behind the figures, and that what is drawn from them is valid Vega-Lite."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import polars as pl
import pytest
import vl_convert

from grokkit.analyse.target import Target
from grokkit.report.curves import CLOCKS, NORMS, curve_chart, median_curve_data, seed_curves_data
from grokkit.report.figure import View
from grokkit.report.figures.amplifier import amplifier_chart, amplifier_data, divergence_data
from grokkit.report.figures.cost import cost_chart, cost_data, has_start
from grokkit.report.figures.delay import DELAY, delay_chart, delay_data, delay_in_words
from grokkit.report.figures.embedding import (
    circle_chart,
    circle_data,
    pca_chart,
    pca_data,
    spectrum_chart,
    spectrum_data,
)
from grokkit.report.figures.fraction import fraction_chart, fraction_data
from grokkit.report.figures.learning import learning_chart
from grokkit.report.figures.times import TIME_TO_TARGET, times_chart, times_data
from grokkit.report.figures.tuning import TUNING, tuning_chart, tuning_data
from grokkit.report.figures.weak_models import quality_chart, quality_data
from grokkit.report.images import vega_lite_version
from grokkit.report.parts import log_ticks, method_color, specification, square_ticks
from grokkit.report.style import styles_of, themed

COLUMNS = (*CLOCKS, "train_accuracy", "test_accuracy", *NORMS)


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
    data = seed_curves_data(runs, curves, COLUMNS)
    assert data["step"].to_list() == [1, 10, 100]
    assert data["test_accuracy"].to_list() == [0.2, None, 0.12346]
    assert data["seed"].unique().to_list() == [0]


def test_seed_curves_are_thinned_evenly_in_log_steps_and_keep_both_ends() -> None:
    runs, curves = curves_of({"a": [(step, 0.5) for step in range(10_001)]})
    steps = seed_curves_data(runs, curves, COLUMNS, points=41)["step"].to_numpy()
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
    data = median_curve_data(runs, curves, "test_accuracy")
    assert data["x"].to_list() == [1, 10, 100]
    assert data["value"].to_list() == [0.1, 0.3, 0.9]  # without the fast run the last would be 0.65


def test_the_angle_is_the_cosine_s_in_degrees() -> None:
    runs, curves = curves_of({"a": [(0, None), (1, 1.0), (10, 0.5), (100, 0.0), (1000, -1.0)]})
    expected = pytest.approx([0, 60, 90, 180])
    assert seed_curves_data(runs, curves, COLUMNS)["gradient_angle"].to_list() == expected
    assert median_curve_data(runs, curves, "gradient_angle")["value"].to_list() == expected


@pytest.mark.parametrize(("cosines", "top"), [([1.0, 1.0], 10), ([1.0, 1 - 1e-16], 10), ([1.0, 0.0], 90)])
def test_rounding_is_not_drawn_as_an_angle(cosines, top) -> None:
    runs, curves = curves_of({"a": list(enumerate(cosines, 1))})
    seeds = seed_curves_data(runs, curves, COLUMNS)
    medians = median_curve_data(runs, curves, "gradient_angle")
    spec = specification(curve_chart(seeds, medians, ["m"], "gradient_angle"))
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
    data = amplifier_data(amplifier_of({("a", 3): [7], ("a", 1): many, ("b", 0): [10, 20]}))
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
    data = amplifier_data(amplifier_of({("a", 0): [10, 100], ("b", 0): [5]}))
    spec = specification(amplifier_chart(data, "a"))
    (rows,) = spec["datasets"].values()
    assert {row["step"] for row in rows} == {10, 100}
    assert spec["encoding"]["order"]["field"] == "gradient"
    assert spec["encoding"]["color"]["field"] == "step"
    assert spec["encoding"]["x"]["axis"]["values"] == pytest.approx(square_ticks(0.1))


def test_the_labels_of_a_square_root_axis_are_its_ticks(synthetic) -> None:
    data = amplifier_data(synthetic.probes(synthetic.AMPLIFIED, ["neuralgrok"])["amplifier"])
    wide = data.with_columns(pl.col("gradient") * (0.35 / data["gradient"].to_numpy().max()))
    chart = amplifier_chart(wide, "neuralgrok").properties(width=800)
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
    assert divergence_data(table).rows() == [("r", 1, 0.2, 0.3), ("r", 2, 0.5, 0.5), ("s", 1, None, None)]


def test_median_interpolates_in_log_x_between_evaluations() -> None:
    runs, curves = curves_of({"a": [(1, 0.0), (100, 1.0)], "b": [(1, 0.0), (10, 0.5), (100, 1.0)]})
    data = median_curve_data(runs, curves, "test_accuracy", "train_seconds")
    assert data["x"].to_list() == [0.5, 5.0, 50.0]
    assert data["value"].to_list() == pytest.approx([0.0, 0.5, 1.0])


def test_a_measure_that_is_null_throughout_gives_no_line() -> None:
    runs, curves = curves_of({"a": [(1, None), (2, None)]})
    assert median_curve_data(runs, curves, "gradient_entropy").is_empty()
    assert seed_curves_data(runs, curves, COLUMNS)["gradient_entropy"].null_count() == 2


def test_fraction_rises_by_kaplan_meier_and_counts_the_censored(synthetic) -> None:
    runs, _ = synthetic.tables()
    data = fraction_data(runs, list(synthetic.CROSSINGS))
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
    data = times_data(runs, list(synthetic.CROSSINGS))
    assert data.height == runs.height
    assert data.filter(pl.col("method") == "grad-norm")["steps"].to_list() == [9000, 20000, 11000]
    assert data.filter(~pl.col("reached"))["steps"].to_list() == [20000] * 4
    assert data.filter(pl.col("method") == "adam-paper")["median"].null_count() == 3
    assert data.filter(pl.col("method") == "adamw")["median"].to_list() == [7000] * 3
    assert times_data(runs, ["without a run", *synthetic.CROSSINGS]).equals(data)


def test_a_delay_reaches_from_where_a_run_memorized_to_where_it_generalized_or_was_last_below(synthetic) -> None:
    runs, _ = synthetic.tables()
    first = pl.col("run_id") == "adamw--seed0--0000"
    never = runs.with_columns(memorized_at=pl.when(~first).then("memorized_at"))
    data = delay_data(never, list(synthetic.CROSSINGS))
    assert data.height == runs.height - 1, "a run that never memorized has no delay"
    own = data.filter(pl.col("method") == "grad-norm").select("memorized_at", "until", "reached", "dips").rows()
    assert own == [(200, 9000, True, 0), (200, 20000, False, None), (200, 11000, True, 2)]
    assert set(data.filter(~pl.col("reached"))["outcome"]) == {"not reached"}
    late = runs.with_columns(status=pl.when(pl.col("generalized_at").is_null()).then(pl.lit("given up")))
    assert set(delay_data(late, list(synthetic.CROSSINGS))["outcome"]) == {"generalized", "given up"}
    said = delay_in_words(data, ["grad-norm", "adam-paper"])
    assert said == (
        "grad-norm: 2 of 3 runs generalized, median delay of these 9,800 steps; adam-paper: 0 of 3 runs generalized"
    )
    assert specification(delay_chart(data.with_columns(until=1.0), list(synthetic.CROSSINGS)))


def test_a_delay_in_words_counts_all_runs_and_says_which_have_no_arrow(synthetic) -> None:
    runs, _ = synthetic.tables({"own": [6000, 7000, None, None, None]}, evaluations=3)
    known = pl.col("memorized_at")

    def said(changed: pl.DataFrame) -> str:
        return delay_in_words(changed, ["own"])

    without = runs.with_columns(memorized_at=pl.when(pl.col("seed") < 2).then(known))
    assert said(without) == (
        "own: 2 of 5 runs generalized, median delay of these 6,300 steps, 3 did not memorize and have no arrow"
    )
    early = runs.with_columns(
        pl.when(pl.col("seed") != 1).then(pl.col(name)).alias(name) for name in ("memorized_at", "delay_steps")
    )
    assert said(early) == (
        "own: 2 of 5 runs generalized, median delay of the 1 that memorized 5,800 steps, 1 did not memorize and has "
        "no arrow"
    )
    late = runs.with_columns(status=pl.when(pl.col("generalized_at").is_null()).then(pl.lit("given up")))
    assert said(late) == "own: 3 of 5 runs given up"


def test_dips_are_counted_beside_arrows_only_while_each_has_the_height_of_a_line_of_words(synthetic) -> None:
    def words(seeds: int) -> int:
        runs, _ = synthetic.tables({"own": [6000 + 10 * seed for seed in range(seeds)]}, evaluations=3)
        drawn = specification(delay_chart(delay_data(runs, ["own"]), ["own"]))
        (layer,) = (layer for layer in drawn["layer"] if layer["mark"]["type"] == "text")
        return len(drawn["datasets"][layer["data"]["name"]])

    assert words(12) == 11, "the run without a dip has none beside it"
    assert words(50) == 0


def test_methods_that_differ_in_their_last_setting_have_rows_and_a_legend_of_different_names(synthetic) -> None:
    methods = [f"grokfast-ema(alpha=0.98,lamb=2,optimizer=adamw(lr=0.003,wd={decay}))" for decay in (0.1, 0.3)]
    crossings = {method: [6000, 8000] for method in methods}
    runs, _ = synthetic.tables(crossings, evaluations=3)
    for chart in (delay_chart(delay_data(runs, methods), methods), times_chart(times_data(runs, methods), methods)):
        axis = specification(chart)["layer"][0]["encoding"]["y"]["axis"]
        lines = json.loads(axis["labelExpr"].removesuffix("[datum.value]"))
        assert len({tuple(lines[method]) for method in methods}) == 2
        assert max(len(line) for line in lines[methods[0]]) * 7 <= axis["labelLimit"]
    legend = method_color(methods, methods).to_dict()["legend"]
    assert legend["labelLimit"] >= 7 * len(methods[0])


def test_the_page_names_colours_and_never_a_method_that_is_called_like_one() -> None:
    chart = {"mark": {"color": "#000000"}, "scale": {"domain": ["#000000"], "range": ["#000000", "red"]}}
    there = {"mark": {"color": "var(--arm-0)"}, "scale": {"domain": ["#000000"], "range": ["var(--arm-0)", "red"]}}
    assert themed(chart) == there


def test_no_data_point_at_zero_reaches_a_logarithmic_axis(synthetic) -> None:
    runs, curves = synthetic.tables()
    methods = list(synthetic.CROSSINGS)
    seeds = seed_curves_data(runs, curves, COLUMNS)
    charts = [fraction_chart(fraction_data(runs, methods), methods)]
    for clock in ("step", "train_seconds", "flops"):
        medians = median_curve_data(runs, curves, "test_accuracy", clock)
        charts.append(learning_chart(seeds, medians, methods, "test_accuracy", clock, target=Target(0.95, "accuracy")))
    for chart in charts:
        for rows in specification(chart)["datasets"].values():
            for row in rows:
                for field in ("x", "step", "steps", "train_seconds", "flops"):
                    assert row.get(field, 1) > 0


def test_methods_differ_in_colour_and_dash_and_the_baseline_is_black_and_solid() -> None:
    styles = styles_of([f"m{i}" for i in range(60)])
    assert len({(style.color, style.dash) for style in styles.values()}) == 60
    assert len({style.color for style in list(styles.values())[:7]}) == 7
    assert len({style.dash for style in list(styles.values())[:9]}) == 9
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
    seeds = seed_curves_data(runs, curves, COLUMNS)
    medians = median_curve_data(runs, curves, "weight_norm")
    charts = (
        curve_chart(seeds, medians, methods, "weight_norm"),
        fraction_chart(fraction_data(runs, methods), methods),
        times_chart(times_data(runs, methods), methods),
    )
    assert all(specification(chart)["datasets"] for chart in charts)


def fourier_of(steps_of: dict[tuple[str, int], list[int]]) -> pl.DataFrame:
    """fourier.parquet of runs, by method and seed evaluated at these steps: two frequencies, half of the norm each."""
    rows = [
        {"run_id": f"{method}-{seed}", "method": method, "seed": seed, "step": step, "frequency": k, "share": 0.5}
        for (method, seed), steps in steps_of.items()
        for step in steps
        for k in (1, 2)
    ]
    return pl.DataFrame(rows)


def test_spectra_are_the_first_seeds_each_until_the_next_and_that_at_step_zero_half_a_step_ahead() -> None:
    data = spectrum_data(fourier_of({("a", 3): [7], ("a", 1): [0, 10, 20, 80], ("b", 0): [5], ("c", 0): [0]}))
    cells = data.filter(pl.col("frequency") == 1).select("method", "start", "until").rows()
    assert cells == [
        *(("a", 5.0, 10.0), ("a", 10.0, 20.0), ("a", 20.0, 80.0), ("a", 80.0, 320.0)),
        ("b", 5.0, 10.0),
        ("c", 1.0, 2.0),
    ]
    assert data.height == 2 * len(cells)
    assert data["share"].unique().to_list() == [0.5]


def test_spectra_are_thinned_evenly_in_log_steps_and_keep_both_ends() -> None:
    data = spectrum_data(fourier_of({("a", 0): list(range(0, 10_001, 10))}))
    starts = data["start"].unique().sort().to_numpy()
    assert (starts[0], starts[1], starts[-1]) == (5, 10, 10_000)
    assert len(starts) <= 49
    late = starts[starts > 1000]
    np.testing.assert_allclose(late[1:] / late[:-1], 1000 ** (1 / 47), rtol=0.02)


def test_an_embedding_without_a_spectrum_is_not_drawn() -> None:
    table = fourier_of({("a", 0): [0, 10], ("b", 0): [10]}).with_columns(
        pl.when(pl.col("method") == "b").then("share").alias("share")
    )
    assert spectrum_data(table)["method"].unique().to_list() == ["b"]
    assert spectrum_data(table.with_columns(pl.lit(None, pl.Float64).alias("share"))).is_empty()


def test_the_colours_of_all_spectra_mean_the_same() -> None:
    table = fourier_of({("a", 0): [1, 10], ("b", 0): [1, 10]}).with_columns(
        pl.when(pl.col("method") == "b").then(0.9).otherwise("share").alias("share")
    )
    data = spectrum_data(table)
    for method in "ab":
        color = specification(spectrum_chart(data, method))["encoding"]["color"]
        assert color["scale"]["domain"] == [0, 0.9]


def picture_of(rows: list[tuple[str, int, int, int]], **columns: float) -> pl.DataFrame:
    """circle.parquet or pca.parquet: method, seed, step, number; x is the step, y the number."""
    frame = pl.DataFrame(rows, schema=["method", "seed", "step", "number"], orient="row")
    return frame.with_columns(
        x=pl.col("step") + 0.0, y=pl.col("number") + 0.0, **{k: pl.lit(v) for k, v in columns.items()}
    )


def test_circles_are_the_first_seeds_last_and_a_turn_is_place_times_frequency() -> None:
    powers = (1, 3, 2, 6, 4, 5)  # of 3 modulo 7
    table = picture_of([("m", seed, step, n) for seed in (2, 1) for step in (5, 50) for n in powers], frequency=2)
    data = circle_data(table)
    assert data["number"].to_list() == list(powers)
    assert data["x"].unique().to_list() == [50.0]
    assert data["turn"].to_list() == pytest.approx([0, 1 / 3, 2 / 3, 0, 1 / 3, 2 / 3])
    spec = specification(circle_chart(data, "m"))
    axes = spec["layer"][0]["encoding"]
    assert axes["x"]["scale"]["domain"] == axes["y"]["scale"]["domain"], "a circle is round"
    assert axes["x"]["title"] == "cosine of frequency 2"


def test_principal_components_have_the_colours_of_the_circle() -> None:
    circles = circle_data(picture_of([("m", 0, 9, n) for n in (1, 3, 2, 6, 4, 5)], frequency=1))
    rows = [(method, 0, 9, n) for method in ("m", "other") for n in range(7)]
    data = pca_data(picture_of(rows, explained_x=0.5, explained_y=0.25), circles)
    own = data.filter(pl.col("method") == "m").sort("number")
    expected = [None, *(pytest.approx(place / 6) for place in (0, 2, 1, 4, 5, 3))]
    assert own["turn"].to_list() == expected
    assert data.filter(pl.col("method") == "other")["turn"].null_count() == 7
    encoding = specification(pca_chart(data, "m"))["encoding"]
    assert (encoding["x"]["title"], encoding["y"]["title"]) == ("component 1, 50 %", "component 2, 25 %")


@pytest.mark.parametrize("method", ["m", "other"])
def test_a_number_without_a_turn_is_a_grey_dot(method) -> None:
    circles = circle_data(picture_of([("m", 0, 9, n) for n in (1, 2)], frequency=1))
    rows = [(name, 0, 9, n) for name in ("m", "other") for n in range(3)]
    data = pca_data(picture_of(rows, explained_x=0.5, explained_y=0.25), circles)
    svg = vl_convert.vegalite_to_svg(specification(pca_chart(data, method)), vl_version=vega_lite_version())
    assert svg.count('aria-roledescription="point"') == 3
    assert svg.count('fill="#9aa4ad"') == (1 if method == "m" else 3)


def costs_of(rows: list[dict[str, float | str | None]]) -> pl.DataFrame:
    """Runs whose FLOPs are a thousand times their seconds."""
    frame = pl.DataFrame(rows, schema_overrides={"generalized_at": pl.Int64, "start_seconds": pl.Float64})
    return frame.with_columns(
        pl.when(pl.col("generalized_at").is_not_null()).then("train_seconds").alias("train_seconds_to_target"),
        start_flops=1000 * pl.col("start_seconds"),
        flops=1000 * pl.col("train_seconds"),
    ).with_columns(flops_to_target=1000 * pl.col("train_seconds_to_target"))


def test_costs_are_means_of_those_that_reached_the_target_and_of_those_that_did_not() -> None:
    runs = costs_of(
        [
            {"method": "b", "generalized_at": 5, "start_seconds": 1.0, "train_seconds": 4.0},
            {"method": "b", "generalized_at": 7, "start_seconds": 3.0, "train_seconds": 8.0},
            {"method": "b", "generalized_at": None, "start_seconds": 2.0, "train_seconds": 50.0},
            {"method": "a", "generalized_at": 9, "start_seconds": None, "train_seconds": 10.0},
            {"method": "c", "generalized_at": None, "start_seconds": 0.0, "train_seconds": 60.0},
        ]
    )
    expected = [
        *(("a", "reached", 1, "before the first step", 0.0), ("a", "reached", 1, "training", 10.0)),
        *(("b", "reached", 2, "before the first step", 2.0), ("b", "reached", 2, "training", 4.0)),
        *(("b", "not reached", 1, "before the first step", 2.0), ("b", "not reached", 1, "training", 48.0)),
        *(("c", "not reached", 1, "before the first step", 0.0), ("c", "not reached", 1, "training", 60.0)),
    ]
    assert cost_data(runs, ["a", "b", "c"], "seconds").rows() == expected
    flops = cost_data(runs, ["a", "b", "c"], "flops")
    assert flops["cost"].to_list() == [1000 * row[-1] for row in expected]

    chart = cost_chart(cost_data(runs, ["a", "b", "c"], "seconds"), "seconds").properties(width=400)
    svg = vl_convert.vegalite_to_svg(specification(chart), vl_version=vega_lite_version())
    texts = re.findall(r">([^<>]+)</t", svg)
    for words in (
        "a",
        "b",
        "1 not reached",
        "c",
        "10 s",
        "6.00 s",
        "50 s",
        "60 s",
        "before the first step",
        "training",
    ):
        assert words in texts
    assert texts.count("1 not reached") == 2


def test_costs_of_runs_that_were_given_up_are_not_called_those_of_runs_that_did_not_reach_the_target() -> None:
    own = {"method": "a", "start_seconds": 1.0}
    runs = costs_of(
        [
            own | {"status": "given up", "generalized_at": None, "train_seconds": 30.0},
            own | {"status": "censored", "generalized_at": None, "train_seconds": 60.0},
            own | {"status": "given up", "generalized_at": None, "train_seconds": 40.0},
            own | {"status": "generalized", "generalized_at": 5, "train_seconds": 10.0},
        ]
    )
    data = cost_data(runs, ["a"], "seconds")
    wholes = data.group_by("outcome", "runs", maintain_order=True).agg(pl.col("cost").sum()).rows()
    assert wholes == [("reached", 1, 10.0), ("not reached", 1, 60.0), ("given up", 2, 35.0)]
    svg = vl_convert.vegalite_to_svg(specification(cost_chart(data, "seconds")), vl_version=vega_lite_version())
    assert {"a", "1 not reached", "2 given up"} <= {*re.findall(r">([^<>]+)</t", svg)}


def test_a_median_that_there_is_not_since_runs_were_given_up_is_said_to_be_so(synthetic) -> None:
    crossings = {"own": [6000, 7000, None], "none": [None, None, None]}
    runs, curves = synthetic.tables(crossings, evaluations=3)
    is_late = pl.col("generalized_at").is_null() & (pl.col("method") == "own")
    late = runs.with_columns(status=pl.when(is_late).then(pl.lit("given up")).otherwise("status"))
    view = View(synthetic.study(crossings), late, curves, {}, "page")
    (row,) = TIME_TO_TARGET.draw(TIME_TO_TARGET.data(view), view)
    assert row.panels[0].description.endswith("Median: own given up, none not reached.")
    (delays,) = DELAY.draw(DELAY.data(view), view)
    assert "Open: not reached or given up." in delays.panels[0].note


@pytest.mark.parametrize(
    ("starts", "shown"), [([0.0, 0.1], True), ([0.0, None], False), ([0.0, 0.0], False), ([0.0, 0.001], False)]
)
def test_there_is_a_start_if_a_run_had_a_cost_before_its_first_step_that_is_seen(starts, shown) -> None:
    assert has_start(pl.DataFrame({"start_seconds": starts, "train_seconds": [1.0, 1.0]})) is shown
    assert not has_start(pl.DataFrame({"seed": [0]}))


def test_a_legend_names_only_what_is_drawn(synthetic) -> None:
    methods = list(synthetic.AMPLIFIED)
    runs, _ = synthetic.tables(synthetic.AMPLIFIED)
    divergences = divergence_data(synthetic.probes(synthetic.AMPLIFIED, methods[1:])["softmax"])
    seeds = seed_curves_data(runs, divergences, ("step", "median"))
    medians = median_curve_data(runs, divergences, "median")
    bold = specification(curve_chart(seeds, medians, methods, "median", title="nats"))["layer"][1]["encoding"]
    for channel in ("color", "strokeDash"):
        assert bold[channel]["legend"]["values"] == methods[1:]
        assert bold[channel]["scale"]["domain"] == methods, "a method looks the same everywhere"


def weak_and_target(accuracies: list[float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    count = len(accuracies)
    ids = [f"a--seed{seed}" for seed in range(count)]
    runs = pl.DataFrame({"run_id": ids, "method": "a", "seed": range(count), "generalized_at": [40, None, 60][:count]})
    clocks = {"steps": 90, "train_seconds_to_target": 3.0, "train_seconds": 7.0}
    failed = pl.DataFrame({"run_id": ids, "weak": "small", "validation_accuracy": 0.1, "chosen": False})
    chosen = failed.with_columns(weak=pl.lit("large"), validation_accuracy=pl.Series(accuracies), chosen=True)
    return runs.with_columns(**{name: pl.lit(value) for name, value in clocks.items()}), pl.concat([failed, chosen])


def test_the_weak_model_taken_is_set_against_what_the_target_needed() -> None:
    data = quality_data(*weak_and_target([0.3, 0.5, 0.7]))
    assert data.rows() == [
        ("a", 0, "large", pytest.approx(30.0), True, 40, 3.0),
        ("a", 1, "large", pytest.approx(50.0), False, 90, 7.0),
        ("a", 2, "large", pytest.approx(70.0), True, 60, 3.0),
    ]
    png = vl_convert.vegalite_to_png(specification(quality_chart(data, ["a"], "seconds")))
    assert png.startswith(b"\x89PNG")


def test_two_weak_models_make_no_picture() -> None:
    assert quality_data(*weak_and_target([0.3, 0.3, 0.7])).is_empty()


def test_of_very_many_runs_the_first_seeds_of_each_method_have_a_thin_line() -> None:
    runs = pl.DataFrame({"run_id": [f"{m}{s}" for m in "ab" for s in range(500)], "method": ["a"] * 500 + ["b"] * 500})
    runs = runs.with_columns(seed=pl.Series([*range(500, 1000), *range(500)]))
    view = View({"methods": ["a", "b"]}, runs, runs, {}, "page")
    assert view.lines["run_id"].to_list() == [f"{m}{s}" for m in "ab" for s in range(120)]
    assert view.of_lines(runs)["run_id"].to_list() == view.lines["run_id"].to_list()
    few = View({"methods": ["a", "b"]}, runs[:100], runs, {}, "page")
    assert few.lines.height == 100


def test_the_picture_of_a_search_says_in_every_layer_which_line_is_whose():
    """Of layers with one scale, one without a legend takes it from all of them."""
    found = {"any_order": False, "costs": [[3e12, True, 0], [1e12, True, 0]]}
    methods = ["adamw", "grad-norm"]
    data = tuning_data(dict.fromkeys(methods, found), methods)
    for legend in (True, False):
        drawn = tuning_chart(data, methods, "flops", legend=legend).to_dict()
        said = [layer["encoding"]["color"]["legend"] is not None for layer in drawn["layer"]]
        assert said == [legend] * 3


def of_a_search(cost: str, costs: list[float], **about: object) -> dict[str, object]:
    told = [[value, True, 0] for value in costs]
    return {"cost": cost, "any_order": True, "costs": told, "trials": len(costs), **about}


def test_searches_in_two_costs_have_an_axis_each(synthetic) -> None:
    """As a folder has them whose methods were tuned by two commands, in FLOPs and in steps."""
    tuned = {
        "a": of_a_search("flops", [3e12, 1e12]),
        "b": of_a_search("steps", [900, 700], any_order=False),
        "c": of_a_search("flops", [2e12, 4e12], any_order=False),
    }
    crossings = {method: [6000] for method in tuned}
    view = View(synthetic.study(crossings, tuned=tuned), *synthetic.tables(crossings), {}, "page")
    data = TUNING.data(view)
    assert {cost: set(numbers["method"]) for cost, numbers in data.items()} == {"flops": {"a", "c"}, "steps": {"b"}}
    flops, steps = (panel for row in TUNING.draw(data, view) for panel in row.panels)
    assert (flops.name, steps.name) == ("tuning:flops", "tuning:steps")
    assert flops.caption == "Of what was searched in FLOPs: cost to the target after so many trials"
    assert "of a the median over all orders, and the middle 80 % of them; of c as searched. A line" in flops.note
    assert "tuning seeds: as searched. A line" in steps.note
    assert flops.description == "FLOPs to the target of the best setting after all trials: a 1e+12, c 2e+12."
    assert steps.description == "optimizer steps to the target of the best setting after all trials: b 700."
    picture = View(view.study, view.runs, view.curves, {}, "image")
    for row in TUNING.draw(data, picture):
        chart = row.panels[0].chart.to_dict()
        assert chart["layer"][0]["encoding"]["color"]["legend"]["values"] == ["a", "b", "c"], "one legend for both"
    of_one = View(synthetic.study(crossings, tuned={"a": tuned["a"]}), view.runs, view.curves, {}, "page")
    assert [panel.name for panel in TUNING.draw(TUNING.data(of_one), of_one)[0].panels] == ["tuning"]
