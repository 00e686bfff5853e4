"""What a record must say to be believed.

A run's belongs to its folder and its configuration and has its numbers, a study's names its runs, each once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from grokkit.errors import shown
from grokkit.train.columns import CURVES as CURVE_NAMES
from grokkit.train.events import EVENTS_VERSION
from grokkit.train.identity import IDENTITY_VERSION, hash_of

FORMAT = 2
"""Of run.json. Format 1 has no digest, neither of itself nor of the tables beside it."""

# Given in full, so that a column in which every run has null keeps its type.
RUNS = pl.Schema(
    {
        "run_id": pl.String(),
        "method": pl.String(),
        "seed": pl.Int64(),
        "budget": pl.Int64(),
        "config": pl.String(),
        "config_hash": pl.String(),
        "status": pl.String(),
        "steps": pl.Int64(),
        "outer_steps": pl.Int64(),
        "outer_rows": pl.Int64(),
        "start_seconds": pl.Float64(),
        "start_flops": pl.Float64(),
        "memorized_at": pl.Int64(),
        "generalized_first_at": pl.Int64(),
        "generalized_at": pl.Int64(),
        "below_until": pl.Int64(),
        "stable_at": pl.Int64(),
        "delay_steps": pl.Int64(),
        "collapsed_at": pl.Int64(),
        "dips": pl.Int64(),
        "deepest_dip": pl.Float64(),
        "diverged_at": pl.Int64(),
        "memorized_resolution_steps": pl.Int64(),
        "first_resolution_steps": pl.Int64(),
        "resolution_steps": pl.Int64(),
        "train_seconds_to_target": pl.Float64(),
        "flops_to_target": pl.Float64(),
        "train_seconds_below_until": pl.Float64(),
        "flops_below_until": pl.Float64(),
        "train_seconds": pl.Float64(),
        "eval_seconds": pl.Float64(),
        "flops": pl.Float64(),
        "peak_memory_bytes": pl.Int64(),
        "final_train_loss": pl.Float64(),
        "final_test_loss": pl.Float64(),
        "best_test_loss": pl.Float64(),
        "final_train_accuracy": pl.Float64(),
        "final_test_accuracy": pl.Float64(),
        "best_test_accuracy": pl.Float64(),
        "provenance": pl.String(),
    }
)

CURVES = pl.Schema({name: pl.Int64() if name.endswith("step") else pl.Float64() for name in CURVE_NAMES})

# Every run has these; the other numbers may be null.
_ALWAYS = ("seed", "budget", "steps", "train_seconds", "eval_seconds", "flops", "peak_memory_bytes")
_ALWAYS_NOW = ("identity", "events", "outer_steps", "outer_rows", "start_seconds", "start_flops")  # from format 2 on

_STATUS = ("generalized", "censored", "given up", "diverged")


def why_not(record: Mapping[str, Any], run_id: str) -> str | None:
    """Why ``record`` is not that of the run kept in the folder ``run_id``, to follow its file's path; None if it is."""
    if record.get("run_id") != run_id:
        return f"is of another run, {shown(record.get('run_id'))}"
    required = (*_ALWAYS, *_ALWAYS_NOW) if record.get("format", 1) >= FORMAT else _ALWAYS
    for name in dict.fromkeys((*RUNS, *required)):
        value = record.get(name)
        if value is None and name in required:
            return f"has no {name}"
        if value is not None and not _is_of(RUNS.get(name, pl.Int64()), name, value):
            return f"has {name}={shown(value)}"
    if record.get("status") not in _STATUS or not isinstance(record.get("method"), str):
        return f"has status={shown(record.get('status'))}, method={shown(record.get('method'))}"
    is_staying = record.get("generalized_at") is not None
    if record.get("format", 1) >= FORMAT and (record["status"] == "generalized") != is_staying:
        return f"has status={record['status']} and generalized_at={shown(record.get('generalized_at'))}"
    if not isinstance(record.get("config"), dict):
        return "has no configuration"
    if record.get("format", 1) >= FORMAT and not _are_files(record.get("files")):
        return f"has files={shown(record.get('files'))}"
    return _why_not_its_configuration(record)


def names_a_folder(run_id: str) -> bool:
    """Whether a folder can be called so that lies where it shall: ``..`` and what has a "/" in it lead elsewhere."""
    return bool(run_id.strip(".")) and "/" not in run_id and "\0" not in run_id


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and "curves.parquet" in files and not any("/" in name for name in files)


def _is_of(kind: pl.DataType, name: str, value: Any) -> bool:
    if name in ("config", "provenance"):  # JSON, that becomes text in a table
        return isinstance(value, dict)
    if kind == pl.String():
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) and abs(value) < 2**63 if kind == pl.Int64() else isinstance(value, int | float)


def _why_not_its_configuration(record: Mapping[str, Any]) -> str | None:
    """The hash in a run's id is that of its configuration. Another version of what a hash covers gives others."""
    own = record.get("config_hash")
    if not record["run_id"].endswith(f"--seed{record['seed']}--{own}"):
        return f"has config_hash={shown(own)} and seed={record['seed']}, which are not those of its name"
    if (record.get("identity"), record.get("events")) != (IDENTITY_VERSION, EVENTS_VERSION):
        return None
    try:
        config = record["config"]
        is_its_own = hash_of(config) == own
        names = ("seed", "budget")
        is_same = all(config[name] == record[name] for name in names) and config["method"]["label"] == record["method"]
    except (KeyError, TypeError, AttributeError, ValueError):
        return "has a configuration that is none"
    return None if is_its_own and is_same else "has another configuration than its name says"


def why_no_study(study: Mapping[str, Any]) -> str | None:
    """Why ``study`` is not what a folder was asked for, to follow its file's path; None if it is."""
    for name in ("methods", "seeds", "run_ids"):
        kind, values = int if name == "seeds" else str, study.get(name)
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            return f"has {name}={shown(values)}" if name in study else f"has no {name}"
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            return f"has {shown(twice)} twice among its {name}"
    if not isinstance(study.get("title"), str) or not isinstance(study.get("methods_detail"), dict):
        return "has no title, or says nothing about its methods"
    if study.get("baseline") not in study["methods"]:
        return f"has the baseline {shown(study.get('baseline'))}, which is none of its methods"
    if strange := [run_id for run_id in study["run_ids"] if not names_a_folder(run_id)]:
        return f"has the run id {shown(strange[0])}, which cannot name a folder"
    return None
