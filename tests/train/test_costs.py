"""What a step is charged for: what PyTorch's counter sees in the products of a plain one, model and method alike."""

import time

import pytest
import torch
from interrupted import Interrupted, interrupt_at
from torch.utils.flop_counter import FlopCounterMode

from grokkit.lab.named import name_of
from grokkit.methods.contract import MethodCard, StartResult
from grokkit.methods.neuralgrok.amplifier import fresh_amplifier
from grokkit.methods.neuralgrok.curve import gradient_flops, table_flops
from grokkit.models import FNN, Decoder
from grokkit.train.config import EvaluationConfig
from grokkit.train.costs import Costs
from grokkit.train.groups import can_share
from grokkit.train.halfway import HalfwayFile
from grokkit.train.loop import begin_alone, train, train_group
from grokkit.train.problem import build_problem
from grokkit.train.resolve import task_config
from grokkit.train.setup import build_model
from grokkit.weight_transform import WeightTransform

DECODER = {"model": "decoder(width=8,depth=2,heads=2)"}
FNN_OF_TOKENS = {
    "model": "fnn(width=16,dim=8,depth=2)",
    "task": task_config("add:11(layout=operands)"),
    "batch_size": None,
}
FNN_OF_FEATURES = {
    "model": "fnn(width=16,dim=8,depth=2)",
    "task": task_config("parity:9,3", train_size=40),
}
OFTEN = EvaluationConfig(every=2, share=100.0)
PROBLEMS = {"decoder": DECODER, "fnn of tokens": FNN_OF_TOKENS, "fnn of features": FNN_OF_FEATURES}


@pytest.fixture
def session(tiny, monkeypatch):
    """A run before its first step, computed plainly: without the tables and shared prefixes that save products."""
    build = build_model

    def plainly(*args):
        model = build(*args)
        if isinstance(model, FNN):
            model.use_tables = False
        if isinstance(model, Decoder):
            model.share_prefixes = False
        return model

    monkeypatch.setattr("grokkit.train.loop.build_model", plainly)

    def make(method, problem="decoder", **changes):
        return begin_alone(tiny(method, **{**PROBLEMS[problem], **changes}))

    return make


def counted_and_charged(session, stop):
    """Of the steps up to ``stop``: FLOPs that the counter saw, and those that the history took."""
    before = session.members[0].progress.flops
    with FlopCounterMode(display=False) as counter:
        session.train_to(stop)
    return counter.get_total_flops(), session.members[0].progress.flops - before


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("method", ["adamw", "adam-l2", "grokfast-ema", "grokfast-ma", "grad-norm", "clip-only"])
def test_a_method_that_works_entry_by_entry_is_charged_the_model_s_products(session, method, problem):
    own = session(method, problem)
    counted, charged = counted_and_charged(own, 3)
    assert counted == charged > 0
    assert own.members[0].progress.costs.step(10, 4) == own.model.step_flops(10, 4)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("trainable", ["true", "false"])
def test_a_factorized_embedding_is_charged_with_its_product(session, problem, trainable):
    own = session(f"lowrank-random(weak=random(dim=3),trainable={trainable})", problem)
    counted, charged = counted_and_charged(own, 2)
    assert counted == charged
    vocabulary = {"decoder": 13, "fnn of tokens": 11, "fnn of features": 9}[problem]
    products = 3 if trainable == "true" else 2
    added = own.members[0].progress.costs.step(10, 4) - own.model.step_flops(10, 4)
    assert added == products * 2 * vocabulary * 3 * 8


def test_a_merged_embedding_is_charged_no_product(session):
    own, never, bare = (
        session(method, "fnn of tokens")
        for method in ("lowrank-random(weak=random(dim=3),merge=2)", "lowrank-random(weak=random(dim=3))", "adamw")
    )
    assert counted_and_charged(own, 2) == counted_and_charged(never, 2)
    counted, charged = counted_and_charged(own, 4)
    assert charged == counted_and_charged(bare, 2)[1]
    assert counted == charged + 2 * 11 * 3 * 8, "merging itself takes one product, once, and is not charged"


