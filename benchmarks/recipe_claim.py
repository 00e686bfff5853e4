"""The claim on the recipe: the study of docs/results/recipe/preregistration-2.toml, carried out and judged.

    python benchmarks/recipe_claim.py DIR --search [TASK ...] [--plan FILE] [--jobs N]
    python benchmarks/recipe_claim.py DIR [TASK ...] [--plan FILE] [--to FILE] [--jobs N]

The first tunes the baseline on each task itself, or on the tasks named. The second makes a study of each task in a
folder of DIR, of `recommended`, of `adamw` as it was tuned on other tasks, and as it was tuned there, once that search
is done. The same command goes on where it was stopped. Then it writes what the tasks of which all runs are done say:
for each what `recommended` costs beside either, to the stable target, and over the tasks the geometric means with
Student's interval. A task that is not in DIR keeps what FILE says of it, so tasks can be measured on several days, or
machines.

Seconds are claimed. Where the plan says that they are a pace, steps times the seconds of a step that all arms take in
turns, leave the machine alone while that is measured, in the end; the runs themselves may share it. Else they are as
clocked: runs are made one after the other, a seed's in turn, and the machine is left alone all the while.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import polars as pl

from grokkit.analyse.leaderboard import pace_error, times_by_seed
from grokkit.analyse.paired import EXACT, PairedRatio, paired_ratio, plain_ratio
from grokkit.analyse.suite import Cell, over_tasks
from grokkit.analyse.survival import COSTS
from grokkit.study.pace import at_pace, read_pace
from grokkit.study.store import Store
from grokkit.study.tuned import has_tuning, read_tuning

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "recipe"


def search(task: Mapping[str, Any], plan: Mapping[str, Any], folder: Path, jobs: int) -> list[str]:
    """What `grokkit` is called with to tune the baseline on one task."""
    primary = plan["primary"]
    said = ["tune", *shlex.split(task["command"]), "--methods", primary["baseline"], "--event", primary["event"]]
    said += ["--after", str(primary["after"]), "--trials", str(plan["tuning"]["trials"])]
    if "prune" in task:
        said += ["--prune", str(task["prune"])]
    return [*said, "--jobs", str(jobs), "--out", str(folder)]


def tuned_there(folder: Path, plan: Mapping[str, Any]) -> str | None:
    """The baseline with the settings that the search of a task found; None before the search is done."""
    if not has_tuning(folder):
        return None
    baseline = plan["primary"]["baseline"]
    own = read_tuning(folder)["methods"][baseline]
    if len(own["trials"]) < plan["tuning"]["trials"]:
        return None
    is_as_it_was = own["best"]["method"] == own["trials"][0]["method"]  # the first trial is of the settings it had
    return baseline if is_as_it_was else own["best"]["method"]


def command(
    task: Mapping[str, Any], primary: Mapping[str, Any], folder: Path, tuned: str | None, jobs: int
) -> list[str]:
    """What `grokkit` is called with for the study of one task; seconds that are clocked want one run at a time."""
    arms = [primary["baseline"], primary["method"]]
    methods = dict.fromkeys([*arms, tuned or arms[0]])
    said = ["compare", *shlex.split(task["command"]), "--methods", ",".join(methods), "--baseline", arms[0]]
    said += ["--primary", arms[1], "--claim", primary["cost"], "--event", primary["event"]]
    said += ["--after", str(primary["after"])]
    at_once = jobs if is_pace(primary) else 1
    return [*said, "--seeds", str(len(primary["seeds"])), "--jobs", str(at_once), "--out", str(folder)]


def is_pace(primary: Mapping[str, Any]) -> bool:
    """Whether seconds are steps times those of a step, measured in turns, and not those that were clocked."""
    return primary.get("seconds") == "pace"


def folder_of(task: Mapping[str, Any], root: Path) -> Path:
    return root / re.sub(r"\W+", "-", task["name"]).strip("-")


def searched_in(folder: Path) -> Path:
    """Where the search of the task lies whose study is in ``folder``."""
    return folder.with_name(f"{folder.name}-tune")


def judged(name: str, folder: Path, primary: Mapping[str, Any], tuned: str | None) -> dict[str, Any] | None:
    """What the study of a task says, run by run and as ratios; None before its last run is done, and where seconds are
    a pace before that is measured."""
    store = Store(folder)
    if not store.has_study():
        return None
    study = store.read_study()
    ids = study["run_ids"]
    if len(store.finished(ids)) < len(ids):
        return None
    runs, _ = store.load(ids)
    found: dict[str, Any] = {"task": name, "processors": sorted(_processors(runs)), "runs": []}
    if is_pace(primary):
        pace = read_pace(folder)
        if pace is None:
            return None
        runs = at_pace(runs, pace)
        found["pace"] = {arm: own.seconds for arm, own in pace.arms.items()}
    arms = {arm: runs.filter(pl.col("method") == arm) for arm in study["methods"]}
    times = {arm: {cost: times_by_seed(own, own, cost) for cost in COSTS} for arm, own in arms.items()}
    for run in runs.iter_rows(named=True):
        own = {cost: known[run["seed"]] for cost, known in times[run["method"]].items()}
        told = {"method": run["method"], "seed": run["seed"], "stable": own["steps"].reached}
        found["runs"].append(told | {cost: time.value for cost, time in own.items()})
    found |= _ratios(arms[primary["method"]], arms[primary["baseline"]])
    if tuned in arms:
        found["tuned_there"] = {"method": tuned, **_ratios(arms[primary["method"]], arms[tuned])}
    return found


def _ratios(ours: pl.DataFrame, theirs: pl.DataFrame) -> dict[str, Any]:
    """What ``ours`` cost beside ``theirs``, in each cost."""
    found = {}
    for cost in COSTS:
        pair = times_by_seed(ours, theirs, cost), times_by_seed(theirs, ours, cost)
        ratio = paired_ratio(*pair, pace_error(ours, theirs) if cost == "seconds" else EXACT)
        value, side = (ratio.value, None) if ratio.value is not None else plain_ratio(*pair)
        found[cost] = {"value": value, "side": side, "low": ratio.low, "high": ratio.high}
    return found


def _processors(runs: pl.DataFrame) -> set[str]:
    return {json.loads(text)["processor"] for text in runs["provenance"]}


def over_all(tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The geometric means over the tasks, in each cost; where a task has a bound alone, ``bound`` is the end of the
    interval, and ``mean`` that of these tasks, without it."""
    found = {}
    for cost in COSTS:
        ratio: PairedRatio = over_tasks([Cell(task[cost]["value"], task[cost]["side"]) for task in tasks])
        names = ("value", "low", "high", "bound", "side", "p")
        found[cost] = {name: getattr(ratio, name) for name in names}
        if ratio.bound is not None:
            found[cost]["mean"] = geometric_mean(task[cost]["value"] for task in tasks if task[cost]["value"])
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("tasks", nargs="*", help="names of tasks; all if none is given")
    words.add_argument("--search", action="store_true", help="tune the baseline on each task, and compare nothing")
    words.add_argument("--jobs", type=int, default=1, help="runs at once, where none of them is clocked")
    words.add_argument("--plan", type=Path, default=RESULTS / "preregistration-2.toml")
    words.add_argument("--to", type=Path, default=RESULTS / "claim-2.json")
    given = words.parse_intermixed_args()  # tasks may come after --search
    plan = tomllib.loads(given.plan.read_text(encoding="utf-8"))
    folders = {task["name"]: folder_of(task, given.folder) for task in plan["tasks"]}
    if unknown := [name for name in given.tasks if name not in folders]:
        words.error(f"no task {unknown[0]!r}; there are: {'; '.join(folders)}")
    for task in plan["tasks"]:
        if not given.tasks or task["name"] in given.tasks:
            folder = folders[task["name"]]
            there = searched_in(folder)
            said = (
                search(task, plan, there, given.jobs)
                if given.search
                else command(task, plan["primary"], folder, tuned_there(there, plan), given.jobs)
            )
            ended = subprocess.run([sys.executable, "-m", "grokkit", *said], check=False).returncode
            if ended:
                return ended
    if not given.search:
        write_claim(given.to, folders, plan)
    return 0


def write_claim(to: Path, folders: Mapping[str, Path], plan: Mapping[str, Any]) -> None:
    """What all tasks that are done say, with what ``to`` says of the others."""
    before = json.loads(to.read_text(encoding="utf-8"))["tasks"] if to.exists() else []
    found = {task["task"]: task for task in before}
    for name, folder in folders.items():
        if (task := judged(name, folder, plan["primary"], tuned_there(searched_in(folder), plan))) is not None:
            found[name] = task
    done = [found[name] for name in folders if name in found]
    there = [task["tuned_there"] for task in done if "tuned_there" in task]
    said = {"asked": len(folders), "tasks": done, "over_tasks": over_all(done), "over_tuned_there": over_all(there)}
    if known := plan["tuning"].get("known_of_the_first"):
        new = [task for task in done if task["task"] not in known]
        said["new"] = {"tasks": len(new), "asked": len(folders) - len(known), "over_tasks": over_all(new)}
    to.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
