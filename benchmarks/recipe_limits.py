"""What limited the first recipe where it lost, on sparse parity, and what the second's rates do there and elsewhere.

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

PARITY, MNIST = "parity:40,3", "mnist"
METHODS = {
    "adamw(lr=0.03,wd=1)": "AdamW as it was tuned on parity",
    "adamw(lr=0.003,wd=1)": "AdamW as it was tuned on tables",
    f"recommended({recipe_parts.ONE_RATE})": "one rate of 0.003 for all that AdamW trains: the first recipe",
    f"recommended(ns_steps=0,{recipe_parts.ONE_RATE})": "the first recipe without Muon: AdamW, the norms held",
    "muon(lr_warmup=0)": "a decay in place of the held norms, five of Jordan's steps",
    "recommended(per_input=100,table_lr=0.01,table_wd=1,adamw_lr=0.01)": "one rate of 0.01",
    "recommended(per_input=100,table_lr=0.03,table_wd=1,adamw_lr=0.03)": "one rate of 0.03",
    "recommended(per_input=100,table_lr=0.003,table_wd=3,adamw_wd=3)": "one rate of 0.003, a decay of 3",
    "recommended": "the recipe: a rate of 1/n for n inputs, at most 0.03; a table's decay 0.1",
    "recommended(per_input=0.4)": "the same, 0.4/n",
    "recommended(per_input=2)": "the same, 2/n",
}
"""What each is."""

RATES = tuple(method for method in METHODS if method.startswith("recommended") and "ns_steps" not in method)
"""Those that are tried on the other tasks, too."""


def config(method: str, task: str, seed: int) -> RunConfig:
    """On tables as where the parts are judged; else with the rows and the batches of the claim's study.

    MNIST's target is a larger one here: the study's is reached by most at the same evaluation, the second.
    """
    if task in recipe_parts.TASKS:
        return recipe_parts.config({"model": "decoder", "method": method}, task, seed)
    model = model_config("fnn" if task == PARITY else "mlp(init_scale=1)")
    return RunConfig(
        task=task_config(task, model, train_size=1000),
        model=model,
        method=method_config(method),
        seed=seed,
        budget=3000,
        batch_size=None if task == PARITY else 200,
        judged_on="validation",
        target=0.95 if task == PARITY else 0.88,
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
    found |= {"tasks": (PARITY, *recipe_parts.TASKS, MNIST), "methods": METHODS}
    done = {(run["method"], run["task"], run["seed"]) for run in found["runs"]}
    cells = [(method, PARITY) for method in METHODS]
    cells += [(method, task) for method in RATES for task in (*recipe_parts.TASKS, MNIST)]
    wanted = [(*cell, seed) for cell in cells for seed in recipe_parts.SEEDS if (*cell, seed) not in done]
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for future in as_completed([pool.submit(made, *one) for one in wanted]):
            found["runs"].append(future.result())
            found["runs"].sort(key=lambda run: (run["task"], list(METHODS).index(run["method"]), run["seed"]))
            given.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
