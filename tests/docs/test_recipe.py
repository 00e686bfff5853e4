"""The page on the recipe: its table from runs, and the study that is written down before it is run."""

import argparse
import importlib.util
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_process import grokkit
from pieces.recipe import recipe_claim, recipe_claim_there, recipe_in_short, recipe_limits, recipe_look, recipe_parts
from pieces.studies import Results
from pieces.tables import table_text

from grokkit.train.resolve import method_config, model_config, task_config

ROOT = Path(__file__).parents[2]
RESULTS = Results(ROOT / "docs" / "results")
COSTS = ("seconds", "steps", "flops")
PLAN = """
[primary]
method = "recommended"
baseline = "adamw"
cost = "seconds"
event = "stable"
after = 20
seeds = [0, 1, 2]

[tuning]
trials = 2
known_of_the_first = ["not yet"]

[[tasks]]
name = "parity:10,2"
command = "parity:10,2 --train-size 300 --batch-size full --budget 300 --model 'mlp(width=32)'"
prune = 2

[[tasks]]
name = "not yet"
command = "add:7 --budget 10"
"""


def arm(says, method):
    return {"says": says, "method": method, "model": "decoder"}


def run(name, task, seed, steps, flops):
    return {"arm": name, "task": task, "seed": seed, "steps": steps, "flops": flops}


def test_a_row_has_the_ratios_of_its_pairs_and_none_where_a_run_did_not_arrive():
    found = {
        "tasks": ["a", "b"],
        "arms": {"adamw": arm("base", "adamw"), "half": arm("ours", "muon"), "late": arm("slow", "gd")},
        "runs": [
            *(run("adamw", task, seed, 400, 8e9) for task in "ab" for seed in (1, 2)),
            *(run("half", task, seed, 200, 6e9) for task in "ab" for seed in (1, 2)),
            run("late", "a", 1, None, None),
        ],
        "step_times": {"adamw": [1.0, 1.0, 1.0], "half": [1.5, 1.4, 1.6]},
    }
    rows = recipe_parts(found, table_text).splitlines()
    assert rows[3] == "| ours | `muon` | 200 · 200 | 200 · 200 | 0.500× | 0.750× | 1.50× [1.40–1.60] | 0.750× |"
    assert rows[4] == "| slow | `gd` | not reached | not run | – | – | – | – |"


def test_where_the_recipe_loses_a_row_has_the_steps_of_each_seed_and_a_dash_where_nothing_was_run():
    found = {
        "tasks": ["a", "b"],
        "methods": {"adamw": "base", "muon": "ours"},
        "runs": [
            *({"method": "adamw", "task": "a", "steps": steps} for steps in (50, None)),
            *({"method": "muon", "task": task, "steps": 1200} for task in "ab"),
        ],
    }
    rows = recipe_limits(found, table_text).splitlines()
    assert rows[2:] == ["| base | `adamw` | 50 · not reached | – |", "| ours | `muon` | 1,200 | 1,200 |"]


def claimed(task, seconds, side=None):
    ratio = {"value": seconds, "side": side, "low": None if side else 0.4, "high": None if side else 0.6}
    runs = [{"method": method, "stable": method == "adamw"} for method in ("adamw", "recommended") for _ in range(3)]
    return {"task": task, "runs": runs, "seconds": ratio, "steps": ratio, "flops": ratio}


