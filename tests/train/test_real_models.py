"""The networks for images, texts and molecules in training: many runs in one program equal runs alone, whatever the
method; on made-up data of the same form as the real ones."""

import pytest
import torch
from groups import METHODS, VALUES, assert_same_run

from grokkit.models.graphconv import BOND_KINDS
from grokkit.tasks import Task
from grokkit.train import problem as problems
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.loop import train, train_group
from grokkit.train.resolve import method_config, model_config, task_config

ROWS = 60


@pytest.fixture(autouse=True)
def no_slow_path():
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def images(generator):
    targets = torch.randint(0, 3, (ROWS,), generator=generator)
    inputs = torch.randn(3, 9, generator=generator)[targets] + torch.randn(ROWS, 9, generator=generator)
    kind = {"inputs": "numbers", "objective": "mse"}
    return {"inputs_NT": inputs, "targets_N": targets, "vocabulary": None, "classes": 3, **kind}


def texts(generator):
    signs = 2.0 * torch.randint(0, 2, (ROWS,), generator=generator) - 1
    tokens = torch.randint(1, 8, (ROWS, 7), generator=generator)
    tokens = torch.where(signs[:, None] > 0, tokens, 8 - tokens)
    tokens *= torch.arange(7) < torch.randint(1, 8, (ROWS, 1), generator=generator)
    kind = {"inputs": "text", "objective": "logistic"}
    return {"inputs_NT": tokens, "targets_N": signs, "vocabulary": 8, "classes": 1, **kind}


def molecules(generator):
    atoms, features = 4, 3
    is_atom = torch.arange(atoms) < torch.randint(1, atoms + 1, (ROWS, 1), generator=generator)
    x = torch.randn(ROWS, atoms, features, generator=generator) * is_atom[..., None]
    bonds = torch.randint(0, 2, (ROWS, atoms, BOND_KINDS, atoms), generator=generator).double()
    bonds *= is_atom[:, :, None, None] * is_atom[:, None, None, :]
    inputs = torch.cat([x, bonds.flatten(2)], -1)
    return {
        "inputs": "molecules",
        "inputs_NT": inputs,
        "targets_N": x.sum((1, 2)),
        "vocabulary": None,
        "classes": 1,
        "objective": "regression",
    }


TASKS = {
    "mlp": ("mlp(width=8,init_scale={scale})", images),
    "lstm": ("lstm(dim=4,width=5,init_scale={scale})", texts),
    "graph-conv": ("graph-conv(width=5,pooled=3,hidden=4,edge_hidden=4,init_scale={scale})", molecules),
}


@pytest.fixture(params=TASKS)
def runs(request, monkeypatch):
    """Make a group of runs of one of the networks, by method."""
    model, data = TASKS[request.param]
    own = data(torch.Generator().manual_seed(0))
    task = Task(name="made up", description="for this test", **own)
    monkeypatch.setattr(problems, "build_task", lambda config, seed=0: task)

    def make(method, seeds=2):
        return [
            RunConfig(
                task=task_config("mul:7", train_size=30),
                model=model_config(model.format(**values)),
                method=method_config(method.format(**values)),
                seed=seed,
                budget=40,
                batch_size=10,
                target_loss=0.01,
                evaluation=EvaluationConfig(every=10),
            )
            for seed, values in zip(range(seeds), VALUES, strict=False)
        ]

    return make


@pytest.mark.parametrize("method", ["grokfast-ema", "neuralgrok", "clipped"])
def test_members_equal_runs_alone(runs, method):
    text = {**METHODS, "clipped": "grad-norm(lr={lr},c={c},max_grad_norm=0.1)"}[method]
    configs = runs(text)
    for member, config in zip(train_group(configs, device="cpu"), configs, strict=True):
        assert_same_run(member, train(config), 1e-6)


def test_they_learn(runs):
    (config,) = runs("adamw(lr=0.01,wd=0,lr_warmup=0)", seeds=1)
    curves = train(config.model_copy(update={"budget": 120, "batch_size": None})).curves
    assert curves["train_loss"][-1] < 0.5 * curves["train_loss"][0]
