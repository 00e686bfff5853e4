"""The folder of a study on disk; ``docs/results-format.md`` says what is in it.

A run exists if and only if its ``run.json`` does. It is written last, so whatever was cut off before that is simply a
run still to be done. What is there is checked before it is used: the record belongs to its folder and has its digest,
and the tables beside it have those that it names; what does not is named, and neither used nor trained again. Saving
runs needs no lock, each has a folder of its own; whoever decides which runs are still to be done holds one.

Of very many runs the finished are put together in packs, see :mod:`grokkit.study.packs`. A run that is in one exists.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from filelock import FileLock, Timeout

from grokkit.errors import InputError
from grokkit.files import atomic_write, npz
from grokkit.study.packs import (
    KEYS,
    RUNS_IN_PACK,
    Loose,
    Pack,
    Packed,
    as_parquet,
    in_order,
    in_packs,
    read_pack,
    with_keys,
    write_pack,
)
from grokkit.study.records import CURVES, FORMAT, RUNS, names_a_folder, why_no_study, why_not
from grokkit.study.sealed import Damaged, digest_of, read_sealed, read_whole, sealed, unreadable
from grokkit.train.identity import question_of
from grokkit.train.limit import Limit
from grokkit.train.tables import check_names

if TYPE_CHECKING:
    from grokkit.train.config import RunConfig

STUDY_FORMAT = 3
"""Of study.json. From format 3 on every run of the folder has a digest. Earlier ones can be reported, not extended."""

PACKED_FORMAT = 4
"""Of study.json where runs are in packs, which a grokkit that knows nothing of them would train again."""


class Store:
    """The study in ``folder``, which need not exist before something is written."""

    sealed_from = STUDY_FORMAT  # of study.json

    def __init__(self, folder: Path) -> None:
        for place in (folder, *folder.parents):  # `Path.exists` raises in a folder that may not be read
            if os.path.exists(place) and not os.path.isdir(place):
                raise InputError(f"{place} is a file, and a study needs a folder; name another")
        self.folder = folder
        self._known: dict[str, _Kept] = {}  # what was checked, of use as long as its files stay as they are
        self._packs: set[str] = set()
        self._packed: dict[str, Packed] = {}

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
            why = f"({error.strerror or error}), which keeps runs and every look at them"
            raise InputError(f"cannot write to {self.folder} {why}; copy it first, or name another") from None
        try:
            yield
        finally:
            lock.release()

    def run_folder(self, run_id: str) -> Path:
        """Where the run is kept. An id read from a file may not lead out of the study's folder."""
        if not names_a_folder(run_id):
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
        """What determined a finished run.

        Raises:
            InputError: if the code of somebody's own in it is not what it was.
        """
        from grokkit.train.config import RunConfig, checked  # with PyTorch, which a report has no use for

        return checked(RunConfig, run_id, **self.record(run_id)["config"])

    def question(self, run_id: str) -> dict[str, Any]:
        """What a finished run has in common with all of its study."""
        return question_of(self.record(run_id)["config"])

    def save_run(
        self,
        run_id: str,
        record: dict[str, Any],
        curves: pl.DataFrame,
        tables: Mapping[str, pl.DataFrame],
        kept: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep a run that is done; one that is kept already stays as it is, unless it had been given up.

        Numbers that are not finite become null. ``kept``: what its method has learned, for ``method.npz``.

        Raises:
            InputError: a table has a name that no file of a run can have.
        """
        check_names(tables)
        folder = self.run_folder(run_id)
        if (before := self._kept(run_id)) is not None:
            if before.gave_up is None:
                return
            (folder / "run.json").unlink()  # It has gone on; until all that is new is there it is not finished.
        for left_by_a_kill in [*folder.glob(".*.tmp"), *filter(is_table, folder.glob("*"))]:
            left_by_a_kill.unlink()
        typed = [pl.col(name).cast(dtype) for name, dtype in CURVES.items() if name in curves.columns]
        files = {
            f"{name}.parquet": as_parquet(table)
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
        run_ids = list(run_ids)
        loose, packs = self._by_place(run_ids)
        rows, curves = [], [pl.DataFrame(schema={**KEYS, **CURVES})]
        for kept in loose:
            rows.append(_row(self._record(kept.run_id)))
            curves.append(self._table(kept, "curves"))
        records = [pl.DataFrame(rows, schema=RUNS)]
        for pack, own in packs.items():
            records.append(pack.records(own))
            curves.append(pack.table("curves", own))
        # Relaxed: a column beyond the contract's may be whole numbers in one run and all null in another.
        points = pl.concat(curves, how="diagonal_relaxed")
        return in_order(pl.concat(records), run_ids, packs), in_order(points, run_ids, packs)

    def load_table(self, name: str, run_ids: Iterable[str]) -> pl.DataFrame:
        """The table ``name`` of those runs that have it below each other, with ``run_id``, ``method`` and ``seed``
        in front; without a row if none has. All runs must be finished."""
        run_ids = list(run_ids)
        loose, packs = self._by_place(run_ids)
        tables = [pl.DataFrame(schema=KEYS)]
        tables += [self._table(run, name) for run in loose if f"{name}.parquet" in run.files]
        tables += [pack.table(name, own) for pack, own in packs.items()]
        return in_order(pl.concat(tables, how="diagonal_relaxed"), run_ids, packs)

    def compact(self) -> None:
        """Put the finished runs that have folders of their own into packs, if they are a thousand or more. The caller
        holds the lock. Runs that were given up stay as they are, for they may go on."""
        packs = self.folder / "packs"
        for half_made in packs.glob(".*.tmp"):  # which a kill has left; its runs may become other packs by now
            shutil.rmtree(half_made, ignore_errors=True)
        names = self._loose_names()
        if len(names) < RUNS_IN_PACK or not self.has_study() or self._is_of_earlier_version:
            return
        self._find_packs()
        for run_id in names:
            if run_id in self._packed:  # a kill came before its folder was deleted
                self._drop(run_id)
        found = (self._kept(run_id) for run_id in names if run_id not in self._packed)
        done = {kept.run_id: kept for kept in found if isinstance(kept, _Kept) and kept.gave_up is None}
        if len(done) < RUNS_IN_PACK:
            return
        packs.mkdir(exist_ok=True)
        self.write_study(self.read_study())  # of a format that says that there are packs
        for chunk in in_packs((run_id, done[run_id].bytes) for run_id in self._as_planned(done)):
            runs = [Loose(self._record(run_id), self._files(done[run_id])) for run_id in chunk]
            write_pack(packs, runs, [_row(run.record) for run in runs])
            for run_id in chunk:
                self._drop(run_id)

    def _as_planned(self, done: Iterable[str]) -> list[str]:
        """In the order of the study, seed by seed, so that what is drawn of very many runs lies in few packs."""
        place = {run_id: place for place, run_id in enumerate(self.read_study()["run_ids"])}
        return sorted(done, key=lambda run_id: (place.get(run_id, len(place)), run_id))

    def _files(self, kept: _Kept) -> dict[str, bytes]:
        folder = self.run_folder(kept.run_id)
        return {name: kept.read(folder / name) for name in kept.files}

    def _drop(self, run_id: str) -> None:
        """Delete the folder of a run that is in a pack: its record first, so that what a kill leaves is no run."""
        folder = self.run_folder(run_id)
        (folder / "run.json").unlink(missing_ok=True)
        shutil.rmtree(folder)
        self._known.pop(run_id, None)

    def _find_packs(self) -> None:
        """Take notice of packs that were made since the last time."""
        packs = self.folder / "packs"
        for name in _listed(packs):
            if name not in self._packs and not name.startswith("."):
                pack = read_pack(packs / name)
                if pack is not None:
                    self._packs.add(name)
                    self._packed |= pack.runs

    def _by_place(self, run_ids: Iterable[str]) -> tuple[list[_Kept], dict[Pack, list[str]]]:
        """The finished runs that have a folder of their own, and by pack the ids of those that are in one."""
        loose: list[_Kept] = []
        packs: dict[Pack, list[str]] = {}
        for run_id in run_ids:
            kept = self._finished(run_id)
            if isinstance(kept, Packed):
                packs.setdefault(kept.pack, []).append(run_id)
            else:
                loose.append(kept)
        return loose, packs

    def write_study(self, study: dict[str, Any]) -> None:
        """Keep what was asked for; the file is left alone if it says just that."""
        least = PACKED_FORMAT if os.path.isdir(self.folder / "packs") else 1
        number = max(study.get("format", STUDY_FORMAT), least)
        # The format stands first in the file, whether or not ``study`` names one.
        path, data = self.folder / "study.json", sealed({"format": number} | study | {"format": number})
        if not os.path.exists(path) or path.read_bytes() != data:
            atomic_write(path, data)

    def read_study(self) -> dict[str, Any]:
        """What was asked for, with its ``format``.

        Raises:
            InputError: there is nothing, or it is damaged.
        """
        path = self.folder / "study.json"
        again, what = f"grokkit compare TASK --out {shlex.quote(str(self.folder))}", "no study"
        try:
            study = read_sealed(path, newest=PACKED_FORMAT, digest_from=self.sealed_from)
            if study is None:
                if below := sorted(str(found.parent) for found in self.folder.glob("held-out/*/study.json")):
                    raise InputError(f"{self.folder} is a suite's folder; it holds the studies {', '.join(below)}")
                if (self.folder / "tune.json").exists():
                    again = f"grokkit compare TASK --tuned {shlex.quote(str(self.folder))}"
                    what = "a search, whose page is tune.html, and no study"
                raise InputError(f"{self.folder} holds {what} (no study.json); make one with: {again}")
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
        """What lies in ``runs/``, and what is packed."""
        self._find_packs()
        return sorted({*self._loose_names(), *self._packed})

    def _loose_names(self) -> list[str]:
        return _listed(self.folder / "runs")

    def _finished(self, run_id: str) -> _Kept | Packed:
        kept = self._kept(run_id)
        if kept is None:
            raise InputError(f"run {run_id!r} is not finished in {self.folder}; run the study again")
        return kept

    def _kept(self, run_id: str) -> _Kept | Packed | None:
        """What a run has left, its record and all files beside it checked; None if the run is not finished."""
        if run_id in self._packed:
            return self._packed[run_id]
        folder = self.run_folder(run_id)
        stamp = _stamp(folder)
        if "run.json" not in stamp:
            self._find_packs()  # It may have been packed since they were last looked for.
            if run_id not in self._packed:
                _refuse_folders(folder, stamp)
            return self._packed.get(run_id)
        known = self._known.get(run_id)
        if known is None or known.stamp != stamp:
            try:
                known = self._checked(run_id, stamp)
            except InputError:
                if (packed := self._packed_meanwhile(run_id)) is not None:
                    return packed
                raise
            self._known[run_id] = known
        return known

    def _checked(self, run_id: str, stamp: _Stamp) -> _Kept:
        """What is in the folder of a finished run, where the files are those of ``stamp``."""
        folder, record = self.run_folder(run_id), self._record(run_id)
        files = record.get("files") or dict.fromkeys(filter(is_table, stamp))
        gave_up = Limit(*record["given_up_beyond"]) if record["status"] == "given up" else None
        found = _Kept(stamp, run_id, record["method"], record["seed"], files, gave_up)
        for name in sorted({*files, *filter(is_table, stamp)}):
            if name not in files:
                raise _damaged(folder / name, "is not of this run")
            found.read(folder / name)
        return found

    def _packed_meanwhile(self, run_id: str) -> Packed | None:
        """The run in a pack, if a command at work has put it there. Its folder, which somebody who holds no lock was
        reading, is deleted then: what is missing there is no damage."""
        self._find_packs()
        return self._packed.get(run_id)

    def _record(self, run_id: str) -> dict[str, Any]:
        """The record of a finished run; those of before have no digests, and no ``files``."""
        if run_id in self._packed:
            return self._packed[run_id].pack.record(run_id)
        path = self.run_folder(run_id) / "run.json"
        try:
            record = read_sealed(path, newest=FORMAT)
            why = "is missing" if record is None else why_not(record, run_id)
            if record is None and (packed := self._packed_meanwhile(run_id)) is not None:
                return packed.pack.record(run_id)
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
            data = kept.read(path)
        except InputError:
            if (packed := self._packed_meanwhile(kept.run_id)) is not None:
                return packed.pack.table(name, [kept.run_id])
            raise
        try:
            # By its bytes and not its name, in which polars would take "[" and "*" for a pattern.
            table = pl.read_parquet(io.BytesIO(data))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            raise _damaged(path, "is no table") from None
        return with_keys(table, kept._asdict())


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

    @property
    def bytes(self) -> int:
        return sum(about[2] for about in self.stamp.values())

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


def _listed(folder: Path) -> list[str]:
    """What lies in ``folder``, which need not be there."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise unreadable(folder, error) from None
    except OSError as error:
        raise InputError(f"{folder} is no folder that can be read ({error.strerror}); move it away") from None


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
        if stat.S_ISDIR(mode) and (is_table(name) or name == "checkpoint.safetensors"):
            raise _damaged(folder / name, "is a folder")


def is_table(path: Path | str) -> bool:
    return str(path).endswith((".parquet", ".npz"))


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of the table of all. Where a run of long ago was made may be unknown: then nothing is said."""
    as_text = {name: json.dumps(record.get(name) or {}, ensure_ascii=False) for name in ("config", "provenance")}
    return {**{name: record.get(name) for name in RUNS}, **as_text}


def _damaged(path: Path, why: str) -> InputError:
    folder = path.parent
    return InputError(f"{path} is damaged: it {why}; delete {folder} and run the study again")
