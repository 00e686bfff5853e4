"""Runs on real data and on targets that are losses: alone, in one program, and what they leave behind."""

import math

import pytest
import torch

from grokkit.errors import InputError
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.events import find_loss_events
from grokkit.train.groups import plan_groups
from grokkit.train.loop import train, train_group
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config

SETTINGS = {
    "qm9": {
        "task": task_config("qm9:60", train_size=30),
        "model": model_config("graph-conv(width=8,pooled=4,hidden=8,edge_hidden=8,init_scale=1)"),
        "batch_size": 16,
        "target_loss": 0.5,
    },
    "mnist": {
        "task": task_config("mnist:300", train_size=200),
        "model": model_config("mlp(width=16,init_scale=1)"),
        "batch_size": 50,
    },
    "imdb": {
        "task": task_config("imdb:60", train_size=40),
        "model": model_config("lstm(depth=1,dim=4,width=8,init_scale=1)"),
        "batch_size": 20,
    },
}


def config(name, method="adamw(lr=0.01)", seed=0, **changes):
    settings = {"seed": seed, "budget": 30, "evaluation": EvaluationConfig(every=5, share=50)}
    return RunConfig(method=method_config(method), **{**settings, **SETTINGS[name], **changes})


@pytest.mark.parametrize("name", SETTINGS)
def test_together_as_alone(name):
    """Seeds have splits, and so vocabularies and means, of their own."""
    configs = [config(name, seed=seed) for seed in range(3)]
    assert [len(group) for group in plan_groups(configs, "cpu", batched=True)] == [3]
    for member, own in zip(train_group(configs, device="cpu"), configs, strict=True):
        alone = train(own)
        assert member.curves["step"] == alone.curves["step"]
        measured = ("loss",) if name == "qm9" else ("loss", "accuracy")
        for part in (f"{part}_{measure}" for part in ("train", "validation", "test") for measure in measured):
            assert member.curves[part] == pytest.approx(alone.curves[part], rel=2e-3, abs=1e-5), part
        assert member.events == alone.events
    assert alone.curves["train_loss"][-1] < 0.98 * alone.curves["train_loss"][0]


def test_a_member_that_ends_first_leaves_the_others_their_own_rows():
    configs = [config("qm9", seed=seed, budget=60, target_loss=loss) for seed in range(3) for loss in (0.9,)]
    alone = [train(own) for own in configs]
    assert len({run.steps for run in alone}) > 1, "or the test is none"
    for member, own in zip(train_group(configs, device="cpu"), alone, strict=True):
        assert member.steps == own.steps
        assert member.curves["test_loss"] == pytest.approx(own.curves["test_loss"], rel=2e-3)


def test_a_regression_has_losses_and_events_and_no_accuracy():
    run = train(config("qm9", budget=200, target_loss=0.6))
    record, curves = run.record(), run.curves
    for part in ("train", "validation", "test"):
        assert curves[f"{part}_accuracy"] == [None] * len(curves["step"])
    assert record["best_test_accuracy"] is record["final_train_accuracy"] is None
    assert record["best_test_loss"] == min(curves["test_loss"])
    assert record["final_test_loss"] == curves["test_loss"][-1]
    assert record["status"] == "generalized"
    at = curves["step"].index(record["generalized_at"])
    assert all(loss <= 0.6 for loss in curves["test_loss"][at:])
    assert at == 0 or curves["test_loss"][at - 1] > 0.6
    assert run.steps < 200, "it stops when the target is sure"


@pytest.mark.parametrize("method", ["logit-temperature", "stablemax"])
def test_what_is_for_logits_is_refused_where_targets_are_numbers(method):
    with pytest.raises(InputError, match=f"{method} is for outputs that are logits, and qm9:60 has numbers as targets"):
        train(config("qm9", method, budget=10, target_loss=0.6))


def test_a_classification_may_have_a_target_loss_too():
    run = train(config("mnist", budget=200, target_loss=0.07))
    assert run.status == "generalized"
    assert max(run.curves["test_accuracy"]) < 0.95
    assert run.record()["best_test_accuracy"] == max(run.curves["test_accuracy"])


def test_progress_tells_losses():
    seen = []
    train(config("qm9", budget=10), report=seen.append)
    assert seen[-1]["test_accuracy"] is None
    assert math.isfinite(seen[-1]["test_loss"])


def test_a_regression_needs_a_target_loss():
    with pytest.raises(InputError, match="qm9:60 has numbers as targets, and so no accuracy; set .* target_loss=0.05"):
        build_problem(config("qm9", target_loss=None))


def test_what_is_learned_from_data_is_learned_from_training_rows():
    """Of imdb and qm9: two seeds have different training rows, and so different tokens and targets of the same row."""
    for name in ("imdb", "qm9"):
        problems = [build_problem(config(name, seed=seed)) for seed in (0, 1)]
        first, second = (problem.task for problem in problems)
        assert first.inputs_NT.shape == second.inputs_NT.shape, "so that they can share a program"
        assert not torch.equal(first.inputs_NT, second.inputs_NT)
    mean = float(problems[0].task.targets_N[problems[0].split.train].mean())
    assert mean == pytest.approx(0.0, abs=1e-6)
    assert abs(float(problems[0].task.targets_N[problems[0].split.test].mean())) > 1e-3


def test_the_target_loss_and_the_folder_are_part_of_a_run():
    run = config("mnist")
    hashes = {run.hash(), config("mnist", target_loss=0.1).hash(), config("mnist", target_loss=0.2).hash()}
    elsewhere = run.task.model_copy(update={"data_dir": "/data"})
    assert len({*hashes, run.model_copy(update={"task": elsewhere}).hash()}) == 4
    assert RunConfig(**run.model_dump()).hash() == run.hash()


def test_loss_events():
    losses = {"train": [3.0, 0.1, 0.1, 0.1, 0.1, 0.1], "test": [4.0, 3.0, 0.2, 0.5, 0.2, 0.1]}
    events = find_loss_events([0, 10, 20, 30, 40, 50], **losses, target=0.2, sustain=1)
    assert (events.memorized_at, events.generalized_first_at, events.generalized_at) == (10, 20, 40)
    assert events.delay_steps == 30
    assert (events.resolution_steps, events.collapsed_at, events.dips) == (10, None, 1)


@pytest.mark.parametrize(("last", "collapsed"), [(0.4, None), (0.41, 40)])
def test_a_loss_collapses_above_twice_the_target(last, collapsed):
    test = [1.0, 0.2, 0.2, 0.2, last]
    events = find_loss_events([0, 10, 20, 30, 40], [0.0] * 5, test, target=0.2, sustain=2)
    assert (events.generalized_at, events.collapsed_at) == (10, collapsed)