def test_the_claim_has_a_row_for_each_task_that_is_done_and_says_of_how_many_its_mean_is():
    mean = {"value": 0.7, "low": 0.3, "high": 1.6, "bound": None, "side": None}
    found = {
        "asked": 3,
        "tasks": [claimed("s5", 0.5), claimed("bytes", 2.0, "at least")],
        "over_tasks": dict.fromkeys(COSTS, mean),
        "over_tuned_there": {cost: mean | {"value": 0.8} for cost in COSTS},
    }
    rows = recipe_claim(found, table_text).splitlines()
    assert rows[2] == "| s5 | 0/3 | 3/3 | 0.500× [0.40–0.60] | 0.500× [0.40–0.60] | 0.500× [0.40–0.60] |"
    assert rows[3] == "| bytes | 0/3 | 3/3 | at least 2.00× | at least 2.00× | at least 2.00× |"
    assert rows[4].startswith("| 2 of 3 tasks, geometric mean |  |  | 0.700× [0.30–1.60] |")
    whole = recipe_claim({**found, "asked": 2}, table_text).splitlines()
    assert whole[4].startswith("| **all tasks, geometric mean** |")
    new = {"tasks": 1, "asked": 2, "over_tasks": {cost: mean | {"value": 0.9} for cost in COSTS}}
    rows = recipe_claim({**found, "new": new}, table_text).splitlines()
    assert rows[5].startswith("| 1 of 2 new tasks, geometric mean |  |  | 0.900× [0.30–1.60] |")
    assert recipe_claim_there(found, table_text) == "Nothing of it is done."
    there = {"method": "adamw(lr=0.1)", **{cost: found["tasks"][0][cost] | {"value": 0.55} for cost in COSTS}}
    found["tasks"][0]["tuned_there"] = there
    found["tasks"][0]["runs"] += [{"method": "adamw(lr=0.1)", "stable": seed > 0} for seed in range(3)]
    rows = recipe_claim_there(found, table_text).splitlines()
    each = "0.550× [0.40–0.60] | 0.550× [0.40–0.60] | 0.550× [0.40–0.60]"
    assert rows[2] == f"| s5 | 0/3 | 2/3 | {each} | `adamw(lr=0.1)` |"
    assert rows[3].startswith("| 1 of 3 tasks, geometric mean |  |  | 0.800× [0.30–1.60] |")
    plan = {"primary": {"cost": "seconds"}, "tasks": [{"name": name} for name in ("s5", "bytes", "mnist")]}
    rows = recipe_in_short(found, plan, table_text).splitlines()
    assert rows[2:] == [
        "| s5 (0/3) | 0.500× [0.40–0.60] | 0.550× [0.40–0.60] (2/3) |",
        "| bytes (0/3) | at least 2.00× | – |",
        "| mnist | – | – |",
        "| geometric mean | 0.700× [0.30–1.60], 2 tasks | 0.800× [0.30–1.60], 1 task |",
    ]


SCRIPT = ROOT / "benchmarks" / "recipe_claim.py"


def write_plan(tmp_path, seconds):
    """The plan of two tasks, in ``seconds`` that are clocked, or of a pace."""
    (tmp_path / "plan.toml").write_text(PLAN.replace("after = 20", f'after = 20\nseconds = "{seconds}"'))


def arguments(tmp_path, task="parity:10,2", runs="runs"):
    """What the script that makes the claim is given, to make it on one of the plan's tasks."""
    return [tmp_path / runs, task, "--plan", tmp_path / "plan.toml", "--to", tmp_path / "claim.json"]


