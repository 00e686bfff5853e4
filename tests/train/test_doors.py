"""The five doors of a method: each is opened where it should be, in both engines, and several compose."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from cards import CARDS
from groups import assert_same_run, group_of
from interrupted import Interrupted, curves, interrupt_at

from grokkit import registry
from grokkit.errors import InputError
from grokkit.lab.named import name_of
from grokkit.methods.contract import MethodCard, StartResult
from grokkit.models.classes import classes_of
from grokkit.registry import Part
from grokkit.study.plan import make_plan
from grokkit.train.config import MethodConfig, RunConfig
from grokkit.train.doors import Doors, doors_of
from grokkit.train.groups import plan_groups
from grokkit.train.loop import begin_alone, train, train_group
from grokkit.train.own_part import OwnPart
from grokkit.train.resolve import method_config
from grokkit.train.stackable import is_stackable
from grokkit.transform import GradientTransform
from grokkit.weight_transform import WeightTransform

PROOFS = {"zero-head": "scale=0", "logit-temperature": "tau=2", "muon": "lr=0.05", "row-clip": "c=0.3"}
SHARP = 1e-6


@pytest.mark.parametrize("name", PROOFS)
def test_off_a_run_is_the_bare_optimizer_s_bit_for_bit_and_on_it_is_not(tiny, name):
    off = ",".join(f"{key}={value}" for key, value in CARDS[name].off.items())
    bare = train(tiny("adamw"))
    without, acting = train(tiny(f"{name}({off})")), train(tiny(f"{name}({PROOFS[name]})"))
    assert curves(without) == curves(bare)
    assert without.tables == bare.tables
    assert curves(acting)["test_loss"][-1] != curves(bare)["test_loss"][-1]


@pytest.mark.parametrize("method", [*(f"{name}({on})" for name, on in PROOFS.items()), "zero-head+muon+row-clip(c=1)"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(tiny, tmp_path, method):
    config, checkpoint = tiny(method, budget=30), tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        train(config, report=interrupt_at(11), checkpoint=checkpoint, checkpoint_seconds=-1.0)
    steps = []
    resumed = train(config, checkpoint=checkpoint, report=lambda progress: steps.append(progress["step"]))
    assert steps[0] > 10
    assert curves(resumed) == curves(train(config))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", ["zero-head(scale={lamb})", "logit-temperature(tau={tau})", "row-clip(c={c})"])
def test_members_with_settings_of_their_own_equal_their_runs_alone(float64, method):
    values = [{"lamb": 0.0, "tau": 2.0, "c": 0.3}, {"lamb": 0.5, "tau": 0.7, "c": 1.0}]
    configs = [
        config.model_copy(update={"method": method_config(method.format(**own)), "budget": 60})
        for config, own in zip(group_of("adamw", "fnn"), values, strict=False)
    ]
    assert plan_groups(configs, "cuda:0") == [configs]
    for member, config in zip(train_group(configs, device="cpu"), configs, strict=True):
        assert_same_run(member, train(config), SHARP)


def test_a_composition_s_member_equals_its_run_alone(float64):
    method = method_config("clip-only+grokfast-ema+logit-temperature+row-clip(c=0.5)+zero-head")
    configs = [c.model_copy(update={"method": method, "budget": 60}) for c in group_of("adamw", "fnn")]
    for member, config in zip(train_group(configs, device="cpu"), configs, strict=True):
        assert_same_run(member, train(config), SHARP)


def test_muon_is_trained_alone_and_says_so():
    assert not is_stackable(method_config("muon"))
    runs = [*group_of("adamw", "fnn")[:2], group_of("adamw", "fnn", method=method_config("muon"))[0]]
    assert plan_groups(runs, "cuda:0") == [runs[:2], runs[2:]]
    (run,) = train_group(runs[2:], device="cpu")
    assert run.provenance["plan"] == "alone"


def test_a_step_is_loss_backward_clip_gradient_optimizer_weights(tiny, monkeypatch):
    """By what each door sees: SGD with rate 1 takes from the weights what the gradient's door left of the loss's."""
    seen = []

    def loss():
        return lambda base: lambda outputs, targets: 3.0 * base(outputs, targets)

    def weights():
        def update(params, state):
            seen.append({name: p.clone() for name, p in params.items()})
            return {name: 0.5 * p for name, p in params.items()}, state

        return WeightTransform(lambda params: (), update)

    card = MethodCard(name="made-up", loss=loss, weights=weights)
    doors = Doors([OwnPart(card, {}), OwnPart(CARDS["clip-only"], {"max_norm": 0.25})])
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: doors)
    engine = begin_alone(tiny("adamw(optimizer=sgd,lr=1.0,wd=0,beta1=0,lr_warmup=0,max_grad_norm=0.5)"))
    before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    engine.take_step(engine.members[0].batches.next(), is_last=True)
    (stepped,) = seen
    moved = torch.cat([(before[name] - p).flatten() for name, p in stepped.items()])
    assert float(moved.norm()) == pytest.approx(0.25, rel=1e-4), "clipped by the loop, then by the method"
    for name, p in engine.model.named_parameters():
        torch.testing.assert_close(p.detach(), 0.5 * stepped[name], msg="the weights' door is the last")
    monkeypatch.undo()
    bare = begin_alone(tiny("adamw"))
    bare.take_step(bare.members[0].batches.next(), is_last=True)
    for name, g in engine._raw.items():
        torch.testing.assert_close(g, 3.0 * bare._raw[name], rtol=1e-4, atol=1e-6, msg="raw, of the method's loss")


def test_losses_compose_in_the_order_written():
    def times(factor):
        return MethodCard(name=f"times-{factor}", loss=lambda: lambda base: lambda z, y: factor * base(z, y))

    def plus(term):
        return MethodCard(name=f"plus-{term}", loss=lambda: lambda base: lambda z, y: base(z, y) + term)

    def one(z, y):
        return torch.ones(())

    assert Doors([OwnPart(times(10), {}), OwnPart(plus(1), {})]).loss(one)(0, 0) == 11
    assert Doors([OwnPart(plus(1), {}), OwnPart(times(10), {})]).loss(one)(0, 0) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neuralgrok+grokfast-ema", r"neuralgrok.*grokfast-ema"),
        ("muon+adamw", "adamw is an optimizer only, and muon has one already"),
    ],
)
def test_parts_that_exclude_each_other_are_refused_with_both_names(text, message):
    with pytest.raises(InputError, match=message):
        doors_of(method_config(text))


def test_two_optimizers_and_two_starts_of_one_tensor_are_refused(tiny, monkeypatch):
    other = MethodCard(name="other", optimizer=lambda: lambda classes: None)
    with pytest.raises(InputError, match=r"muon\+other is not possible: one optimizer"):
        Doors([OwnPart(CARDS["muon"], method_config("muon").parts[0].settings), OwnPart(other, {})])

    def start():
        return lambda model, data, seed: StartResult({"head.weight": model.head.weight.detach()})

    again = MethodCard(name="again", start=start)
    doors = Doors([OwnPart(CARDS["zero-head"], {"scale": 0.0}), OwnPart(again, {})])
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: doors)
    with pytest.raises(InputError, match=r"zero-head\+again is not possible: two of them start 'head.weight'"):
        begin_alone(tiny("adamw"))


def test_a_start_with_a_tensor_that_the_model_has_not_is_refused(tiny, monkeypatch):
    start = MethodCard(name="wrong", start=lambda: lambda model, data, seed: StartResult({"head": torch.zeros(3)}))
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: Doors([OwnPart(start, {})]))
    with pytest.raises(InputError, match=r"a start gives 'head' of shape \(3,\), and the model's has None"):
        begin_alone(tiny("adamw"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "a start returned None; it must return a grokkit.methods.StartResult"),
        ({}, "a start returned {}; it must return"),
        (StartResult({}, flops=-1), "a start says that it took flops=-1; it must be a number, 0 or more"),
        (StartResult({}, seconds=torch.ones(1)), "a start says that it took seconds="),
        (StartResult({}, flops=1.5), "a start says that it took flops=1.5"),
        (StartResult({"head.weight": [1.0]}), r"a start gives 'head.weight' as \[1.0\]; it must be a tensor"),
        (
            StartResult({"head.weight": torch.full((13, 32), torch.nan)}),
            "'head.weight' with numbers that are not finite",
        ),
        (StartResult({"head.weight": torch.ones(13, 32) * 1j}), "a start gives 'head.weight' of complex numbers, and"),
    ],
)
def test_a_start_that_returns_no_result_or_no_cost_is_refused(tiny, monkeypatch, returned, message):
    start = MethodCard(name="wrong", start=lambda: lambda model, data, seed: returned)
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: Doors([OwnPart(start, {})]))
    with pytest.raises(InputError, match=message):
        begin_alone(tiny("adamw"))


class Penalized:
    def __call__(self, base):
        return base

    def penalty(self, outputs, targets, weights):
        return outputs[:, 0]


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda base: None, "the loss of wrong makes None of the task's; it must be"),
        (
            lambda base: lambda outputs, targets: None,
            r"the loss of wrong gives None \(is a return missing",
        ),
        (lambda base: lambda outputs, targets: 1.0, "the loss of wrong gives 1.0; it must give the mean over rows"),
        (lambda base: lambda outputs, targets: outputs[:, 0], r"the loss of wrong gives a tensor of shape \(15,\); it"),
        (Penalized(), r"the penalty of wrong gives a tensor of shape \(15,\); it must give the mean"),
    ],
)
def test_a_loss_that_is_not_one_number_is_refused(tiny, monkeypatch, wrap, message):
    doors = Doors([OwnPart(MethodCard(name="wrong", loss=lambda: wrap), {})])
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: doors)
    with pytest.raises(InputError, match=message):
        begin_alone(tiny("adamw")).train_to(1)


@pytest.mark.parametrize("flops", [1.5, -1, None])
def test_operations_that_are_no_number_of_them_are_refused(flops):
    card = MethodCard(name="wrong", flops=lambda shapes, settings: flops)
    with pytest.raises(InputError, match="the flops of wrong are"):
        Doors([OwnPart(card, {})]).flops(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="the flops of wrong are"):  # as a plan asks
        Doors([OwnPart(card, {})]).check(torch.nn.Linear(2, 2), lambda: None)


def test_an_outer_step_s_operations_are_checked_as_well(tiny, monkeypatch):
    monkeypatch.setattr(CARDS["neuralgrok"].bilevel, "flops", lambda self: 0.5)
    with pytest.raises(InputError, match=r"the flops of an outer step of neuralgrok are 0\.5; they must be a whole"):
        begin_alone(tiny("neuralgrok"))


@pytest.mark.parametrize("method", ["grokfast-ema", "grokfast-ema+grad-norm", "neuralgrok", "groktransfer+grokfast-ma"])
@pytest.mark.parametrize(
    ("scale", "ending", "status"),
    [("init_scale=1e38", {}, "diverged"), ("", {"target_loss": 1e9, "sustain": 0}, "generalized")],
)
def test_a_run_without_a_step_keeps_nothing_of_what_was_not_begun(tiny, method, scale, ending, status):
    """It is at the target, or not finite, before its first step."""
    first, *others = method.split("+")
    run = train(tiny("+".join([f"{first}({scale})", *others]), **ending))
    assert (run.steps, run.status) == (0, status)


def test_groktransfer_composes_with_a_zero_head(tiny):
    weak = "groktransfer(weak=random(dim=3))+zero-head"
    engine = begin_alone(tiny(weak))
    names = dict(engine.model.named_parameters())
    assert "token_embeddings.parametrizations.weight.original0" in names
    assert not names["head.weight"].any()


def test_what_a_card_with_a_name_only_does_is_nothing(tiny, monkeypatch):
    bare = train(tiny("adamw"))
    doors = Doors([OwnPart(MethodCard(name="nothing"), {})])
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: doors)
    assert curves(train(tiny("adamw"))) == curves(bare)
    assert MethodCard(name="nothing").hooks == ()
    assert {name: CARDS[name].hooks for name in PROOFS} == {
        "zero-head": ("start",),
        "logit-temperature": ("loss",),
        "muon": ("optimizer",),
        "row-clip": ("weights",),
    }


def test_a_door_that_reads_a_setting_is_run_alone(monkeypatch):
    def loss(power=1.0):
        return lambda base: (lambda z, y: base(z, y)) if power > 0.5 else base

    doors = Doors([OwnPart(MethodCard(name="reads", loss=loss), {"power": 1.0})])
    monkeypatch.setattr("grokkit.train.stackable.doors_of", lambda method: doors)
    assert doors.scalars == ("0/power",)
    assert not is_stackable(method_config("adamw"))


def test_a_model_may_say_the_classes_of_its_parameters(tiny):
    model = begin_alone(tiny("adamw")).model
    found = {kind: list(own) for kind, own in classes_of(model).items()}
    assert found["embedding"] == ["token_embeddings.weight", "position_embeddings.weight"]
    assert found["head"] == ["head.weight"]
    assert all("in_proj_weight" in n or "out_proj.weight" in n or "mlp" in n for n in found["hidden"])
    assert all(p.ndim < 2 for p in classes_of(model)["vector"].values())
    model.parameter_classes = lambda: {"head.weight": "hidden"}
    assert list(classes_of(model)["head"]) == []
    model.parameter_classes = lambda: {"tail.weight": "hidden"}
    with pytest.raises(InputError, match="unknown parameter 'tail.weight'"):
        classes_of(model)
    model.parameter_classes = lambda: {"head.weight": "tail"}
    with pytest.raises(InputError, match="unknown class of head.weight 'tail'"):
        classes_of(model)


def test_the_study_names_whose_optimizer_it_is_and_whose_is_ignored(tiny):
    config = tiny("adamw")
    shared = {name: getattr(config, name) for name in ("task", "model", "budget", "batch_size")}
    methods = ["zero-head+grokfast-ema", "grokfast-ema+muon", "adamw+row-clip"]
    plan = make_plan(methods=methods, seeds=1, baseline=None, command="test", **shared)
    found = {run.method.name: plan.study["methods_detail"][run.method.label] for run in plan.runs}
    assert found["grokfast-ema+zero-head"]["optimizers_ignored"] == []
    assert found["grokfast-ema+zero-head"]["optimizer"]["lr"] == CARDS["grokfast-ema"].base["lr"]
    assert found["grokfast-ema+muon"]["optimizers_ignored"] == ["grokfast-ema"]
    assert found["grokfast-ema+muon"]["optimizer"] == {"optimizer": "muon", "lr_warmup": 10, "max_grad_norm": None}
    assert found["adamw+row-clip"]["optimizer"]["lr"] == CARDS["adamw"].base["lr"]


@pytest.mark.parametrize("setting", ["beta1=0.5", "optimizer=sgd"])
def test_an_optimizer_s_settings_that_would_do_nothing_are_refused(setting):
    with pytest.raises(InputError, match="unknown setting of muon"):
        method_config(f"muon({setting})")
    assert method_config("muon(lr_warmup=3)").optimizer.lr_warmup == 3


def test_a_state_of_weights_with_a_dict_of_other_keys_is_refused(tiny, monkeypatch):
    def door():
        return WeightTransform(lambda params: {"step": 0}, lambda params, state: (dict(params), state))

    card = MethodCard(name="counted", weights=door)
    part = Part("methods", "counted", card, "this process", "1", "counted")
    monkeypatch.setitem(registry._GIVEN, ("methods", "counted"), part)
    assert not is_stackable(method_config("counted"))
    with pytest.raises(InputError, match=r"init\(\) gave a dict in its state with the key 'step', which is no"):
        train(tiny("counted"))


def every_second(params, step):
    """A gradient's or a weight's transform that does something in every second step, by a branch of Python's."""
    moved = {name: 2 * p for name, p in params.items()} if int(step) % 2 else dict(params)
    return moved, step + 1


