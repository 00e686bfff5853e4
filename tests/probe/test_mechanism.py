"""Probes for the mechanism: the scale of outputs, saturated rows, spectra and the way of the weights, by hand."""

import math

import pytest
import torch

from grokkit.probe.contract import View
from grokkit.probe.logits import logits
from grokkit.probe.path import PATH, sketch
from grokkit.probe.spectra import SPECTRA, spectrum_of
from grokkit.testing.runs import small_run
from grokkit.train.loop import train, train_group


def test_the_scale_is_of_what_a_softmax_sees():
    outputs = torch.tensor([[1.0, 3.0], [10.0, 10.0]])
    assert logits(outputs)["scale"] == [pytest.approx(math.sqrt(0.5))]
    assert logits(outputs + 100.0)["scale"] == [pytest.approx(math.sqrt(0.5))]


@pytest.mark.parametrize(("gap", "full"), [(15.0, 0.0), (16.0, 0.0), (17.0, 1.0), (500.0, 1.0)])
def test_a_row_is_saturated_where_its_softmax_is_exactly_1(gap, full):
    """exp(-16) is above 2^-24 and exp(-17) below it."""
    assert logits(torch.tensor([[gap, 0.0]]))["saturated"] == [full]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)])
def test_spectra_are_those_of_the_singular_values(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    sigma = torch.linalg.svdvals(matrix.double())
    share = sigma / sigma.sum()
    norm, rank = spectrum_of(matrix)
    assert norm == pytest.approx(float(sigma[0]), rel=1e-10)
    assert rank == pytest.approx(float((-share * share.log()).sum().exp()), rel=1e-8)


def test_a_rank_of_two_is_two_and_of_nothing_zero():
    left, _ = torch.linalg.qr(torch.randn(8, 2, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(12, 2, dtype=torch.float64))
    assert spectrum_of(3.0 * left @ right.mT) == (pytest.approx(3.0), pytest.approx(2.0, abs=1e-5))
    assert spectrum_of(torch.zeros(3, 4)) == (0.0, 0.0)
    assert all(math.isnan(found) for found in spectrum_of(torch.tensor([[1.0, math.inf]])))


def view(weights, memory):
    return View(None, weights, {}, {}, None, None, memory)


def test_the_way_is_longer_than_the_distance_and_both_are_true_to_a_few_per_cent():
    torch.manual_seed(0)
    start = {"w": torch.randn(60, 50), "b": torch.randn(40)}
    there, memory = {name: p + 1.0 for name, p in start.items()}, {}
    found = [PATH.probe(view(weights, memory))["path"] for weights in (start, there, start)]
    length = math.sqrt(60 * 50 + 40)
    assert found[0] == {"distance": [0.0], "travelled": [0.0]}
    assert found[1]["distance"] == [pytest.approx(length, rel=0.09)]
    assert found[2]["distance"] == [0.0]
    assert found[2]["travelled"] == [pytest.approx(2 * found[1]["distance"][0])]


def test_a_sketch_is_linear_and_the_same_every_time():
    weights = {"w": torch.arange(6.0).view(2, 3)}
    assert torch.equal(sketch(weights), sketch({"w": weights["w"].clone()}))
    torch.testing.assert_close(sketch({"w": 2 * weights["w"]}), 2 * sketch(weights))


def test_a_run_keeps_the_tables_and_so_does_a_member_of_a_program():
    config = small_run("adamw", budget=10)
    run, (member,) = train(config), train_group([config], device="cpu")
    for table, columns in {
        "logits": ["scale", "saturated"],
        "spectra": ["tensor", "spectral_norm", "effective_rank"],
        "path": ["distance", "travelled"],
    }.items():
        assert list(run.tables[table]) == ["step", *columns]
        for column in columns:
            if column != "tensor":
                assert member.tables[table][column] == pytest.approx(run.tables[table][column], rel=1e-4, abs=1e-6)
    assert SPECTRA.summary
