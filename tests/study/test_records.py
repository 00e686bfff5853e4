"""Records of whole studies: a window that is cut short is no success, whatever cuts it."""

import json

import pytest

from grokkit.study.execute import execute
from grokkit.study.machines import Processes
from grokkit.study.plan import make_plan
from grokkit.study.store import Store
from grokkit.train.config import EvaluationConfig
from grokkit.train.resolve import model_config, task_config

pytestmark = pytest.mark.slow


def records(folder, methods, spec, model, **settings):
    """Of three seeds on full batches, by method."""
    plan = make_plan(
        methods=methods,
        seeds=3,
        baseline=None,
        command="test",
        task=task_config(spec, train_size=settings.pop("train_size")),
        model=model_config(model),
        batch_size=None,
        **settings,
    )
    store = Store(folder)
    with store.lock():
        assert execute(plan.runs, store, set(), on=Processes(2), on_event=lambda event: None) == {}
    found = {method: [] for method in plan.study["methods"]}
    for run in plan.runs:
        record = json.loads((store.run_folder(run.run_id()) / "run.json").read_text())
        found[record["method"]].append(record)
    return found


def test_the_end_of_the_budget_cuts_a_window_short(tmp_path):
    runs = records(tmp_path, ["adamw"], "parity:40,3", "fnn", train_size=1000, budget=50)["adamw"]
    assert [run["status"] for run in runs] == ["censored"] * 3
    assert [run["generalized_first_at"] for run in runs] == [None, None, 50], "or nothing is cut short"
    assert [run["below_until"] for run in runs] == [50, 50, 40]
    assert runs[0]["flops_below_until"] == runs[0]["flops"]
    assert runs[2]["flops_below_until"] == pytest.approx(0.8 * runs[2]["flops"])


def test_a_loss_that_is_not_finite_cuts_a_window_short(tmp_path):
    methods = ["gd(lr=0.2)", "gd(lr=7)", "gd(lr=8)"]
    found = records(
        tmp_path,
        methods,
        "xor:2000",
        "two-layer(width=256)",
        train_size=400,
        budget=60,
        target=0.55,
        evaluation=EvaluationConfig(every=1),
    )
    succeeded = {method: [run["generalized_at"] is not None for run in runs] for method, runs in found.items()}
    assert {method: sum(successes) for method, successes in succeeded.items()} == {
        "gd(lr=0.2)": 3,
        "gd(lr=7)": 1,
        "gd(lr=8)": 0,
    }
    lost = [run for runs in found.values() for run in runs if run["generalized_at"] is None]
    assert any(run["generalized_first_at"] is not None for run in lost), "or nothing is cut short"
    for run in lost:
        assert (run["status"], run["below_until"]) == ("diverged", 60), "it does not come back"
        assert run["flops_below_until"] == pytest.approx(60 / run["steps"] * run["flops"])
