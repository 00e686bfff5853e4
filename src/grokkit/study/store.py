"""The folder of a study on disk; ``docs/results-format.md`` says what is in it.

A run exists if and only if its ``run.json`` does. It is written last, so whatever was cut off before that is simply a
run still to be done. What is there is checked before it is used: the record belongs to its folder and has its digest,
and the tables beside it have those that it names; what does not is named, and neither used nor trained again. Saving
runs needs no lock, each has a folder of its own; whoever decides which runs are still to be done holds one.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs
from filelock import FileLock, Timeout

from grokkit.errors import InputError
from grokkit.files import atomic_write, npz
from grokkit.study.records import CURVES, FORMAT, RUNS, why_no_study, why_not
from grokkit.study.sealed import Damaged, digest_of, read_sealed, read_whole, sealed, unreadable
from grokkit.train.identity import question_of
from grokkit.train.limit import Limit

if TYPE_CHECKING:
    from grokkit.train.config import RunConfig

STUDY_FORMAT = 3
"""Of study.json. From format 3 on every run of the folder has a digest. Earlier ones can be reported, not extended."""

# What tells the curves and tables of one run from another's.
_KEYS = {name: RUNS[name] for name in ("run_id", "method", "seed")}


class Store:
    """The study in ``folder``, which need not exist before something is written."""

    def __init__(self, folder: Path) -> None:
        # `os.path` and not `Path.exists`, which raises in a folder that may not be read.
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise InputError(f"{folder} is a file, and a study needs a folder; choose another --out")
        self.folder = folder
        self._known: dict[str, _Kept] = {}  # what was checked, of use as long as its files stay as they are

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

    def group_checkpoint_path(self, name: str) -> Path:
        """Where runs that are trained as one program keep what they need to go on."""
        return self.folder / "groups" / f"{name}.safetensors"

    def finished(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of ``run_ids``, or of all that are here, which are done.

        Raises:
            InputError: one of them is damaged.
        """
        return {run_id for run_id in (self._names() if run_ids is None else run_ids) if self._kept(run_id)}

    def labels(self) -> dict[str, str]:
        """The finished runs that are here: run id → the label of its method."""
        return {run_id: self._finished(run_id).method for run_id in self.finished()}

    def record(self, run_id: str) -> dict[str, Any]:
        """The run.json of a finished run.

        Raises:
            InputError: if it is not finished, or damaged.
        """
        self._finished(run_id)
        return self._record(run_id)

    def to_continue(self, run_ids: Iterable[str], limits: Mapping[str, Limit]) -> set[str]:
        """Those of the finished runs that were given up sooner than under their limit in ``limits``, or none there."""
        found = set()
        for run_id in run_ids:
            was, now = self._finished(run_id).gave_up, limits.get(run_id)
            if was is not None and (now is None or now.cost != was.cost or now.most > was.most):
                found.add(run_id)
        return found

    def config(self, run_id: str) -> RunConfig:
        """What determined a finished run."""
        from grokkit.train.config import RunConfig  # with which PyTorch comes, which a report has no use for

        return RunConfig(**self._record(run_id)["config"])

    def question(self, run_id: str) -> dict[str, Any]:
        """What a finished run has in common with all of its study."""
        return question_of(self._record(run_id)["config"])

    def save_run(
        self,
        run_id: str,
        record: dict[str, Any],
        curves: pl.DataFrame,
        tables: Mapping[str, pl.DataFrame],
        kept: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep a run that is done; one that is kept already stays as it is, unless it had been given up.

        Numbers that are not finite become null.

        ``kept``: what its method has learned, for ``method.npz``.
        """
        folder = self.run_folder(run_id)
        if (before := self._kept(run_id)) is not None:
            if before.gave_up is None:
                return
            (folder / "run.json").unlink()  # It has gone on; until all that is new is there it is not finished.
        for left_by_a_kill in [*folder.glob(".*.tmp"), *filter(_is_table, folder.glob("*"))]:
            left_by_a_kill.unlink()
        typed = [pl.col(name).cast(dtype) for name, dtype in CURVES.items() if name in curves.columns]
        files = {
            # A column that is null throughout has no type of its own; only numbers can be null.
            f"{name}.parquet": _parquet(table.with_columns(cs.by_dtype(pl.Null).cast(pl.Float64)))
            for name, table in {**tables, "curves": curves.with_columns(typed)}.items()
        }
        if kept:
            files["method.npz"] = npz(kept)
        for name, data in files.items():
            atomic_write(folder / name, data)
        digests = {name: digest_of(data) for name, data in files.items()}
        atomic_write(folder / "run.json", sealed({"format": FORMAT, **record, "files": digests}))
        if record["status"] != "given up":  # which goes on from there when somebody asks for more of it
            self.checkpoint_path(run_id).unlink(missing_ok=True)

    def load(self, run_ids: Iterable[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The records, one row a run, and all their curves below each other, in the order of ``run_ids``.

        ``config`` and ``provenance`` are given as JSON. The curves start with ``run_id``, ``method`` and
        ``seed``. All runs must be finished.
        """
        rows, curves = [], [pl.DataFrame(schema={**_KEYS, **CURVES})]
        for run_id in run_ids:
            kept = self._finished(run_id)
            rows.append(_row(self._record(run_id)))
            curves.append(self._table(kept, "curves"))
        # Relaxed: a column beyond the contract's may be whole numbers in one run and all null in another.
        return pl.DataFrame(rows, schema=RUNS), pl.concat(curves, how="diagonal_relaxed")

    def load_table(self, name: str, run_ids: Iterable[str]) -> pl.DataFrame:
        """The table ``name`` of those runs that have it below each other, with ``run_id``, ``method`` and ``seed``
        in front; without a row if none has. All runs must be finished."""
        kept = [self._finished(run_id) for run_id in run_ids]
        tables = [self._table(run, name) for run in kept if f"{name}.parquet" in run.files]
        return pl.concat([pl.DataFrame(schema=_KEYS), *tables], how="diagonal_relaxed")

    def write_study(self, study: dict[str, Any]) -> None:
        """Keep what was asked for; the file is left alone if it says just that."""
        path, data = self.folder / "study.json", sealed({"format": STUDY_FORMAT, **study})
        if not os.path.exists(path) or path.read_bytes() != data:
            atomic_write(path, data)

    def read_study(self) -> dict[str, Any]:
        """What was asked for, with its ``format``.

        Raises:
            InputError: there is nothing, or it is damaged.
        """
        path = self.folder / "study.json"
        again = f"grokkit compare TASK --out {shlex.quote(str(self.folder))}"
        try:
            study = read_sealed(path, newest=STUDY_FORMAT)
            if study is None:
                raise InputError(f"{self.folder} holds no study (no study.json); make one with: {again}")
            if (why := why_no_study(study)) is not None:
                raise Damaged(why)
        except Damaged as damage:
            raise InputError(
                f"{path} is damaged: it {damage}; delete it and, keeping the finished runs, make it again with: {again}"
            ) from None
        return {"format": 1, **study}

    def has_study(self) -> bool:
        """Whether the folder has a study.json, readable or not."""
        return os.path.lexists(self.folder / "study.json")

    def _names(self) -> list[str]:
        """What lies in ``runs/``."""
        folder = self.folder / "runs"
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise unreadable(folder, error) from None
        except OSError as error:
            raise InputError(f"{folder} is no folder that can be read ({error.strerror}); move it away") from None

    def _finished(self, run_id: str) -> _Kept:
        kept = self._kept(run_id)
        if kept is None:
            raise InputError(f"run {run_id!r} is not finished in {self.folder}; run the study again")
        return kept

    def _kept(self, run_id: str) -> _Kept | None:
        """What a run has left, its record and all files beside it checked; None if the run is not finished."""
        folder = self.run_folder(run_id)
        stamp = _stamp(folder)
        if "run.json" not in stamp:
            _refuse_folders(folder, stamp)
            return None
        known = self._known.get(run_id)
        if known is None or known.stamp != stamp:
            record = self._record(run_id)
            files = record.get("files") or dict.fromkeys(filter(_is_table, stamp))
            gave_up = Limit(*record["given_up_beyond"]) if record["status"] == "given up" else None
            known = _Kept(stamp, run_id, record["method"], record["seed"], files, gave_up)
            for name in sorted({*files, *filter(_is_table, stamp)}):
                if name not in files:
                    raise _damaged(folder / name, "is not of this run")
                known.read(folder / name)
            self._known[run_id] = known
        return known

    def _record(self, run_id: str) -> dict[str, Any]:
        """The record of a finished run; those of before have no digests, and no ``files``."""
        path = self.run_folder(run_id) / "run.json"
        try:
            record = read_sealed(path, newest=FORMAT)
            why = "is missing" if record is None else why_not(record, run_id)
            if record is None or why is not None:
                raise Damaged(why)
            if record.get("format", 1) < FORMAT and not self._is_of_earlier_version:
                raise Damaged("has no digest, in a folder whose runs have one")
        except Damaged as damage:
            raise _damaged(path, str(damage)) from None
        return record

    @cached_property
    def _is_of_earlier_version(self) -> bool:
        """Whether the folder's runs need no digest, since its study.json says that it is from before there were any."""
        return self.has_study() and self.read_study()["format"] < STUDY_FORMAT

    def _table(self, kept: _Kept, name: str) -> pl.DataFrame:
        """The table ``name`` of a run, with what tells the run from others in front."""
        path = self.run_folder(kept.run_id) / f"{name}.parquet"
        try:
            # By its bytes and not its name, in which polars would take "[" and "*" for a pattern.
            table = pl.read_parquet(io.BytesIO(kept.read(path)))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            raise _damaged(path, "is no table") from None
        return table.select(*(pl.lit(getattr(kept, key), dtype).alias(key) for key, dtype in _KEYS.items()), pl.all())


_Stamp = dict[str, tuple[int, ...]]


class _Kept(NamedTuple):
    """A finished run: what changes when a file of it does, what tells it from others, its files' digests, and the limit
    at which it was given up."""

    stamp: _Stamp
    run_id: str
    method: str
    seed: int
    files: Mapping[str, str | None]  # Of runs of before nobody knows the digests.
    gave_up: Limit | None

    def read(self, path: Path) -> bytes:
        """The content of one of its files, which must be what was written."""
        digest = self.files.get(path.name)
        try:
            data = read_whole(path)
            if data is None:
                raise Damaged("is missing")
            if digest not in (None, digest_of(data)):
                raise Damaged("does not have the digest that its run.json says")
        except Damaged as damage:
            raise _damaged(path, str(damage)) from None
        return data


def _stamp(folder: Path) -> _Stamp:
    """The files in a run's folder, and what changes when one of them does; those of writers at work are left out."""
    found: _Stamp = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    about = entry.stat(follow_symlinks=not entry.is_symlink() or os.path.exists(entry.path))
                    found[entry.name] = (about.st_mode, about.st_ino, about.st_size, about.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        raise unreadable(folder, error) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); delete it and run the study again") from None
    return found


def _refuse_folders(folder: Path, stamp: _Stamp) -> None:
    """Of a run still to be done: where it will write a file there may be no folder, or all its training is lost."""
    for name, (mode, *_) in stamp.items():
        if stat.S_ISDIR(mode) and (_is_table(name) or name == "checkpoint.safetensors"):
            raise _damaged(folder / name, "is a folder")


def _is_table(path: Path | str) -> bool:
    return str(path).endswith((".parquet", ".npz"))


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of the table of all."""
    as_text = {name: json.dumps(record.get(name), ensure_ascii=False) for name in ("config", "provenance")}
    return {**{name: record.get(name) for name in RUNS}, **as_text}


def _parquet(table: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file)
    return file.getvalue()


def _damaged(path: Path, why: str) -> InputError:
    folder = path.parent
    return InputError(f"{path} is damaged: it {why}; delete {folder} and run the study again")