def begun(params):
    return torch.zeros((), dtype=torch.int64)


def by_a_vector(params, state):
    """It looks at the values of vectors alone."""
    return {name: p / max(1.0, float(p.norm())) if p.ndim == 1 else p for name, p in params.items()}, state


def of_more_classes(outputs, targets):
    return outputs.sum() if outputs.shape[-1] > 2 and bool(outputs.abs().max() > 1e3) else outputs.square().mean()


DOORS_THAT_BRANCH = {
    "loss": lambda: lambda base: of_more_classes,
    "factory": lambda: GradientTransform(begun, lambda grads, state, params: every_second(grads, state)),
    "weights": lambda: WeightTransform(begun, every_second),
    "factory of vectors": lambda: GradientTransform(
        lambda p: (), lambda grads, state, params: by_a_vector(grads, state)
    ),
}


@pytest.mark.parametrize("door", DOORS_THAT_BRANCH)
def test_a_door_that_reads_its_state_is_run_alone(tiny, monkeypatch, door):
    card = MethodCard(name="seldom", **{door.split()[0]: DOORS_THAT_BRANCH[door]})
    monkeypatch.setitem(registry._GIVEN, ("methods", "seldom"), Part("methods", "seldom", card, "here", "1", "seldom"))
    runs = [tiny("seldom", seed=seed) for seed in (0, 1)]
    assert plan_groups(runs, "cuda:0") == [runs[:1], runs[1:]]
    (run,) = train_group(runs[:1], device="cpu")
    assert run.provenance["plan"] == "alone"


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ([1], [1], r"init\(\) gave a state that holds \[1\]; keep tensors, a count of steps for instance as"),
        ((torch.ones(()), 3), (), r"init\(\) gave a state that holds 3 as 1; keep tensors"),
        (torch.ones(()), 0.5, r"update\(\) gave a state that holds 0.5; keep tensors"),
        ((), (torch.ones(()),), r"update\(\) gave a state of another structure than init\(\)"),
    ],
)
def test_a_state_of_weights_that_no_checkpoint_could_hold_is_refused_at_once(tiny, monkeypatch, first, then, message):
    transform = WeightTransform(lambda params: first, lambda params, state: (dict(params), then))
    doors = Doors([OwnPart(MethodCard(name="wrong", weights=lambda: transform), {})])
    monkeypatch.setattr("grokkit.train.alone.doors_of", lambda method: doors)
    with pytest.raises(InputError, match=message):
        begin_alone(tiny("adamw")).train_to(1)


