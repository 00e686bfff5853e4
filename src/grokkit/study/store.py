"""The folder of a study on disk; ``docs/results-format.md`` says what is in it.

A run exists if and only if its ``run.json`` can be read. It is written last, so whatever was cut off before
that is simply a run still to be done. Saving runs needs no lock, each has a folder of its own; whoever
decides which runs are still to be done holds one.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from filelock import FileLock, Timeout

from grokkit.errors import InputError
from grokkit.files import atomic_write, npz
from grokkit.train import record
from grokkit.train.config import RunConfig
from grokkit.train.history import Limit

FORMAT = 1  # of run.json

STUDY_FORMAT = 2
"""Of study.json. Format 1 does not say what all its runs have in common: it can be reported, and not extended."""

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

CURVES = pl.Schema({name: pl.Int64() if name.endswith("step") else pl.Float64() for name in record.CURVES})


# What tells the curves and tables of one run from another's.
_KEYS = {name: RUNS[name] for name in ("run_id", "method", "seed")}


class Store:
    """The study in ``folder``, which need not exist before something is written."""

    def __init__(self, folder: Path) -> None:
        # `os.path` and not `Path.exists`, which raises in a folder that may not be read.
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise InputError(f"{folder} is a file, and a study needs a folder; choose another --out")
        self.folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder alone, creating it if need be. The kernel lets go of it for a killed process."""
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise InputError(
                f"another grokkit is writing to {self.folder}; wait for it, or choose another --out"
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot write to {self.folder} ({error.strerror or error}); choose another --out"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def run_folder(self, run_id: str) -> Path:
        """Where the run is kept. An id read from a file may not lead out of the study's folder."""
        if not run_id.strip(".") or "/" in run_id or "\0" in run_id:
            raise InputError(f"run id {run_id!r} cannot name a folder; it must be a plain name without '/'")
        return self.folder / "runs" / run_id

    def checkpoint_path(self, run_id: str) -> Path:
        """Where an unfinished run keeps what it needs to go on; `save_run` removes it."""
        return self.run_folder(run_id) / "checkpoint.safetensors"

    def finished(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of ``run_ids``, or of all that are here, which are done."""
        if run_ids is None:
            run_ids = [record.parent.name for record in (self.folder / "runs").glob("*/run.json")]
        return {run_id for run_id in run_ids if self._record(run_id) is not None}

    def record(self, run_id: str) -> dict[str, Any]:
        """The run.json of a finished run.

        Raises:
            InputError: if it is not finished.
        """
        record = self._record(run_id)
        if record is None:
            raise InputError(f"run {run_id!r} is not finished in {self.folder}; run the study again")
        return record

    def to_continue(self, run_ids: Iterable[str], limits: Mapping[str, Limit]) -> set[str]:
        """Those of the finished runs that were given up sooner than under their limit in ``limits``, or none there."""
        found = set()
        for run_id in run_ids:
            record = self.record(run_id)
            if record["status"] == "given up":
                was, now = Limit(*record["given_up_beyond"]), limits.get(run_id)
                if now is None or now.cost != was.cost or now.most > was.most:
                    found.add(run_id)
        return found

    def labels(self) -> dict[str, str]:
        """The finished runs that are here: run id → the label of its method."""
        records = {run_id: self._record(run_id) for run_id in self.finished()}
        return {run_id: record["method"] for run_id, record in records.items() if record is not None}

    def config(self, run_id: str) -> RunConfig:
        """What determined a finished run."""
        return RunConfig(**self.record(run_id)["config"])

    def save_run(
        self,
        run_id: str,
        record: dict[str, Any],
        curves: pl.DataFrame,
        tables: Mapping[str, pl.DataFrame],
        kept: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep a run that is done. Numbers of ``record`` that are not finite become null.

        ``kept``: what its method has learned, for ``method.npz``.
        """
        folder = self.run_folder(run_id)
        for left_by_a_kill in folder.glob(".*.tmp"):
            left_by_a_kill.unlink()
        typed = [pl.col(name).cast(dtype) for name, dtype in CURVES.items() if name in curves.columns]
        for name, table in {**tables, "curves": curves.with_columns(typed)}.items():
            # A column that is null throughout has no type of its own; only numbers can be null.
            _write_table(self._table_path(run_id, name), table.with_columns(cs.by_dtype(pl.Null).cast(pl.Float64)))
        if kept:
            atomic_write(folder / "method.npz", npz(kept))
        atomic_write(folder / "run.json", _to_json({"format": FORMAT, **record}))
        if record["status"] != "given up":  # which goes on from there when somebody asks for more of it
            self.checkpoint_path(run_id).unlink(missing_ok=True)

    def load(self, run_ids: Iterable[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The records, one row a run, and all their curves below each other, in the order of ``run_ids``.

        ``config`` and ``provenance`` are given as JSON. The curves start with ``run_id``, ``method`` and
        ``seed``. All runs must be finished.
        """
        runs = [pl.DataFrame(schema=RUNS)]
        curves = [pl.DataFrame(schema={**_KEYS, **CURVES})]
        for run_id in run_ids:
            row = self._row(run_id)
            runs.append(row)
            curves.append(_labelled(self._table(run_id, "curves"), row))
        # Relaxed: a column beyond the contract's may be whole numbers in one run and all null in another.
        return pl.concat(runs), pl.concat(curves, how="diagonal_relaxed")

    def load_table(self, name: str, run_ids: Iterable[str]) -> pl.DataFrame:
        """The table ``name`` of those runs that have it below each other, with ``run_id``, ``method`` and ``seed``
        in front; without a row if none has. All runs must be finished."""
        tables = [
            _labelled(self._table(run_id, name), self._row(run_id))
            for run_id in run_ids
            if os.path.exists(self._table_path(run_id, name))
        ]
        return pl.concat([pl.DataFrame(schema=_KEYS), *tables], how="diagonal_relaxed")

    def write_study(self, study: dict[str, Any]) -> None:
        """Keep what was asked for; the file is left alone if it says just that."""
        path, data = self.folder / "study.json", _to_json({"format": STUDY_FORMAT, **study})
        if not os.path.exists(path) or path.read_bytes() != data:
            atomic_write(path, data)

    def read_study(self) -> dict[str, Any]:
        """What was asked for, with its ``format``."""
        path = self.folder / "study.json"
        again = f"grokkit compare TASK --out {self.folder}"
        if not self.has_study():
            raise InputError(f"{self.folder} holds no study (no study.json); make one with: {again}")
        study = _read_json(path, newest=STUDY_FORMAT)
        if study is None:
            raise InputError(
                f"{path} is damaged; delete it and, keeping the finished runs, make it again with: {again}"
            )
        return {"format": 1, **study}

    def has_study(self) -> bool:
        """Whether the folder has a study.json, readable or not."""
        return os.path.exists(self.folder / "study.json")

    def _record(self, run_id: str) -> dict[str, Any] | None:
        return _read_json(self.run_folder(run_id) / "run.json")

    def _row(self, run_id: str) -> pl.DataFrame:
        record = self.record(run_id)
        for name in ("config", "provenance"):
            record[name] = json.dumps(record.get(name), ensure_ascii=False)
        try:
            return pl.DataFrame([{name: record.get(name) for name in RUNS}], schema=RUNS)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            raise _damaged(self.run_folder(run_id) / "run.json") from None

    def _table_path(self, run_id: str, name: str) -> Path:
        return self.run_folder(run_id) / f"{name}.parquet"

    def _table(self, run_id: str, name: str) -> pl.DataFrame:
        path = self._table_path(run_id, name)
        try:
            # By its bytes and not its name, in which polars would take "[" and "*" for a pattern.
            return pl.read_parquet(io.BytesIO(path.read_bytes()))
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            raise _damaged(path) from None


def _labelled(table: pl.DataFrame, row: pl.DataFrame) -> pl.DataFrame:
    """``table`` with what tells the run of ``row`` from others in front."""
    return table.select(*(pl.lit(row[name].item(), dtype).alias(name) for name, dtype in _KEYS.items()), pl.all())


def _write_table(path: Path, table: pl.DataFrame) -> None:
    file = io.BytesIO()
    table.write_parquet(file)
    atomic_write(path, file.getvalue())


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is missing or damaged; delete {path.parent} and run the study again")


def _read_json(path: Path, newest: int = FORMAT) -> dict[str, Any] | None:
    """The object in the file, of format 1 to ``newest``; None if there is no file, or one that was cut short."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from None
    if not isinstance(value, dict):
        return None
    # Not taken for unfinished, which would have it overwritten.
    if value.get("format", 1) not in range(1, newest + 1):
        raise InputError(
            f"{path} has format {value['format']!r} and this grokkit reads formats up to {newest}; "
            "use the grokkit that wrote it, or choose another --out"
        )
    return value


def _to_json(value: dict[str, Any]) -> bytes:
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _finite(value: Any) -> Any:
    """``value`` with null for every number that JSON cannot say."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
