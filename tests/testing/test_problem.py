"""What ``grokkit check`` finds in problems that are wrong in one way each, and nothing in one that is right."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from spirals import Net, Spirals, problem
from torch import nn

from grokkit.errors import InputError
from grokkit.lab import Splits
from grokkit.testing import check_problem


def failed(one):
    return {finding.name: finding.line for finding in check_problem(one) if not finding.ok}


def test_a_problem_that_is_right_passes_every_check():
    found = check_problem(problem())
    assert [finding.line for finding in found if not finding.ok] == []
    names = ["optimizer", "finite", "mean", "deterministic", "score", "parts", "gradients", "resume", "learns", "costs"]
    assert [finding.name for finding in found] == names


class Unseeded(Net):
    def __init__(self, width):
        super().__init__(width)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.seed()
            self.head.weight.normal_()


class Unused(Net):
    def __init__(self, width):
        super().__init__(width)
        self.extra = nn.Linear(3, 3)


class Deaf(Net):
    def forward(self, points):
        return super().forward(0 * points)


class Counting(Net):
    """How often it was called is known to nobody else."""

    calls = 0

    def forward(self, points):
        self.calls += self.training
        return super().forward(points) * (1 + 0.01 * self.calls)


class Drifting(Spirals):
    """A row depends on how many were read before it."""

    read = 0

    def __getitem__(self, row):
        self.read += 1
        points, classes = super().__getitem__(row)
        return points * (1 + 1e-4 * self.read), classes


class Cheap(Net):
    def forward_flops(self, batch, tokens):
        return 1

    def step_flops(self, batch, tokens):
        return 1


def doubled(data):
    return torch.cat([data.points, data.points]), torch.cat([data.classes, data.classes])


class Broken(Spirals):
    def __getitem__(self, row):
        raise OSError("no such row")


DATA = Spirals()
SHARED = Net(16)
FAULTS = {
    "a score that raises": (
        {"score": lambda outputs, targets: {}[0]},
        "score",
        r"the score, or forward in eval mode, fails: KeyError: 0 .line \d+ of test_problem.py.; mend that first",
    ),
    "a row that cannot be read": (
        {"data": Splits(DATA, None, Broken())},
        "parts",
        r"reading the rows fails: OSError: no such row .line \d+ of test_problem.py.; mend that first",
    ),
    "gradients that are sparse": (
        {
            "data": (torch.arange(240) % 10, torch.arange(240) % 2),
            "model": lambda: nn.Sequential(nn.Embedding(10, 8, sparse=True), nn.Linear(8, 2)),
        },
        "gradients",
        r"the gradient of 0.weight is torch.sparse_coo; make it dense, e.g. Embedding\(sparse=False\)",
    ),
    "weights that nobody seeds": (
        {"model": lambda: Unseeded(16)},
        "deterministic",
        "head.weight starts with other values",
    ),
    "data that nobody seeds": (
        {"data": lambda seed: (torch.randn(60, 2), torch.arange(60) % 2)},
        "deterministic",
        "data of one seed are others the second time; draw them from a generator",
    ),
    "a score of one number": (
        {"score": lambda outputs, targets: (outputs.argmax(-1) == targets).float().mean()},
        "score",
        r"the score of problem 'spirals.*' gives torch.float32 of shape \(\) for 40 rows; it must give a bool tensor",
    ),
    "a score that is a loss": (
        {"score": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none")},
        "score",
        r"gives torch.float32 of shape \(40,\) .*; for a loss leave score out, .* e.g. target=0.05",
    ),
    "a row that is no number": (
        {"data": (torch.cat([DATA.points[:-1], torch.tensor([[0.5, torch.nan]])]), DATA.classes)},
        "finite",
        f"row {len(DATA.points) - 1}, of the .* part, holds a number that is not finite",
    ),
    "a loss that begins at infinity": (
        {"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets) / 0},
        "finite",
        "the loss of an untrained model is inf",
    ),
    "a loss that is a sum": (
        {"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="sum")},
        "mean",
        "the loss of the same rows twice is .*, so it is a sum over rows; take their mean",
    ),
    "an optimizer's setting that there is not": (
        {"optimizer": "adamw(lrr=1)"},
        "optimizer",
        "unknown setting of adamw 'lrr'; did you mean 'lr'",
    ),
    "an optimizer that there is not": (
        {"optimizer": "adamww(lr=1)"},
        "optimizer",
        "unknown optimizer 'adamww'; did you mean 'adamw'",
    ),
    "rows that stand there twice": (
        {"data": doubled(DATA)},
        "parts",
        r"training rows as well: [\d,]+ of the validation rows; drop",
    ),
    "a test part of training rows": (
        {"data": Splits((DATA.points[:100], DATA.classes[:100]), None, (DATA.points[90:], DATA.classes[90:]))},
        "parts",
        "training rows as well: 10 of the test rows",
    ),
    "a network that counts its calls": (
        {"model": lambda: Counting(16)},
        "resume",
        "another train_loss after it was interrupted and resumed; a checkpoint holds .*: keep in buffers what",
    ),
    "rows that depend on those before": (
        {"data": Drifting()},
        "resume",
        "after it was interrupted and resumed; .* let a row depend on its number and on what is drawn",
    ),
    "a network that says that it costs nothing": (
        {"model": lambda: Cheap(16)},
        "costs",
        "step_flops of the network gives 1, and PyTorch's counter sees [1-9][0-9,]+ in the matrix products of a step",
    ),
    "a layer that is not used": (
        {"model": lambda: Unused(16)},
        "gradients",
        "no gradient reaches extra.bias, extra.we",
    ),
    "a score of every number of a row": (
        {"score": lambda outputs, targets: outputs > 0},
        "score",
        r"it must give a bool tensor, one entry a row; where a row has several answers, .flatten\(1\).all\(1\) says",
    ),
    "a class of nearly all rows": (
        {"data": (DATA.points, (torch.arange(len(DATA.points)) % 50 == 0).long())},
        "score",
        r"one answer for all rows is right on 9\d.\d% of the test rows, and the target is 9\d%; set a larger target",
    ),
    "one network for all runs": (
        {"model": lambda: SHARED},
        "deterministic",
        "has .*weight in common with the one that is made next, .*; make it anew each time",
    ),
    "a layer whose shape is not known yet": (
        {"model": lambda: nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))},
        "one step",
        "has a layer without a shape, such as LazyLinear; give it one",
    ),
    "a network that sees nothing": (
        {"model": lambda: Deaf(16)},
        "learns",
        "the loss of 64 rows falls from .* no further than without seeing",
    ),
    "a loss of no row": (
        {"loss": lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none")},
        "one step",
        r"the loss of problem 'spirals' gives a tensor of shape \(40,\); it must give the mean over rows",
    ),
    "items that are no pair": (
        {"data": [(1, 2, 3)] * 60},
        "one step",
        "are list; they may be a pair of tensors",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_its_remedy_named(fault):
    changes, name, line = FAULTS[fault]
    found = failed(replace(problem(width=16), **changes))
    assert name in found, found
    assert re.search(line, found[name]), found[name]
    assert "\n" not in found[name]


class Noisy(Net):
    """Noise of NumPy's and Python's generators, which a run seeds."""

    def forward(self, points):
        return super().forward(points) + (0.01 * (np.random.rand() + random.random()) if self.training else 0)


def test_noise_of_any_global_generator_is_seeded_as_in_a_run_and_all_are_put_back():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert failed(replace(problem(width=16), model=lambda: Noisy(16))) == {}
    assert torch.equal(before[0], torch.get_rng_state())
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_of_more_rows_than_are_compared_it_is_said_how_many_were():
    rows = torch.arange(5200.0)[:, None].repeat(1, 2) / 5200
    classes = (rows[:, 0] > 0.3).long()
    lines = {
        finding.name: finding.line
        for finding in check_problem(
            replace(problem(), data=Splits((rows, classes), None, (rows[:9] - 2, classes[:9])))
        )
    }
    for name in ("finite", "parts"):
        assert lines[name].endswith(", as far as 5,000 rows of each part show")


def test_a_regression_must_come_down_to_a_tenth():
    targets = DATA.points.sum(1, keepdim=True)
    one = replace(
        problem(), data=(DATA.points, targets), score=None, target=0.01, model=lambda: nn.Linear(2, 1),
        loss=nn.functional.mse_loss,
    )  # fmt: skip
    assert failed(one) == {}
    assert (
        "loss" in failed(replace(one, model=lambda: Deaf(16), loss=lambda o, t: ((o[:, :1] - t) ** 2).mean()))["learns"]
    )


def test_a_problem_that_is_learned_slowly_is_none_that_is_wrong():
    """At its own rate the rows are not fitted in so few steps, and more is seen of them than how common classes are."""
    slow = replace(problem(width=16), optimizer="sgd(lr=0.0002)")
    line = {finding.name: finding for finding in check_problem(slow)}["learns"]
    assert line.ok
    assert re.fullmatch(
        r"the loss of 64 rows falls from .* to .* within 500 steps of sgd.*, and to .* of the first", line.line
    )


def test_a_loss_with_a_wrong_sign_is_not_learned():
    found = failed(replace(problem(), loss=lambda o, t: -nn.functional.cross_entropy(o, t)))
    assert re.search("0% of them are right, fewer than before; look for a scale, a sign or", found["learns"])


def test_rows_of_one_class_nearly_always_are_not_learned_by_saying_so():
    few = (torch.arange(len(DATA.points)) % 10 == 0).long()
    found = failed(replace(problem(), data=(DATA.points, few), target=0.99, model=lambda: Deaf(16)))
    assert "no further than without seeing their inputs" in found["learns"]


def test_a_loss_that_is_below_zero_from_the_start_is_not_taken_for_learned():
    """The energy of a network that cannot tell rows apart."""
    found = failed(replace(problem(), score=None, target=0.05, loss=lambda o, t: (0 * o[:, 0] - t).square().mean() - 5))
    assert "on test rows, at the target of 0.05 already; set a smaller target, or add a constant" in found["score"]
    assert "and it is learned when it falls to a tenth; add a constant" in found["learns"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 95}, "target=95 is not possible: a share of rows, above 0 and at most 1"),
        ({"score": None, "target": 0.0}, "target=0.0 is not possible: a loss above 0, .*; add a constant to a loss"),
        ({"score": None, "target": -1.0}, "target=-1.0 is not possible: a loss above 0"),
        ({"score": None, "target": float("nan")}, "target=nan is not possible: a loss above 0"),
        ({"optimizer": torch.optim.AdamW}, "the optimizer is a text, as methods are, e.g. optimizer="),
    ],
)
def test_what_a_problem_cannot_mean_is_refused_where_it_is_made(change, message):
    with pytest.raises(InputError, match=message):
        replace(problem(width=16), **change)


def test_a_pair_that_is_not_of_tensors_is_called_so():
    arrays = DATA.points.numpy(), DATA.classes.numpy()
    line = failed(replace(problem(width=16), data=arrays))["one step"]
    assert "a pair of ndarray and ndarray, not of tensors" in line
