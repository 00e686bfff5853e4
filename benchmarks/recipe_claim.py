"""The claim on the recipe: the study of docs/results/recipe/preregistration.toml, carried out and judged.

    python benchmarks/recipe_claim.py DIR [TASK ...] [--plan FILE] [--to FILE]

Makes a study of each task in a folder of DIR, or of the tasks named; the same command goes on where it was stopped.
Then writes what those of which all runs are done say: for each task what `recommended` costs beside `adamw`, to the
stable target, and over the tasks the geometric mean with Student's interval. A task that is not in DIR keeps what FILE
says of it, so tasks can be measured on several days, or machines. Runs are made one after the other, a seed's two in
turn, so leave the machine alone: seconds are claimed.
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
from typing import Any

import polars as pl

from grokkit.analyse.leaderboard import times_by_seed
from grokkit.analyse.paired import PairedRatio, paired_ratio, plain_ratio
from grokkit.analyse.suite import Cell, over_tasks
from grokkit.analyse.survival import COSTS
from grokkit.study.store import Store

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "recipe"


def command(task: Mapping[str, Any], primary: Mapping[str, Any], folder: Path) -> list[str]:
    """What `grokkit` is called with for one task."""
    arms = [primary["baseline"], primary["method"]]
    said = ["compare", *shlex.split(task["command"]), "--methods", ",".join(arms), "--baseline", arms[0]]
    said += ["--primary", arms[1], "--claim", primary["cost"], "--event", primary["event"]]
    said += ["--after", str(primary["after"])]
    return [*said, "--seeds", str(len(primary["seeds"])), "--jobs", "1", "--out", str(folder)]


def folder_of(task: Mapping[str, Any], root: Path) -> Path:
    return root / re.sub(r"\W+", "-", task["name"]).strip("-")


def judged(name: str, folder: Path, primary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the study of a task says, run by run and as ratios; None before its last run is done."""
    store = Store(folder)
    if not store.has_study():
        return None
    study = store.read_study()
    ids = study["run_ids"]
    if len(store.finished(ids)) < len(ids):
        return None
    runs, _ = store.load(ids)
    found: dict[str, Any] = {"task": name, "processors": sorted(_processors(runs)), "runs": []}
    arms = [runs.filter(pl.col("method") == primary[arm]) for arm in ("method", "baseline")]
    # A seed's two runs took turns on one processor, so these are its seconds, and not those of a pace.
    times = {cost: [times_by_seed(own, other, cost) for own, other in (arms, arms[::-1])] for cost in COSTS}
    for run in runs.iter_rows(named=True):
        place = (primary["method"], primary["baseline"]).index(run["method"])
        own = {cost: times[cost][place][run["seed"]] for cost in COSTS}
        told = {"method": run["method"], "seed": run["seed"], "stable": own["steps"].reached}
        found["runs"].append(told | {cost: time.value for cost, time in own.items()})
    for cost, pair in times.items():
        ratio = paired_ratio(*pair)
        value, side = (ratio.value, None) if ratio.value is not None else plain_ratio(*pair)
        found[cost] = {"value": value, "side": side, "low": ratio.low, "high": ratio.high}
    return found


def _processors(runs: pl.DataFrame) -> set[str]:
    return {json.loads(text)["processor"] for text in runs["provenance"]}


def over_all(tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The geometric means over the tasks, in each cost."""
    found = {}
    for cost in COSTS:
        ratio: PairedRatio = over_tasks([Cell(task[cost]["value"], task[cost]["side"]) for task in tasks])
        names = ("value", "low", "high", "bound", "side", "p")
        found[cost] = {name: getattr(ratio, name) for name in names}
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("tasks", nargs="*", help="names of tasks; all if none is given")
    words.add_argument("--plan", type=Path, default=RESULTS / "preregistration.toml")
    words.add_argument("--to", type=Path, default=RESULTS / "claim.json")
    given = words.parse_args()
    plan = tomllib.loads(given.plan.read_text(encoding="utf-8"))
    names = [task["name"] for task in plan["tasks"]]
    if unknown := [name for name in given.tasks if name not in names]:
        words.error(f"no task {unknown[0]!r}; there are: {'; '.join(names)}")
    for task in plan["tasks"]:
        if not given.tasks or task["name"] in given.tasks:
            said = command(task, plan["primary"], folder_of(task, given.folder))
            ended = subprocess.run([sys.executable, "-m", "grokkit", *said], check=False).returncode
            if ended:
                return ended
    before = json.loads(given.to.read_text(encoding="utf-8"))["tasks"] if given.to.exists() else []
    found = {task["task"]: task for task in before}
    for name, folder in ((task["name"], folder_of(task, given.folder)) for task in plan["tasks"]):
        if (task := judged(name, folder, plan["primary"])) is not None:
            found[name] = task
    done = [found[name] for name in names if name in found]
    text = json.dumps({"asked": len(names), "tasks": done, "over_tasks": over_all(done)}, indent=1, ensure_ascii=False)
    given.to.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
