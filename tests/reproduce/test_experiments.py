"""What the experiments measure, on cases whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from grokkit.probe.ntk import probe_kernel
from grokkit.probe.path import BUCKETS
from grokkit.reproduce.experiments import (
    find_picture,
    linear_optimizers,
    weak_embedding,
    xor_norm_ratio,
    xor_one_step,
    xor_scales,
)
from grokkit.reproduce.kept import parts_in
from grokkit.testing.runs import small_run, values_of
from grokkit.train.loop import train
from grokkit.xor import xor_task


def test_a_method_that_keeps_displacements_changes_nothing_and_agrees_with_the_path():
    watched = train(small_run("adamw+grokkit.reproduce.experiments.trajectory:DISPLACED"))
    assert values_of(watched) == values_of(train(small_run("adamw")))
    places = np.array(watched.tables["displacement"]["value"]).reshape(-1, BUCKETS)
    lengths, distances = np.linalg.norm(places, axis=1), watched.tables["path"]["distance"][1:]
    # The displacement is that before the step, the path's distance that after it.
    assert all(length < distance for length, distance in zip(lengths, distances, strict=True))
    assert lengths[1:] == pytest.approx(distances[1:], rel=0.25)


def test_the_kernel_s_change_is_the_frobenius_norm_over_the_outputs():
    kernels = iter([torch.eye(2).double(), torch.tensor([[4.0, 2.0], [2.0, 1.0]]).double()])
    view = SimpleNamespace(find_kernel=lambda: next(kernels), memory={}, task=SimpleNamespace(classes=17))
    first, second = (probe_kernel(view)["ntk"]["kernel_change"] for _ in range(2))
    assert first == [None]
    assert second == [pytest.approx(17**0.5 / 17)]  # 3² + 2² + 2² + 0² = 17


def test_one_neuron_serves_a_quarter_and_leaves_the_target_a_half():
    found = xor_one_step.run(0, p=200, n=200, epsilon=0.05, epochs=400, neurons=1)
    assert found["weak"] < 0.32
    assert 0.42 < found["target"] < 0.58
    assert found["solved"] == 0.0
    drawn = find_picture("xor-one-step")(p=200, n=200, epsilon=0.05, epochs=400, neurons=1).to_dict()
    (neuron,) = next(rows for rows in drawn["datasets"].values() if "output" in rows[0])
    assert max(abs(neuron["x"]), abs(neuron["y"])) == pytest.approx(0.5**0.5, abs=0.05), "it points at a cluster"


def test_a_weak_embedding_s_strongest_frequency_is_measured_and_drawn(monkeypatch):
    angles = 2 * torch.pi * 3 * torch.arange(11) / 11
    ring = torch.stack([2 * angles.cos(), 2 * angles.sin()], 1)
    monkeypatch.setattr(weak_embedding, "_embedding", lambda *_: (ring, 0.4))
    asked = {"task": "add:11(layout=operands)", "weak": "fnn(dim=4,width=16)", "stop": 0.4, "train_fraction": 0.5}
    found = weak_embedding.run(0, **asked)
    assert found == {"largest share": pytest.approx(1.0), "frequency": 3, "accuracy": 0.4}
    drawn = weak_embedding.picture(**asked).to_dict()
    plane, components, neighbours = drawn["hconcat"]
    assert (plane["title"], neighbours["title"]) == ("the plane of frequency 3", "t-SNE")
    of_plane, of_components, of_neighbours = (drawn["datasets"][chart["data"]["name"]] for chart in drawn["hconcat"])
    assert len(of_components) == len(of_neighbours) == 11
    assert [row["turn"] for row in of_plane] == pytest.approx([3 * k % 11 / 11 for k in range(11)])
    of_products = weak_embedding.picture(**{**asked, "task": "mul:11(layout=operands)"}).to_dict()
    _, components, _ = of_products["hconcat"]
    rows = of_products["datasets"][components["data"]["name"]]
    assert [row["number"] for row in rows if row["turn"] is None] == [0], "it is on no circle of products"


def test_filtering_gradients_is_filtering_updates_for_a_linear_optimizer_and_not_for_adam():
    found = linear_optimizers.run(0)
    assert found["distance"] < 1e-13
    assert found["distance with adam"] > 0.1
    assert found["distance of the average"] > 0.1, "it begins as the first gradient, and is no filter at rest"


def test_the_norm_ratio_of_weak_networks_falls_with_the_rows_and_is_drawn(tmp_path):
    asked = {"ps": [300, 600], "epsilons": [0.05, 0.1], "ns": [40, 160], "epochs": 400}
    found = xor_norm_ratio.run(0, folder=tmp_path, **asked)
    assert 0.6 < found["exponent of epsilon"] < 1.4
    assert -0.9 < found["exponent of n"] < -0.2
    points = find_picture("xor-norm-ratio")(folder=tmp_path, **asked).to_dict()["layer"][1]
    assert len(xor_norm_ratio.json.loads((tmp_path / "ratios.json").read_text())) == 2 * 2 + 2
    assert points["encoding"]["y"]["title"] == "r_W"


def test_every_seed_of_a_norm_ratio_has_data_of_its_own(monkeypatch, tmp_path):
    pools = []
    for experiment in (xor_norm_ratio, xor_scales):
        monkeypatch.setattr(
            experiment, "xor_task", lambda *args, **more: pools.append(xor_task(*args, **more)) or pools[-1]
        )
    for seed in range(2):
        xor_norm_ratio.run(seed, folder=tmp_path, ps=[50], epsilons=[0.05], ns=[20], epochs=1)
    settings = {"p": 50, "n": 10, "epsilon": 0.05, "ratio_n": 20, "ratio_epsilon": 0.05, "networks": 2, "epochs": 1}
    grid = {"start_scales": [], "stds": [0.1], "output_stds": [0.01], "decays": [0.1]}
    xor_scales.run(0, folder=tmp_path, part=parts_in(tmp_path, {}), **settings, **grid)
    for first, second in (pools[:3:2], pools[-2:]):
        assert not torch.equal(first.signs_Np, second.signs_Np)


def test_a_search_for_a_scale_counts_one_where_most_seeds_hold_under_one_reading(tmp_path):
    """At p = 2,000 a row's own noise weighs little, so that weak networks learn no row by heart and transfer, and a
    network from scratch generalizes as soon as it memorizes."""
    settings = {"p": 2000, "n": 400, "epsilon": 0.05, "ratio_n": 400, "ratio_epsilon": 0.05, "networks": 2}
    grid = {"start_scales": [1.0], "stds": [0.1], "output_stds": [0.01], "decays": [0.1]}
    part = parts_in(tmp_path, settings | grid)
    found = xor_scales.run(0, folder=tmp_path, part=part, **settings, **grid)
    assert found == {"curves": 0.0, "transfer": 1.0, "ratio": 1.0, "all": 0.0}
    kept = tmp_path / "network1.json"
    kept.write_text(
        kept.read_text().replace('"transfer", 0.1, "0.1, 0.01", 1, true', '"transfer", 0.1, "0.1, 0.01", 1, false')
    )
    again = xor_scales.run(0, folder=tmp_path, part=part, **settings, **grid)
    assert again["transfer"] == 0.0, "what is kept is not measured again"
    grid["start_scales"] = []
    other = xor_scales.run(0, folder=tmp_path, part=parts_in(tmp_path, settings | grid), **settings, **grid)
    assert other == {"curves": 0.0, "transfer": 1.0, "ratio": 1.0, "all": 0.0}, "what was not asked is"
    drawn = find_picture("xor-scales")(folder=tmp_path, **settings, **grid).to_dict()
    assert [len(chart["transform"]) for chart in drawn["vconcat"]] == [1, 1, 1]

    tried = [xor_scales._Tried(what, 1.0, "1", seed, True) for what in ("curves", "ratio") for seed in range(5)]
    of_transfer = [xor_scales._Tried("transfer", 0.1, "1", seed, seed < 4) for seed in range(5)]
    assert xor_scales._found([*tried, *of_transfer], [0.1, 1.0], 5)["all"] == 0.0, "of two readings"
    under_one = [xor_scales._Tried("transfer", 1.0, "1", seed, seed < 4) for seed in range(5)]
    assert xor_scales._found([*tried, *under_one], [0.1, 1.0], 5)["all"] == 1.0
    assert xor_scales._found([*tried, *under_one[:3]], [0.1, 1.0], 5)["transfer"] == 0.0


def test_an_experiment_without_a_picture_has_none():
    assert find_picture("filter-memory") is None