def test_a_run_resumed_after_merging_is_charged_no_product(tiny, tmp_path):
    config = tiny("lowrank-random(weak=random(dim=3),merge=2)", **FNN_OF_TOKENS, budget=20, evaluation=OFTEN)
    whole, checkpoint = train(config), tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        train(config, report=interrupt_at(7), checkpoint=checkpoint, checkpoint_seconds=-1.0)
    steps = []
    resumed = train(config, checkpoint=checkpoint, report=lambda progress: steps.append(progress["step"]))
    assert steps[0] > 5, "after the merge"
    assert resumed.flops == whole.flops


@pytest.mark.parametrize("hidden", [(6,), (128, 128), (5, 4, 3)])
def test_an_amplifier_s_table_is_charged_at_least_what_it_takes(session, hidden):
    """How many pieces it has depends on the gradients; it is charged for 64, more than there are."""
    own = session(f"neuralgrok-random(hidden={hidden})", batch_size=None)
    counted, charged = counted_and_charged(own, 2)
    model = 2 * own.model.step_flops(len(own.members[0].problem.inner), 4)
    assert charged - model == 2 * table_flops(hidden)
    assert 0 < counted - model <= charged - model


def test_an_outer_step_is_charged_its_passes_and_the_learning(session):
    own = session("neuralgrok(hidden=(6,),every=2,lr_warmup=0)", batch_size=None)
    inner, outer = (
        own.model.step_flops(len(rows), 4) for rows in (own.members[0].problem.inner, own.members[0].problem.outer)
    )
    learning = 2 * table_flops((6,)) + gradient_flops((6,))
    (counted, charged), (_, without) = (counted_and_charged(own, stop) for stop in (1, 2))
    assert own.members[0].progress.outer_steps == 1, "at the second step none is due"
    assert charged == inner + table_flops((6,)) + outer + learning
    assert without == inner + table_flops((6,))
    assert inner + outer < counted <= charged


def test_an_amplifier_that_is_given_is_charged_by_its_own_size(session, tmp_path):
    fresh_amplifier((3,)).save(tmp_path / "given.npz")
    given = session(f"neuralgrok-random(amplifier={tmp_path / 'given.npz'})").members[0].progress.costs
    assert given.step(16, 4) == session("neuralgrok-random(hidden=(3,))").members[0].progress.costs.step(16, 4)


def test_the_table_s_formula_is_that_of_its_products():
    """1 → 3 → 2 → 1 at 64 pieces: 65 edges through the first layer, then through two; twice 64 points through all."""
    assert table_flops((3, 2)) == 2 * 65 * 3 + 2 * 65 * (3 + 6) + 2 * 128 * (3 + 6 + 2)
    assert gradient_flops((3, 2)) == 2 * 128 * (3 * (3 + 6 + 2) - 3)


def test_what_was_spent_before_the_first_step_is_part_of_all_that_follows(tiny):
    """Weak models in FLOPs and seconds, to the target and in all; never in steps."""
    config = tiny(
        "groktransfer(weak=fnn(dim=4,width=8),weak_steps=30,weak_seeds=1)",
        **FNN_OF_TOKENS | {"budget": 200, "target": 0.02, "sustain": 0, "evaluation": EvaluationConfig(every=5)},
    )
    record = (run := train(config)).record()
    attempts = run.tables["attempts"]
    assert run.start_flops == sum(attempts["flops"]) > 0
    assert run.start_seconds >= sum(attempts["seconds"]) > 0
    model = FNN(vocabulary=11, tokens=2, classes=11, depth=2, dim=8, width=16)
    product = 3 * 2 * 11 * 4 * 8
    a_step = model.step_flops(len(build_problem(config).inner), 2) + product
    assert run.curves["flops"][0] == run.start_flops
    assert record["flops"] == run.start_flops + run.steps * a_step
    at = run.events.generalized_at
    assert at is not None
    assert record["flops_to_target"] == run.start_flops + at * a_step
    assert record["train_seconds_to_target"] >= run.start_seconds
    assert attempts["steps"][0] > 0
    assert record["steps"] == run.curves["step"][-1]


