"""Evaluations stay within what they may cost, and events are bracketed by what was looked at."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grokkit.probe.tensors import probe_tensors
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.history import Evaluation, RunInProgress
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config, model_config, task_config
from grokkit.train.score import Score

NOTHING = probe_tensors({"p": torch.zeros(1, 1)}, {}, {})[0].model
START = 300  # steps: thirty of the grid
USUAL = EvaluationConfig()
EVERY = USUAL.every


def drive(history, measured, until=10**9, error=None):
    """Take steps and evaluate as the trainer does, with ``measured(step) -> (train, test)`` for a model.

    Those are accuracies, or losses where the target is one; then ``error`` is what a look estimates of its own.
    """
    in_losses = history.config.target_loss is not None
    while not history.done() and history.step <= until:
        stop = history.next_stop()
        while history.step < stop:
            history.took_step(history.config.batch_size)
        found = measured(history.step)
        train, test = (Score(value, None, error) if in_losses else Score(0.0, value) for value in found)
        due = history.due()
        if due == "full" or (due == "quick check" and history.quick_checked(train, test)):
            history.evaluated(Evaluation(train, None, test, NOTHING, {}))


def new_history(*, budget=3000, batch_size=512, evaluation=USUAL, **changes):
    config = RunConfig(
        task=task_config("mul:97"),
        model=model_config("decoder(width=32)"),
        method=method_config("adamw"),
        seed=0,
        budget=budget,
        batch_size=batch_size,
        evaluation=evaluation,
        **changes,
    )
    costs = SimpleNamespace(step=lambda rows, tokens: 300 * rows)
    return RunInProgress(config, PROBLEM, lambda rows, tokens: 100 * rows, costs, about={})


PROBLEM = build_problem(
    RunConfig(
        task=task_config("mul:97"),
        model=model_config("decoder(width=32)"),
        method=method_config("adamw"),
        seed=0,
        budget=1,
        batch_size=512,
    )
)
FULL = 100 * sum(map(len, (PROBLEM.train_sample, PROBLEM.split.validation, PROBLEM.split.test)))
LOOK = 100 * (128 + 128)


def looked_at(history):
    return history.tables.get("quick_checks", {"step": []})["step"]


def simulated(measured, *, error=None, **settings):
    """A finished history, and the operations spent on evaluating it after step 0."""
    history = new_history(**settings)
    drive(history, measured, error=error)
    return history, FULL * (len(history.curves["step"]) - 1) + LOOK * len(looked_at(history))


def start_allowance(history):
    """What the first thirty steps of the grid may cost beside the share where nothing happens."""
    return 0.5 * START / history.step * history.flops + 30 * LOOK


def lateness(history):
    """How far each full evaluation may lie behind what it is the first to see, as a share of its step."""
    curves = history.curves
    gaps = [(step, certain) for step, certain in zip(curves["step"], curves["certain_step"], strict=True) if step]
    return [(step - certain) / step for step, certain in gaps if step - certain > EVERY]


def ramp(start, end):
    return lambda step: min(1.0, max(0.0, (step - start) / (end - start)))


def assert_known_to_one_step(events):
    assert (events.memorized_at, events.memorized_resolution_steps) == (110, 10)
    assert 595 <= events.generalized_at <= 595 + 17
    assert events.generalized_at - events.resolution_steps < 595
    assert events.resolution_steps <= 0.03 * 600


def test_events_are_known_to_one_step_of_the_grid():
    rise = ramp(500, 600)
    history, _ = simulated(lambda step: (1.0 if step > 103 else 0.0, rise(step)))
    assert_known_to_one_step(history.events())


def test_events_in_losses_are_known_to_one_step_of_the_grid():
    fall = ramp(600, 500)
    history, _ = simulated(lambda step: (0.0 if step > 103 else 3.0, 4.0 * fall(step)), target_loss=0.2, error=0.05)
    assert_known_to_one_step(history.events())


def test_a_loss_surely_above_its_target_costs_the_share_and_looks_bound_it():
    history, spent = simulated(lambda step: (0.1, 0.24), budget=5000, target_loss=0.2, error=0.01)
    assert 0.03 < (spent - start_allowance(history)) / history.flops <= 0.10
    curves = history.curves
    gaps = [step - certain for step, certain in zip(curves["step"], curves["certain_step"], strict=True)]
    assert max(gaps) <= 0.06 * 5000, "no full evaluation follows a look 4 errors above the target"
    assert set(history.tables["quick_checks"]["test_accuracy"]) == {None}


@pytest.mark.parametrize("error", [0.02, None])
def test_a_loss_that_a_look_cannot_tell_from_its_target_is_evaluated_before_a_tenth_more_steps(error):
    history, _ = simulated(lambda step: (0.1, 0.24), budget=5000, batch_size=16, target_loss=0.2, error=error)
    steps = [step for step in history.curves["step"] if step]
    assert {step for step in looked_at(history) if step <= START} <= set(steps), "at the start each look asks for one"
    assert max(later / earlier for earlier, later in itertools.pairwise(steps[30:])) <= 1.1


def test_at_the_start_a_loss_is_looked_at_where_evaluations_would_cost_more_than_the_training():
    """At batches of 16 a full evaluation costs as much as a hundred steps, and the target is two thirds of the loss."""
    history, _ = simulated(lambda step: (3.0, 3.0), budget=START, batch_size=16, target_loss=2.0, error=0.1)
    assert len(history.curves["step"]) <= 3, "the first, the last, and perhaps one of the start's own"
    assert len(looked_at(history)) >= 28


def test_the_share_is_kept_when_nothing_happens():
    history, spent = simulated(lambda step: (1.0, 0.2), budget=5000)
    assert 0.03 < spent / history.flops <= 0.10 + start_allowance(history) / history.flops


@pytest.mark.parametrize(("batch_size", "fulls"), [(4096, 30), (512, 30), (128, 11), (16, 1), (1, 0)])
def test_the_start_is_drawn_and_costs_no_more_than_half_of_itself(batch_size, fulls):
    """A full evaluation is 13.6 steps at batches of 128, so that eleven cost as much as half of 300 steps."""
    history, _ = simulated(lambda step: (0.5 if step < 40 else 1.0, 0.2), budget=500, batch_size=batch_size)
    grid = list(range(10, START + 1, 10))
    full = [step for step in history.curves["step"] if 0 < step <= START]
    looks = [step for step in looked_at(history) if step <= START]
    assert sorted({*full, *looks}) == grid, "something is seen at every step of the grid"
    # One more than planned, because training accuracy jumps to the target, and a look that sees it asks for it.
    assert fulls <= len(full) <= fulls + 1
    assert history.events().memorized_at == 40


def test_quick_checks_keep_what_looks_found():
    history, _ = simulated(lambda step: (step / 1000, step / 2000), budget=800, batch_size=16)
    table = history.tables["quick_checks"]
    assert list(table) == ["step", "rows", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert len(table["step"]) > 30
    assert table["step"] == sorted(set(table["step"]))
    assert table["train_accuracy"] == [step / 1000 for step in table["step"]]
    assert table["test_accuracy"] == [step / 2000 for step in table["step"]]
    assert set(table["rows"]) == {128}


def decades(history):
    return math.log10(history.step / START)


@pytest.mark.parametrize("batch_size", [1, 16, 32, 64, 128, 512])
@pytest.mark.parametrize("budget", [3000, 30000])
def test_looks_that_are_owed_are_few(batch_size, budget):
    history, spent = simulated(lambda step: (1.0, 0.2), budget=budget, batch_size=batch_size)
    late = [step for step in looked_at(history) if step > START]
    assert len(late) <= 0.025 * history.flops / LOOK + 36 * decades(history), "a quarter of the share, and the owed"
    assert spent <= 0.10 * history.flops + start_allowance(history) + 36 * decades(history) * LOOK + 2 * FULL
    assert max(lateness(history), default=0) <= 0.10


@pytest.mark.parametrize("batch_size", [1, 16, 128, 512])
@pytest.mark.parametrize("budget", [3000, 30000])
def test_so_near_the_target_that_looks_cannot_tell_costs_a_bounded_number_of_evaluations(batch_size, budget):
    history, spent = simulated(lambda step: (1.0, 0.94), budget=budget, batch_size=batch_size)
    owed = 30 + 36 * decades(history)
    assert spent <= 0.10 * history.flops + owed * (FULL + LOOK) + 7 * FULL
    assert max(lateness(history)) <= 0.10


@pytest.mark.parametrize("batch_size", [16, 512])
def test_hovering_at_the_target_costs_a_bounded_number_of_evaluations(batch_size):
    history, spent = simulated(lambda step: (1.0, 0.96 if step // 40 % 2 else 0.94), budget=5000, batch_size=batch_size)
    assert history.step == 5000, "it never stays"
    windows = 5 * math.ceil(math.log2(5000 / START))
    owed = 30 + 36 * decades(history)
    assert spent <= 0.10 * history.flops + owed * (FULL + LOOK) + (windows + 7) * FULL


@pytest.mark.parametrize("batch_size", [1, 16, 64, 512, 4096])
@pytest.mark.parametrize("rise", [1, 100, 1000])
@pytest.mark.parametrize("at", [7, 57, 130, 333, 950, 4000])
def test_a_crossing_is_seen_within_a_tenth_of_its_step_and_its_window_at_once(batch_size, rise, at):
    """The accuracy comes up to 95 % at step ``at``, from half of it ``rise`` steps before."""
    half = 0.95 / 2
    history, _ = simulated(
        lambda step: (1.0, min(1.0, max(0.1, 0.95 + half * (step - at) / rise))), budget=8000, batch_size=batch_size
    )
    events = history.events()
    assert at <= events.generalized_first_at <= max(at + EVERY, 1.1 * at)
    assert events.generalized_at == events.generalized_first_at
    assert events.resolution_steps <= max(EVERY, 0.1 * events.generalized_at)
    window = [step for step in history.curves["step"] if step > events.generalized_at]
    grid = [step for step in history._schedule.grid if step > events.generalized_at]
    assert window == grid[:5], "the next five steps of the grid, and no more"


@pytest.mark.parametrize("batch_size", [16, 512])
def test_a_finer_grid_finds_the_crossing_more_finely_and_does_not_make_it_easier_to_stay(batch_size):
    history, _ = simulated(
        lambda step: (1.0, 1.0 if step >= 57 else 0.2), batch_size=batch_size, evaluation=EvaluationConfig(every=1)
    )
    events = history.events()
    assert 57 <= events.generalized_at <= 62
    assert events.resolution_steps <= 5
    window = [step for step in history.curves["step"] if step >= 57]
    assert len(window) == 6
    assert 40 <= window[-1] - window[0] <= 60, "ten steps apart, or less where the share pays"


def test_flukes_do_not_use_up_the_window():
    """Every tenth step of the grid is at the target, for an instant, until it stays there."""
    flukes = set(new_history(budget=8000)._schedule.grid[40::10])
    history, _ = simulated(
        lambda step: (1.0, 1.0 if step >= 4000 or step in flukes else 0.94), budget=8000, batch_size=16
    )
    events = history.events()
    assert events.generalized_first_at < 1000
    assert events.dips == 0, "a point below is none"
    assert 4000 <= events.generalized_at <= 4400
    assert history.step <= 1.2 * events.generalized_at, "five steps of the grid are 16 %"


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.sampled_from([0.1, 0.5, 0.93, 0.945, 0.95, 0.97, 1.0]), min_size=1, max_size=12),
    lengths=st.lists(st.integers(5, 900), min_size=12, max_size=12),
    batch_size=st.sampled_from([1, 16, 128, 512, 4096]),
    after=st.sampled_from([0, 300]),
)
def test_nothing_that_lasts_is_seen_late(levels, lengths, batch_size, after):
    """Accuracies in steps and stairs: each stretch that lasts a tenth of its step is seen."""
    ends = [sum(lengths[: i + 1]) for i in range(len(levels))]

    def accuracy(step):
        return next((level for level, end in zip(levels, ends, strict=False) if step < end), levels[-1])

    history, _ = simulated(lambda step: (1.0, accuracy(step)), batch_size=batch_size, after=after)
    assert max(lateness(history), default=0) <= 0.10
    starts = [0, *ends[:-1], 3000][: len(levels)]
    lasting = [
        start
        for start, end, level in zip(starts, ends, levels, strict=True)
        if level >= 0.95 and end - start > max(2 * EVERY, 0.1 * end) and start < 2600
    ]
    if lasting:
        assert history.events().generalized_first_at <= max(lasting[0] + EVERY, 1.1 * lasting[0])


@pytest.mark.parametrize("batch_size", [16, 512])
def test_while_a_run_is_scheduled_for_dips_every_step_of_the_grid_is_evaluated(batch_size):
    """A dip of one evaluation a point and a half deep, as no look can see it, and then none."""
    grid = new_history(budget=5000)._schedule.grid
    dip = grid[55]
    history, _ = simulated(
        lambda step: (1.0, 0.2 if step < 400 else 0.935 if step == dip else 0.96),
        budget=5000,
        batch_size=batch_size,
        after=1000,
    )
    events, steps = history.events(), history.curves["step"]
    assert dip > 450
    assert (events.generalized_first_at, events.dips, events.deepest_dip) == (403, 1, pytest.approx(0.015))
    assert events.stable_at == grid[56]
    assert [step for step in steps if step >= 403] == [step for step in grid if 403 <= step <= history.step]
    assert events.stable_at + 1000 <= history.step <= 1.03 * (events.stable_at + 1000), "no longer than it takes"


def test_a_run_that_is_never_stable_goes_on_to_its_budget():
    history, _ = simulated(lambda step: (1.0, 0.9 if step % 250 < 100 else 0.96), budget=2000, after=300)
    events = history.events()
    assert history.step == 2000
    assert events.generalized_at is not None
    assert events.stable_at is None
    assert events.dips == 8


def test_with_a_large_share_every_step_of_the_grid_is_evaluated():
    history = new_history(budget=500, batch_size=16, evaluation=EvaluationConfig(share=1000.0))
    drive(history, lambda step: (0.5, 0.5))
    assert looked_at(history) == []
    assert history.curves["step"] == history._schedule.grid


@pytest.mark.parametrize("batch_size", [16, 512])
@pytest.mark.parametrize("at", [120, 330])
def test_going_on_after_an_interruption_decides_the_same(at, batch_size):
    def accuracy(step):
        return 1.0, 0.96 if step == 310 else ramp(100, 500)(step) * 0.94

    make = {"budget": 900, "batch_size": batch_size}
    whole, _ = simulated(accuracy, **make)
    first, second = new_history(**make), new_history(**make)
    drive(first, accuracy, until=at)
    second.restore(first.state())
    drive(second, accuracy)
    for column in ("step", "certain_step"):
        assert second.curves[column] == whole.curves[column]
    assert second.tables == whole.tables
