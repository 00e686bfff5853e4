"""Weak models: their names, what they see, and the rule by which a ladder of them stops."""

from functools import partial

import pytest
import torch

from grokkit import InputError, groktransfer
from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer import search
from grokkit.methods.groktransfer.growth import widen
from grokkit.methods.groktransfer.search import LADDER, Rule, climb, rungs, try_out
from grokkit.methods.groktransfer.source import check_source, find_embedding, given_embedding
from grokkit.methods.groktransfer.weak import Trial, fill_unseen, parse_weak, varying_places
from grokkit.models import FNN
from grokkit.tasks import modular_task
from grokkit.testing.runs import small_run
from grokkit.train.config import RunConfig
from grokkit.train.doors import doors_of
from grokkit.train.loop import train
from grokkit.train.problem import build_problem, transfer_data
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.setup import build_model


def lesson(p=11, layout="operands", train=60, validation=30):
    task = modular_task(f"add:{p}", layout=layout)
    order = torch.randperm(len(task.targets_N), generator=torch.Generator().manual_seed(0))
    parts = [order[:train], order[train : train + validation]]
    rows = [Examples(task.inputs_NT[part], task.targets_N[part]) for part in parts]
    return TransferData(train=rows[0], validation=rows[1], vocabulary=task.vocabulary, outputs=task.classes)


NAMES = [
    "fnn(dim=4,width=16)",
    "fnn(depth=3,dim=4,width=16)",
    "decoder(depth=2,heads=2,width=32)",
    "mlp(width=16)",
    "mlp(depth=3,width=16)",
    "bag(dim=9)",
    "lstm(depth=2,dim=8,width=32)",
]


@pytest.mark.parametrize("name", [*LADDER, *NAMES])
def test_a_weak_model_s_name_gives_the_model_back(name):
    assert str(parse_weak(name)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fnn(dim=0)", "^fnn: dim=0 is not possible: a whole number from 1"),
        ("fnn(dim=4,heads=2,width=8)", "^unknown setting of fnn 'heads'"),
        ("decoder(width=30)", "width=30 is not divisible by heads=4"),
        ("gru(dim=4)", r"^weak=gru\(dim=4\) is not possible: unknown model 'gru'.*write e.g. fnn\(dim=8,width=32\)"),
        ("bag(dim=4,width=8)", "^unknown setting of bag 'width'"),
        ("random", r"^weak=random needs its dim; write random\(dim=8\)"),
        ("fullrank(width=1.5)", "^weak=fullrank: width=1.5 is not possible: a whole number"),
        ("fnn-d8-w32", r"^weak=fnn-d8-w32 is written fnn\(dim=8,width=32\) now$"),
        ("fnn-l3-d4-w16", r"is written fnn\(depth=3,dim=4,width=16\) now$"),
        ("decoder-d32-l1-h4", r"is written decoder\(width=32,depth=1,heads=4\) now$"),
        ("random-d8", r"is written random\(dim=8\) now$"),
        ("fullrank-w32", r"is written fullrank\(width=32\) now$"),
        ("nowhere.npz", "no file nowhere.npz"),
        ("you@host/nowhere.npz", "no file you@host/nowhere.npz"),
        ("you@host/nowhere.npz@0123456789ab", "no file you@host/nowhere.npz"),
    ],
)
def test_another_name_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        check_source(name)


TOWERS = """
from torch import nn
from grokkit.models import ModelCard

class Towers(nn.Module):
    def __init__(self, task, width):
        super().__init__()
        self.embedding, self.head = nn.Embedding(task.words, width), nn.Linear(width, task.classes)
        self.drop = nn.Dropout(0.1)

    def forward(self, tokens):
        return self.head(self.drop(self.embedding(tokens).sum(1)))

class Telling(Towers):
    def forward_flops(self, batch, tokens):
        return 1

    def step_flops(self, batch, tokens):
        return 2.5

def towers(task, *, width: int = 8):
    return Towers(task, width)

TOWERS = ModelCard(name="towers", build=towers, reads=("expressions",))
TELLING = ModelCard(name="telling", build=lambda task: Telling(task, 8), reads=("expressions",))
"""


