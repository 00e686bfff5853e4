"""One command for whatever is one's own: it tells what it is, and checks it as such."""

import pytest

from grokkit.errors import InputError
from grokkit.testing.part import check_part

PARTS = """
import torch
from grokkit import GradientTransform
from grokkit.methods import MethodCard
from grokkit.models.card import ModelCard
from grokkit.probe.contract import Probe
from grokkit.tasks import Task, TaskCard
from torch import nn
from spirals import problem

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
        ("FORGETFUL", r"gradient: it fails with NameError: name 'missing' is not defined (line 15 of mine.py)"),
        ("NARROW", "mine.py:NARROW fails: RuntimeError: "),
        ("BLIND", "row 0 by itself has other outputs than in a batch"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name, line):
    (finding,) = check_part(f"mine.py:{name}")
    assert not finding.ok
    assert line in finding.line


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
        ("mine.py:SIZE", "mine.py:SIZE is one of the probes, which have no check"),
        ("mul:7", "is no problem of your own"),
        ("grokfast-emo", "unknown method, model or task 'grokfast-emo'; did you mean 'grokfast-ema'?"),
    ],
)
def test_what_cannot_be_checked_is_one_line(text, message):
    with pytest.raises(InputError, match="^[^\n]*$") as caught:
        check_part(text)
    assert message in str(caught.value)
