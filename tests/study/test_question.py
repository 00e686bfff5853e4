"""The command line and Python ask the same question, with the same defaults."""

import shlex
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from grokkit.cli import main
from grokkit.errors import InputError
from grokkit.study.execution import Execution
from grokkit.study.question import Question, asked
from grokkit.train.config import RunConfig
from grokkit.train.resolve import method_config, model_config, task_config


def typed(monkeypatch, *args):
    """The question that ``grokkit compare ARGS`` asks."""
    found = []

    def carry_out(question, execution, *, command, console):
        found.append((question, execution))
        return None, {}

    monkeypatch.setattr("grokkit.lab.carry_out.carry_out", carry_out)
    monkeypatch.setattr(sys, "argv", ["grokkit", "compare", *args])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    return found[0]


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (["mul:7"], {"task": "mul:7"}),
        (["mul:7", "--model", "fnn(width=8)"], {"task": "mul:7", "model": "fnn(width=8)"}),
        (["parity:10,2"], {"task": "parity:10,2"}),
        (["add:7", "--event", "stable", "--after", "50"], {"task": "add:7", "event": "stable", "after": 50}),
        (
            ["add:7", "--batch-size", "16", "--target-loss", "0.2", "--seeds", "3", "--methods", "adamw"],
            {"task": "add:7", "batch_size": 16, "target_loss": 0.2, "seeds": [0, 1, 2], "methods": ["adamw"]},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_command_and_python_plan_the_same_runs(monkeypatch, args, options):
    question, execution = typed(monkeypatch, *args)
    assert question.plan().runs == asked(options)[0].plan().runs
    assert execution == Execution()


def test_a_search_says_the_command_that_asks_its_own_question_on_fresh_seeds(monkeypatch, tmp_path):
    options = {
        "task": "a*a - b mod 7", "train_fraction": 0.25, "model": "fnn(width=8)", "batch_size": "full", "budget": 90,
        "event": "stable", "after": 20, "claim": "steps", "data_dir": tmp_path / "a folder",
    }  # fmt: skip
    searched = Question(methods=["adamw", "grokfast-ema"], seeds=2, **options)
    command = searched.compared(tmp_path / "found")
    assert typed(monkeypatch, *shlex.split(command)[2:])[0] == Question(tuned=tmp_path / "found", **options)
    assert Question(task="mul:7", methods="adamw").compared(Path("out/t")) == "grokkit compare mul:7 --tuned out/t"


def test_a_network_of_full_batches_has_them_from_both(monkeypatch):
    by_command = typed(monkeypatch, "mul:7", "--model", "fnn(width=8)")[0]
    assert {run.batch_size for run in by_command.plan().runs} == {None}
    assert {run.batch_size for run in Question(task="mul:7").plan().runs} == {512}, "of a decoder"


def test_a_run_has_no_batch_size_of_its_own_that_could_disagree():
    with pytest.raises(ValidationError, match="batch_size"):
        RunConfig(task=task_config("mul:7"), model=model_config("fnn"), method=method_config("adamw"), seed=0, budget=1)  # pyright: ignore[reportCallIssue]


def test_an_option_that_nobody_has_is_refused():
    with pytest.raises(InputError, match="unknown option 'bugdet'; did you mean 'budget'"):
        asked({"task": "mul:7", "bugdet": 3})


@pytest.mark.parametrize("seeds", [[], [-1, 0], [1, 1]])
def test_seeds_that_are_none(seeds):
    with pytest.raises(InputError, match="a list of different ones >= 0"):
        Question(task="mul:7", seeds=seeds).plan()
