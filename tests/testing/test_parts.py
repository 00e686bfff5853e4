"""Every registered part keeps what its card says; honest simple ones pass; one that does not keep it is told so."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn

from grokkit.lab.named import name_of
from grokkit.methods import MethodCard
from grokkit.methods.contract import StartResult
from grokkit.models import ModelCard
from grokkit.models.graphconv import BOND_KINDS
from grokkit.randomness import global_state
from grokkit.registry import parts
from grokkit.tasks import Task, TaskCard
from grokkit.testing import check_method, check_model, check_store, check_task
from grokkit.testing.methods import METHOD_CHECKS, _Case
from grokkit.testing.runs import MODEL, TASK, check_stacking, small_run
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform

ROWS = 60


def texts():
    generator = torch.Generator().manual_seed(0)
    signs = 2.0 * torch.randint(0, 2, (ROWS,), generator=generator) - 1
    tokens = torch.randint(1, 8, (ROWS, 7), generator=generator)
    tokens = torch.where(signs[:, None] > 0, tokens, 8 - tokens)
    return Task("texts", "text", tokens, signs, 8, 1, "for this test", objective="logistic")


def sequences():
    tokens = torch.randint(0, 5, (ROWS, 1), generator=torch.Generator().manual_seed(0)) + torch.arange(7)
    return Task("sequences", "sequences", tokens[:, :-1] % 5, tokens[:, 1:] % 5, 5, 5, "for this test")


def molecules():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 4, 3, generator=generator)
    bonds = torch.randint(0, 2, (ROWS, 4, BOND_KINDS, 4), generator=generator).float()
    inputs = torch.cat([x, bonds.flatten(2)], -1)
    return Task("molecules", "molecules", inputs, x.sum((1, 2)), None, 1, "for this test", objective="regression")


# Ours of these kinds are read from files; the models are checked on made-up ones.
MADE_UP = {
    "text": TaskCard(name="texts", build=texts, model="bag"),
    "sequences": TaskCard(name="sequences", build=sequences),
    "molecules": TaskCard(name="molecules", build=molecules, model="graph-conv"),
}


@pytest.mark.parametrize("name", parts("methods"))
def test_every_method_passes(name):
    check_method(name)


@pytest.mark.parametrize("name", [name for name, part in parts("tasks").items() if not part.value.reads_files])
def test_every_computed_task_passes(name):
    check_task(name)


@pytest.mark.parametrize("kind", MADE_UP)
def test_a_made_up_task_passes(kind):
    check_task(MADE_UP[kind])


@pytest.mark.parametrize("name", [name for name, part in parts("models").items() if part.value.reads])
def test_every_model_passes(name):
    (kind, *_) = parts("models")[name].value.reads
    check_model(name, task=MADE_UP.get(kind))


def test_members_that_answer_at_every_place_are_what_each_is_alone():
    on, model = name_of("tasks", MADE_UP["sequences"]), "decoder(width=8,heads=2,depth=1)"
    check_stacking([small_run("adamw", on, model, seed=seed, budget=10) for seed in (0, 1)], "sequences")


def test_a_store_passes(tmp_path):
    check_store(tmp_path / "study")


def halves():
    """Without settings, state or ``update_``, and only of matrices."""

    def update(grads, state, params):
        return {name: 0.5 * g if g.ndim > 1 else g for name, g in grads.items()}, state

    return GradientTransform(lambda params: (), update)


def near_start(strength: float = 0.1):
    def init(params):
        return {name: p.clone() for name, p in params.items()}

    def update(params, state):
        return {name: torch.lerp(p, state[name], strength) for name, p in params.items()}, state

    return WeightTransform(init, update)


class Steps(NamedTuple):
    last: dict
    before: dict


def two_back(share=0.5):
    """It hands the last gradient on from one place of its state to the next."""

    def init(params):
        return Steps(*({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2)))

    def update(grads, state, params):
        last, before = dict(state.last), dict(state.before)
        for name, g in grads.items():
            last[name], before[name] = g.clone(), state.last[name]
        return {name: g + share * state.before[name] for name, g in grads.items()}, Steps(last, before)

    return GradientTransform(init, update)


def drawn():
    def start(model, data, seed):
        generator = torch.Generator().manual_seed(seed)
        head = list(model.named_parameters())[-1]
        return StartResult({head[0]: torch.randn(head[1].shape, generator=generator)})

    return start


def doubled():
    return lambda base: lambda outputs, targets: 2.0 * base(outputs, targets)


def momentum(lr: float = 0.1):
    return lambda classes: torch.optim.SGD([p for own in classes.values() for p in own.values()], lr, momentum=0.9)


HONEST = {
    "bare": MethodCard(name="bare"),
    "gradient": MethodCard(name="halves", factory=halves),
    "gradients that are handed on": MethodCard(name="two-back", factory=two_back, off={"share": 0.0}),
    "weights": MethodCard(name="near-start", weights=near_start, off={"strength": 0.0}),
    "start": MethodCard(name="drawn", start=drawn),
    "loss": MethodCard(name="doubled", loss=doubled),
    "optimizer": MethodCard(name="momentum", optimizer=momentum),
}


@pytest.mark.parametrize("door", HONEST)
def test_an_honest_simple_method_passes(door):
    check_method(HONEST[door])


def with_dropout(task, *, width: int = 8):
    """It draws whenever it is trained."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(task.features, width), nn.Dropout(0.5), nn.ReLU(), nn.Linear(width, task.classes)
    )