def test_a_weak_model_that_does_not_say_what_it_costs_is_measured(tmp_path, monkeypatch):
    """A step is the product of its head and the two of the head's gradients; validation rows cost the first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "towers.py").write_text(TOWERS)
    target = small_run(
        "groktransfer(weak=towers.py:TOWERS(width=4),weak_steps=20,weak_seeds=1)", "add:11", "fnn(dim=4)"
    )
    problem = build_problem(target)
    doors_of(target.method).check(build_model(target.model, problem.task, 0), partial(transfer_data, problem))
    table = train(target).tables["attempts"]
    train_rows, validation_rows = (len(rows) for rows in (problem.inner, problem.split.validation))
    product = 2 * 4 * 11
    for steps, flops in zip(table["steps"], table["flops"], strict=True):
        assert flops == product * (3 * train_rows * steps + validation_rows * (steps // 10))


def test_one_that_says_what_is_no_cost_is_refused_for_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "towers.py").write_text(TOWERS)
    with pytest.raises(InputError, match=r"^the step_flops of the network are 2\.5; they must be a whole number"):
        try_out(lesson(), parse_weak("towers.py:TELLING"))


class Scripted:
    """A trial whose accuracies are given: (training, validation), one pair a look; the last stays."""

    script: dict

    def __init__(self, weak, lesson, *, lr, wd, seed):
        self.weak, self.seed, self.steps, self.seconds, self.flops, self.is_finite = weak, seed, 0, 0.0, 0, True
        self._curve = self.script[(str(weak), seed)]

    def advance(self, steps):
        self.steps += steps
        self.seconds += steps
        self.flops += 2 * steps
        look = min(self.steps // 10, len(self._curve)) - 1
        self.train_accuracy, self.validation_accuracy = self._curve[look]
        self.is_finite = self.train_accuracy == self.train_accuracy

    def embedding(self):
        return torch.full((2, 1), float(self.seed + 1))


@pytest.fixture
def scripted(monkeypatch):
    def use(script):
        monkeypatch.setattr(search, "Trial", type("Scripted", (Scripted,), {"script": script}))

    return use


SMALL, LARGE = map(parse_weak, ("fnn(dim=2,width=2)", "fnn(dim=4,width=4)"))
FLAT = [(0.1, 0.05)]
RISING = [(0.1 * look, 0.08 * look) for look in range(1, 11)]


def told(stage):
    return [(a.weak, a.seed, a.steps, a.chosen) for a in stage.attempts]


def test_the_first_to_reach_the_accuracy_is_taken_and_nothing_after_it_tried(scripted):
    scripted({("fnn(dim=2,width=2)", 0): FLAT, ("fnn(dim=2,width=2)", 1): RISING})
    stage = climb(lesson(), (SMALL, LARGE), Rule(stop=0.5, patience=1000))
    assert told(stage) == [("fnn(dim=2,width=2)", 0, 70, False), ("fnn(dim=2,width=2)", 1, 70, True)]
    assert stage.reached
    assert (stage.embedding == 2).all()
    assert (stage.seconds, stage.flops) == (140, 280)


def test_what_makes_no_progress_is_given_up_and_the_next_rung_begins(scripted):
    stuck = [(0.5, 0.3)] * 2
    scripted(
        {
            ("fnn(dim=2,width=2)", 0): FLAT,
            ("fnn(dim=2,width=2)", 1): stuck,
            ("fnn(dim=4,width=4)", 0): RISING,
            ("fnn(dim=4,width=4)", 1): [(torch.nan, 0.0)],
        }
    )
    stage = climb(lesson(), (SMALL, LARGE), Rule(stop=0.5, patience=50))
    assert told(stage) == [
        ("fnn(dim=2,width=2)", 0, 60, False),  # its first look was its best: 10, and 50 more
        ("fnn(dim=2,width=2)", 1, 60, False),
        ("fnn(dim=4,width=4)", 0, 70, True),
        ("fnn(dim=4,width=4)", 1, 10, False),  # not finite: out at once
    ]
    assert (stage.seconds, stage.flops) == (200, 400), "every attempt is charged"


def test_training_accuracy_alone_is_progress_and_the_budget_ends_it(scripted):
    memorizing = [(0.03 * look, 0.0) for look in range(1, 33)]
    scripted({("fnn(dim=2,width=2)", 0): memorizing, ("fnn(dim=2,width=2)", 1): FLAT})
    stage = climb(lesson(), (SMALL,), Rule(stop=0.5, patience=50, steps=205))
    assert told(stage) == [("fnn(dim=2,width=2)", 0, 205, False), ("fnn(dim=2,width=2)", 1, 60, True)]


def test_if_none_gets_there_the_best_is_taken_and_said_to_be_short(scripted):
    scripted({("fnn(dim=2,width=2)", 0): [(0.9, 0.2)], ("fnn(dim=2,width=2)", 1): [(0.4, 0.3)]})
    stage = climb(lesson(), (SMALL,), Rule(stop=0.5, patience=20))
    assert not stage.reached
    assert [a.chosen for a in stage.attempts] == [False, True]


def test_without_validation_rows_or_a_finite_model_there_is_a_clear_error(scripted):
    with pytest.raises(InputError, match="validation rows, and there are none.*--validation-fraction"):
        climb(lesson(validation=0), (SMALL,), Rule())
    scripted({("fnn(dim=2,width=2)", seed): [(torch.nan, 0.0)] for seed in (0, 1)})
    with pytest.raises(InputError, match=r"finite at learning rate 0\.03; lower it"):
        climb(lesson(), (SMALL,), Rule())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop": 0.0}, r"stop=0\.0 .*\(0, 1\].*default is 0\.7"),
        ({"steps": 1.5}, "steps=1.5"),
        ({"seeds": True}, "seeds=True"),
        ({"patience": 0}, "patience=0"),
        ({"lr": float("inf")}, "lr=inf"),
        ({"wd": -1.0}, "wd=-1"),
    ],
)
def test_an_impossible_rule_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Rule(**settings)


def test_a_trial_learns_and_counts_what_it_costs():
    own = lesson(p=5, train=20, validation=5)
    trial = Trial(parse_weak("fnn(dim=8,width=32)"), own, lr=0.03, wd=0.0, seed=0)
    for _ in range(20):
        trial.advance(10)
    assert trial.train_accuracy == 1.0
    model = FNN(vocabulary=5, tokens=2, classes=5, depth=2, dim=8, width=32)
    assert trial.flops == 200 * model.step_flops(20, 2) + 20 * model.forward_flops(5, 2)
    assert trial.seconds > 0
    again = Trial(parse_weak("fnn(dim=8,width=32)"), own, lr=0.03, wd=0.0, seed=0)
    again.advance(200)
    assert torch.equal(again.embedding(), trial.embedding())


def test_tokens_that_never_vary_are_not_seen_and_get_rows_of_the_same_size():
    own = lesson(p=11, layout="infix", train=90)
    assert varying_places(own.train.inputs).tolist() == [0, 2]
    trial = Trial(parse_weak("fnn(dim=4,width=8)"), own, lr=0.03, wd=0.5, seed=0)
    trial.advance(20)
    found = trial.embedding()
    assert found.shape == (13, 4)
    known = torch.ones(9, 64)
    full = fill_unseen(known, 1000, torch.arange(9), seed=0)
    assert torch.equal(full[:9], known)
    assert float(full[9:].square().mean()) == pytest.approx(1.0, rel=0.05)


def test_one_row_has_no_place_that_varies():
    assert varying_places(torch.tensor([[3, 4]])).tolist() == [0, 1]


def test_given_embeddings_have_rows_of_length_one_that_tell_numbers_apart():
    for kind, width in (("onehot", 97), ("binary", 7), ("fourier", 14)):
        rows = given_embedding(kind, 97)
        assert rows.shape == (97, width)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(97))
        assert len(rows.round(decimals=5).unique(dim=0)) == 97
    # Σ_f cos(2πf(a−b)/P) / 7: the inner product depends on the difference alone
    gram = given_embedding("fourier", 97) @ given_embedding("fourier", 97).T
    torch.testing.assert_close(gram[3, 10], gram[50, 57])


def test_random_and_given_cost_nothing():
    for weak, shape in (("random(dim=3)", (13, 3)), ("onehot", (13, 11)), ("binary", (13, 4))):
        stage = find_embedding(weak, lesson(layout="infix", train=90), width=8, rule=Rule(), seed=0)
        assert stage.embedding.shape == shape
        assert (stage.attempts, stage.seconds, stage.flops) == ((), 0, 0)


def test_auto_is_the_ladder():
    assert tuple(map(str, rungs("auto"))) == LADDER
    assert rungs("fnn(dim=4,width=16)") == (parse_weak("fnn(dim=4,width=16)"),)


def test_the_lab_shows_training_and_validation_rows_and_no_others():
    config = RunConfig(
        task=task_config("add:11(layout=operands)"),
        model=model_config("fnn(dim=4,width=4)"),
        method=method_config("groktransfer"),
        seed=0,
        budget=1,
        batch_size=None,
    )
    problem = build_problem(config)
    own = transfer_data(problem)
    test_rows = {tuple(row) for row in problem.task.inputs_NT[problem.split.test].tolist()}
    for part, rows in ((own.train, problem.split.train), (own.validation, problem.split.validation)):
        assert torch.equal(part.inputs, problem.task.inputs_NT[rows])
        assert torch.equal(part.targets, problem.task.targets_N[rows])
        assert not test_rows & {tuple(row) for row in part.inputs.tolist()}


def test_in_one_call_on_a_model_of_ones_own():
    own = lesson(p=5, train=15, validation=10)
    target = torch.nn.Sequential(torch.nn.Embedding(5, 16), torch.nn.Flatten(), torch.nn.Linear(32, 5))
    stage = groktransfer(target, tuple(own.train), tuple(own.validation), "fnn(dim=4,width=8)", rule=Rule(steps=20))
    assert torch.equal(next(target[0].parameters()), stage.embedding)
    assert sum(a.chosen for a in stage.attempts) == 1
    given = torch.nn.Sequential(torch.nn.Embedding(5, 16), torch.nn.Flatten(), torch.nn.Linear(32, 5))
    free = groktransfer(given, tuple(own.train), tuple(own.validation), stage.embedding)
    assert free.attempts == ()
    assert torch.equal(next(given[0].parameters()), stage.embedding)
    with pytest.raises(InputError, match=r"train inputs have shape \(15,\)"):
        groktransfer(given, (own.train.targets, own.train.targets), tuple(own.validation))


def found_on(inputs, targets, weak, **settings):
    """What a weak model of two heads' width finds on 20 rows of 30."""
    torch.manual_seed(0)
    first = torch.nn.Linear(inputs.shape[1], 8) if inputs.is_floating_point() else torch.nn.Embedding(7, 8)
    target = torch.nn.Sequential(first, torch.nn.Flatten(), torch.nn.LazyLinear(7))
    rule = Rule(steps=20, seeds=1)
    return groktransfer(target, (inputs[:20], targets[:20]), (inputs[20:], targets[20:]), weak, rule=rule, **settings)


