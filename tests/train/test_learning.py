"""Learning itself: runs memorize, then generalize, and each method reaches what it claims, over several seeds."""

import pytest

from grokkit.study.execute import execute
from grokkit.study.plan import make_plan
from grokkit.study.store import Store
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.trainer import train

# Steps to a sustained 95 %: the slowest of five seeds was well below each of these.
BOUNDS = {"adamw": 1000, "grad-norm": 800, "grokfast-ma": 1500, "grokfast-ema": 1800}
SEEDS = (0, 1)


def test_a_small_run_memorizes(tiny):
    run = train(tiny("adamw(lr=0.003,wd=0)", budget=200, evaluation=EvaluationConfig(every=20)))
    losses = run.curves["train_loss"]
    assert run.events.memorized_at is not None
    assert losses[-1] < 0.05 * losses[0]
    assert run.events.generalized_at is None, "an eleventh of a table and no decay: nothing to generalize from"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Every method of BOUNDS and the papers' baseline on a*b mod 97, at full size."""
    plan = make_plan(
        methods=[*BOUNDS, "adam-paper"],
        seeds=len(SEEDS),
        baseline=None,
        command="test",
        task=task_config("mul:97"),
        model=model_config("decoder"),
        budget=max(BOUNDS.values()),
        batch_size=512,
        evaluation=EvaluationConfig(every=20),
    )
    store = Store(tmp_path_factory.mktemp("learning"))
    with store.lock():
        assert execute(plan, store, set(), workers=2, on_event=lambda event: None) == {}
    runs, _ = store.load(plan.study["run_ids"])
    return {(row["method"], row["seed"]): row for row in runs.to_dicts()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", BOUNDS)
def test_memorizes_and_then_generalizes(results, method, seed):
    run = results[method, seed]
    assert run["status"] == "generalized"
    assert run["generalized_at"] <= BOUNDS[method]
    assert run["delay_steps"] > 0, "memorized first"
    assert run["best_test_accuracy"] > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_papers_baseline_memorizes_and_does_not_generalize_in_that_time(results, seed):
    """So both filters do what their paper claims against its own baseline: they bring generalization forward."""
    run = results["adam-paper", seed]
    assert run["memorized_at"] is not None
    assert run["status"] == "censored"
    assert run["final_train_accuracy"] > 0.99
    assert run["best_test_accuracy"] < 0.9


TRANSFERS = {
    "addition": (
        task_config("add:113(layout=operands)", train_fraction=0.25),
        "groktransfer(lr=0.003,wd=1,init_scale=0.3)",
    ),
    "parity": (
        task_config("parity:40,3", train_size=1000),
        "groktransfer(lr=0.03,wd=3,weak=fnn-l3-d4-w16,stop=0.95,weak_seeds=12,weak_lr=0.02,weak_wd=0.3,weak_steps=300)",
    ),
}


def transfer(task, method, seed):
    settings = {"model": model_config("fnn"), "budget": 150, "batch_size": None, "sustain": 2}
    return train(RunConfig(task=task, method=method_config(method), seed=seed, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TRANSFERS)
def test_a_weak_model_s_embedding_brings_generalization(name, seed):
    """The slowest of five seeds needed 60 steps on addition, 20 on parity."""
    run = transfer(*TRANSFERS[name], seed)
    assert run.status == "generalized"
    assert run.events.generalized_at <= 100
    assert 0 < run.start_flops < run.flops


@pytest.mark.slow
def test_a_random_embedding_of_its_rank_does_not():
    """No run of five generalized in 600 steps."""
    task, method = TRANSFERS["addition"]
    run = transfer(task, method.replace("groktransfer", "lowrank-random"), 0)
    assert run.events.memorized_at is not None
    assert run.status == "censored"
    assert max(run.curves["test_accuracy"]) < 0.5