def test_a_state_of_an_optimizer_that_no_checkpoint_could_hold_is_refused_at_the_first_step(tiny):
    class Unkept(torch.optim.SGD):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                self.state[p]["kinds"] = {"a"}

    card = MethodCard(
        name="unkept", optimizer=lambda: lambda classes: Unkept(p for own in classes.values() for p in own.values())
    )
    engine = begin_alone(tiny(name_of("methods", card)))
    with pytest.raises(InputError, match=r"the optimizer's state holds a set .* which no checkpoint can"):
        engine.train_to(1)


@pytest.mark.parametrize("limit", [float("inf"), -float("inf")])
def test_an_infinite_default_is_a_setting_like_another(monkeypatch, limit):
    def door(limit: float = limit):
        return lambda base: base

    card = MethodCard(name="limited", loss=door)
    part = Part("methods", "limited", card, "this process", "1", "limited")
    monkeypatch.setitem(registry._GIVEN, ("methods", "limited"), part)
    config = method_config("limited")
    assert config.parts[0].settings == {"limit": limit}
    written = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))
    assert MethodConfig(**written) == config, "a record has it too"
    with pytest.raises(InputError, match="limit=nan is not possible: a finite number"):
        method_config("limited(limit=nan)")


def test_so_is_one_within_several(monkeypatch, tiny):
    def door(limits: tuple = (0.0, float("inf"))):
        return lambda base: base

    part = Part("methods", "limited", MethodCard(name="limited", loss=door), "this process", "1", "limited")
    monkeypatch.setitem(registry._GIVEN, ("methods", "limited"), part)
    config = tiny("limited")
    written = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))
    assert RunConfig(**written).method.parts[0].settings == {"limits": [0.0, float("inf")]}
    assert RunConfig(**written).run_id() == config.run_id(), "a record is known as that of its run"


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("mode=none", {"mode": "none"}),
        ("kind=none", {"kind": "none"}),
        ("kind=True", {"kind": "True"}),
        ("kind=7", {"kind": "7"}),
        ("maybe=none", {"maybe": None}),
        ("clip=none", {"clip": None}),
        ("clip=2", {"clip": 2.0}),
        ("plain=none", {"plain": None}),
    ],
)
def test_where_a_setting_is_a_word_what_was_typed_is_that_word(monkeypatch, typed, known):
    opened = []

    def door(
        mode: Literal["none", "cosine"] = "cosine",
        kind: str = "fast",
        maybe: str | None = "x",
        clip: float | None = 1.0,
        plain=0.5,
    ):
        opened.append({"mode": mode, "kind": kind, "maybe": maybe, "clip": clip, "plain": plain})
        return lambda base: base

    card = MethodCard(name="worded", loss=door)
    part = Part("methods", "worded", card, "this process", "1", "worded")
    monkeypatch.setitem(registry._GIVEN, ("methods", "worded"), part)
    config = method_config(f"worded({typed})")
    expected = {"mode": "cosine", "kind": "fast", "maybe": "x", "clip": 1.0, "plain": 0.5, **known}
    assert config.parts[0].settings == opened[0] == expected
    assert method_config(config.label) == config, "its label is typed alike"
    with pytest.raises(InputError, match="unknown mode of worded 'off'"):
        method_config("worded(mode=off)")


