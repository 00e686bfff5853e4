"""What a run leaves behind: its curves, events, costs and where it came from."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import torch

import grokkit
from grokkit.models.matmul import kernel
from grokkit.train.config import RunConfig
from grokkit.train.events import EVENTS_VERSION, Events
from grokkit.train.identity import IDENTITY_VERSION


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run. ``record()``, ``curves`` and ``tables`` are what docs/results-format.md describes."""

    config: RunConfig
    curves: dict[str, list[Any]]
    tables: dict[str, dict[str, list[Any]]]
    kept: dict[str, np.ndarray]
    outer_steps: int
    outer_rows: int
    start_seconds: float
    start_flops: int
    events: Events
    diverged_at: int | None
    limit: tuple[str, float] | None = None
    """The cost, and how much of it, beyond which the run was given up; None if it was not."""
    steps: int
    train_seconds: float
    eval_seconds: float
    flops: int
    peak_memory_bytes: int
    provenance: dict[str, Any]

    @property
    def below_until(self) -> int | None:
        """The step until which it is known that the run did not stay at the target; None if it does.

        That is its last evaluation below the target, and not its budget: a window that would have shown it to stay may
        have been cut short. Whatever has diverged does not come back, however many steps it is given.
        """
        return self.config.budget if self.status == "diverged" else self.events.below_until

    @property
    def status(self) -> str:
        if self.events.generalized_at is not None:
            return "generalized"
        if self.limit is not None:
            return "given up"
        return "censored" if self.diverged_at is None else "diverged"

    def record(self) -> dict[str, Any]:
        """The JSON record of this run."""
        events, curves = self.events, self.curves
        at = curves["step"].index(events.generalized_at) if events.generalized_at is not None else None
        return {
            "run_id": self.config.run_id(),
            "method": self.config.method.label,
            "seed": self.config.seed,
            "budget": self.config.budget,
            "config": self.config.model_dump(mode="json"),
            "config_hash": self.config.hash(),
            "identity": IDENTITY_VERSION,
            "events": EVENTS_VERSION,
            "status": self.status,
            "steps": self.steps,
            "outer_steps": self.outer_steps,
            "outer_rows": self.outer_rows,
            "start_seconds": self.start_seconds,
            "start_flops": self.start_flops,
            "memorized_at": events.memorized_at,
            "generalized_first_at": events.generalized_first_at,
            "generalized_at": events.generalized_at,
            "below_until": self.below_until,
            "stable_at": events.stable_at,
            "delay_steps": events.delay_steps,
            "collapsed_at": events.collapsed_at,
            "dips": events.dips,
            "deepest_dip": events.deepest_dip,
            "diverged_at": self.diverged_at,
            "given_up_beyond": None if self.limit is None else list(self.limit),
            "memorized_resolution_steps": events.memorized_resolution_steps,
            "first_resolution_steps": events.first_resolution_steps,
            "resolution_steps": events.resolution_steps,
            "train_seconds_to_target": curves["train_seconds"][at] if at is not None else None,
            "flops_to_target": curves["flops"][at] if at is not None else None,
            "train_seconds_below_until": self._spent_below("train_seconds", self.start_seconds),
            "flops_below_until": self._spent_below("flops", self.start_flops),
            "train_seconds": self.train_seconds,
            "eval_seconds": self.eval_seconds,
            "flops": self.flops,
            "peak_memory_bytes": self.peak_memory_bytes,
            "final_train_loss": curves["train_loss"][-1],
            "final_test_loss": curves["test_loss"][-1],
            "best_test_loss": _best(min, curves["test_loss"]),
            "final_train_accuracy": curves["train_accuracy"][-1],
            "final_test_accuracy": curves["test_accuracy"][-1],
            "best_test_accuracy": _best(max, curves["test_accuracy"]),
            "provenance": self.provenance,
        }

    def _spent_below(self, account: Literal["train_seconds", "flops"], at_start: float) -> float | None:
        """What ``below_until`` cost. A run that diverged would have gone on at its own pace; the start is paid once."""
        if self.below_until is None:
            return None
        if self.status == "diverged":
            # Without a finished step there is no pace, and what was spent is all that is known.
            pace = (getattr(self, account) - at_start) / max(self.steps, 1)
            return at_start + pace * self.below_until
        return self.curves[account][self.curves["step"].index(self.below_until)]


def _best(choose: Callable[[list[float]], float], values: list[float | None]) -> float | None:
    """Of those evaluations that found a number."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    return choose(found) if found else None


def provenance() -> dict[str, Any]:
    """Versions and machine of this process, now."""
    return {
        "grokkit": grokkit.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "matmul": kernel(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
