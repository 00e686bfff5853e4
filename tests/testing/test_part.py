"""One command for whatever is one's own: it tells what it is, and checks it as such."""

import pytest

from grokkit.errors import InputError
from grokkit.testing.part import check_part

PARTS = """
import torch
from grokkit import GradientTransform
from grokkit.methods import MethodCard
from grokkit.models.card import ModelCard
from grokkit.optimizers import OptimizerCard
from grokkit.probe.contract import Probe
from grokkit.tasks import Task, TaskCard
from torch import nn
from spirals import problem

def picky(strength: float = 2.0):
    def update(grads, state, params):
        for g in grads.values():
            assert g.ndim == 3
        return grads, state
    return GradientTransform(lambda p: (), update)

def told(strength: float = 2.0):
    def update(grads, state, params):
        assert not grads, "no gradients, please"
        return grads, state
    return GradientTransform(lambda p: (), update)

PICKY, TOLD = MethodCard(name="picky", factory=picky), MethodCard(name="told", factory=told)

def scaled(strength: float = 2.0):
    return GradientTransform(lambda p: (), lambda g, s, p: ({n: v * strength**2 for n, v in g.items()}, s))

def forgetful(strength: float = 2.0):
    return GradientTransform(lambda p: (), lambda g, s, p: ({n: v * missing for n, v in g.items()}, s))

SCALED = MethodCard(name="scaled", factory=scaled, base={"optimizer": "sgd", "lr": 0.1})
FORGETFUL = MethodCard(name="forgetful", factory=forgetful)
TASK = TaskCard(name="spirals", build=problem)

def made(strength: float = 2.0):
    return SCALED

class Blind(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.table, self.head = nn.Embedding(task.vocabulary, 4), nn.Linear(4, task.classes)
    def forward(self, tokens):
        return self.head(self.table(tokens).mean((0, 1)).expand(len(tokens), 4))

BLIND = ModelCard(name="blind", build=Blind, reads=("expressions",))
NARROW = ModelCard(name="narrow", build=lambda task: nn.Linear(task.tokens + 1, task.classes), reads=("expressions",))
def digits(numbers: int = 12):
    pairs = torch.cartesian_prod(torch.arange(numbers), torch.arange(numbers))
    return Task(name=f"digits:{numbers}", inputs="expressions", inputs_NT=pairs, targets_N=pairs.sum(1) % numbers,
                vocabulary=numbers, classes=numbers, description="a sum without its carry")

class Sign(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.size(p) * group["lr"] * p.grad.sign())
    def size(self, p):
        return 1.0

class Fading(Sign):
    # It knows by itself how many steps it has taken.
    steps = 0
    def step(self, closure=None):
        self.steps += 1
        super().step()
    def size(self, p):
        return 1 / self.steps

class Keeping(Sign):
    def size(self, p):
        steps = self.state[p].setdefault("steps", torch.zeros(()))
        return 1 / steps.add_(1)

class Unkept(Sign):
    def size(self, p):
        self.state[p]["kinds"] = {"a"}
        return 1.0

class Product(Sign):
    def size(self, p):
        return 1.0 + 0.0 * (p @ p.T).norm() if p.ndim == 2 else 1.0

def sign(named_parameters, lr: float = 0.001):
    return Keeping(named_parameters, {"lr": lr})

def flops(shapes, settings):
    return sum(2 * s[0] ** 2 * s[1] for s in shapes.values() if len(s) == 2)

def made_of(kind):
    return lambda named_parameters, lr=0.001: kind(named_parameters, {"lr": lr})

def half(named_parameters, lr: float = 0.001):
    return Sign(named_parameters[1:], {"lr": lr})

SIGN = OptimizerCard(name="sign", make=sign, space="lr=1e-4..1e-2 log")
FADING = OptimizerCard(name="fading", make=made_of(Fading))
UNKEPT = OptimizerCard(name="unkept", make=made_of(Unkept))
HALF = OptimizerCard(name="half", make=half)
PRODUCT = OptimizerCard(name="product", make=made_of(Product))
COUNTED = OptimizerCard(name="counted", make=made_of(Product), flops=flops)
NOWHERE = OptimizerCard(name="nowhere", make=sign, space="rate=1e-4..1e-2 log")

def mean_net(task, width: int = 4):
    return nn.Sequential(nn.EmbeddingBag(task.vocabulary, width), nn.ReLU(), nn.Linear(width, task.classes))

def seen(view):
    return {}

SIZE = Probe(name="size", probe=lambda view: {})
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["SCALED", "made"])
def test_a_method_is_checked_as_one_by_its_card_or_the_function_that_makes_it(name):
    (finding,) = check_part(f"mine.py:{name}")
    assert finding.ok
    assert "keeps all that the lab relies on: settings, space, start, gradient" in finding.line


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("FORGETFUL", r"gradient: it fails with NameError: name 'missing' is not defined (line 31 of mine.py)"),
        ("PICKY", "gradient: it fails with AssertionError: assert g.ndim == 3 (line 15 of mine.py)"),
        ("TOLD", "gradient: it fails with AssertionError: no gradients, please (line 21 of mine.py)"),
        ("NARROW", "mine.py:NARROW fails: RuntimeError: "),
        ("BLIND", "row 0 by itself has other outputs than in a batch"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name, line):
    (finding,) = check_part(f"mine.py:{name}")
    assert not finding.ok
    assert line in finding.line


@pytest.mark.parametrize("text", ["mine.py:SIGN", "mine.py:sign", "mine.py:COUNTED", "torch.optim:Adagrad(lr=0.01)"])
def test_an_optimizer_is_checked_as_one_by_its_card_its_function_or_its_class(text):
    assert check_part(text) == [("optimizers", True, f"{text} keeps all that the lab relies on")]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("FADING", "a run with it has another train_loss after it was interrupted and resumed; keep all that changes"),
        ("UNKEPT", "the optimizer's state holds a set"),
        ("HALF", "the optimizer mine.py:HALF has token_embeddings.weight 0 times in place of once"),
        ("PRODUCT", "10 steps of it have "),
        ("NOWHERE", "has no setting to search"),
    ],
)
def test_an_optimizer_that_the_lab_cannot_go_by_is_told_so(name, line):
    (finding,) = check_part(f"mine.py:{name}")
    assert not finding.ok
    assert line in finding.line


def test_a_function_that_makes_a_network_is_checked_as_one():
    (finding,) = check_part("mine.py:mean_net")
    assert finding == ("models", True, "mine.py:mean_net keeps all that the lab relies on")


@pytest.mark.parametrize("name", ["digits", "digits(numbers=11)"])
def test_a_function_that_makes_a_task_is_checked_as_one(name):
    (finding,) = check_part(f"mine.py:{name}")
    assert finding == ("tasks", True, f"mine.py:{name} keeps all that the lab relies on")


@pytest.mark.parametrize("name", ["problem", "TASK"])
def test_a_problem_is_checked_as_one(name):
    findings = check_part(f"mine.py:{name}")
    assert findings
    assert all(finding.ok for finding in findings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine.py:SCALED(strength=3)", "its card's smallest settings; give mine.py:SCALED alone"),
        ("mine.py:scaled", "returns a GradientTransform; it must return a Problem"),
        ("mine.py:nothing", "unknown name in mine.py 'nothing'"),
        ("mine.py:seen", "mine.py:seen needs its view; write mine.py:seen(view=...)"),
        ("mine.py:SIZE", "mine.py:SIZE is one of the probes, which have no check"),
        ("mul:7", "is no problem of your own"),
        ("grokfast-emo", "unknown method, model, task or optimizer 'grokfast-emo'; did you mean 'grokfast-ema'?"),
    ],
)
def test_what_cannot_be_checked_is_one_line(text, message):
    with pytest.raises(InputError, match="^[^\n]*$") as caught:
        check_part(text)
    assert message in str(caught.value)