class Kind(StrEnum):
    MEAN = "mean"


class Member(NamedTuple):
    name: str
    place: int


@pytest.mark.parametrize(
    "usual",
    [Kind.MEAN, Path("a"), {1, 2}, 1j, torch.ones(2), StartResult, Member("a", 1), (1, Kind.MEAN), {"a": 1}],
    ids=["enum", "path", "set", "complex", "tensor", "class", "named tuple", "in a tuple", "dict"],
)
def test_a_default_that_cannot_be_typed_is_refused_when_the_method_is_planned(monkeypatch, usual):
    def door(kind=usual):
        return lambda base: base

    card = MethodCard(name="kinded", loss=door)
    part = Part("methods", "kinded", card, "this process", "1", "kinded")
    monkeypatch.setitem(registry._GIVEN, ("methods", "kinded"), part)
    with pytest.raises(InputError, match="kind of kinded is .* unless told, and a setting is a number"):
        method_config("kinded")


@pytest.mark.parametrize("name", ["lr", "beta1", "held_out", "max_grad_norm"])
def test_a_setting_of_a_door_that_has_the_name_of_one_of_the_training_is_refused(monkeypatch, name):
    """It would be taken for the optimizer's in a command and in a search."""
    names: dict[str, Any] = {}
    exec(f"def door({name}: float = 0.5):\n    return lambda base: base", names)
    card = MethodCard(name="named-so", loss=names["door"])
    monkeypatch.setitem(registry._GIVEN, ("methods", "named"), Part("methods", "named", card, "here", "1", "named"))
    with pytest.raises(InputError, match=f"named-so has a setting {name} of its own, .* e.g. own_{name}$"):
        method_config("named")
