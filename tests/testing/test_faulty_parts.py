"""What does not keep its promise is told so: planted faults in tasks, models and stores."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from grokkit.errors import InputError
from grokkit.lab.named import name_of
from grokkit.models import ModelCard
from grokkit.study.store import Store
from grokkit.tasks import Split, Task, TaskCard
from grokkit.testing import check_model, check_store, check_task
from grokkit.testing.runs import small_run
from grokkit.train.groups import plan_groups
from grokkit.train.problem import build_problem

PAIRS = torch.cartesian_prod(torch.arange(7), torch.arange(7))
GOOD = Task("sums", "expressions", PAIRS, PAIRS.sum(1) % 7, 7, 7, "for this test")
NUMBERS = torch.arange(49)


def drawn():
    return replace(GOOD, inputs_NT=torch.randint(0, 7, (49, 2)))


def numbers(**changes):
    inputs = PAIRS.float()
    signs = 1.0 - 2.0 * (PAIRS[:, 0] % 2)
    return Task("signs", "numbers", inputs, signs, None, 1, "for this test", **{"objective": "logistic", **changes})


TASKS = {
    "draws from PyTorch's global generator": drawn,
    "has 49 inputs and 48 targets": lambda: replace(GOOD, targets_N=GOOD.targets_N[:-1]),
    "inputs are torch.int64 in 0…6; they must be int64 tokens in 0…5": lambda: replace(GOOD, vocabulary=6),
    "classes are in 0…6, and there are 5": lambda: replace(GOOD, classes=5),
    "targets are torch.float32; classes must be int64": lambda: replace(GOOD, targets_N=GOOD.targets_N.float()),
    "an input is not finite": lambda: replace(numbers(), inputs_NT=PAIRS.float().log()),
    "targets under logistic must be 1 or −1": lambda: replace(numbers(), targets_N=PAIRS[:, 0].float()),
    ": an input is not finite": lambda: replace(numbers(), inputs_NT=PAIRS.float() * torch.nan),
    "a target is not finite": lambda: replace(numbers(objective="regression"), targets_N=PAIRS[:, 0].float().log()),
    ": a target is not finite": lambda: replace(
        numbers(objective="regression"), targets_N=PAIRS[:, 0].float() * torch.nan
    ),
    "has 0 training rows and 49 test rows; it needs both": lambda: replace(
        GOOD, parts=Split(NUMBERS[:0], NUMBERS[:0], NUMBERS)
    ),
    "has 30 training rows and 0 test rows; it needs both": lambda: replace(
        GOOD, parts=Split(NUMBERS[:30], NUMBERS[30:], NUMBERS[:0])
    ),
    "has a row in two of its parts": lambda: replace(GOOD, parts=Split(NUMBERS[:30], NUMBERS[:0], NUMBERS[29:])),
    "a part has the number of a row that there is not": lambda: replace(
        GOOD, parts=Split(NUMBERS[:30], NUMBERS[:0], NUMBERS[30:] + 1)
    ),
}


@pytest.mark.parametrize("problem", TASKS)
def test_a_faulty_task_is_told_what_is_wrong(problem):
    made = TASKS[problem]
    card = TaskCard(name="faulty", build=lambda: made(), model="mlp" if "numbers" in made.__code__.co_names else "fnn")
    with pytest.raises(AssertionError) as caught:
        check_task(card)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_part_without_a_row_is_refused_before_anything_runs():
    parts = Split(NUMBERS[:30], NUMBERS[30:], NUMBERS[:0])
    text = name_of("tasks", TaskCard(name="no-test", build=lambda: replace(GOOD, parts=parts), model="fnn"))
    with pytest.raises(InputError, match="'sums' has 30 training rows and 0 test rows; it needs both"):
        build_problem(small_run("adamw", text, "fnn(dim=4,width=8)"))


def test_the_same_task_without_a_fault_passes():
    check_task(TaskCard(name="sums", build=lambda: GOOD, model="fnn"))
    check_task(TaskCard(name="signs", build=numbers, model="mlp"))


class Net(nn.Module):
    """Right unless told: the mean of the embeddings, and a linear layer."""

    def __init__(self, task):
        super().__init__()
        self.embedding, self.head = nn.Embedding(task.words, 4), nn.Linear(4, task.classes)

    def forward(self, tokens_BT):
        return self.head(self.embedding(tokens_BT).mean(1))


class Unseeded(Net):
    def __init__(self, task):
        super().__init__(task)
        with torch.no_grad():
            self.head.weight.copy_(
                torch.randn(self.head.weight.shape, generator=torch.Generator().manual_seed(_next()))
            )


class Constant(Net):
    def __init__(self, task):
        super().__init__(task)
        for p in self.parameters():
            nn.init.constant_(p, 0.1)


class Hidden(Net):
    def __init__(self, task):
        super().__init__(task)
        self.scale = torch.randn(4)

    def forward(self, tokens_BT):
        return self.head(self.embedding(tokens_BT).mean(1) * self.scale)


class Together(Net):
    def forward(self, tokens_BT):
        x = self.embedding(tokens_BT).mean(1)
        return self.head(x - x.mean(0))


class Idle(Net):
    def __init__(self, task):
        super().__init__(task)
        self.spare = nn.Linear(4, 4)


class Narrow(Net):
    def forward(self, tokens_BT):
        return super().forward(tokens_BT)[:, :-1]


class Half(Net):
    def forward_flops(self, batch, tokens):
        return batch / 2

    def step_flops(self, batch, tokens):
        return batch


class Cheap(Net):
    def forward_flops(self, batch, tokens):
        return 2 * batch * 4 * 13

    def step_flops(self, batch, tokens):
        return self.forward_flops(batch, tokens)


_count = [0]


def _next():
    _count[0] += 1
    return _count[0]


MODELS = {
    "starts with other weights under the same seed": Unseeded,
    "starts with the same weights under every seed": Constant,
    "keeps something that its state_dict() lacks": Hidden,
    "row 0 by itself has other outputs than in a batch": Together,
    "no gradient reaches spare.weight": Idle,
    "gives outputs of shape (12, 12), and not (12, 13)": Narrow,
    "step_flops gives 1,248 for 12 rows, and PyTorch's counter sees 3,744 in the matrix products": Cheap,
    "forward_flops gives 6.0, and not a whole number >= 0": Half,
}


@pytest.mark.parametrize("problem", MODELS)
def test_a_faulty_model_is_told_what_is_wrong(problem):
    made = MODELS[problem]
    card = ModelCard(name="faulty", build=lambda task: made(task), reads=("expressions",))
    with pytest.raises(AssertionError) as caught:
        check_model(card, task="add:11")
    assert problem in str(caught.value)


def test_the_same_model_without_a_fault_passes():
    check_model(ModelCard(name="net", build=lambda task: Net(task), reads=("expressions",)))


class Dropping(Net):
    def forward(self, tokens_BT):
        return self.head(nn.functional.dropout(self.embedding(tokens_BT).mean(1), 0.5, self.training))


class Buffered(Net):
    def __init__(self, task):
        super().__init__(task)
        self.register_buffer("shift", torch.randn(4))

    def forward(self, tokens_BT):
        return self.head(self.embedding(tokens_BT).mean(1) + self.shift)


@pytest.mark.parametrize("network", [Dropping, Buffered])
def test_what_draws_at_random_or_keeps_buffers_shares_no_program(network, capsys):
    card = ModelCard(name="net", build=lambda task: network(task), reads=("expressions",))
    check_model(card, task="add:11")
    assert "net is not stackable: its runs are trained one by one on a GPU as well" in capsys.readouterr().out
    runs = [small_run(model=name_of("models", card), seed=seed) for seed in (0, 1)]
    assert plan_groups(runs, "cuda:0") == [[run] for run in runs]
    with pytest.raises(AssertionError, match="is another one where seeds are stacked.*leave stackable out of its card"):
        check_model(replace(card, stackable=True), task="add:11")


class Recurrent(Net):
    def __init__(self, task):
        super().__init__(task)
        self.rows = nn.GRU(4, 4, batch_first=True)

    def forward(self, tokens_BT):
        return self.head(self.rows(self.embedding(tokens_BT))[0][:, -1])


def test_a_network_for_which_vmap_has_no_rule_is_told_what_to_leave_out():
    card = ModelCard(name="gru", build=lambda task: Recurrent(task), reads=("expressions",), stackable=True)
    with pytest.raises(AssertionError, match="fails with RuntimeError: .*; if it .* leave stackable out"):
        check_model(card, task="add:11")


def test_a_model_for_which_there_is_no_task_needs_one():
    card = ModelCard(name="smelling", build=lambda task: Net(task), reads=("smells",))
    with pytest.raises(InputError, match="no registered task is computed and of smells; give check_model one"):
        check_model(card)


@pytest.mark.parametrize(
    ("method", "stands_for", "problem"),
    [
        ("finished", lambda self, run_ids=None: set(), "has other runs than those that were kept"),
        ("load", lambda self, run_ids: _load(self, [sorted(run_ids)[0]] * 2), "step of .* came back with other values"),
    ],
)
def test_a_faulty_store_is_told_what_is_wrong(tmp_path, monkeypatch, method, stands_for, problem):
    monkeypatch.setattr(Store, method, stands_for)
    with pytest.raises(AssertionError, match=problem):
        check_store(tmp_path / "study")


_load = Store.load
