"""A mistake in somebody's own code or settings is one line before anything runs, with the place in their file."""

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.lab import Problem, Splits, compare, tune
from grokkit.lab.carry_out import too_short
from grokkit.lab.named import name_of
from grokkit.methods import MethodCard
from grokkit.study.question import asked
from grokkit.tasks import read_task
from grokkit.train.resolve import method_config

MINE = """
from pathlib import Path
from typing import Literal
import torch
from torch import nn
from torch.nn import functional
from grokkit import GradientTransform
from grokkit.lab import Problem
from grokkit.methods import MethodCard
from grokkit.tasks import TaskCard
ROWS = torch.linspace(-1, 1, 80).view(40, 2), torch.arange(40) % 2

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

def forgets(strength: float = 1.0):
    GradientTransform(lambda p: (), lambda g, s, p: (g, s))

def makes_none(classes):
    pass

def by_name(*, strength=0.5, unset=None):
    return scaled(strength)

FORGETS = MethodCard(name="FORGETS", factory=forgets)
NO_WEIGHTS = MethodCard(name="NO_WEIGHTS", weights=forgets)
NO_LOSS, NO_START = MethodCard(name="NO_LOSS", loss=forgets), MethodCard(name="NO_START", start=forgets)
NO_MAKER = MethodCard(name="NO_MAKER", optimizer=forgets)
CALLED = MethodCard(name="CALLED", factory=scaled())
NEEDS = MethodCard(name="NEEDS", factory=lambda strength: scaled(strength))
BY_NAME = MethodCard(name="BY_NAME", factory=by_name)
MISSPELT = MethodCard(name="MISSPELT", factory=scaled, space="strenght=0.1..2")
NO_OPTIMIZER = MethodCard(name="NO_OPTIMIZER", optimizer=lambda: makes_none)
HEAD_ONLY = MethodCard(name="HEAD_ONLY", optimizer=lambda: lambda classes: torch.optim.SGD(classes["head"].values()))
FAILS = MethodCard(name="FAILS", factory=lambda: GradientTransform(lambda p: (), lambda g, s, p: 1 / 0))

def placed(folder=Path(__file__).parent, kind=torch.float32, missing=float("nan")):
    assert (folder / "mine.py").exists() and kind is torch.float32
    return mine()

def net_of(act=nn.ReLU, width=8):
    return nn.Sequential(nn.Linear(2, width), act(), nn.Linear(width, 2))

NET = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
WEIGHT = nn.Parameter(torch.ones(2))
FROZEN = nn.Linear(2, 2).requires_grad_(False)

def one_network():
    return mine(model=lambda: NET)

class OfOneTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(WEIGHT.data)

    def forward(self, points):
        return points * self.scale

def one_tensor():
    return mine(model=OfOneTensor)

def normalized():
    return mine(model=lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))

def partly(width: int = 8, mode: "Literal['a', 'b']" = "a", thing: "Unknown | None" = None):
    return scaled(width)

PARTLY = MethodCard(name="PARTLY", factory=partly)

def one_statistic():
    return mine(model=lambda: nn.Sequential(nn.Linear(2, 2), NET[1].requires_grad_(False)))

def numbers():
    return mine(data=(ROWS[0], ROWS[0][:, :1]), model=lambda: nn.Linear(2, 1), loss=functional.mse_loss, score=None,
                target=0.1)

def pictures():
    return mine(data=(torch.zeros(40, 1, 2, 2), ROWS[1]), model=lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))

class NamedRows(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, row):
        return {"points": ROWS[0][row], "label": ROWS[1][row]}

def named_batch():
    return mine(data=NamedRows(), model=lambda: nn.Linear(2, 2),
                forward=lambda model, batch: model(batch["points"]),
                loss=lambda outputs, batch: functional.cross_entropy(outputs, batch["label"]),
                score=lambda outputs, batch: outputs.argmax(-1) == batch["label"])

class Named(nn.Linear):
    def forward(self, points):
        return {"logits": super().forward(points)}

def named_output():
    return mine(model=lambda: Named(2, 2),
                loss=lambda outputs, labels: functional.cross_entropy(outputs["logits"], labels),
                score=lambda outputs, labels: outputs["logits"].argmax(-1) == labels)

def one_frozen():
    return mine(model=lambda: nn.Sequential(FROZEN, nn.Linear(2, 2)))

def shared_net(task):
    return NET

class NoLength(NamedRows):
    def __len__(self):
        return 1 // 0

class Words(NamedRows):
    def __getitem__(self, row):
        return ROWS[0][row], "ab"[row % 2]

def no_length():
    return mine(data=NoLength())

def words():
    return mine(data=Words())

class FailingCheck:
    def check(self, model, data):
        return 1 // 0

    def __call__(self, model, data, seed):
        raise NotImplementedError

FAILING_CHECK = MethodCard(name="FAILING_CHECK", start=lambda: FailingCheck())
FAILING_FLOPS = MethodCard(name="FAILING_FLOPS", factory=scaled, flops=lambda shapes, settings: 1 // 0)
FAILING_DIGEST = TaskCard(name="FAILING_DIGEST", build=mine, digest=lambda: 1 // 0)
FAILING_FORM = TaskCard(name="FAILING_FORM", build=mine, canonical=lambda settings: 1 // 0)
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
        ({"task": "mine.py:raising"}, r"mine.py:raising fails: OSError: no such disk \(line 22 of mine.py\)"),
        ({"task": "mine.py:rows"}, "mine.py:rows returns a tuple; it must return a Problem"),
        ({"task": "mine.py:data_fail"}, r"data\(seed\) of problem 'mine' fails: ZeroDivisionError.* of mine.py"),
        ({"task": "mine.py:model_fails"}, "making the network of your problem fails: ZeroDivisionError"),
        ({"task": "mine.py:model_is_none"}, "the network of your problem is made as NoneType"),
        ({"task": "mine.py:model_is_made"}, "the model is a network, .*; give a function that makes it"),
        *(
            (
                {"task": "mine.py:numbers", "methods": name},
                f"{name} is for outputs that are logits, and mine has numbers as targets; leave it out",
            )
            for name in ("stablemax", "logit-temperature")
        ),
        *(
            ({"task": f"mine.py:{task}", "methods": name, "validation_fraction": 0.2}, message)
            for name in ("groktransfer", "lowrank-random")
            for task, message in (
                (
                    "pictures",
                    r"inputs have shape \(\d+, 1, 2, 2\), and weak models read one row .*; leave groktransfer",
                ),
                ("named_batch", "inputs are a dict, and weak models read one row"),
            )
        ),
        (
            {"task": "mine.py:numbers", "methods": "groktransfer", "validation_fraction": 0.2},
            "problem 'mine' has no score, and so no accuracy; give it one, or leave out what goes by it",
        ),
        (
            {"task": "mine.py:named_output", "methods": "groktransfer", "validation_fraction": 0.2},
            r"of what a weak model gives, fails: IndexError: .*mine.py\); weak models give one tensor",
        ),
        ({"task": "mine.py:one_network"}, "network of your problem has 0.weight in common .*copy.deepcopy"),
        ({"task": "mine.py:one_tensor"}, "network of your problem has scale in common"),
        ({"task": "mine.py:one_statistic"}, "network of your problem has 1.running_mean in common"),
        ({"model": "mine.py:shared_net"}, "--model mine.py:shared_net has 0.weight in common"),
        (
            {"precision": "bf16"},
            "network of your problem has no layer of grokkit's, which alone go by --precision bf16",
        ),
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
        (
            {"methods": "torch.optim:Adagrad(lr=0.1)"},
            r"an optimizer.*; write adamw\(optimizer=torch.optim:Adagrad\(lr",
        ),
        ({"methods": "mine.py:FORGETS"}, r"FORGETS: its factory returns None \(is a return missing\?\)"),
        ({"methods": "mine.py:NO_WEIGHTS"}, "its weights returns None .* it must return a WeightTransform"),
        ({"methods": "mine.py:NO_LOSS"}, "its loss returns None .* it must return a function"),
        ({"methods": "mine.py:NO_START"}, "its start returns None .* it must return a function"),
        ({"methods": "mine.py:NO_MAKER"}, "its optimizer returns None .* it must return a function"),
        ({"methods": "mine.py:CALLED"}, "CALLED: its factory is GradientTransform.*without parentheses"),
        ({"methods": "mine.py:NEEDS"}, "NEEDS: strength has no default, and every setting of a method needs one"),
        ({"methods": "mine.py:BY_NAME(unset=nan)"}, "BY_NAME: unset=nan is not possible: a number, and nan is none"),
        ({"task": "mine.py:placed(missing=nan)"}, "missing=nan is not possible: a finite number"),
        ({"train_size": 5, "train_fraction": 0.5}, "give one of them"),
        ({"task": "mine.py:no_length"}, "taking the data of problem 'mine' fails: ZeroDivisionError.* of mine.py"),
        ({"task": "mine.py:FAILING_DIGEST"}, "the digest of the data of .*DIGEST fails: ZeroDivisionError.*mine"),
        ({"task": "mine.py:FAILING_FORM"}, "canonical of FAILING_FORM fails: ZeroDivisionError.* of mine.py"),
        ({"methods": "mine.py:FAILING_CHECK"}, "the check of the start of FAILING_CHECK fails: .* of mine.py"),
        ({"methods": "mine.py:FAILING_FLOPS"}, "flops of FAILING_FLOPS fails: ZeroDivisionError.* of mine.py"),
    ],
)
def test_a_mistake_is_one_line(file, options, message):
    with pytest.raises(InputError, match=message) as caught:
        plan(**options)
    assert "\n" not in str(caught.value)


def test_what_is_not_trained_may_be_shared(file):
    assert len(plan("mine.py:one_frozen").runs) == 1


def test_a_number_without_annotation_has_one_form(file):
    one, other, third = (plan(f"mine.py:wide(width={width})") for width in ("8", "8.0", "9"))
    assert one.runs[0].run_id() == other.runs[0].run_id() != third.runs[0].run_id()


def test_a_setting_by_name_only_is_one_like_another(file):
    (run,) = plan(methods="mine.py:BY_NAME(strength=0.25)").runs
    assert run.method.parts[0].settings == {"strength": 0.25, "unset": None}


def test_a_default_that_cannot_be_written_is_left_to_the_function(file):
    (run,) = plan("mine.py:placed", model="mine.py:net_of").runs
    assert run.model.settings == {"width": 8}
    assert compare("mine.py:placed", ["adamw"], model="mine.py:net_of", seeds=1, budget=5, quiet=True).rows[0]["runs"]


@pytest.mark.parametrize("setting", ["width=2.5", "mode=c"])
def test_an_annotation_that_means_nothing_leaves_those_beside_it(file, setting):
    with pytest.raises(InputError, match=setting.split("=")[0]):
        method_config(f"mine.py:PARTLY({setting})")
    assert method_config("mine.py:PARTLY(width=2,mode=b)").label == "mine.py:PARTLY(width=2,mode=b)"


def test_a_card_s_space_names_settings(file):
    with pytest.raises(InputError, match="unknown setting in the space of MISSPELT 'strenght'; did you mean 'stren"):
        tune("mine.py:mine", ["mine.py:MISSPELT"], trials=1, budget=5, quiet=True)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("FAILS", r"FAILS.* with ZeroDivisionError: division by zero \(line 78 of mine.py\)"),
        ("NO_OPTIMIZER", "NO_OPTIMIZER makes a NoneType; it must make a torch.optim.Optimizer, from the parameters by"),
        ("HEAD_ONLY", "the optimizer of mine.py:HEAD_ONLY has .*weight 0 times in place of once"),
    ],
)
def test_a_run_that_fails_says_where_in_their_file(file, method, message):
    with pytest.raises(InputError, match=message):
        compare("mine.py:mine", ["adamw", f"mine.py:{method}"], model="mine.py:net_of", seeds=1, budget=5, quiet=True)


def test_a_loss_that_does_not_take_the_targets_says_what_fails(file):
    with pytest.raises(InputError, match="a step on .* the loss of what it gives, fails: TypeError: cross_entropy"):
        compare("mine.py:words", ["adamw"], model="mine.py:net_of", seeds=1, budget=5, quiet=True)


def test_a_network_that_cannot_be_trained_on_one_row_says_that_an_outer_step_has_one(file):
    message = "an outer step on the 1 of the training rows that held_out sets apart fails: ValueError: Expected"
    with pytest.raises(InputError, match=message):
        compare("mine.py:normalized", ["adamw", "neuralgrok"], seeds=1, budget=5, quiet=True)


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
    assert "a budget of 29 steps is too small for a run to arrive" in too_short(short)
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
