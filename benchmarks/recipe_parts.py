"""What each part of the recipe is worth: the recipe, the recipe without a part or with one more, and AdamW.

    python benchmarks/recipe_parts.py docs/results/recipe/parts.json [--seconds 700]

On the two tasks on which settings may be chosen, judged on validation rows: no test row is read, and no other task. A
run that is in the file is not repeated; after so many seconds of processor time it stops, and goes on when called
again. At the end all methods take steps in turns, for the time that a step of each takes beside AdamW's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from grokkit.train.config import RunConfig
from grokkit.train.loop import begin_alone, train
from grokkit.train.record import Run
from grokkit.train.resolve import method_config, model_config, task_config

TASKS = ("a*b mod 97", "a+b mod 97")
SEEDS = (100, 101)  # no study has these
MUON = "muon(wd=0,lr_warmup=0)+norm-held"
PROBED = ("adamw", "recommended")
LARGE = "decoder(init_scale=3)"
ONE_RATE = "per_input=100,table_lr=0.003,table_wd=1"  # the first recipe: 0.003 for all that AdamW trains, and decay 1


def _arm(says: str, method: str, model: str = "decoder", seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    return {"says": says, "method": method, "model": model, "seeds": seeds}


ARMS = {
    "adamw": _arm("tuned AdamW", "adamw"),
    "recommended": _arm("the recipe", "recommended"),
    "one rate": _arm("one rate for all that AdamW trains", f"recommended({ONE_RATE})"),
    "three steps": _arm("one rate, three steps of Polar Express", f"recommended(ns_steps=3,{ONE_RATE})"),
    "one step": _arm("one rate, one step of Polar Express", f"recommended(ns_steps=1,{ONE_RATE})"),
    "jordan": _arm("one rate, five of Jordan's steps in place of two of Polar Express", MUON),
    "decay": _arm("the same, a decay in place of the held norms", "muon(lr_warmup=0)"),
    "no muon": _arm("no Muon: AdamW, the norms held", "adamw(lr_warmup=0)+norm-held", seeds=SEEDS[:1]),
    "zero head": _arm("Jordan's, and a head from zero", f"{MUON}+zero-head"),
    "zero head, decay": _arm("Jordan's, a head from zero, a decay", "muon(lr_warmup=0)+zero-head"),
    "three of jordan": _arm(
        "three of Jordan's, a head from zero", "muon(wd=0,ns_steps=3,lr_warmup=0)+norm-held+zero-head"
    ),
    "no decay": _arm(
        "Jordan's, a head from zero, no decay in AdamW's group",
        "muon(wd=0,adamw_wd=0,lr_warmup=0)+norm-held+zero-head",
        seeds=SEEDS[:1],
    ),
    "temperature": _arm("Jordan's, and a temperature", f"{MUON}+logit-temperature", seeds=SEEDS[:1]),
    "large": _arm("one rate, weights three times PyTorch's", f"recommended({ONE_RATE})", LARGE, SEEDS[:1]),
    "large, held": _arm("Jordan's, weights three times PyTorch's, held there", MUON, LARGE, SEEDS[:1]),
    "large, decay": _arm("Jordan's, weights three times PyTorch's, a decay", "muon(lr_warmup=0)", LARGE, SEEDS[:1]),
}
ROUNDS = 25


def config(arm: dict[str, str], task: str, seed: int) -> RunConfig:
    model = model_config(arm["model"])
    settings = {"model": model, "method": method_config(arm["method"]), "task": task_config(task, model)}
    return RunConfig(**settings, seed=seed, budget=1500, batch_size=512, judged_on="validation")


def step_times(arms: dict[str, dict[str, str]]) -> dict[str, list[float]]:
    """Processor time of a step over AdamW's: median, and the quarters of the rounds."""
    engines = {name: begin_alone(config(arm, TASKS[0], SEEDS[0])) for name, arm in arms.items()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for round_ in range(ROUNDS + 2):
        for name, engine in engines.items():
            rows = engine.members[0].batches.next()
            start = time.process_time()
            engine.take_step(rows)
            if round_ > 1:  # the first ones make tables and states
                taken[name].append(time.process_time() - start)
    ratios = {name: [a / b for a, b in zip(own, taken["adamw"], strict=True)] for name, own in taken.items()}
    return {name: [round(value, 3) for value in _quarters(own)] for name, own in ratios.items()}


def probed(name: str, run: Run) -> list[dict[str, Any]]:
    """What the probes saw when the training rows were fitted, and when others stayed right."""
    moments = {"training rows fitted": run.events.memorized_at, "others stay right": run.events.generalized_at}
    rows = []
    for at, step in moments.items():
        row: dict[str, Any] = {"method": name, "at": at, "step": step}
        for table in ("logits", "spectra", "path"):
            columns = run.tables[table]
            places = [place for place, own in enumerate(columns["step"]) if own == step]
            for column in set(columns) - {"step", "tensor"}:
                row[column] = statistics.fmean(columns[column][place] for place in places)
        rows.append(row)
    return rows


def _quarters(values: list[float]) -> list[float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return [middle, low, high]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seconds", type=float, default=700.0, help="of processor time, for the runs")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(given.file.read_text()) if given.file.exists() else {"runs": []}
    found |= {"tasks": TASKS, "seeds": SEEDS, "arms": ARMS}
    done = {(run["arm"], run["task"], run["seed"]) for run in found["runs"]}
    wanted = [(name, task, seed) for name in ARMS for task in TASKS for seed in ARMS[name]["seeds"]]
    for name, task, seed in wanted:
        if (name, task, seed) in done or time.process_time() > given.seconds:
            continue
        run = train(config(ARMS[name], task, seed))
        record = run.record()
        if name in PROBED and (task, seed) == (TASKS[0], SEEDS[0]):
            found["probes"] = found.get("probes", []) + probed(name, run)
        kept = {"steps": record["generalized_at"], "flops": record["flops_to_target"], "taken": record["steps"]}
        found["runs"].append({"arm": name, "task": task, "seed": seed, **kept})
        given.file.write_text(json.dumps(found, indent=1) + "\n")
    found["step_times"] = step_times({name: arm for name, arm in ARMS.items() if arm["model"] == "decoder"})
    given.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
