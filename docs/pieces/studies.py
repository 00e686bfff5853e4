"""The committed results: studies, benchmarks, published values. Everything that a page states is read from here."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from grokkit.analyse import leaderboard
from grokkit.study.store import RUNS
from pieces.arms import ARMS, Arm
from pieces.markers import PageError, Pending

Cost = Literal["steps", "seconds", "flops"]
Standing = Literal["less", "more", "more often", "less often", "unclear", "never"]


class Keys(NamedTuple):
    """What a row of the leaderboard calls the parts of a ratio."""

    value: str
    low: str
    high: str
    bound: str
    side: str


RATIOS: dict[Cost, Keys] = {
    "steps": Keys("ratio_steps_vs_baseline", "ratio_ci_low", "ratio_ci_high", "ratio_bound", "ratio_bound_side"),
    **{
        cost: Keys(
            f"ratio_{cost}_vs_baseline",
            f"ratio_{cost}_ci_low",
            f"ratio_{cost}_ci_high",
            f"ratio_{cost}_bound",
            f"ratio_{cost}_bound_side",
        )
        for cost in ("seconds", "flops")
    },
}

PENDING = {"tuning"}
"""Studies that a page names before their runs are committed: their pieces say so instead of failing."""


class Study:
    """A study of ``docs/results``: study.json, the records of its runs, and their thinned curves if there are any."""

    def __init__(self, root: Path, name: str) -> None:
        self.name, self.folder = name, root / name
        self._boards: dict[str, dict[str, dict[str, Any]]] = {}
        self.about: dict[str, Any] = json.loads((self.folder / "study.json").read_text(encoding="utf-8"))

    @cached_property
    def runs(self) -> pl.DataFrame:
        """One row a run. Columns that were not recorded are null."""
        return pl.concat([pl.DataFrame(schema=RUNS), pl.read_parquet(self.folder / "runs.parquet")], how="diagonal")

    @cached_property
    def curves(self) -> pl.DataFrame | None:
        path = self.folder / "curves.parquet"
        return pl.read_parquet(path) if path.exists() else None

    @property
    def arms(self) -> dict[str, Arm]:
        """By short name."""
        return ARMS.get(self.name, {})

    def short(self, label: str) -> str:
        """The short name of ``label``, or itself."""
        return next((name for name, arm in self.arms.items() if arm.label == label), label)

    def shown(self) -> dict[str, str]:
        """Label → how a table writes it, for all arms of the study: those of pieces/arms.py first, in its order."""
        named = {arm.label: arm.shown or f"`{arm.label}`" for arm in self.arms.values() if arm.label in self.methods}
        return named | {label: f"`{label}`" for label in self.methods if label not in named}

    @property
    def methods(self) -> list[str]:
        return self.about["methods"]

    @property
    def baseline(self) -> str:
        return self.about["baseline"]

    def label(self, arm: str) -> str:
        """The method's label that ``arm``, a label or a short name of it, stands for."""
        label = self._label(arm)
        if label not in self.methods:
            raise PageError(f"study {self.name!r} has no arm {arm!r}; it has {', '.join(self.methods)}")
        return label

    def has(self, arm: str) -> bool:
        return self._label(arm) in self.methods

    def _label(self, arm: str) -> str:
        return self.arms[arm].label if arm in self.arms else arm

    def board(self, baseline: str | None = None) -> dict[str, dict[str, Any]]:
        """Label → row of the leaderboard, against ``baseline`` or the study's own."""
        label = self.label(baseline or self.baseline)
        if label not in self._boards:
            rows = leaderboard(self.runs, self.methods, label)
            self._boards[label] = {row["method"]: row for row in rows}
        return self._boards[label]

    def row(self, arm: str, baseline: str | None = None) -> dict[str, Any]:
        return self.board(baseline)[self.label(arm)]

    def of(self, arm: str) -> pl.DataFrame:
        """The runs of ``arm``, by seed."""
        return self.runs.filter(pl.col("method") == self.label(arm)).sort("seed")

    @property
    def cost(self) -> Cost:
        """The one cost in which the study claims."""
        return "steps"

    def standing(self, arm: str, baseline: str | None = None) -> Standing:
        """What may be said of ``arm`` beside the baseline, in the study's cost."""
        row = self.row(arm, baseline)
        if not row["successes"]:
            return "never"
        low, high = row.get(RATIOS[self.cost].low), row.get(RATIOS[self.cost].high)
        if low is None or high is None or low <= 1 <= high:
            return "unclear"
        return "less" if high < 1 else "more"


class Results:
    """All of ``docs/results``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._studies: dict[str, Study] = {}

    def study(self, name: str) -> Study:
        if name not in self._studies:
            if name in PENDING and not (self.root / name).exists():
                raise Pending("*no runs are committed yet*")
            if not (self.root / name / "study.json").exists():
                raise PageError(f"no study {name!r} in {self.root}; there are {', '.join(self.names())}")
            self._studies[name] = Study(self.root, name)
        return self._studies[name]

    def names(self) -> list[str]:
        return sorted(str(path.parent.relative_to(self.root)) for path in self.root.rglob("study.json"))

    @cached_property
    def bench(self) -> dict[str, dict[str, Any]]:
        """Row id → what `grokkit bench --json` wrote."""
        return {row["id"]: row for row in self._json("bench.json")}

    @cached_property
    def published(self) -> dict[str, dict[str, Any]]:
        return self._json("published.json")

    def _json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))
