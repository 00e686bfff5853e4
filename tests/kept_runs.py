"""Records of runs as a store believes them, without training any."""

from __future__ import annotations

from typing import Any

from grokkit.testing.runs import small_run
from grokkit.train.events import EVENTS_VERSION
from grokkit.train.identity import IDENTITY_VERSION


def record(method: str = "adamw", seed: int = 0, *, name: str | None = None, **changes: Any) -> dict[str, Any]:
    """A censored run's record. ``name`` is what its id begins with, if not the label ``method``."""
    config = small_run(seed=seed, budget=1000)
    config = config.model_copy(update={"method": config.method.model_copy(update={"label": method})})
    return {
        "run_id": f"{method if name is None else name}--seed{seed}--{config.hash()}",
        "method": method,
        "seed": seed,
        "budget": 1000,
        "config": config.model_dump(mode="json"),
        "config_hash": config.hash(),
        "identity": IDENTITY_VERSION,
        "events": EVENTS_VERSION,
        "status": "censored",
        "steps": 1000,
        "outer_steps": 0,
        "outer_rows": 0,
        "start_seconds": 0.0,
        "start_flops": 0,
        "memorized_at": 100,
        "generalized_first_at": None,
        "generalized_at": None,
        "delay_steps": None,
        "collapsed_at": None,
        "diverged_at": None,
        "resolution_steps": None,
        "train_seconds_to_target": None,
        "flops_to_target": None,
        "train_seconds": 12,
        "eval_seconds": 0.5,
        "flops": 1e15,
        "peak_memory_bytes": 2**33,
        "final_train_accuracy": 1.0,
        "final_test_accuracy": 0.25,
        "best_test_accuracy": 0.5,
        "provenance": {"threads": 1, "started": "2026-01-01T00:00:00+00:00"},
        **changes,
    }


def study(run_ids: list[str], **changes: Any) -> dict[str, Any]:
    """What study.json says of them, as far as it must."""
    about = {"title": "a+b mod 11", "methods": ["adamw"], "baseline": "adamw", "seeds": [0]}
    return {**about, "methods_detail": {"adamw": {}}, "run_ids": run_ids, **changes}
