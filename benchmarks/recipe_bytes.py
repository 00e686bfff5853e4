"""A look at the recipe and AdamW on the task ``bytes``: one run each, of a seed that no study has.

    python benchmarks/recipe_bytes.py docs/results/recipe/bytes.json

Run by the lab's own engine, and scored on the test part every 50 steps; the lab's schedule would evaluate more often,
which costs as much as the training. Seconds are the processor's, of training alone.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from grokkit.train.config import RunConfig
from grokkit.train.loop import begin_alone
from grokkit.train.resolve import method_config, model_config, task_config

METHODS, SEED, STEPS = ("adamw", "recommended"), 100, 1000


def look(method: str) -> list[dict[str, Any]]:
    """Loss and accuracy of the test part, and the seconds of training until then."""
    model = model_config("decoder")
    config = RunConfig(
        task=task_config("bytes:5000", model, train_size=4000),
        model=model,
        method=method_config(method, "bytes"),
        seed=SEED,
        budget=STEPS,
        batch_size=32,
        target_loss=2.0,
    )
    engine, seconds, found = begin_alone(config), 0.0, []
    for stop in (10, 25, *range(50, STEPS + 1, 50)):
        start = time.process_time()
        engine.train_to(stop)
        seconds += time.process_time() - start
        with torch.no_grad():
            ((loss, accuracy),) = engine.score([0], "test")
        assert accuracy is not None
        found.append(
            {"step": stop, "loss": round(loss, 4), "accuracy": round(accuracy, 4), "seconds": round(seconds, 1)}
        )
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("path", type=Path)
    runs = {method: look(method) for method in METHODS}
    text = json.dumps({"task": "bytes:5000", "seed": SEED, "runs": runs}, indent=1)
    words.parse_args().path.write_text(text + "\n", encoding="utf-8")
