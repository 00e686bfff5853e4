"""The page on the recipe: its table from runs, and the study that is written down before it is run."""

import argparse
import shlex
from pathlib import Path

from pieces.recipe import recipe_look, recipe_parts
from pieces.studies import Results
from pieces.tables import table_text

from grokkit.train.resolve import method_config, model_config, task_config

RESULTS = Results(Path(__file__).parents[2] / "docs" / "results")


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


def test_the_look_at_bytes_has_the_losses_of_the_steps_shown_and_the_seconds_of_one():
    points = [{"step": step, "loss": 3 - step / 1000, "seconds": step / 8} for step in range(50, 1001, 50)]
    rows = recipe_look({"runs": {"ours": points}}, table_text).splitlines()
    assert rows[2] == "| `ours` | 2.95 | 2.90 | 2.75 | 2.50 | 2.25 | 2.00 | 0.125 |"


def test_the_study_to_come_names_tasks_and_arms_that_there_are_and_none_that_was_tried():
    plan = RESULTS.recipe_plan
    words = argparse.ArgumentParser()
    words.add_argument("task")
    words.add_argument("--model", default="decoder")
    for option in ("--train-fraction", "--train-size", "--batch-size", "--budget", "--target", "--target-loss"):
        words.add_argument(option)
    names = {task_config(name).settings.get("spec", name) for name in plan["tuning"]["tasks"]}
    for task in plan["tasks"]:
        given = words.parse_args(shlex.split(task["command"]))
        assert task_config(given.task, model_config(given.model)).settings.get("spec", given.task) not in names
    assert len(plan["tasks"]) == 8
    assert [method_config(plan["primary"][arm]).label for arm in ("method", "baseline")] == ["recommended", "adamw"]
    assert len(plan["primary"]["seeds"]) >= 8
