"""A study of which only the tables are kept, as those that lie beside the documents: ``study.json``, ``runs.parquet``
and, perhaps, ``curves.parquet``, without a folder of any run.

It is read, and nobody adds to it. So there is nothing to lock, and no look at it is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from grokkit.errors import InputError
from grokkit.study.packs import KEYS
from grokkit.study.records import CURVES, RUNS
from grokkit.study.store import PACKED_FORMAT, Store


def open_store(folder: Path) -> Store:
    """The study in ``folder``, of whatever is there of it."""
    has_runs = any((folder / name).exists() for name in ("runs", "packs"))
    return Collected(folder) if not has_runs and (folder / "runs.parquet").is_file() else Store(folder)


_JSON = ("config", "provenance")


class Collected(Store):
    """The tables in ``folder``. Its study.json may have been written by whoever collected them, without a seal."""

    sealed_from = PACKED_FORMAT + 1

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def finished(self, run_ids: Iterable[str] | None = None) -> set[str]:
        there = set(self._rows["run_id"])
        return there if run_ids is None else there & set(run_ids)

    def load(self, run_ids: Iterable[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        order = pl.DataFrame({"run_id": list(run_ids)}, schema={"run_id": pl.String})
        rows, points = (
            order.join(table, on="run_id", how="inner", maintain_order="left_right")
            for table in (self._rows, self._points)
        )
        return rows, points

    def load_table(self, name: str, run_ids: Iterable[str]) -> pl.DataFrame:
        return pl.DataFrame(schema=KEYS)

    def compact(self) -> None:
        pass

    def write_study(self, study: Mapping[str, Any]) -> None:
        pass

    @cached_property
    def _rows(self) -> pl.DataFrame:
        return self._read("runs.parquet", RUNS)

    @cached_property
    def _points(self) -> pl.DataFrame:
        return self._read("curves.parquet", {**KEYS, **CURVES})

    def _read(self, name: str, schema: Mapping[str, Any]) -> pl.DataFrame:
        """The table with the columns of ``schema``, of which one of an earlier version may lack some."""
        empty, path = pl.DataFrame(schema=schema), self.folder / name
        if not path.is_file():
            return empty
        try:
            found = pl.concat([empty, pl.read_parquet(path.read_bytes())], how="diagonal_relaxed")
            # What such a column does not say is not known, and it is read as JSON.
            return found.with_columns(pl.col(column).fill_null("{}") for column in _JSON if column in found.columns)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise InputError(
                f"{path} is no table that can be read ({type(error).__name__}); collect it again"
            ) from None