def make_claim(*given):
    """The script, and the commands that it gives, in this process."""
    spec = importlib.util.spec_from_file_location("recipe_claim", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(command, check):
        assert command[:3] == [sys.executable, "-m", "grokkit"]
        grokkit(*command[3:])
        return subprocess.CompletedProcess(command, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "subprocess", SimpleNamespace(run=run))
        patch.setattr(sys, "argv", [str(SCRIPT), *map(str, given)])
        assert script.main() == 0


def test_clocked_seconds_are_those_of_the_runs(tmp_path):
    write_plan(tmp_path, "clocked")
    command = [sys.executable, SCRIPT, *arguments(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (task,) = json.loads((tmp_path / "claim.json").read_text())["tasks"]
    assert "pace" not in task
    records = [json.loads(file.read_text()) for file in (tmp_path / "runs").rglob("run.json")]
    clocked = {(record["method"], record["seed"]): record for record in records}
    for run in task["runs"]:
        assert run["stable"]
        assert 0 < run["seconds"] <= clocked[run["method"], run["seed"]]["train_seconds"]


def test_the_claim_is_made_of_the_tasks_that_are_done_and_goes_on_where_it_stopped(tmp_path):
    write_plan(tmp_path, "pace")
    said = []
    for _ in range(2):
        make_claim(*arguments(tmp_path))
        said.append((tmp_path / "claim.json").read_text())
    assert said[0] == said[1]
    found = json.loads(said[0])
    assert (found["asked"], [task["task"] for task in found["tasks"]]) == (2, ["parity:10,2"])
    runs = found["tasks"][0]["runs"]
    assert [(run["method"], run["seed"]) for run in runs[:2]] == [("adamw", 0), ("recommended", 0)]
    ratios = [ours["steps"] / base["steps"] for base, ours in zip(runs[::2], runs[1::2], strict=True)]
    assert all(run["stable"] for run in runs)
    assert found["tasks"][0]["steps"]["value"] == pytest.approx(statistics.geometric_mean(ratios))
    pace = found["tasks"][0]["pace"]
    for run in runs:
        assert 0 <= run["seconds"] - run["steps"] * pace[run["method"]] < 1  # and its start
    make_claim(*arguments(tmp_path, "not yet", runs="elsewhere"))
    joined = json.loads((tmp_path / "claim.json").read_text())
    assert [task["task"] for task in joined["tasks"]] == ["parity:10,2", "not yet"]
    assert (joined["new"]["tasks"], joined["new"]["asked"]) == (1, 1)
    assert joined["new"]["over_tasks"]["steps"]["value"] == pytest.approx(found["tasks"][0]["steps"]["value"])
    assert joined["tasks"][0] == found["tasks"][0]


def test_the_baseline_is_tuned_on_each_task_before_it_is_compared_there(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    make_claim(*arguments(tmp_path), "--search")
    assert not (tmp_path / "claim.json").exists(), "a search claims nothing"
    (tuning,) = (tmp_path / "runs").glob("*/tune.json")
    searched = json.loads(tuning.read_text())
    assert searched["prune"] == 2, "as the plan has it"
    own = searched["methods"]["adamw"]
    assert (len(own["trials"]), own["best"]["has_arrived"]) == (2, True)
    make_claim(*arguments(tmp_path))
    (task,) = json.loads((tmp_path / "claim.json").read_text())["tasks"]
    is_as_it_was = own["best"]["method"] == own["trials"][0]["method"]
    assert task["tuned_there"]["method"] == ("adamw" if is_as_it_was else own["best"]["method"])
    runs = {(run["method"], run["seed"]): run for run in task["runs"]}
    pairs = [(runs["recommended", seed], runs[task["tuned_there"]["method"], seed]) for seed in range(3)]
    ratios = [ours["steps"] / theirs["steps"] for ours, theirs in pairs]
    assert task["tuned_there"]["steps"]["value"] == pytest.approx(statistics.geometric_mean(ratios))


def test_the_look_at_bytes_has_the_losses_of_the_steps_shown_and_the_seconds_of_one():
    points = [{"step": step, "loss": 3 - step / 1000, "seconds": step / 8} for step in range(50, 1001, 50)]
    rows = recipe_look({"runs": {"ours": points}}, table_text).splitlines()
    assert rows[2] == "| `ours` | 2.95 | 2.90 | 2.75 | 2.50 | 2.25 | 2.00 | 0.125 |"


@pytest.mark.parametrize("name", ["preregistration", "preregistration-2"])
def test_the_study_to_come_names_tasks_and_arms_that_there_are_and_none_that_was_tried(name):
    plan = RESULTS.recipe_plan(name)
    words = argparse.ArgumentParser()
    words.add_argument("task")
    words.add_argument("--model", default="decoder")
    numbers = ("--train-fraction", "--train-size", "--batch-size", "--budget", "--target", "--target-loss", "--every")
    for option in numbers:
        words.add_argument(option)
    names = {task_config(name).settings.get("spec", name) for name in plan["tuning"]["tasks"]}
    for task in plan["tasks"]:
        given = words.parse_args(shlex.split(task["command"]))
        assert task_config(given.task, model_config(given.model)).settings.get("spec", given.task) not in names
    assert len(plan["tasks"]) == 8
    assert [method_config(plan["primary"][arm]).label for arm in ("method", "baseline")] == ["recommended", "adamw"]
    assert len(plan["primary"]["seeds"]) >= 8
