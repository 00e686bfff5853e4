"""Somebody's own optimizer as a setting of a method: found, checked, run alone, resumed, and in the identity."""

import importlib
import sys

import pytest
import torch
from interrupted import Interrupted, curves, interrupt_after

from grokkit import registry
from grokkit.errors import InputError
from grokkit.study.plan import make_plan
from grokkit.study.question import asked
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.costs import Costs
from grokkit.train.groups import can_share, plan_groups
from grokkit.train.loop import begin_alone, train
from grokkit.train.optimizers import build_optimizer
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_model

MINE = """
import torch
from grokkit.methods import MethodCard
from grokkit.optimizers import OptimizerCard

class Kept(torch.optim.Optimizer):
    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["means"] = [torch.zeros_like(p), {"slow": torch.zeros_like(p)}]
                fast, slow = state["means"][0], state["means"][1]["slow"]
                fast.lerp_(p.grad, 0.1)
                slow.lerp_(p.grad, 1 / group["count"])
                p.data.mul_(1 - group["lr"] * group["wd"]).sub_(group["lr"] * (fast + slow))

def kept(parameters, lr: float = 0.1, wd: float = 0.0, precondition: int = 10):
    if precondition < 1:
        raise ValueError("precondition too small")
    return Kept(parameters, {"lr": lr, "wd": wd, "count": 0})

def flops(shapes, settings):
    return settings["precondition"] * sum(shape.numel() for shape in shapes.values())

CARD = OptimizerCard(name="kept", summary="Two means.", make=kept, flops=flops)
FLOAT = OptimizerCard(name="float", make=kept, flops=lambda shapes, settings: 1e6)
METHOD = MethodCard(name="no-optimizer")
NUMBER = 3

def nothing(parameters, lr: float = 0.1):
    return None

def needs(parameters, size: int):
    return torch.optim.SGD(parameters, size)

def dtype(parameters, of=torch.float32):
    return torch.optim.SGD(parameters, 0.1)

class Breaks(Kept):
    def step(self, closure=None):
        raise RuntimeError("no step")

def breaks(parameters):
    return Breaks(parameters, {"lr": 0.1})
"""

KEEPER = """
import torch

class Keeper(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        self.state.setdefault("k", torch.zeros((), dtype=torch.int64))
        self.state["k"] += 1
        for group in self.param_groups:
            group["sum"] = group.get("sum", torch.zeros(1)) + 1
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["seen"] = torch.zeros_like(p, dtype=torch.bool)
                    state["exact"] = torch.zeros_like(p, dtype=torch.float64)
                    state["means"] = {0: torch.zeros_like(p), 1: torch.zeros_like(p)}
                state["seen"] |= p.grad > 0
                state["exact"] += p.grad.double() / 3
                state["means"][int(self.state["k"]) % 2] += p.grad
                sums = state["seen"] * state["means"][0] + state["means"][1] + state["exact"].float()
                p -= group["lr"] * sums / (group["sum"] + self.state["k"])

def keeper(parameters, lr: float = 0.1):
    return Keeper(parameters, {"lr": lr})
"""

HALVING = """
import torch

class Halving(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            group["lr"] *= 0.5

def halving(parameters):
    return Halving(parameters, lr=1.0)
"""

