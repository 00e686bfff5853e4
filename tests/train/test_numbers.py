"""Runs on the tasks that are no modular arithmetic: parity and XOR clusters, through the whole of the lab."""

import pytest
import torch
from interrupted import Interrupted, interrupt_at

from grokkit.errors import InputError
from grokkit.train.config import EvaluationConfig, RunConfig, checked
from grokkit.train.loop import train, train_group
from grokkit.train.optimizers import build_optimizer
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_model

XOR = {"task": task_config("xor:300", train_size=100), "model": model_config("two-layer(width=32)")}
PARITY = {"task": task_config("parity:10,2", train_size=200), "model": model_config("fnn(dim=8,width=32)")}


def config(setting, method, seed=0, **changes):
    settings = {
        "method": method_config(method),
        "seed": seed,
        "budget": 60,
        "batch_size": None,
        "evaluation": EvaluationConfig(every=5),
    }
    return RunConfig(**{**settings, **setting, **changes})


def test_a_train_size_is_the_number_of_training_rows():
    problem = build_problem(config(PARITY, "adamw"))
    assert len(problem.split.train) == len(problem.inner) == 200
    assert len(problem.split.validation) == 102, "a tenth of 1,024"


def test_parity_is_learned():
    run = train(config(PARITY, "adamw(lr=0.01,wd=0.1)", budget=400))
    assert run.curves["train_loss"][0] == pytest.approx(0.693, abs=0.02), "logistic, before anything is learned"
    assert run.status == "generalized"


def test_xor_memorizes_first_and_generalizes_later():
    task, model = task_config("xor:20000", train_size=200), model_config("two-layer(width=64,init_scale=2)")
    run = train(config({"task": task, "model": model}, "gd", budget=300, evaluation=EvaluationConfig(every=5, share=5)))
    assert run.curves["train_loss"][0] == pytest.approx(1.0, abs=0.02), "exponential, before anything is learned"
    assert run.events.memorized_at <= 10
    assert run.status == "generalized"
    assert run.events.delay_steps >= 30


def test_a_run_on_xor_is_gradient_descent_with_the_matrix():
    run_config = config(XOR, "gd")
    problem = build_problem(run_config)
    model = build_model(run_config.model, problem.task, run_config.seed)
    optimizer = build_optimizer(run_config.method.optimizer, model)
    points_Pp = torch.cat(list(problem.task.columns()), 1)
    rows = problem.inner
    # There are more points than coordinates, so that their products with W_0 tell what it is.
    w_Mp = torch.linalg.lstsq(points_Pp.double(), model.start.detach().double(), driver="gelsd").solution.T.clone()
    w_Mp.requires_grad_()
    for _ in range(40):
        optimizer.zero_grad()
        problem.task.loss(model(problem.task.inputs_NT[rows]), problem.task.targets_N[rows]).backward()
        optimizer.step()
        outputs = torch.relu(points_Pp[rows].double() @ w_Mp.T) @ model.output.double()
        loss = problem.task.loss(outputs[:, None], problem.task.targets_N[rows].double())
        (gradient,) = torch.autograd.grad(loss, [w_Mp])
        with torch.no_grad():
            w_Mp -= 0.1 * (gradient + 0.1 * w_Mp)
    expected = torch.relu(points_Pp[:-2].double() @ w_Mp.T) @ model.output.double()
    torch.testing.assert_close(model(problem.task.inputs_NT)[:, 0].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("setting", "method"),
    [
        (XOR, "gd"),
        (XOR, "gd(beta1=0.5)"),
        (XOR, "grokfast-ema(optimizer=sgd,lr=0.1,wd=0.1,beta1=0)"),
        (PARITY, "adamw(lr=0.01,wd=0.1)"),
    ],
)
def test_together_as_alone(setting, method):
    configs = [config(setting, method, seed) for seed in range(3)]
    for member, own in zip(train_group(configs, device="cpu"), configs, strict=True):
        alone = train(own)
        assert member.curves["step"] == alone.curves["step"]
        for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
            assert member.curves[name] == pytest.approx(alone.curves[name], rel=1e-4), name
    assert alone.curves["train_loss"][-1] < 0.98 * alone.curves["train_loss"][0]


def test_interrupted_and_resumed(tmp_path):
    whole = train(config(XOR, "gd"))
    with pytest.raises(Interrupted):
        train(config(XOR, "gd"), report=interrupt_at(30), checkpoint=tmp_path / "run", checkpoint_seconds=-1)
    resumed = train(config(XOR, "gd"), checkpoint=tmp_path / "run")
    for name in ("step", "train_loss", "test_loss"):
        assert resumed.curves[name] == whole.curves[name]


@pytest.mark.parametrize(
    "method", ["adamw", "gd(max_grad_norm=1)", "gd(optimizer=adam)", "grad-norm(optimizer=sgd)", "grokfast-ema"]
)
def test_two_layer_takes_nothing_but_descent(method):
    own = method_config(method)
    with pytest.raises(
        InputError,
        match=r"^two-layer can only be trained by updates .* linear .* has others; take sgd .* gd or grokfast",
    ):
        checked(RunConfig, "compare", method=own, seed=0, budget=10, batch_size=None, **XOR)


@pytest.mark.parametrize(
    ("spec", "model", "message"),
    [
        (
            "parity:10,2",
            "decoder",
            "decoder cannot be trained on 'parity:10,2': .* inputs are numbers; take --model fnn or mlp$",
        ),
        (
            "parity:10,2",
            "lstm",
            "lstm cannot be trained on 'parity:10,2': .* inputs are numbers; take --model fnn or mlp$",
        ),
        ("xor:30", "fnn", "fnn cannot be trained on 'xor:30': .* inputs are points; take --model two-layer$"),
        ("mul:7", "two-layer", r"two-layer cannot be trained on 'a\*b mod 7': .*; take --model decoder or fnn$"),
        ("mul:7", "mlp", r"mlp cannot be trained on 'a\*b mod 7': .*; take --model decoder or fnn$"),
        ("mul:7", "graph-conv", r"graph-conv cannot be trained on 'a\*b mod 7': .*; take --model decoder or fnn$"),
    ],
)
def test_a_model_that_cannot_read_the_task(spec, model, message):
    run_config = config(PARITY, "gd", task=task_config(spec), model=model_config(model))
    with pytest.raises(InputError, match=message):
        build_model(run_config.model, build_problem(run_config).task, 0)
