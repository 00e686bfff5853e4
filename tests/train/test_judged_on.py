"""A run that is judged on validation rows never reads a test row, and is another run than one that does."""

from dataclasses import replace

import pytest
import torch

from grokkit.errors import InputError
from grokkit.train import problem
from grokkit.train.loop import train
from grokkit.train.problem import build_problem
from grokkit.train.resolve import task_config


def test_the_rows_are_the_validation_part_and_the_rest_is_as_it_was(tiny):
    own, usual = build_problem(tiny(judged_on="validation")), build_problem(tiny())
    assert own.split.test.equal(usual.split.validation)
    assert own.split.train.equal(usual.split.train)
    assert own.inner.equal(usual.inner)
    seen = torch.cat([own.inner, own.outer, own.train_sample, own.test_look, own.split.validation, own.split.test])
    assert not torch.isin(seen, usual.split.test).any()


@pytest.mark.parametrize("method", ["adamw", "neuralgrok", "groktransfer(weak=fnn(dim=4,width=8),weak_steps=20)"])
def test_no_curve_changes_whatever_the_test_rows_say(tiny, monkeypatch, method):
    config = tiny(method, judged_on="validation")
    before = train(config)
    test = build_problem(config.model_copy(update={"judged_on": "test"})).split.test
    build = problem.build_task

    def spoilt(*args):
        task = build(*args)
        targets = task.targets_N.clone()
        targets[test] = (targets[test] + 1) % 11
        return replace(task, targets_N=targets)

    monkeypatch.setattr(problem, "build_task", spoilt)
    after = train(config)
    for name, values in before.curves.items():
        if "seconds" not in name:
            assert after.curves[name] == values, name
    assert train(config.model_copy(update={"judged_on": "test"})).curves["test_loss"] != before.curves["test_loss"]


def test_identity_knows_it_and_that_of_other_runs_is_what_it_was(tiny):
    assert "judged_on" not in tiny().identity()
    assert tiny(judged_on="validation").identity()["judged_on"] == "validation"
    assert tiny(judged_on="validation").hash() != tiny().hash()


def test_what_counts_is_known_to_the_identity_where_it_is_not_the_usual(tiny):
    assert "event" not in tiny(after=50).identity()
    assert tiny(after=50, event="stable").identity()["event"] == "stable"
    with pytest.raises(ValueError, match="stable for how many steps"):
        tiny(event="stable")


def test_without_validation_rows_it_is_refused(tiny):
    with pytest.raises(InputError, match="has no validation rows.*--validation-fraction 0.1"):
        build_problem(tiny(judged_on="validation", task=task_config("add:11", validation_fraction=0.0)))
