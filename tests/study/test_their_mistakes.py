"""A mistake in somebody's own code or settings is one line before anything runs, with the place in their file."""

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.lab import Problem, Splits, compare
from grokkit.lab.carry_out import too_short
from grokkit.lab.named import name_of
from grokkit.methods import MethodCard
from grokkit.study.question import asked
from grokkit.tasks import read_task

MINE = """
import torch
from torch import nn
from torch.nn import functional
from grokkit import GradientTransform
from grokkit.lab import Problem
from grokkit.methods import MethodCard

ROWS = torch.randn(40, 2), torch.arange(40) % 2

def mine(width=8, **changed):
    usual = dict(name="mine", data=ROWS, model=lambda: nn.Linear(2, 2), loss=functional.cross_entropy,
                 score=lambda outputs, targets: outputs.argmax(-1) == targets)
    return Problem(**{**usual, **changed})

def wide(width=8):
    return mine(model=lambda: nn.Sequential(nn.Linear(2, width), nn.Linear(width, 2)))

def raising():
    raise OSError("no such disk")

def rows():
    return ROWS

def data_fail():
    return mine(data=lambda seed: 1 / 0)

def model_fails():
    return mine(model=lambda: 1 / 0)

def model_is_none():
    return mine(model=lambda: None)

def model_is_made():
    return mine(model=nn.Linear(2, 2))

def misspelt():
    return mine(scores=None)

def other_optimizer():
    return mine(optimizer="adamww(lr=0.01)")

def net(task):
    raise ValueError("no net")

def scaled(strength: float = 1.0, often=True):
    return GradientTransform(lambda p: (), lambda g, s, p: ({n: v * strength for n, v in g.items()}, s))

def no_door(strength: float = 1.0):
    raise RuntimeError("no door")

SCALED, NO_DOOR = MethodCard(name="SCALED", factory=scaled), MethodCard(name="NO_DOOR", factory=no_door)

def no_card():
    raise RuntimeError("no card")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(task="mine.py:mine", methods="adamw", **options):
    return asked({"task": task, "methods": methods, "seeds": 1, "budget": 10, **options})[0].plan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "mine.py:raising"}, r"mine.py:raising fails: OSError: no such disk \(line 20 of mine.py\)"),
        ({"task": "mine.py:rows"}, "mine.py:rows returns a tuple; it must return a Problem"),
        ({"task": "mine.py:data_fail"}, r"data\(seed\) of problem 'mine' fails: ZeroDivisionError.* of mine.py"),
        ({"task": "mine.py:model_fails"}, "making the network of your problem fails: ZeroDivisionError"),
        ({"task": "mine.py:model_is_none"}, "the network of your problem is made as NoneType"),
        ({"task": "mine.py:model_is_made"}, "the model is a network, .*; give a function that makes it"),
        ({"task": "mine.py:misspelt"}, "mine.py:misspelt fails: TypeError: .*'scores'"),
        ({"task": "mine.py:other_optimizer"}, "unknown optimizer 'adamww'; did you mean 'adamw'"),
        ({"task": "mine.py:wide(width=-3)"}, r"RuntimeError: .*negative dimension.* of mine.py\)"),
        ({"task": "mine.py:wide(width=a)"}, "width='a' is not possible: a finite number; the default is 8"),
        ({"task": "mine.py:wid"}, "unknown name in mine.py 'wid'; did you mean 'wide'"),
        ({"task": "mine.py:wide(width=3"}, "is not a name in a file; write mine.py:NAME"),
        ({"task": "mine.py"}, "mine.py is a file, .*; write mine.py:NAME"),
        ({"task": "mine"}, "mine.py is a file, .*; write mine.py:NAME"),
        ({"task": "my_task"}, "unknown task 'my_task'"),
        ({"model": "mine.py:net"}, "making --model mine.py:net fails: ValueError: no net"),
        ({"model": "mine.py:rows"}, "--model mine.py:rows is made as tuple"),
        ({"methods": "mine.py:no_card"}, "mine.py:no_card fails: RuntimeError: no card"),
        ({"methods": "mine.py:NO_DOOR"}, "NO_DOOR fails: RuntimeError: no door"),
        ({"methods": "mine.py:SCALED(strength=a)"}, "SCALED: strength='a' is not possible: a finite number"),
        ({"methods": "mine.py:SCALED(strength=true)"}, "SCALED: strength=True is not possible"),
        ({"methods": "mine.py:SCALED(strength=nan)"}, "SCALED: strength=nan is not possible"),
        ({"methods": "mine.py:SCALED(often=2)"}, "SCALED: often=2 is not possible: true or false"),
        ({"train_size": 5, "train_fraction": 0.5}, "give one of them"),
    ],
)
def test_a_mistake_is_one_line(file, options, message):
    with pytest.raises(InputError, match=message) as caught:
        plan(**options)
    assert "\n" not in str(caught.value)


def test_a_number_without_annotation_has_one_form(file):
    one, other, third = (plan(f"mine.py:wide(width={width})") for width in ("8", "8.0", "9"))
    assert one.runs[0].run_id() == other.runs[0].run_id() != third.runs[0].run_id()


def test_methods_to_show_are_checked_before_anything_is_trained(file):
    with pytest.raises(InputError, match="unknown method of this study 'adamv'; did you mean 'adamw'"):
        compare("mine.py:mine", ["adamw"], seeds=1, budget=10, out="out", only=["adamv"], quiet=True)
    assert not (file / "out").exists()


def test_a_method_without_source_text_is_to_be_put_into_a_file():
    where = {"__name__": "__main__"}
    exec("def scaled(strength: float = 1.0): ...", where)
    with pytest.raises(InputError, match="source text of scaled cannot be read, .*; put it into a file"):
        name_of("methods", MethodCard(name="scaled", factory=where["scaled"]))


def same(outputs, targets):
    return outputs.argmax(-1) == targets


MINE_HERE = Problem(
    name="two rows (mine)",
    data=(torch.randn(40, 2), torch.arange(40) % 2),
    model=lambda: torch.nn.Linear(2, 2),
    loss=torch.nn.functional.cross_entropy,
    score=same,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": 3}, "methods=3 is not possible: a list of texts or cards"),
        ({"methods": []}, r"methods=\[\] is not possible"),
        ({"methods": MethodCard(name="bare")}, "methods=MethodCard.* is not possible: a list"),
        ({"methods": [3]}, "^3 is not possible: a MethodCard, a function that returns one, or a text"),
        ({"problem": 3}, "^3 is not possible: a Problem, a function that returns one, or a text"),
        ({"problem": None}, "^None is not possible: a Problem"),
        ({"problem": torch.zeros(2)}, "is not possible: a Problem"),
        ({"problem": torch.nn.Linear(2, 2)}, "is not possible: a Problem"),
        ({"problem": lambda: 3}, "here:lambda returns a int; it must return a Problem"),
        ({"seeds": [0.5]}, r"--seeds \(0.5,\) is not possible: .*a list of different ones"),
        ({"seeds": 1.5}, "--seeds 1.5 is not possible"),
        ({"seeds": "a"}, "--seeds a is not possible"),
        ({"seeds": None}, "--seeds None is not possible"),
        ({"seeds": []}, r"--seeds \(\) is not possible"),
        ({"jobs": "x"}, "--jobs x is not possible"),
        ({"out": 3}, "--out 3 is not possible: a path"),
    ],
)
def test_an_argument_of_another_kind_is_one_line(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    usual = {"problem": "mul:11", "methods": ["adamw"], "seeds": 1, "budget": 5, "out": "out", "quiet": True}
    with pytest.raises(InputError, match=message):
        compare(**{**usual, **options})


@pytest.mark.parametrize("problem", [MINE_HERE, lambda: MINE_HERE])
def test_a_problem_may_have_any_name(problem):
    assert read_task(name_of("tasks", problem))[0].value is problem


def test_seeds_may_be_numpy_s():
    numbers = asked({"task": "mul:11", "methods": "adamw", "seeds": np.arange(2, 4), "budget": 5})[0].plan()
    assert [run.seed for run in numbers.runs] == [2, 3]


def test_a_budget_in_which_no_run_can_arrive_is_told():
    long, short = (plan("mul:11", budget=budget, every=5).runs[0] for budget in (30, 29))
    assert too_short(long) == ""
    assert "29 steps are too few for a run to arrive" in too_short(short)
    assert "--budget 30" in too_short(short)


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ({"train_size": 5}, "--train-size"),
        ({"train_fraction": 0.9}, "--train-fraction"),
        ({"validation_fraction": 0.0}, "--validation-fraction"),
    ],
)
def test_a_split_of_data_that_are_split_already_is_refused(tmp_path, said, option):
    rows = torch.randn(30, 2), torch.arange(30) % 2
    parts = Splits(*((rows[0][at : at + 10], rows[1][at : at + 10]) for at in (0, 10, 20)))
    mine = Problem(
        name="mine", data=parts, model=lambda: torch.nn.Linear(2, 2), loss=torch.nn.functional.cross_entropy, target=0.1
    )
    with pytest.raises(InputError, match=f"the data of 'mine' are Splits, split already; leave {option} out"):
        compare(mine, ["adamw"], out=tmp_path / "study", budget=2, seeds=1, quiet=True, **said)
    assert not (tmp_path / "study").exists()
