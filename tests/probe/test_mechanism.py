"""Probes for the mechanism: the scale of outputs, saturated rows, spectra and the way of the weights, by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from grokkit.probe.contract import View
from grokkit.probe.fourier import _in_order, natural_order
from grokkit.probe.logits import logits
from grokkit.probe.path import PATH, sketch
from grokkit.probe.restricted import RESTRICTED
from grokkit.probe.spectra import SPECTRA, spectrum_of
from grokkit.testing.runs import small_run
from grokkit.train.loop import begin_alone, begin_together, train, train_group


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


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 2, 2)])
def test_a_matrix_without_entries_has_no_singular_value(shape):
    found = SPECTRA.probe(view({"w": torch.eye(2), "none": torch.empty(shape)}, {}))["spectra"]
    assert found == {"tensor": ["w", "none"], "spectral_norm": [1.0, 0.0], "effective_rank": [2.0, 0.0]}


def test_of_complex_weights_both_parts_count():
    weight = torch.tensor([[2.0j, 0.0], [0.0, 1.2 - 1.6j]])
    assert spectrum_of(weight) == (pytest.approx(2.0), pytest.approx(2.0))
    assert spectrum_of(weight[:1]) == spectrum_of(weight[:1].mT) == (pytest.approx(2.0), pytest.approx(1.0))
    assert float(sketch({"w": weight[:1, :1]}).norm()) == pytest.approx(2.0, rel=1e-6)


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


@pytest.mark.parametrize("operators", [("+",), ("*",)])
def test_an_embedding_is_restricted_to_its_five_largest_frequencies_and_to_all_others(operators):
    """Of 29 numbers in cyclic order, each frequency in two dimensions of its own; even ones are larger."""
    count = 29 if operators == ("+",) else 28
    frequencies = torch.arange(1, count // 2 + 1)
    sizes = torch.where(frequencies % 2 == 0, 20.0 - frequencies, 1.0)
    angles = 2 * math.pi * torch.outer(torch.arange(count), frequencies).double() / count
    in_order = torch.stack([angles.cos() * sizes, angles.sin() * sizes], 2).flatten(1)
    embedding = torch.randn(31, in_order.shape[1], dtype=torch.float64)  # two tokens are no numbers
    numbers = _in_order(embedding[:29], natural_order(operators, 29))[1]
    embedding[numbers] = in_order + 3.0
    asked = []
    seen = View(SimpleNamespace(modulus=29, operators=operators), {}, {}, {}, lambda: embedding, None)
    seen.accuracy_with = lambda other: asked.append(other) or 0.5
    found = RESTRICTED.probe(seen)["restricted"]
    assert found["restricted_accuracy"] == found["excluded_accuracy"] == [0.5]
    kept = torch.zeros_like(in_order)
    for k in (2, 4, 6, 8, 10):
        kept[:, 2 * k - 2 : 2 * k] = in_order[:, 2 * k - 2 : 2 * k]
    for other, expected in zip(asked, (kept, in_order - kept), strict=True):
        torch.testing.assert_close(other[numbers], expected + 3.0)
        untouched = [row for row in range(31) if row not in numbers]
        assert torch.equal(other[untouched], embedding[untouched])


def test_with_its_own_embedding_a_model_is_as_accurate_as_it_is():
    engine = begin_alone(small_run("adamw", task="add:13"))
    engine.train_to(20)
    (own,) = engine.views([0])
    assert own.accuracy_with(own.find_embedding()) == engine.score([0], "quick test")[0][1] > 0
    assert own.accuracy_with(torch.zeros_like(own.find_embedding())) != engine.score([0], "quick test")[0][1]


def test_a_run_keeps_the_tables_and_so_does_a_member_of_a_program():
    config = small_run("adamw", task="add:13", budget=10)
    run, (member,) = train(config), train_group([config], device="cpu")
    for table, columns in {
        "logits": ["scale", "saturated"],
        "spectra": ["tensor", "spectral_norm", "effective_rank"],
        "path": ["distance", "travelled"],
        "restricted": ["restricted_accuracy", "excluded_accuracy", "key_share"],
    }.items():
        assert list(run.tables[table]) == ["step", *columns]
        for column in columns:
            if column != "tensor":
                assert member.tables[table][column] == pytest.approx(run.tables[table][column], rel=1e-4, abs=1e-6)
    assert SPECTRA.summary


NETWORKS = """
import torch
from torch import nn
from grokkit.models.card import ModelCard

class OwnTable(nn.Module):  # no nn.Embedding, no nn.Linear
    def __init__(self, task):
        super().__init__()
        self.table = nn.Parameter(torch.randn(task.vocabulary, 4))
        self.head = nn.Parameter(torch.randn(4 * task.tokens, task.classes))
        self.spare = nn.Parameter(torch.randn(3))

    def forward(self, tokens):
        return self.table[tokens].flatten(1) @ self.head

class Numbers(nn.Module):  # its first layer has a row a place, and none for each number
    def __init__(self, task):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(task.tokens, 8), nn.ReLU(), nn.Linear(8, task.classes))

    def forward(self, tokens):
        return self.layers(tokens.float())

class Clipped(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.table = nn.Embedding(task.vocabulary, 4, max_norm=1.0)
        self.head = nn.Linear(4 * task.tokens, task.classes)

    def forward(self, tokens):
        return self.head(self.table(tokens).flatten(1))

class Summed(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.bag = nn.EmbeddingBag(task.vocabulary, 8, mode="sum")
        self.head = nn.Linear(8, task.classes)

    def forward(self, tokens):
        return self.head(self.bag(tokens))

SUMMED = ModelCard(name="summed", build=Summed, reads=("expressions",), stackable=True)
"""


@pytest.mark.parametrize("network", ["OwnTable", "Numbers", "Clipped"])
def test_anybodys_network_is_trained_and_probed_for_what_it_has(tmp_path, network):
    (tmp_path / "nets.py").write_text(NETWORKS)
    run = train(small_run(task="mul:13", model=f"{tmp_path / 'nets.py'}:{network}", budget=1))
    assert run.steps == 1
    assert {"ntk", "path", "logits", "tensors"} <= run.tables.keys()
    assert not {"fourier", "circle", "pca", "restricted"} & run.tables.keys()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_bag_of_embeddings_has_a_row_a_token_in_a_program_as_well(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORKS)
    config = small_run(task="add:13", model=f"{tmp_path / 'nets.py'}:SUMMED")
    table = begin_alone(config).model.bag.weight
    for engine in (begin_alone(config), begin_together([config])):
        (own,) = engine.views([0])
        torch.testing.assert_close(own.find_embedding(), table.detach())
        assert own.accuracy_with(own.find_embedding()) == engine.score([0], "quick test")[0][1]
