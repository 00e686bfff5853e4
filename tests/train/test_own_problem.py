"""The loop on data and networks of somebody's own: every form of data, workers, resuming, statistics, generators."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interrupted import Interrupted, curves, interrupt_at
from spirals import Spirals, problem
from torch import nn
from torch.utils.data import Dataset

from grokkit.errors import InputError
from grokkit.lab import Splits
from grokkit.registry import give, parts
from grokkit.study.question import Question
from grokkit.tasks import TaskCard, table
from grokkit.tasks.problem import Problem
from grokkit.train.groups import can_share
from grokkit.train.loop import begin_alone, train
from grokkit.train.problem import build_problem, transfer_data

DATA = Spirals()


class Shaken(Dataset):
    """Points that are somewhere else each time, by all three generators."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, row):
        point, target = DATA[row]
        return point + 0.01 * torch.randn(2) + 0.01 * float(np.random.rand()) + 0.01 * random.random(), target


class Named(Dataset):
    """Items that are no pair."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, row):
        return {"points": DATA.points[row], "label": DATA.classes[row]}


class Tied(nn.Module):
    """Two layers with one weight, a running statistic, and a tensor that it keeps from one pass to the next."""

    def __init__(self):
        super().__init__()
        self.norm, self.first, self.second = nn.BatchNorm1d(2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.kept = None

    def forward(self, points):
        if self.kept is None or len(self.kept) != len(points):
            self.kept = torch.ones(len(points), 1)
        return self.second(torch.relu(self.first(self.norm(points) * self.kept)))


class Placed(nn.Module):
    """It keeps where its numbers stand, in a frozen matrix of whole numbers."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.tensor([[1, 0], [0, 1]]), requires_grad=False)
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, points):
        return self.layers(points[:, self.places[0]])


def config(changes, method="adamw", **options):
    one = replace(problem(width=8), **changes)
    give("tasks", "here:one", one, f"{one.digest()} {sorted(map(str, changes.items()))}")
    settings = {"seeds": 1, "budget": 20, "every": 5, **options}
    (run,) = Question(task="here:one", methods=[method], **settings).plan().runs
    return run


PAIR = (DATA.points, DATA.classes)
BY_NAME = {
    "data": Named(),
    "forward": lambda model, batch: model(batch["points"]),
    "loss": lambda outputs, batch: nn.functional.cross_entropy(outputs, batch["label"]),
    "score": lambda outputs, batch: outputs.argmax(-1) == batch["label"],
}
FORMS = {
    "a Dataset": {},
    "tensors": {"data": PAIR},
    "a function of the seed": {"data": lambda seed: PAIR},
    "a function of the seed that gives a Dataset": {"data": lambda seed: DATA},
    "batches by name": BY_NAME,
    "worker processes": {"workers": 2},
}


@pytest.fixture(scope="module")
def usual():
    return curves(train(config({})))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_data_in_any_form_are_the_same_run(usual, form):
    assert curves(train(config(FORMS[form]))) == usual


def test_splits_are_the_parts():
    rows = torch.arange(len(DATA))
    halves = Splits((DATA.points[:100], DATA.classes[:100]), None, (DATA.points[100:], DATA.classes[100:]))
    run = config({"data": halves})
    engine = begin_alone(run)
    parts = engine.members[0].problem.split
    assert [part.tolist() for part in (parts.train, parts.validation, parts.test)] == [
        rows[:100].tolist(),
        [],
        rows[100:].tolist(),
    ]
    engine.release()
    with pytest.raises(InputError, match="has 0 training rows and 240 test rows; it needs both"):
        config({"data": Splits((DATA.points[:0], DATA.classes[:0]), None, PAIR)})


@pytest.mark.parametrize("changes", [{}, {"data": Shaken()}, {"model": Tied}], ids=["dropout", "augmented", "tied"])
@pytest.mark.parametrize("method", ["adamw", "neuralgrok"])
def test_a_run_goes_on_bit_for_bit(tmp_path, changes, method):
    run, path = config(changes, method), tmp_path / "checkpoint"
    whole = curves(train(run))
    with pytest.raises(Interrupted):
        train(run, report=interrupt_at(15), checkpoint=path, checkpoint_seconds=0.0)
    assert path.exists()
    torch.rand(3), random.random(), np.random.rand()  # what happens in between is of no matter
    assert curves(train(run, checkpoint=path)) == whole