CHECKED = {
    "an optimizer": partial(check_method, HONEST["optimizer"]),
    "a start that fails": partial(check_method, MethodCard(name="broken", start=lambda: lambda model, data, seed: 1)),
    "a model": partial(check_model, ModelCard(name="dropout", build=with_dropout, reads=("numbers",))),
}


@pytest.mark.parametrize("what", CHECKED)
def test_the_callers_generators_are_as_they_were(what):
    before = global_state()
    with suppress(AssertionError):
        CHECKED[what]()
    after = global_state()
    assert before.others == after.others
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)


@pytest.mark.parametrize("check", ["optimizer", "flops"])
def test_a_check_by_itself_leaves_them_as_well(check):
    before = global_state()
    METHOD_CHECKS[check](_Case("row-clip", TASK, MODEL))
    assert torch.equal(before.tensors["torch"], global_state().tensors["torch"])


def test_what_cannot_be_stacked_is_said_and_is_no_failure(capsys):
    check_method(HONEST["optimizer"])
    assert capsys.readouterr().out.endswith(
        "momentum is not stackable: its runs are trained one by one on a GPU as well\n"
    )
    check_method(HONEST["gradient"])
    assert capsys.readouterr().out == ""


def gradient(update, init=lambda params: ()):
    return lambda: GradientTransform(init, update)


def drawing(scale: float = 0.1):
    def update(grads, state, params):
        return {name: g + scale * torch.randn_like(g) for name, g in grads.items()}, state

    return GradientTransform(lambda params: (), update)


def drawing_again(scale: float = 0.1, seed: int = 0):
    def update(grads, state, params):
        generator = torch.Generator()
        generator.set_state(state)
        drawn = {name: torch.randn(g.shape, generator=generator) for name, g in grads.items()}
        return {name: g + scale * drawn[name] for name, g in grads.items()}, generator.get_state()

    return GradientTransform(lambda params: torch.Generator().manual_seed(seed).get_state(), update)


def test_noise_from_a_generator_whose_state_is_kept_passes():
    check_method(MethodCard(name="drawing-again", factory=drawing_again, off={"scale": 0.0}))


def counting():
    """Its state is where no checkpoint finds it."""
    seen = []

    def update(grads, state, params):
        seen.append(1)
        return {name: g / len(seen) for name, g in grads.items()}, state

    return GradientTransform(lambda params: (), update)


def keeping(weights_of):
    def update(params, state):
        return {name: p - 0.1 * state[name] for name, p in params.items()}, state

    return lambda: WeightTransform(weights_of, update)


def whatever(model, data, seed):
    return StartResult({name: torch.randn(p.shape) for name, p in model.named_parameters()})


def one_of_all(classes):
    return torch.optim.SGD(list(classes["hidden"].values()), 0.1)


def powers(p, times=20):
    """A product that is not needed, as costly as those of Newton and Schulz."""
    if p.ndim != 2:
        return 0.0
    gram = p @ p.T
    for _ in range(times):
        gram = gram @ gram / gram.norm().clamp_min(1e-6)
    return 0.0 * gram.sum()


def squared(grads, state, params):
    return {name: 0.5 * g + powers(g) for name, g in grads.items()}, state