ADAGRAD = """import torch
def adagrad(parameters, lr: float = 0.05):
    return torch.optim.Adagrad(parameters, lr)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_the_bare_three_keep_their_identities():
    texts = ["adamw", "adam-l2(lr=0.002)", "grokfast-ema(optimizer=sgd,lr=0.1,beta1=0)"]
    assert [usual_run(text).hash() for text in texts] == ["54052abd67d0", "147d34db575b", "d05cfcd68441"]


def usual_run(text):
    model = model_config("fnn")
    return RunConfig(
        task=task_config("mul:97", model),
        model=model,
        method=method_config(text),
        seed=0,
        budget=100,
        batch_size=None,
    )


def test_equal_optimizers_have_one_identity(mine, tiny):
    texts = [
        "adamw(optimizer=mine.py:CARD(lr=1,precondition=10))",
        "adamw(lr=1.0,optimizer=mine.py:CARD)",
        "adamw(optimizer=mine.py:CARD( lr = 1.0, wd=0 ),lr_warmup=10)",
        f"adamw(optimizer={mine}:CARD(lr=1))",
    ]
    runs = [tiny(text) for text in texts]
    assert len({run.hash() for run in runs}) == 1
    assert {run.method.label for run in runs} == {"adamw(optimizer=mine.py:CARD(lr=1))"}
    assert runs[0].method.optimizer.settings == {"lr": 1.0, "wd": 0.0, "precondition": 10}
    assert method_config(runs[0].method.label) == method_config(texts[1])
    others = ["adamw", "adamw(optimizer=mine.py:CARD)", "adamw(optimizer=mine.py:CARD,lr=1,lr_warmup=0)"]
    assert len({run.hash() for run in [runs[0], *map(tiny, others)]}) == 4
    assert RunConfig.model_validate_json(runs[0].model_dump_json()) == runs[0]
    assert str(mine.parent) not in str(runs[0].identity())


def test_a_changed_file_is_another_run(mine, tiny):
    before = tiny("adamw(optimizer=mine.py:CARD)")
    mine.write_text(MINE.replace("0.1)\n                slow", "0.2)\n                slow"))
    assert tiny("adamw(optimizer=mine.py:CARD)").hash() != before.hash()
    with pytest.raises(InputError, match="is not what it was when this run was planned"):
        registry._checked(registry.find("optimizers", "mine.py:CARD"), before.method.optimizer.code)


def test_ours_may_be_written_as_a_call():
    assert method_config("adamw(optimizer=sgd(lr=0.1,beta1=0))") == method_config("adamw(optimizer=sgd,lr=0.1,beta1=0)")


@pytest.mark.parametrize("method", ["adamw", "grokfast-ema"])
def test_interrupted_and_resumed_is_bit_for_bit_the_same(mine, tiny, tmp_path, method):
    config = tiny(f"{method}(optimizer=mine.py:CARD(wd=0.1))")
    whole = train(config)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for evaluations in (2, 3):
        with pytest.raises(Interrupted):
            train(config, report=interrupt_after(evaluations), checkpoint=checkpoint, checkpoint_seconds=0)
    reports = []
    resumed = train(config, report=reports.append, checkpoint=checkpoint, checkpoint_seconds=1e9)
    assert curves(resumed) == curves(whole)
    assert len(reports) == 9 - 2 - 3, "it went on, and did not start again"


@pytest.mark.parametrize("method", ["adamw", "grokfast-ema"])
def test_what_an_optimizer_keeps_goes_on_whatever_it_is_of_and_where_it_lies(mine, tiny, tmp_path, method):
    """Masks and sums of another type than the weights, by numbers, beside a group's settings (as Prodigy's), and of no
    parameter (as MADGRAD's)."""
    mine.with_name("keeper.py").write_text(KEEPER)
    config = tiny(f"{method}(optimizer=keeper.py:keeper)", model="fnn(dim=4,width=8)", budget=20)
    checkpoint, whole = tmp_path / "checkpoint.safetensors", train(config)
    with pytest.raises(Interrupted):
        train(config, report=interrupt_after(2), checkpoint=checkpoint, checkpoint_seconds=0)
    notes = []
    assert curves(train(config, checkpoint=checkpoint, notice=notes.append)) == curves(whole)
    assert [note["note"] for note in notes] == ["goes on at step 5 of 20"]


def test_a_class_of_torch_optim_trains_as_ours_with_warm_up_and_clip(tiny):
    """``torch.optim:SGD`` is our sgd, warm-up and clip included; the fused kernel rounds otherwise."""
    ours = train(tiny("adamw(optimizer=sgd,lr=0.3,wd=0,beta1=0,lr_warmup=20,max_grad_norm=0.5)"))
    theirs = train(tiny("adamw(optimizer=torch.optim:SGD(lr=0.3),lr_warmup=20,max_grad_norm=0.5)"))
    unclipped = train(tiny("adamw(optimizer=torch.optim:SGD(lr=0.3),lr_warmup=20)"))
    for one, other in zip(ours.curves["train_loss"], theirs.curves["train_loss"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert unclipped.curves["train_loss"][-1] != pytest.approx(theirs.curves["train_loss"][-1], rel=1e-3)


@pytest.mark.parametrize("warm_up", [0, 4])
def test_a_schedule_of_the_optimizers_own_goes_on_and_is_resumed(mine, tiny, tmp_path, warm_up):
    mine.with_name("halving.py").write_text(HALVING)
    config = tiny(f"adamw(optimizer=halving.py:halving,lr_warmup={warm_up})", model="fnn(dim=4,width=8)", budget=20)
    engine = begin_alone(config)
    rates = []
    for step in range(8):
        engine.train_to(step + 1)
        rates += [group["lr"] for group in engine.optimizer.param_groups]
    # The first step of a warm-up has the rate 0, of which a half is 0 as well.
    assert rates == pytest.approx([0.5 ** (step if warm_up else step + 1) for step in range(8)])
    checkpoint, whole = tmp_path / "checkpoint.safetensors", train(config)
    with pytest.raises(Interrupted):
        train(config, report=interrupt_after(2), checkpoint=checkpoint, checkpoint_seconds=0)
    assert curves(train(config, checkpoint=checkpoint)) == curves(whole)


def test_adagrad_by_a_file_of_three_lines(mine, tiny):
    mine.with_name("ada.py").write_text(ADAGRAD)
    config = tiny("adamw(optimizer=ada.py:adagrad(lr=0.1))")
    optimizer = build_optimizer(config.method.optimizer, torch.nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.Adagrad)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1]
    losses = train(config).curves["train_loss"]
    assert losses[-1] < losses[0]


def test_it_runs_alone_and_its_products_are_counted(mine, tiny):
    config, plain = tiny("adamw(optimizer=mine.py:CARD(precondition=7))"), tiny("adamw")
    assert can_share(plain)
    assert not can_share(config)
    assert [len(group) for group in plan_groups([config, config], "cuda:0")] == [2], "the same run twice"
    other = tiny("adamw(optimizer=mine.py:CARD(precondition=7))", seed=1)
    assert [len(group) for group in plan_groups([config, other], "cuda:0")] == [1, 1]
    model = build_model(config.model, build_problem(config).task, 0)
    entries = sum(p.numel() for p in model.parameters())
    costs = [Costs(run.method, model).step(16, 4) for run in (config, plain)]
    assert costs[0] - costs[1] == 7 * entries


def test_only_sgd_of_ours_is_linear(mine, tiny):
    with pytest.raises(ValueError, match="linear in the gradients"):
        tiny("gd(optimizer=mine.py:CARD)", model="two-layer", task=usual_run("adamw").task)


def test_an_entry_point_names_one(tmp_path, monkeypatch, tiny):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strangers.py").write_text(MINE)
    info = tmp_path / "strangers-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.5\n")
    (info / "top_level.txt").write_text("strangers\n")
    (info / "entry_points.txt").write_text("[grokkit.optimizers]\nkept = strangers:CARD\nadam = strangers:CARD\n")
    importlib.invalidate_caches()
    registry._registered.cache_clear()
    try:
        config = tiny("adamw(optimizer=kept(lr=0.2))")
        assert (config.method.optimizer.name, config.method.label) == ("kept", "adamw(optimizer=kept(lr=0.2))")
        assert "1.5" in config.method.optimizer.code
        assert config.hash() != tiny("adamw(optimizer=strangers:CARD(lr=0.1))").hash()
        assert "that name is grokkit's already" in registry.broken("optimizers")["adam"]
    finally:
        registry._registered.cache_clear()
        sys.modules.pop("strangers", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamx", "unknown optimizer 'adamx'"),
        ("3", "unknown optimizer '3'"),
        ("mine.py", "mine.py is a file"),
        (
            "torch.optim:Adagrda",
            r"unknown name in torch.optim 'Adagrda'; did you mean 'Adagrad'\? dir\(torch.optim\) lists all",
        ),
        ("mine.py:CARDS", "unknown name in mine.py 'CARDS'; did you mean 'CARD'"),
        ("mine.py:NUMBER", "NUMBER in mine.py is a int"),
        ("mine.py:METHOD", "METHOD in mine.py is a MethodCard"),
        ("mine.py:CARD(decay=1)", "unknown setting of kept 'decay'"),
        ("mine.py:CARD(lr=a)", "kept: lr='a' is not possible: a finite number"),
        ("mine.py:CARD,beta1=0.5", "unknown setting of kept 'beta1'"),
        ("mine.py:CARD(lr=1),lr=1", "lr is given twice"),
        ("mine.py:CARD,lr_warmup=-1", "lr_warmup=-1 is not possible"),
        ("mine.py:needs", r"needs needs its size; write .*needs\(size=\.\.\.\)"),
        ("sgd(momentum=1)", "unknown setting of sgd 'momentum'"),
        ("mine.py:CARD(precondition=0)", "making the optimizer kept fails: ValueError: precondition too small"),
        ("mine.py:FLOAT", r"the flops of mine.py:FLOAT are 1000000\.0; they must be a whole number, 0 or more"),
        ("mine.py:nothing", "mine.py:nothing makes a NoneType; it must make a torch.optim.Optimizer"),
        ("torch.optim:Adagrad(lr=-1)", "making the optimizer torch.optim:Adagrad fails: ValueError"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(mine, text, message):
    question, _ = asked(
        {"task": "add:7", "model": "fnn(dim=4,width=8)", "methods": f"adamw(optimizer={text})", "seeds": 1}
    )
    with pytest.raises(InputError, match=message) as caught:
        question.plan("")
    assert "\n" not in str(caught.value)


def test_a_step_that_fails_is_one_line(mine, tiny):
    with pytest.raises(InputError, match=r"a step of mine.py:breaks fails: RuntimeError: no step \(line \d+ of mine"):
        train(tiny("adamw(optimizer=mine.py:breaks)"))


def test_a_default_that_is_no_number_is_left_to_the_function(mine):
    own = method_config("adamw(optimizer=mine.py:dtype)").optimizer
    assert own.settings == {}
    assert isinstance(build_optimizer(own, torch.nn.Linear(1, 1)), torch.optim.SGD)


FREE = """import torch

class Free(torch.optim.Optimizer):
    \"\"\"Schedule-free SGD: gradients are taken at y, between z and the average x of the z's, which is evaluated.\"\"\"

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr, "is_training": False, "steps": 0})

    def _move(self, to_training):
        for group in self.param_groups:
            if group["is_training"] != to_training:
                for p in group["params"]:
                    if p in self.state:  # y = 0.9·x + 0.1·z
                        p.data.lerp_(self.state[p]["z"], 0.1 if to_training else 1 - 1 / 0.9)
            group["is_training"] = to_training

    def train(self):
        self._move(True)

    def eval(self):
        self._move(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["is_training"]
            group["steps"] += 1
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                x = p.lerp(z, 1 - 1 / 0.9)
                z.sub_(p.grad, alpha=group["lr"])
                x.lerp_(z, 1 / group["steps"])
                p.copy_(x.lerp(z, 0.1))

def free(parameters, lr: float = 0.3):
    return Free(parameters, lr)

class Plain(Free):
    \"\"\"The same, evaluated where the gradients are taken.\"\"\"
    eval = None

def plain(parameters, lr: float = 0.3):
    return Plain(parameters, lr)
"""


@pytest.fixture
def free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "free.py").write_text(FREE)
    return tmp_path / "free.py"


def test_a_schedule_free_optimizer_is_evaluated_at_its_average(free, tiny):
    averaged, plain = (train(tiny(f"adamw(optimizer=free.py:{name})")) for name in ("free", "plain"))
    assert averaged.curves["train_loss"][0] == plain.curves["train_loss"][0], "before the first step they are one"
    assert averaged.curves["train_loss"][-1] != plain.curves["train_loss"][-1]
    # What is trained is the same: the norms of the weights, probed between evaluations, are those of y in both.
    assert averaged.tables["tensors"] == plain.tables["tensors"]


def test_evaluations_leave_no_trace_in_a_schedule_free_run(free, tiny):
    seldom, often = (
        train(tiny("adamw(optimizer=free.py:free)", evaluation=EvaluationConfig(every=every))) for every in (20, 5)
    )
    steps = seldom.curves["step"]
    at = [often.curves["step"].index(step) for step in steps]
    assert [often.curves["train_loss"][place] for place in at] == seldom.curves["train_loss"]


def test_an_interrupted_schedule_free_run_is_bit_for_bit_the_same(free, tiny, tmp_path):
    config, checkpoint = tiny("adamw(optimizer=free.py:free)"), tmp_path / "checkpoint.safetensors"
    whole = train(config)
    for evaluations in (2, 3):
        with pytest.raises(Interrupted):
            train(config, report=interrupt_after(evaluations), checkpoint=checkpoint, checkpoint_seconds=0)
    assert curves(train(config, checkpoint=checkpoint, checkpoint_seconds=1e9)) == curves(whole)


def test_an_optimizer_that_needs_a_closure_is_refused_before_anything_runs(tiny):
    config = tiny("adamw(optimizer=torch.optim:LBFGS(lr=0.1))")
    with pytest.raises(InputError, match=r"torch.optim:LBFGS makes a LBFGS, whose step\(\) needs a closure"):
        build_optimizer(config.method.optimizer, torch.nn.Linear(2, 2))
    settings = {"task": config.task, "model": config.model, "budget": 5, "batch_size": None}
    with pytest.raises(InputError, match="one gradient: take an optimizer whose step"):
        make_plan(methods=["adamw", "adamw(optimizer=torch.optim:LBFGS)"], seeds=1, **settings)
