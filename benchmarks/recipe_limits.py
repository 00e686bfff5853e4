"""Which part of the recipe limits it where it loses: its parts on sparse parity, and what would help there on tables.

    python benchmarks/recipe_limits.py docs/results/recipe/limits.json [--jobs 2]

Judged on validation rows, by seeds that no study has. It says steps, no seconds, so runs may share the machine. A run
that is in the file is not repeated.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import recipe_parts
import torch

from grokkit.train.config import RunConfig
from grokkit.train.loop import train
from grokkit.train.resolve import method_config, model_config, task_config

PARITY = "parity:40,3"
RATES = ("recommended", "recommended(adamw_lr=0.01)", "recommended(adamw_lr=0.03)", "recommended(adamw_wd=3)")
METHODS = {
    "adamw(lr=0.03,wd=1)": "AdamW as it was tuned on parity",
    "adamw(lr=0.003,wd=1)": "AdamW as it was tuned on tables",
    "recommended": "the recipe",
    "recommended(ns_steps=0)": "no Muon: AdamW, the norms held",
    "muon(lr_warmup=0)": "a decay in place of the held norms, five of Jordan's steps",
    "recommended(adamw_lr=0.01)": "the rest at a rate of 0.01",
    "recommended(adamw_lr=0.03)": "the rest at a rate of 0.03",
    "recommended(adamw_wd=3)": "the rest with a decay of 3",
}
"""What each is."""


def config(method: str, task: str, seed: int) -> RunConfig:
    """On tables as where the parts are judged; on parity with the rows and the batches of the claim's study."""
    if task != PARITY:
        return recipe_parts.config({"model": "decoder", "method": method}, task, seed)
    model = model_config("fnn")
    return RunConfig(
        task=task_config(task, model, train_size=1000),
        model=model,
        method=method_config(method),
        seed=seed,
        budget=3000,
        batch_size=None,
        judged_on="validation",
    )


def made(method: str, task: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    record = train(config(method, task, seed)).record()
    steps = {"steps": record["generalized_at"], "taken": record["steps"], "flops": record["flops_to_target"]}
    return {"method": method, "task": task, "seed": seed, **steps}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--jobs", type=int, default=1)
    given = arguments.parse_args()
    found: dict[str, Any] = json.loads(given.file.read_text()) if given.file.exists() else {"runs": []}
    found |= {"tasks": (PARITY, *recipe_parts.TASKS), "methods": METHODS}
    done = {(run["method"], run["task"], run["seed"]) for run in found["runs"]}
    cells = [(method, PARITY) for method in METHODS] + [
        (method, task) for method in RATES for task in recipe_parts.TASKS
    ]
    wanted = [(*cell, seed) for cell in cells for seed in recipe_parts.SEEDS if (*cell, seed) not in done]
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for future in as_completed([pool.submit(made, *one) for one in wanted]):
            found["runs"].append(future.result())
            found["runs"].sort(key=lambda run: (run["task"], list(METHODS).index(run["method"]), run["seed"]))
            given.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
