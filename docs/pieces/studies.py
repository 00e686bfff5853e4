"""The committed results: studies, benchmarks, published values. Everything that a page states is read from here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from grokkit.analyse import Claim, claims, leaderboard
from grokkit.analyse.claims import claimed_cost
from grokkit.analyse.survival import Cost
from grokkit.study.store import RUNS
from pieces.arms import ARMS, Arm
from pieces.markers import PageError, Pending

Standing = Literal["less", "more", "more often", "less often", "unclear", "never"]

PENDING = {"tuning"}
"""Studies that a page names before their runs are committed: their pieces say so instead of failing."""

NOTHING_YET = "*no runs are committed yet*"


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
        """By short name; where the methods were searched, that is the method as it was searched."""
        searched: dict[str, dict[str, Any]] = self.about.get("tuned") or {}
        found = {search["method"]: Arm(label, f"`{search['method']}`") for label, search in searched.items()}
        return found | ARMS.get(self.name, {})

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
            rows = leaderboard(self.runs, self.methods, label, self.about.get("claim") or "flops")
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
        return claimed_cost(list(self.board().values()), self.about)

    def claim(self, arm: str, baseline: str | None = None) -> Claim:
        """What may be said of ``arm`` beside the baseline, or another arm in its place; the family is all arms."""
        is_its_own = baseline is None or self.label(baseline) == self.label(self.baseline)
        about = self.about if is_its_own else {**self.about, "primary": None}
        rows = list(self.board(baseline).values())
        label = self.label(arm)
        return next(claim for claim in claims(rows, about) if claim.method == label)

    def standing(self, arm: str, baseline: str | None = None) -> Standing:
        """The claim in a word."""
        if not self.row(arm)["successes"]:
            return "never"
        claim = self.claim(arm, baseline)
        return claim.direction if claim.claimed and claim.direction is not None else "unclear"


class Results:
    """All of ``docs/results``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._studies: dict[str, Study] = {}

    def study(self, name: str) -> Study:
        if name not in self._studies:
            if name in PENDING and not (self.root / name).exists():
                raise Pending(NOTHING_YET)
            if not (self.root / name / "study.json").exists():
                raise PageError(f"no study {name!r} in {self.root}; there are {', '.join(self.names())}")
            self._studies[name] = Study(self.root, name)
        return self._studies[name]

    def names(self) -> list[str]:
        return sorted(str(path.parent.relative_to(self.root)) for path in self.root.rglob("study.json"))

    def bench(self, name: str = "bench") -> dict[str, dict[str, Any]]:
        """Row id → what `grokkit bench --json` wrote into the file of this name: each is of another machine."""
        return {row["id"]: row for row in self._json(f"{name}.json")}

    @cached_property
    def reliability(self) -> dict[str, dict[str, int]]:
        """Suite → outcome → cases, as `python docs/reliability.py` counted them."""
        return self._json("reliability.json")

    @cached_property
    def growth(self) -> dict[str, Any]:
        """What benchmarks/growth.py wrote."""
        return self._json("growth.json")

    @cached_property
    def store(self) -> dict[str, Any]:
        """What benchmarks/store_growth.py wrote."""
        return self._json("store.json")

    @cached_property
    def cluster(self) -> dict[str, Any]:
        """What benchmarks/cluster_overhead.py wrote."""
        return self._json("cluster.json")

    @cached_property
    def step_profile(self) -> dict[str, Any]:
        """What benchmarks/matmul_share.py wrote."""
        return self._json("step-profile.json")

    @cached_property
    def waits(self) -> dict[str, Any]:
        """What benchmarks/waits.py wrote."""
        return self._json("waits.json")

    @cached_property
    def recipe_parts(self) -> dict[str, Any]:
        """What benchmarks/recipe_parts.py wrote."""
        return self._json("recipe/parts.json")

    @cached_property
    def recipe_limits(self) -> dict[str, Any]:
        """What benchmarks/recipe_limits.py wrote."""
        return self._json("recipe/limits.json")

    def recipe_look(self, name: str) -> dict[str, Any]:
        """What benchmarks/recipe_bytes.py wrote, ``bytes`` or ``python``."""
        return self._json(f"recipe/{name}.json")

    def recipe_claim(self, name: str) -> dict[str, Any]:
        """What benchmarks/recipe_claim.py wrote, ``claim`` of the first recipe and ``claim-2`` of the second."""
        if not (self.root / "recipe" / f"{name}.json").exists():
            raise Pending(NOTHING_YET)
        return self._json(f"recipe/{name}.json")

    def recipe_plan(self, name: str) -> dict[str, Any]:
        """What will be claimed of a recipe, and on which tasks, as it was written before any run on them:
        ``preregistration`` of the first, ``preregistration-2`` of the second."""
        return tomllib.loads((self.root / "recipe" / f"{name}.toml").read_text(encoding="utf-8"))

    @cached_property
    def published(self) -> dict[str, dict[str, Any]]:
        """Key → value, what it is of, and its source."""
        return self._json("published.json")

    def _json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))


def known(table: Mapping[str, Any], key: str, what: str) -> Any:
    """``table[key]``, or an error that says what there is."""
    if key not in table:
        raise PageError(f"no {what} {key!r}; there are {', '.join(table)}")
    return table[key]
