"""A study's numbers for other programs: its tables as files, and one JSON object for a script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from grokkit.analyse.claims import claims
from grokkit.errors import InputError
from grokkit.files import atomic_write
from grokkit.lab.event_files import write_events
from grokkit.lab.study import Study
from grokkit.study.packs import as_parquet
from grokkit.study.pool import Failure

Format = Literal["csv", "json", "parquet", "tensorboard"]

_FORMULA = r"^([=+\-@\t\r])"
"""How a text begins that a spreadsheet takes for a formula."""


def export(study: Study, out: Path, kind: Format = "csv") -> dict[str, Path]:
    """Write ``runs``, ``curves``, ``leaderboard`` and ``claims`` into the folder ``out``, a file each.

    In CSV a text that a spreadsheet would carry out as a formula, because it begins with ``=``, ``+``, ``-``, ``@``, a
    tab or a carriage return, has an apostrophe in front: a label is anybody's text. Numbers are never changed, and
    neither are the texts in JSON and Parquet. In JSON a file is a list of objects, where ``config`` and ``provenance``
    of a run are objects themselves, and a number that is not finite is null.

    ``tensorboard`` writes no tables, but the curves as event files (:func:`grokkit.lab.event_files.write_events`).

    Returns the path of each table, by its name, or the folder of the event files, as ``events``.

    Raises:
        MissingExtraError: for event files, without TensorBoard.
        InputError: if ``out`` is a file.
    """
    if out.is_file():
        raise InputError(f"{out} is a file, and tables need a folder; choose another --out")
    if kind == "tensorboard":
        return {"events": write_events(study, out / "events")}
    tables = {name: getattr(study, name) for name in ("runs", "curves", "leaderboard", "claims")}
    paths = {name: out / f"{name}.{kind}" for name in tables}
    for name, table in tables.items():
        atomic_write(paths[name], _WRITERS[kind](table))
    return paths


def _csv(table: pl.DataFrame) -> bytes:
    return table.with_columns(cs.string().str.replace(_FORMULA, "'${1}")).write_csv().encode()


def _json(table: pl.DataFrame) -> bytes:
    finite = pl.when(cs.float().is_finite()).then(cs.float())  # which JSON alone can say; else null
    rows = table.with_columns(finite).to_dicts()
    for row in rows:
        for name in {"config", "provenance"} & row.keys():
            row[name] = json.loads(row[name])
    return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()


_WRITERS = {"csv": _csv, "json": _json, "parquet": as_parquet}


def study_object(study: Study, failures: Mapping[str, Failure]) -> dict[str, Any]:
    """What ``grokkit compare --json`` and ``grokkit report --json`` print; docs/results-format.md lists its keys.

    ``failures``: the runs that failed, by their id.
    """
    has_runs = not study.runs.is_empty()
    return {
        "title": study.info["title"],
        "verdict": study.verdict if has_runs else None,
        "claims": study.claims.to_dicts() if has_runs else [],
        "table": study.rows if has_runs else [],
        "unfinished": study.unfinished,
        "failed": _errors(failures),
        "paths": _paths(study.folder, page="report.html", table="leaderboard.json", figures="figures", runs="runs"),
    }


def search_object(record: Mapping[str, Any], failures: Mapping[str, Failure], folder: Path) -> dict[str, Any]:
    """What ``grokkit tune --json`` prints: a row a method, with its best setting and what all its trials took.

    ``record``: tune.json, which lies in ``folder``.
    """
    rows = [
        {
            "method": name,
            "best": own["best"],
            "cost_of_tuning": own["cost_of_tuning"],
            "trials": len(own["trials"]),
            "arrived": sum(trial["has_arrived"] for trial in own["trials"]),
        }
        for name, own in record["methods"].items()
    ]
    paths = _paths(folder, page="tune.html", table="tune.json", figures="figures", runs="runs")
    return {"title": record["title"], "table": rows, "failed": _errors(failures), "paths": paths}


def suite_object(record: Mapping[str, Any], failures: Mapping[str, Failure], folder: Path) -> dict[str, Any]:
    """What ``grokkit suite --json`` prints: a row a method, over all held-out tasks.

    ``record``: suite.json, which lies in ``folder``.
    """
    return {
        "title": record["suite"],
        "verdict": record["verdict"],
        "claims": [claim._asdict() for claim in claims(record["rows"], record)],
        "table": record["rows"],
        "unfinished": sum(task["unfinished"] for task in record["tasks"]),
        "failed": _errors(failures),
        "paths": _paths(folder, page="suite.html", table="suite.json", figures="figures", runs="held-out"),
    }


def _errors(failures: Mapping[str, Failure]) -> dict[str, str]:
    return {run_id: failure.error for run_id, failure in failures.items()}


def _paths(folder: Path, **names: str) -> dict[str, str]:
    """The folder itself, and those of ``names`` that are in it."""
    there = {what: folder / name for what, name in names.items()}
    return {"folder": str(folder), **{what: str(path) for what, path in there.items() if path.exists()}}