TOKENS = torch.cartesian_prod(torch.arange(5), torch.arange(2, 7), torch.arange(2))[:30, :2]
NUMBERS = torch.linspace(-2.0, 2.0, 90).view(30, 3).sin()


@pytest.mark.parametrize("weak", ["fnn(dim=4,width=8)", "lda(dim=3)", "pca(dim=3)", "bag(dim=4)"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_tokens_and_targets_of_any_integer_type_are_what_they_are_in_int64(weak, dtype):
    targets = TOKENS.sum(1) % 7
    found, expected = (found_on(TOKENS.to(d), targets.to(d), weak) for d in (dtype, torch.int64))
    assert torch.equal(found.embedding, expected.embedding)


@pytest.mark.parametrize("weak", ["mlp(width=8,depth=3)", "pca(dim=2)"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_numbers_of_any_precision_are_read_in_the_weak_model_s(weak, dtype):
    inputs, targets = NUMBERS.to(dtype), (NUMBERS[:, 0] > 0).long()
    found, expected = (found_on(each, targets, weak) for each in (inputs, inputs.float()))
    assert torch.equal(found.embedding, expected.embedding)


def smoothed(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("loss", [torch.nn.CrossEntropyLoss(), smoothed])
def test_a_loss_of_classes_has_classes_whatever_it_is_made_of(loss, classes):
    targets = TOKENS.sum(1) % classes
    (attempt,) = found_on(TOKENS, targets, "fnn(dim=4,width=8)", loss=loss).attempts
    if loss is not smoothed:
        (plain,) = found_on(TOKENS, targets, "fnn(dim=4,width=8)").attempts
        assert attempt.validation_accuracy == plain.validation_accuracy


def test_a_loss_of_one_output_tells_two_classes_apart_by_its_sign():
    def logistic(outputs, targets):
        return torch.nn.functional.softplus(-outputs * targets).mean()

    signs = 1 - 2 * (TOKENS[:, 0] > 1).long()
    for targets, loss in (
        (signs, logistic),
        (signs.double(), logistic),
        ((signs > 0).double(), torch.nn.BCEWithLogitsLoss()),
    ):
        (attempt,) = found_on(TOKENS, targets, "fnn(dim=4,width=8)", loss=loss).attempts
        assert attempt.train_accuracy > 0.8  # a line through two numbers; chance is 0.6
    with pytest.raises(InputError, match="targets are torch.float64, and cross-entropy is of classes"):
        found_on(TOKENS, signs.double(), "fnn(dim=4,width=8)")


def test_a_merge_at_k_may_be_written_with_an_at():
    assert method_config("groktransfer-merge@30").parts[0].settings["merge"] == 30
    assert method_config("groktransfer-merge").parts[0].settings["merge"] == 100
    with pytest.raises(InputError, match="merge='soon'"):
        method_config("groktransfer-merge@soon")


@pytest.mark.parametrize("kind", ["tokens", "numbers"])
def test_a_wider_model_computes_what_the_narrower_one_does(kind):
    shape = {"vocabulary": 7, "tokens": 2} if kind == "tokens" else {"features": 5}
    torch.manual_seed(0)
    narrow, wide = (FNN(classes=7, depth=3, dim=d, width=w, bias=True, **shape) for d, w in ((4, 6), (8, 15)))
    inputs = torch.randint(0, 7, (9, 2)) if kind == "tokens" else torch.randn(9, 5)
    assert (narrow(inputs) - wide(inputs)).abs().max() > 0.1
    widen(narrow, wide)
    torch.testing.assert_close(narrow(inputs), wide(inputs))
    assert wide.layers[0].weight[6:].abs().min() > 0, "new units can learn"


def test_growing_models_begin_as_the_best_of_the_rung_before():
    data, rule = lesson(), Rule(stop=1.0, steps=10, seeds=2)
    grown = find_embedding("grow", data, width=32, rule=rule, seed=0)
    assert [attempt.weak for attempt in grown.attempts][::2] == list(search.GROWING)
    afresh = [find_embedding(weak, data, width=32, rule=rule, seed=0).attempts[0] for weak in search.GROWING[:2]]
    assert grown.attempts[0].train_accuracy == afresh[0].train_accuracy
    assert grown.attempts[2].train_accuracy > afresh[1].train_accuracy, "twenty steps, not ten"


def test_what_has_no_fnn_to_grow_is_refused():
    with pytest.raises(InputError, match="weak=grow is not possible here: it widens an fnn"):
        rungs("grow", ("bag(dim=8)", "bag(dim=32)"))


def signs(shape):
    """Whether a sum mod 7 is odd, as 1 and −1, and targets of that shape."""
    rows = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    rows = rows[torch.randperm(49, generator=torch.Generator().manual_seed(0))]
    y = (rows.sum(1) % 2 * 2 - 1).float().reshape(-1, *shape)
    return (rows[:30], y[:30]), (rows[30:], y[30:])


@pytest.mark.parametrize(
    "loss", [torch.nn.functional.mse_loss, torch.nn.SoftMarginLoss(), lambda out, y: (out - y).square().mean()]
)
def test_targets_in_a_column_are_the_targets(loss):
    found = []
    for shape in ((), (1,)):
        train, validation = signs(shape)
        target = torch.nn.Sequential(torch.nn.Embedding(7, 16), torch.nn.Flatten(), torch.nn.Linear(32, 1))
        rule = Rule(steps=60, seeds=1, stop=1.0)
        found.append(groktransfer(target, train, validation, "fnn(dim=8,width=32)", loss=loss, rule=rule))
    flat, column = found
    torch.testing.assert_close(column.embedding, flat.embedding, rtol=1e-4, atol=1e-5)
    assert flat.attempts[0].train_accuracy > 0.8
    assert column.attempts[0].steps == flat.attempts[0].steps
    assert column.attempts[0].train_accuracy == pytest.approx(flat.attempts[0].train_accuracy, abs=0.05)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_rows_without_a_class_count_neither_as_right_nor_as_wrong(shape):
    rows = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    y = rows.sum(1) % 5
    y[::3] = -100
    y = y.reshape(-1, *shape)
    target = torch.nn.Sequential(torch.nn.Embedding(5, 16), torch.nn.Flatten(), torch.nn.Linear(32, 5))
    stage = groktransfer(target, (rows, y), (rows, y), "fnn(dim=8,width=32)", rule=Rule(steps=200, seeds=1, stop=1.0))
    assert stage.reached, "a third of the rows could never be right"


class _Behind(torch.nn.Module):
    """A linear layer that does not read the inputs."""

    def __init__(self):
        super().__init__()
        self.first, self.head = torch.nn.Conv1d(1, 4, 3), torch.nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.first(x[:, None]).flatten(1))


WEIGHT_NORM = torch.nn.Sequential(
    torch.nn.utils.parametrizations.weight_norm(torch.nn.Embedding(7, 8)), torch.nn.Flatten(), torch.nn.Linear(16, 2)
)


@pytest.mark.parametrize(
    ("target", "rows", "targets", "message"),
    [
        (WEIGHT_NORM, torch.zeros(9, 2, dtype=torch.long), torch.zeros(9).long(), "parametrized weight already"),
        (_Behind(), torch.randn(9, 6), torch.zeros(9).long(), "6 numbers a row, and head reads 16"),
        (
            torch.nn.Sequential(torch.nn.Embedding(7, 8), torch.nn.Flatten(), torch.nn.Linear(16, 2)),
            torch.zeros(9, 2, dtype=torch.long),
            torch.randn(9, 2),
            r"targets have shape \(9, 2\); weak models learn one target a row",
        ),
        (
            torch.nn.Sequential(torch.nn.Embedding(7, 8), torch.nn.Flatten(), torch.nn.Linear(16, 2)),
            torch.zeros(9, 2, dtype=torch.long),
            torch.full((9,), -100),
            "no training row has a class: all targets are -100, which the loss ignores",
        ),
    ],
)
def test_what_cannot_start_from_an_embedding_is_refused_before_a_model_is_trained(
    target, rows, targets, message, monkeypatch
):
    monkeypatch.setattr(Trial, "advance", lambda *_: pytest.fail("a weak model was trained"))
    loss = torch.nn.functional.mse_loss if targets.is_floating_point() else torch.nn.functional.cross_entropy
    with pytest.raises(InputError, match=message):
        groktransfer(target, (rows, targets), (rows, targets), loss=loss)
