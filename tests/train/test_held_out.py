"""``held_out``: training rows that a method keeps from its batches, the same for all that keep as many."""

import subprocess
import sys

import pytest
import torch
from cards import CARDS
from groups import assert_same_run, group_of

from grokkit.errors import InputError
from grokkit.study.plan import make_plan
from grokkit.train.groups import plan_groups
from grokkit.train.loop import train, train_group
from grokkit.train.problem import build_batches, build_problem, transfer_data
from grokkit.train.resolve import method_config, task_config

SHARING = ["neuralgrok", "neuralgrok-random", "clip-only", "grad-norm(held_out=0.02)", "adamw(held_out=0.02)"]


@pytest.mark.parametrize("method", SHARING)
@pytest.mark.parametrize("seed", [0, 3])
def test_a_share_sets_the_same_rows_apart_under_every_method(tiny, method, seed):
    rows = {"task": task_config("add:97"), "seed": seed}
    learner, other = (build_problem(tiny(name, **rows)) for name in ("neuralgrok", method))
    assert len(learner.outer) == 94
    assert other.outer.tolist() == learner.outer.tolist()
    assert other.inner.tolist() == learner.inner.tolist()
    assert other.train_sample.tolist() == learner.train_sample.tolist(), "accuracy is measured on all training rows"


def test_without_the_setting_only_neuralgrok_and_its_own_controls_set_rows_apart():
    defaults = {name: method_config(name).held_out for name in CARDS}
    assert defaults == {name: card.held_out for name, card in CARDS.items()}
    sharing = {name: share for name, share in defaults.items() if share}
    assert sharing == {"neuralgrok": 0.02, "neuralgrok-random": 0.02, "clip-only": 0.02}


@pytest.mark.parametrize("share", [0.02, 0.25, 0.9])
@pytest.mark.parametrize("batch_size", [7, None])
def test_no_batch_and_no_weak_model_has_a_row_set_apart(tiny, share, batch_size):
    config = tiny(f"adamw(held_out={share})", batch_size=batch_size)
    problem = build_problem(config)
    train, apart, left = (set(rows.tolist()) for rows in (problem.split.train, problem.outer, problem.inner))
    assert len(apart) == round(share * len(train)) > 0
    assert left == train - apart
    batches = build_batches(config, problem)
    assert set(torch.cat([batches.next() for _ in range(60)]).tolist()) == left
    assert len(transfer_data(problem).train.targets) == len(left)


@pytest.mark.parametrize("method", ["adamw", "grokfast-ema", "clip-only"])
def test_off_a_run_is_equal_bit_for_bit_to_one_that_never_heard_of_it(tiny, monkeypatch, method):
    off = train(tiny(f"{method}(held_out=0)"))
    monkeypatch.setattr("grokkit.train.problem.set_apart", lambda method, rows, seed: (rows, rows[:0]))
    without = train(tiny(f"{method}(held_out=0)"))
    assert off.outer_rows == 0
    for name, values in without.curves.items():
        if not name.endswith("_seconds"):
            assert off.curves[name] == values, name


@pytest.mark.parametrize("method", ["grad-norm(held_out=0.2)", "clip-only", "neuralgrok(hidden=(4,))"])
def test_the_record_counts_the_rows_set_apart(tiny, method):
    config = tiny(method, budget=5)
    record = train(config).record()
    assert record["outer_rows"] == len(build_problem(config).outer) > 0
    assert (record["outer_steps"] > 0) is (config.method.name == "neuralgrok")


def test_a_member_of_a_group_equals_its_run_alone():
    group = [
        config.model_copy(update={"method": config.method.model_copy(update={"held_out": 0.1}), "budget": 60})
        for config in group_of("grad-norm", "fnn")
    ]
    for member, config in zip(train_group(group, device="cpu"), group, strict=True):
        assert member.outer_rows == 6
        assert_same_run(member, train(config), rtol=1e-3)


def test_runs_with_different_shares_do_not_share_a_program(tiny):
    runs = [tiny(f"adamw(held_out={share})") for share in (0, 0.1, 0.1, 0.2)]
    assert [len(group) for group in plan_groups(runs, "cpu", batched=True)] == [1, 2, 1]


def test_a_run_is_the_same_whatever_other_arms_its_study_has(tiny):
    common = {name: value for name, value in tiny() if name not in ("method", "seed")}
    few, many = (
        make_plan(methods=methods, seeds=1, baseline=None, command="", **common)
        for methods in (["grad-norm"], ["grad-norm", "neuralgrok", "clip-only"])
    )
    assert few.runs[0] == many.runs[0]
    assert few.runs[0].method.held_out == 0


@pytest.mark.parametrize(
    ("method", "share"), [("adamw", 0), ("grad-norm", 0), ("neuralgrok", 0.02), ("clip-only", 0.02)]
)
def test_the_share_is_part_of_a_run_s_identity(tiny, method, share):
    assert tiny(f"{method}(held_out={share})").hash() == tiny(method).hash(), "the default, spelled out"
    assert tiny(f"{method}(held_out=0.1)").hash() != tiny(method).hash()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("adamw(held_out=1)", r"adamw: held_out=1 is not possible: input should be less than 1; the default is 0\.0"),
        ("adamw(held_out=1.5)", "held_out=1.5 is not possible"),
        ("adamw(held_out=-0.02)", r"held_out=-0\.02 is not possible: input should be greater than or equal to 0"),
        ("adamw(held_out=nan)", "held_out=nan is not possible: input should be a finite number"),
        ("adamw(held_out=none)", "held_out=None is not possible"),
        ("adamw(held_out=few)", "held_out='few' is not possible"),
    ],
)
def test_a_share_that_is_none_is_refused_in_one_line(method, message):
    with pytest.raises(InputError, match=message) as caught:
        method_config(method)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("grad-norm(held_out=0.999)", r"sets 60 of the training rows apart \(held_out=0.999\), and there are 60; take"),
        ("neuralgrok(held_out=0)", r"neuralgrok: held_out=0 is not possible: it learns .*; the default is 0\.02"),
    ],
)
def test_a_share_that_leaves_nothing_is_refused_before_anything_runs(tiny, method, message):
    common = {name: value for name, value in tiny() if name not in ("method", "seed")}
    with pytest.raises(InputError, match=message):
        make_plan(methods=["adamw", method], seeds=1, baseline=None, command="", **common)


@pytest.mark.parametrize(("name", "share"), [("adamw", "0.0"), ("clip-only", "0.02")])
def test_the_command_shows_it(name, share):
    shown = subprocess.run(
        [sys.executable, "-m", "grokkit", "card", name], check=True, capture_output=True, text=True
    ).stdout
    assert f"held_out={share}" in shown
