"""Finished runs in packs: a few files for a thousand runs, so that a study of very many is read in seconds.

``packs/<name>`` holds ``runs.parquet``, a row a run with the columns of all and its whole run.json as ``record``;
``tables/<table>.parquet``, the rows of all its runs below each other with ``run_id``, ``method`` and ``seed`` in front;
``kept.parquet``, the bytes of their other files; and ``pack.json`` with the digests of these files and the names of the
runs. A pack is made under another name and renamed when it is whole, and nothing in it is changed from then on.
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import polars.selectors as cs

from grokkit.errors import InputError
from grokkit.files import LARGEST, atomic_write
from grokkit.study.records import RUNS
from grokkit.study.sealed import Damaged, digest_of, read_sealed, read_whole, sealed, unreadable

RUNS_IN_PACK = 1000
"""So many finished runs, each in a folder of its own, become a pack."""

MOST_BYTES = LARGEST // 2
"""Of the files of the runs of a pack; a run that has more by itself is alone in one."""

PACK_FORMAT = 1

KEYS = {name: RUNS[name] for name in ("run_id", "method", "seed")}
"""What tells the curves and tables of one run from another's."""


class Packed(NamedTuple):
    """A run in a pack."""

    pack: Pack
    run_id: str
    method: str
    seed: int
    gave_up: None = None  # One that was given up may go on, and is never packed.


class Pack:
    """The pack in ``folder``, whose pack.json says ``about``."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self._files = folder, about["files"]
        self.runs = {run_id: Packed(self, run_id, *keys) for run_id, keys in about["runs"].items()}

    def records(self, run_ids: Collection[str]) -> pl.DataFrame:
        """A row of each, with the columns :data:`RUNS`."""
        return _of(self._records, run_ids).select(RUNS.names())

    def record(self, run_id: str) -> dict[str, Any]:
        """The run.json of one of its runs."""
        return json.loads(self._records["record"][self._places[run_id]])

    def table(self, name: str, run_ids: Collection[str]) -> pl.DataFrame:
        """The rows of the table ``name`` that are of these runs; none if no run of the pack has it."""
        file = f"tables/{name}.parquet"
        return _of(self._read(file), run_ids) if file in self._files else pl.DataFrame(schema=KEYS)

    @cached_property
    def _records(self) -> pl.DataFrame:
        return self._read("runs.parquet")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {run_id: place for place, run_id in enumerate(self._records["run_id"])}

    def _read(self, name: str) -> pl.DataFrame:
        path = self.folder / name
        try:
            data = read_whole(path)
            if data is None:
                raise Damaged("is missing")
            if digest_of(data) != self._files[name]["digest"]:
                raise Damaged("does not have the digest that its pack.json says")
        except Damaged as damage:
            raise _damaged(path, str(damage)) from None
        return pl.read_parquet(io.BytesIO(data))


def read_pack(folder: Path) -> Pack | None:
    """The pack in ``folder``; None if there is none.

    That its files are there and as long as they were is seen at once, what they hold when they are read.

    Raises:
        InputError: it is damaged.
    """
    path = folder / "pack.json"
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    pack = Pack(folder, _read_about(path, (about.st_mtime_ns, about.st_ino, about.st_size)))
    for name, file in pack._files.items():
        there = folder / name
        if not os.path.isfile(there) or os.path.getsize(there) != file["bytes"]:
            raise _damaged(there, f"does not have the {file['bytes']:,} bytes that its pack.json says")
    return pack


@functools.lru_cache(maxsize=256)
def _read_about(path: Path, stamp: object) -> Mapping[str, Any]:
    """What a pack.json says, read once a process as long as its ``stamp`` stays."""
    try:
        about = read_sealed(path, newest=PACK_FORMAT)
        if about is None:
            raise Damaged("is missing")
        if not _can_be_meant(about):
            raise Damaged("does not say which runs and files it is of")
    except Damaged as damage:
        raise _damaged(path, str(damage)) from None
    return about


def _can_be_meant(about: Mapping[str, Any]) -> bool:
    runs, files = about.get("runs"), about.get("files")
    if not isinstance(runs, dict) or not isinstance(files, dict) or "runs.parquet" not in files:
        return False
    if "tables/curves.parquet" not in files or any(".." in Path(name).parts for name in files):
        return False
    keys = all(isinstance(key, list) and list(map(type, key)) == [str, int] for key in runs.values())
    return keys and all(isinstance(file, dict) and {"digest", "bytes"} <= file.keys() for file in files.values())


class Loose(NamedTuple):
    """A finished run as it lies in a folder of its own: its record, and what its other files hold, checked."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]


