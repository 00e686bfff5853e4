"""Quick checks in the learning curves: dots where no full evaluation is, within axes that hold them."""

import polars as pl
import pytest

from grokkit.analyse.target import Target
from grokkit.report.curves import median_curve_data, seed_curves_data
from grokkit.report.figure import RUN_KEYS, completed
from grokkit.report.figures.learning import LEARNING_CURVES, learning_chart, quick_checks_data
from grokkit.report.parts import specification

STEPS = [0, 100, 400]
CURVES = pl.DataFrame(
    {
        "run_id": ["a"] * 3,
        "step": STEPS,
        "train_seconds": [1.0, 3.0, 9.0],
        "flops": [0.0, 1e9, 4e9],
        "train_accuracy": [0.0, 0.5, 1.0],
        "test_accuracy": [0.0, 0.0, 0.5],
    }
)
SCHEMA = {**RUN_KEYS, "rows": pl.Int64(), **LEARNING_CURVES.columns["quick_checks"]}
RUNS = pl.DataFrame({"run_id": ["a"], "method": ["adamw"], "seed": [0]})


def checks_at(steps, **columns):
    count = len(steps)
    values = {
        "train_loss": [2.0] * count,
        "train_accuracy": [0.25] * count,
        "test_loss": [3.0] * count,
        "test_accuracy": [0.125] * count,
        **columns,
    }
    of_run = {"run_id": "a", "method": "adamw", "seed": 0, "step": steps, "rows": 128}
    return pl.DataFrame({**of_run, **values}, schema=SCHEMA)


def test_a_look_lies_on_the_costs_between_the_evaluations_around_it():
    data = quick_checks_data(CURVES, checks_at([50, 100, 250, 300]), "accuracy")
    assert data["step"].to_list() == [50, 250, 300], "at 100 a full evaluation followed"
    assert data["train_seconds"].to_list() == pytest.approx([2.0, 6.0, 7.0])
    assert data["flops"].to_list() == pytest.approx([5e8, 2.5e9, 3e9])
    assert data["test_accuracy"].to_list() == [0.125] * 3
    assert data.columns == ["method", "seed", "step", "train_accuracy", "test_accuracy", "train_seconds", "flops"]


def test_losses_that_are_not_finite_are_not_drawn():
    checks = checks_at([50, 60], test_loss=[float("inf"), 0.123456])
    data = quick_checks_data(CURVES, checks, "loss")
    assert data["test_loss"].to_list() == [None, 0.12346]


def test_of_many_looks_a_few_are_drawn():
    data = quick_checks_data(CURVES, checks_at(list(range(101, 400))), "accuracy", points=20)
    assert 10 < data.height <= 20
    assert data["step"].to_list()[:: data.height - 1] == [101, 399]


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
def test_without_looks_there_is_nothing_to_draw(measure):
    assert quick_checks_data(CURVES, completed([LEARNING_CURVES], {})["quick_checks"], measure).is_empty()


def test_the_axis_begins_with_the_first_look_and_the_dots_stand_behind_the_lines():
    """At small batches the first full evaluation after step 0 may come late, and looks are all there is before."""
    seeds = seed_curves_data(
        RUNS, CURVES, columns=("step", "train_seconds", "flops", "train_accuracy", "test_accuracy")
    )
    medians = median_curve_data(RUNS, CURVES, "test_accuracy")
    data = quick_checks_data(CURVES, checks_at([20, 250]), "accuracy")
    chart = learning_chart(seeds, medians, ["adamw"], "test_accuracy", target=Target(0.95, "accuracy"), checks=data)
    spec = specification(chart)
    layers = spec["layer"][1]["layer"]
    assert [layer["mark"]["type"] for layer in layers] == ["circle", "line", "line"]
    assert {tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in layers} == {(20.0, 400.0)}
    assert len(spec["datasets"][layers[0]["data"]["name"]]) == 2
