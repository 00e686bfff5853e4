"""Where neurons point: of the same network, what the matrix W has on the two coordinates, and its picture."""

import math
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from grokkit.xor.measures import signal_weights
from grokkit.xor.neurons import MOST, probe_neurons
from grokkit.xor.neurons_figure import neurons_chart, neurons_data
from grokkit.xor.task import xor_task
from grokkit.xor.two_layer import TwoLayer, start_products


def network(neurons, output_M=None):
    task = xor_task(60, rows=40)
    generator = torch.Generator().manual_seed(0)
    products = start_products(task.columns(), 40, neurons=neurons, std=0.1, generator=generator)
    model = TwoLayer(products, dim=60, output_M=output_M)
    with torch.no_grad():
        model.coefficients.copy_(0.01 * torch.randn(40, neurons, generator=generator))
    return task, model


def test_it_is_what_w_has_on_the_two_coordinates():
    task, model = network(3, output_M=torch.tensor([0.5, -2.0, 1.0]))
    table = probe_neurons(SimpleNamespace(task=task, weights=dict(model.named_parameters())))["neurons"]
    assert table["neuron"] == [0, 1, 2]
    assert table["output"] == [0.5, -2.0, 1.0]
    assert torch.tensor([table["x"], table["y"]]).double() == pytest.approx(signal_weights(model), abs=1e-6)


def test_of_many_neurons_the_longest_are_kept_with_their_fixed_outputs():
    task, model = network(MOST + 30)
    table = probe_neurons(SimpleNamespace(task=task, weights=dict(model.named_parameters())))["neurons"]
    lengths = signal_weights(model).norm(dim=0)
    assert set(table["neuron"]) == set(lengths.argsort(descending=True)[:MOST].tolist())
    assert [value > 0 for value in table["output"]] == [neuron % 2 == 0 for neuron in table["neuron"]]


def test_other_tasks_have_no_such_table():
    _, model = network(3)
    assert probe_neurons(SimpleNamespace(task=object(), weights=dict(model.named_parameters()))) == {}


def test_the_last_evaluation_of_the_first_seed_is_drawn_with_the_longest_of_length_one():
    rows = [
        ("a", 0, 0, 9.0, 0.0, 1.0),
        ("a", 0, 5, 3.0, 4.0, 1.0),
        ("a", 0, 5, 0.0, -1.0, -1.0),
        ("a", 1, 5, 7.0, 0.0, 1.0),
    ]
    table = pl.DataFrame(rows, schema=["method", "seed", "step", "x", "y", "output"], orient="row")
    data = neurons_data(table)
    assert data.rows() == [("a", 0.6, 0.8, "positive"), ("a", 0.0, -0.2, "negative")]
    drawn = neurons_chart(data.drop("method")).to_dict()
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["point", "rule", "point"]


def test_neurons_of_a_run_that_diverged_are_left_out():
    shared = {"method": "gd", "seed": 0, "step": 10, "output": 1.0}
    lengths = [(3.0, 4.0), (math.nan, 1.0), (0.0, math.inf)]
    data = neurons_data(pl.DataFrame([{**shared, "x": x, "y": y} for x, y in lengths]))
    assert data.rows() == [("gd", 0.6, 0.8, "positive")]