def slept(seconds, result):
    time.sleep(seconds)
    return result


def nothing_started(told=0.0):
    return lambda: lambda model, data, seed: slept(0.05, StartResult({}, told))


SLOW_TO_BEGIN = {
    "start": {"start": nothing_started()},
    "optimizer": {
        "optimizer": lambda: (
            lambda classes: slept(0.05, torch.optim.SGD(p for own in classes.values() for p in own.values()))
        )
    },
    "weights": {
        "weights": lambda: WeightTransform(lambda params: slept(0.05, ()), lambda params, state: (params, state))
    },
}


@pytest.mark.parametrize("door", SLOW_TO_BEGIN)
def test_seconds_before_the_first_step_are_charged_whatever_a_method_says(tiny, door):
    config = tiny(name_of("methods", MethodCard(name=f"slow-{door}", **SLOW_TO_BEGIN[door])), budget=5)
    run = train(config)
    assert run.start_seconds >= 0.05
    assert run.curves["train_seconds"][0] >= run.start_seconds
    if door != "start":
        return
    says_more = name_of("methods", MethodCard(name="says-more", start=nothing_started(told=1000.0)))
    assert train(tiny(says_more, budget=5)).start_seconds == 1000.0, "those that it says are not added to the clocked"


def test_seconds_before_the_first_step_are_charged_to_runs_that_share_a_program(tiny):
    card = MethodCard(name="slow-together", **SLOW_TO_BEGIN["start"], **SLOW_TO_BEGIN["weights"])
    configs = [tiny(name_of("methods", card), "fnn(dim=4,width=8)", seed=seed, budget=5) for seed in (0, 1)]
    assert can_share(configs[0])
    assert all(run.start_seconds >= 0.1 for run in train_group(configs, device="cpu"))


def test_what_comes_before_the_first_step_is_charged_once_however_often_a_run_is_resumed(tiny, tmp_path):
    slow = name_of("methods", MethodCard(name="slow-to-resume", **SLOW_TO_BEGIN["weights"]))
    config, checkpoint = tiny(slow, budget=20), tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        train(config, report=interrupt_at(10), checkpoint=checkpoint, checkpoint_seconds=0)
    began = []
    run = train(config, report=lambda progress: began.append(progress["step"]), checkpoint=checkpoint)
    assert began[0] > 5
    assert 0.05 <= run.start_seconds <= run.curves["train_seconds"][0], "the curves' first row is of the first process"


def test_a_start_that_goes_on_is_charged_for_what_it_took_before(tmp_path):
    before = HalfwayFile(tmp_path / "checkpoint", "hash", 0, 10.0, print)
    time.sleep(0.05)
    before.keep({}, None)
    after = HalfwayFile(tmp_path / "checkpoint", "hash", 0, 10.0, print)
    assert after.found() is not None
    assert after.taken() >= 0.05


def test_a_method_without_a_part_before_the_first_step_is_charged_for_none(tiny):
    assert [train(tiny(method, budget=2)).start_seconds for method in ("adamw", "grokfast-ema", "stablemax")] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("method", ["adamw", "neuralgrok(hidden=(4,))", "lowrank-random(weak=random(dim=2))"])
def test_costs_are_of_the_batch_not_of_the_run(tiny, method):
    """Twice the rows are twice the model's products, and the method's own are as many."""
    config = tiny(method)
    costs = Costs(config.method, build_model(config.model, build_problem(config).task, 0))
    one, two, three = (costs.step(rows, 4) for rows in (10, 20, 30))
    assert three - two == two - one > 0
