"""Evaluations stay within their share, and events are bracketed by what was looked at."""

from types import SimpleNamespace

import pytest
import torch

from grokkit.probe.tensors import probe_tensors
from grokkit.train.config import EvaluationConfig
from grokkit.train.history import History, Scores
from grokkit.train.setup import build_problem

STEP_ROWS = 512
NOTHING = probe_tensors({"p": torch.zeros(1, 1)}, {}, {})[0].model


def drive(history, measured, until=10**9):
    """Take steps and evaluate as the trainer does, with ``measured(step) -> (train, test)`` for a model.

    Those are accuracies, or losses where the target is one.
    """
    in_losses = history.config.target_loss is not None
    looks = 0
    while not history.done() and history.step <= until:
        stop = history.next_stop()
        while history.step < stop:
            history.took_step(STEP_ROWS)
        train, test = ((value, None) if in_losses else (0.0, value) for value in measured(history.step))
        due = history.is_full_due()
        if not due and history.may_look():
            looks += 1
            due = history.looked(train, test)
        if due:
            history.evaluated(Scores(train, (None, None), test, NOTHING, {}))
    return looks


def new_history(tiny, *, budget=3000, target_loss=None, **evaluation):
    task = tiny().task.model_copy(update={"spec": "mul:97"})
    config = tiny(budget=budget, task=task, target_loss=target_loss, evaluation=EvaluationConfig(**evaluation))
    costs = SimpleNamespace(step=lambda rows, tokens: 300 * rows)
    return History(config, build_problem(config), lambda rows, tokens: 100 * rows, costs, about={})


def simulated(tiny, accuracy, **settings):
    """A finished history, the operations spent on evaluating it, and those of one full evaluation."""
    history = new_history(tiny, **settings)
    looks = drive(history, accuracy)
    problem = build_problem(history.config)
    full = 100 * sum(map(len, (problem.train_sample, problem.split.validation, problem.split.test)))
    look = 100 * sum(map(len, (problem.train_look, problem.test_look)))
    return history, full * (len(history.curves["step"]) - 1) + look * looks, full


def ramp(start, end):
    return lambda step: min(1.0, max(0.0, (step - start) / (end - start)))


def assert_known_to_one_step(events):
    assert (events.memorized_at, events.memorized_resolution_steps) == (110, 10)
    assert 595 <= events.generalized_at <= 595 + 17
    assert events.generalized_at - events.resolution_steps < 595
    assert events.resolution_steps <= 0.03 * 600
    assert events.confirmed


def test_events_are_known_to_one_step_of_the_grid(tiny):
    rise = ramp(500, 600)
    history, *_ = simulated(tiny, lambda step: (1.0 if step > 103 else 0.0, rise(step)))
    assert_known_to_one_step(history.events())


def test_events_in_losses_are_known_to_one_step_of_the_grid(tiny):
    fall = ramp(600, 500)
    history, *_ = simulated(tiny, lambda step: (0.0 if step > 103 else 3.0, 4.0 * fall(step)), target_loss=0.2)
    assert_known_to_one_step(history.events())


def test_a_loss_far_above_its_target_costs_the_share_and_looks_bound_it(tiny):
    history, spent, _ = simulated(tiny, lambda step: (0.1, 0.41), budget=5000, target_loss=0.2)
    assert 0.03 < spent / history.flops <= 0.10
    curves = history.curves
    gaps = [step - certain for step, certain in zip(curves["step"], curves["certain_step"], strict=True)]
    assert max(gaps) <= 0.06 * 5000, "no full evaluation follows a look at more than twice the target"


def test_the_share_is_kept_when_nothing_happens(tiny):
    history, spent, _ = simulated(tiny, lambda step: (1.0, 0.2), budget=5000)
    assert 0.03 < spent / history.flops <= 0.10


def test_hovering_at_the_target_costs_no_more_than_the_share_and_one_advance(tiny):
    history, spent, full = simulated(tiny, lambda step: (1.0, 0.96 if step // 40 % 2 else 0.94), budget=5000)
    advance = 7 * full  # sustain + 1, and the last step's
    assert spent <= 0.10 * history.flops + advance


def test_a_look_that_cannot_tell_bounds_nothing_unless_an_evaluation_follows(tiny):
    curves = simulated(tiny, lambda step: (1.0, 0.94), budget=1000)[0].curves
    gaps = [step - certain for step, certain in zip(curves["step"], curves["certain_step"], strict=True)]
    assert max(gaps) > 40 > 0.03 * 1000, "there were looks without an evaluation"
    between = zip(curves["step"], curves["certain_step"][1:], curves["step"][1:], strict=False)
    assert all(before <= certain <= after for before, certain, after in between)


def test_with_a_large_share_every_step_of_the_grid_is_evaluated(tiny):
    history = new_history(tiny, budget=300, share=100.0)
    assert drive(history, lambda step: (0.5, 0.5)) == 0
    assert history.curves["step"] == list(range(0, 301, 10))


@pytest.mark.parametrize("at", [120, 200])
def test_going_on_after_an_interruption_decides_the_same(tiny, at):
    def accuracy(step):
        return 1.0, ramp(100, 200)(step)

    whole = simulated(tiny, accuracy, budget=400)[0]
    first, second = new_history(tiny, budget=400), new_history(tiny, budget=400)
    drive(first, accuracy, until=at)
    second.restore(first.state())
    drive(second, accuracy)
    for column in ("step", "certain_step"):
        assert second.curves[column] == whole.curves[column]