def write_pack(packs: Path, runs: Sequence[Loose], rows: Sequence[Mapping[str, Any]]) -> None:
    """Make a pack of ``runs`` in the folder ``packs``; ``rows`` are their rows of the table of all."""
    tables: dict[str, list[pl.DataFrame]] = {}
    kept: list[tuple[str, str, bytes]] = []
    for run in runs:
        for name, data in run.files.items():
            if name.endswith(".parquet"):
                tables.setdefault(name, []).append(with_keys(pl.read_parquet(io.BytesIO(data)), run.record))
            else:
                kept.append((run.record["run_id"], name, data))
    texts = [json.dumps(run.record, ensure_ascii=False) for run in runs]
    frames = {"runs.parquet": pl.DataFrame(rows, schema=RUNS).with_columns(record=pl.Series(texts, dtype=pl.String))}
    for name, parts in tables.items():
        frames[f"tables/{name}"] = pl.concat(parts, how="diagonal_relaxed")
    if kept:
        schema = {"run_id": pl.String, "name": pl.String, "content": pl.Binary}
        frames["kept.parquet"] = pl.DataFrame(kept, schema=schema, orient="row")
    name = _free_name(packs, digest_of("\n".join(run.record["run_id"] for run in runs).encode())[:12])
    being_made, files = packs / f".{name}.tmp", {}
    for file, frame in frames.items():
        data = as_parquet(frame)
        atomic_write(being_made / file, data)
        files[file] = {"digest": digest_of(data), "bytes": len(data)}
    names = {run.record["run_id"]: [run.record["method"], run.record["seed"]] for run in runs}
    atomic_write(being_made / "pack.json", sealed({"format": PACK_FORMAT, "runs": names, "files": files}))
    for folder in (being_made / "tables", being_made):
        _sync(folder)
    os.rename(being_made, packs / name)
    _sync(packs)  # What is packed is deleted next, so the names must be on the disk as well.


def _free_name(packs: Path, name: str) -> str:
    """``name``, with a number where a folder has it that is no pack, such as one that was copied in part."""
    free, number = name, 2
    while os.path.lexists(packs / free):
        free, number = f"{name}-{number}", number + 1
    return free


def in_packs(sizes: Iterable[tuple[str, int]]) -> list[list[str]]:
    """Run ids with the bytes of their files, in their order, as packs shall hold them."""
    packs: list[list[str]] = []
    room = 0
    for run_id, size in sizes:
        if not packs or len(packs[-1]) == RUNS_IN_PACK or size > room:
            packs.append([])
            room = MOST_BYTES
        packs[-1].append(run_id)
        room -= size
    return packs


def with_keys(table: pl.DataFrame, of: Mapping[str, Any]) -> pl.DataFrame:
    """``table`` with what tells its run from others in front. A column of its own that has such a name, e.g. ``seed``,
    is called ``its_seed``."""
    own = table.rename({key: f"its_{key}" for key in KEYS if key in table.columns})
    return own.select(*(pl.lit(of[key], dtype).alias(key) for key, dtype in KEYS.items()), pl.all())


def as_parquet(table: pl.DataFrame) -> bytes:
    """``table`` as the content of a file. A column that is null throughout has no type of its own; only numbers can be
    null."""
    file = io.BytesIO()
    table.with_columns(cs.by_dtype(pl.Null).cast(pl.Float64)).write_parquet(file)
    return file.getvalue()


def _of(rows: pl.DataFrame, run_ids: Collection[str]) -> pl.DataFrame:
    return rows.filter(pl.col("run_id").is_in(list(run_ids)))


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _damaged(path: Path, why: str) -> InputError:
    pack = path.parent if path.parent.name != "tables" else path.parent.parent
    return InputError(f"{path} is damaged: it {why}; put it back, or delete {pack} and run the study again")


def in_order(rows: pl.DataFrame, run_ids: Sequence[str], packs: Mapping[Pack, Any]) -> pl.DataFrame:
    """The rows in the order of ``run_ids``, which those of ``packs`` were read without."""
    if not packs:
        return rows
    order = pl.DataFrame({"run_id": run_ids}, schema={"run_id": pl.String})
    return order.join(rows, on="run_id", how="inner", maintain_order="left_right")