def slow_start(model, data, seed):
    return StartResult({name: 0.5 * p.detach() + powers(p.detach(), 200) for name, p in model.named_parameters()})


def costly_weights(params, state):
    return {name: 0.99 * p + powers(p) for name, p in params.items()}, state


def costly_optimizer(classes):
    class Costly(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    powers(p.grad)
            return super().step(closure)

    return Costly([p for own in classes.values() for p in own.values()], 0.1)


def overwritten(grads, state, params):
    return {name: g.mul_(0.5) for name, g in grads.items()}, state


def ragged(state, gradients):
    return {"mine": {"a": [1.0, 2.0], "b": [1.0]}}


def of_tensors(state, gradients):
    return {"mine": {"a": [g.norm() for g in gradients.values()]}}


HALVES, NEAR = HONEST["gradient"], HONEST["weights"]
FAULTY = {
    "acts: .* no curve differs": MethodCard(name="x", factory=gradient(lambda grads, state, params: (grads, state))),
    "space: unknown setting in the space of x 'power'": MethodCard(name="x", weights=near_start, space="power=0..1"),
    "space: strength=2..1 is not possible": MethodCard(name="x", weights=near_start, space="strength=2..1"),
    "settings: .* strength has no default": MethodCard(name="x", factory=lambda strength: halves()),
    "settings: off has 'lamb', which is a setting of none": replace(HALVES, off={"lamb": 0.0}),
    "off: switched off by {'strength': 0.5}, it changes train_loss": replace(NEAR, off={"strength": 0.5}),
    "gradient: update changed the gradients given": MethodCard(name="x", factory=gradient(overwritten)),
    "gradient: update gave another result the second time": MethodCard(name="x", factory=counting),
    r"weights: the transform's init\(\) gave a state that holds \[1\]; keep tensors": MethodCard(
        name="x", weights=lambda: WeightTransform(lambda params: [1], lambda params, state: (dict(params), state))
    ),
    r"weights: the transform's update\(\) gave a state of another structure": MethodCard(
        name="x", weights=lambda: WeightTransform(lambda params: (), lambda params, state: (dict(params), dict(params)))
    ),
    "gradient: .* the second time; what draws at random takes an argument seed, and keeps": MethodCard(
        name="x", factory=drawing
    ),
    "weights: init keeps a reference": MethodCard(name="x", weights=keeping(dict)),
    "start: .* other tensors the second time": MethodCard(name="unseeded", start=lambda: whatever),
    "optimizer: .* 0 times in place of once": MethodCard(name="partial", optimizer=lambda: one_of_all),
    "the columns of the table mine of the probe of halves are not equally long": replace(HALVES, probe=ragged),
    "column a of the table mine of the probe of halves holds a Tensor; it must hold": replace(HALVES, probe=of_tensors),
    "flops: 10 steps of it have .* beyond the bare optimizer's.* declares 0; .* by MethodCard.flops": MethodCard(
        name="x", factory=gradient(squared)
    ),
    "flops: 10 steps of it have": MethodCard(name="x", factory=gradient(squared), flops=lambda shapes, settings: 1_000),
    "flops: 10 steps .*": MethodCard(name="x", weights=lambda: WeightTransform(lambda params: (), costly_weights)),
    "flops: 10 .*": MethodCard(name="x", optimizer=lambda: costly_optimizer),
    "flops: its start has .* and says that it has 0; .* return StartResult": MethodCard(
        name="x", start=lambda: slow_start
    ),
    "a probe's table cannot be called 'a/b'.*; give it a plain name": replace(
        HALVES, probe=lambda state, gradients: {"a/b": {"a": [1.0]}}
    ),
    "tables: column a of its table mine holds float, str": replace(
        HALVES, probe=lambda state, gradients: {"mine": {"a": [1.0, "one"]}}
    ),
    "the flops of halves are 1.5": replace(HALVES, flops=lambda shapes, settings: 1.5),
    "it fails with .*ZeroDivisionError": MethodCard(name="failing", loss=lambda: lambda base: lambda z, y: 1 / 0),
}


@pytest.mark.parametrize("problem", FAULTY)
def test_a_faulty_method_is_told_what_is_wrong(problem):
    with pytest.raises(AssertionError, match=problem) as caught:
        check_method(FAULTY[problem])
    assert "\n" not in str(caught.value)