def test_a_run_leaves_the_callers_generators_alone():
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    expected = float(torch.rand(1)), random.random(), float(np.random.rand())
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    train(config({"data": Shaken()}))
    assert (float(torch.rand(1)), random.random(), float(np.random.rand())) == expected


class ByName(nn.Module):
    """Outputs as those of Hugging Face's models."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(2, 8), nn.Linear(8, 2)

    def forward(self, points):
        return {"logits": self.head(torch.relu(self.first(points)))}


def test_what_looks_at_the_rows_sees_them_by_the_problem_s_own_score():
    outputs_by_name = {
        "model": ByName,
        "loss": lambda outputs, targets: nn.functional.cross_entropy(outputs["logits"], targets),
        "score": lambda outputs, targets: outputs["logits"].argmax(-1) == targets,
    }
    engine = begin_alone(config(outputs_by_name, "freeze(at=0,wait=2)"))
    engine.train_to(4)
    assert int(engine._weights_state.steps) == 4
    engine.release()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.LazyLinear(2), "the network of your problem has a layer without a shape, such as LazyLinear"),
        (lambda: nn.utils.weight_norm(nn.Linear(2, 2)), "copying the network, .* fails: RuntimeError: .*weight_norm"),
    ],
)
def test_a_network_that_cannot_be_taken_is_refused_in_one_line(model, message):
    with pytest.raises(InputError, match=message) as caught:
        train(config({"model": model}))
    assert "\n" not in str(caught.value)


class Counting(Dataset):
    """Points of which it knows which were read."""

    def __init__(self, first, end):
        self.rows, self.read = range(first, end), []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        self.read.append(self.rows[row])
        return DATA[self.rows[row]]


def test_a_start_that_looks_at_no_row_has_none_read():
    run = config({"data": (data := Counting(0, 240))}, "recommended")
    data.read.clear()
    begin_alone(run).release()
    assert len(set(data.read)) < 40, "few rows, to count what the network costs"


@pytest.mark.parametrize("method", ["recommended", "zero-head+adamw", "block-transfer(steps=5)"])
def test_a_start_needs_no_validation_rows_of_a_dataset(method):
    parts = Splits(Counting(0, 160), None, Counting(160, 240))
    data = transfer_data(build_problem(run := config({"data": parts}, method)))
    assert [part.shape for part in data.validation] == [(0, 2), (0,)]
    assert data.train is data.train, "it is read once"
    assert train(run).steps == 20


def test_who_needs_validation_rows_says_so():
    with pytest.raises(InputError, match="stopped by their accuracy on validation rows, and there are none"):
        config({"data": Splits(Counting(0, 160), None, Counting(160, 240))}, "groktransfer")


WITH_NORMS = ("adamw", "small-start", "clip-to-grok", "delayed-compression", "spectral-start", "recommended")


@pytest.mark.parametrize("method", WITH_NORMS)
def test_frozen_whole_numbers_are_no_weights(method):
    run = config({"model": Placed}, method)
    norms = train(run).curves["weight_norm"]
    engine = begin_alone(run)
    weights = [p for p in engine.model.parameters() if p.is_floating_point()]
    assert engine.model.places.tolist() == [[1, 0], [0, 1]]
    assert norms[0] == pytest.approx(sum(float(p.detach().square().sum()) for p in weights) ** 0.5, rel=1e-6)
    engine.release()


def test_workers_that_draw_at_random_are_told_of():
    assert "not bit for bit" in train(config({"data": Shaken(), "workers": 1}, budget=5)).provenance["resuming"]
    assert "resuming" not in train(config({"data": Shaken()}, budget=5)).provenance


def test_workers_draw_otherwise_for_each_seed_and_alike_for_one():
    shaken = replace(problem(width=8), data=Shaken(), workers=1)
    no_more = SimpleNamespace(next=lambda: None)
    first, again, other = (shaken.task(seed).feed(no_more)(torch.arange(4))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("what", ["outer step", "evaluation"])
def test_running_statistics_are_of_the_batches_only(what):
    engine = begin_alone(config({}, "neuralgrok" if what == "outer step" else "adamw"))
    norm, seen = engine.model.norm, []
    forward = engine.model.forward
    engine.model.forward = lambda points: (seen.append(len(points)), forward(points))[1]
    engine.train_to(8)
    if what == "evaluation":
        engine.score([0], "test")
    assert int(norm.num_batches_tracked) == 8
    assert len(seen) > 8, "there were other passes"
    engine.release()


def test_a_step_is_counted_as_pytorch_counts_it():
    run = train(config({}, budget=5))
    width = 8
    weights = 2 * width + width * width + width * 2
    backward = 2 * weights - 2 * width  # the inputs need no gradient
    rows = 40
    assert run.flops == pytest.approx(5 * 2 * rows * (weights + backward), rel=1e-9)


def test_what_the_problem_says_of_the_optimizer_holds_for_methods_and_not_for_other_baselines():
    plan = Question(task="here:one", methods=["adamw", "grokfast-ema", "adamw(lr=0.5)", "adam-paper"], seeds=1).plan()
    assert [run.method.optimizer.lr for run in plan.runs] == [0.01, 0.01, 0.5, 1e-3]
    assert [run.method.optimizer.optimizer for run in plan.runs] == ["adamw", "adamw", "adamw", "adam"]


def test_other_data_and_other_code_are_another_run():
    first = config({})
    other = replace(problem(width=8), data=(DATA.points + 1, DATA.classes))
    assert config({"data": (DATA.points + 1, DATA.classes)}).hash() != first.hash()
    assert other.digest() != problem().digest()
    assert replace(other, data_id="mine").digest() == "mine"
    assert {config({}).hash()} == {first.hash()}


def carded(changes=None, *, by_folder=None, **of_card):
    """What the lab takes of a card whose ``build`` makes the problem."""

    def build(width: int = 8):
        return replace(problem(width), **(changes or {}))

    def read(data_dir: str | None = None):
        points, classes = PAIR if data_dir is None else (DATA.points + 1, DATA.classes)
        return replace(problem(8), data=(points, classes))

    card = TaskCard(name="mine", build=build if by_folder is None else read, **of_card)
    give("tasks", "here:card", card, code=f"{sorted(changes or {})} {by_folder} {sorted(of_card)}")
    question = Question(task="here:card", methods=["adamw"], seeds=1, budget=20, every=5, data_dir=by_folder or None)
    (run,) = question.plan().runs
    return run


def test_a_card_that_makes_a_problem_is_what_the_problem_says():
    run, usual = carded(), config({})
    same = ("data", "train_fraction", "validation_fraction", "train_size")
    assert {name: getattr(run.task, name) for name in same} == {name: getattr(usual.task, name) for name in same}
    for name in ("batch_size", "target", "target_loss", "model", "method"):
        assert getattr(run, name) == getattr(usual, name), name
    assert not can_share(run)
    assert carded({"data": (DATA.points + 1, DATA.classes)}).hash() != run.hash()


def test_what_a_card_says_itself_goes_before_its_problem():
    run = carded(
        model="mlp", batch_size=12, target=0.8, optimizer={"optimizer": "adamw(lr=0.5)"}, digest=lambda: "mine"
    )
    assert (run.model.name, run.batch_size, run.target, run.task.data) == ("mlp", 12, 0.8, "mine")
    assert (run.method.optimizer.optimizer, run.method.optimizer.lr) == ("adamw", 0.5)


def test_data_of_a_folder_are_the_folder_s():
    """The problem is made to be asked what it is, with the folder that was given."""
    assert carded(by_folder="").task.data != carded(by_folder="/data").task.data
    assert carded(by_folder="/data").task.data == config({"data": (DATA.points + 1, DATA.classes)}).task.data


def test_our_own_tasks_are_not_made_to_be_asked(monkeypatch):
    monkeypatch.setattr(TaskCard, "make", lambda *args: pytest.fail("it was made"))
    for name, part in parts("tasks").items():
        card = table.usual_of(*table.read_task(part.value.example or name))
        assert card is part.value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": None, "target": None}, "has no score, so its target is a loss; say which, e.g. target=0.05"),
        ({"batch_size": 0}, "batch_size=0 is not possible: at least 1, or None"),
        ({"workers": -1}, "workers=-1 is not possible: at least 0"),
    ],
)
def test_a_problem_that_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        Problem(**{**vars(problem()), **changes})
    assert "\n" not in str(caught.value)
