"""A run keeps what people look at: of the test part, by the model as it is in the end, alone and in a group alike."""

import pytest
import torch
from groups import assert_same_run

from grokkit.tasks.mnist import MnistTask
from grokkit.train import problem as problems
from grokkit.train.loop import train, train_group
from grokkit.train.problem import build_problem
from grokkit.train.resolve import task_config


@pytest.fixture
def images(monkeypatch):
    """Sixteen pixels, three classes, much noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (200,), generator=generator)
    centres = torch.rand(3, 16, generator=generator)
    inputs = (centres[labels] + 0.5 * torch.randn(200, 16, generator=generator)).clamp(0, 1)
    task = MnistTask(
        name="images",
        inputs="numbers",
        inputs_NT=inputs.to(torch.get_default_dtype()),
        targets_N=labels,
        vocabulary=None,
        classes=3,
        description="for this test",
        objective="mse",
    )
    monkeypatch.setattr(problems, "build_task", lambda config, seed=0: task)
    return task


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def run(tiny, method="adamw", **changes):
    return tiny(method, model="mlp(width=8,init_scale=1)", task=task_config("mul:7", train_size=40), **changes)


def test_the_images_are_misread_ones_of_the_test_part(tiny, images):
    config = run(tiny)
    found = train(config).tables["digits"]
    test = build_problem(config).split.test.tolist()
    assert 0 < len(found["row"]) <= 24
    assert set(found["row"]) <= set(test)
    for row, label, predicted in zip(found["row"], found["label"], found["predicted"], strict=True):
        assert label == int(images.targets_N[row])
        assert predicted != label
    assert "step" not in found


def test_as_many_as_the_final_accuracy_says(tiny, images):
    finished = train(run(tiny, budget=300))
    wrong = round((1 - finished.curves["test_accuracy"][-1]) * len(build_problem(finished.config).split.test))
    assert len(finished.tables["digits"]["row"]) == min(24, wrong)


def test_members_of_a_group_keep_their_own(float64, tiny, images):
    configs = [run(tiny, seed=seed) for seed in (0, 1)]
    members = train_group(configs, device="cpu")
    for member, config in zip(members, configs, strict=True):
        alone = train(config)
        found, expected = member.tables.pop("digits"), alone.tables.pop("digits")
        assert found.pop("margin") == pytest.approx(expected.pop("margin"), rel=1e-6)
        assert found == expected
        assert_same_run(member, alone, 1e-6)


def test_a_run_that_diverged_has_none(tiny, images):
    diverged = train(run(tiny, method="adamw(lr=1e30)"))
    assert diverged.diverged_at is not None
    assert "digits" not in diverged.tables


def test_other_tasks_have_none(tiny):
    tables = train(tiny()).tables.keys()
    assert "digits" not in tables
    assert tables >= {"tensors", "fourier", "circle", "pca", "ntk", "quick_checks"}
