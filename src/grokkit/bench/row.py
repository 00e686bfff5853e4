"""A row of the benchmark: how it is declared, chosen and measured.

A new comparison is a function that gives a `Duel`, in one of the modules below, and a call of `row` beneath it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from grokkit.bench.timing import Comparison, Duel, alternate, compare
from grokkit.errors import InputError, unknown
from grokkit.files import atomic_write
from grokkit.threads import threads as using_threads
from grokkit.train.record import provenance

_MODULES = ("steps", "methods", "runs", "gpu")

ON_GPU: dict[str, Any] = {
    "available": lambda: torch.cuda.is_available(),
    "needs": "a CUDA GPU",
    "processor": lambda: torch.cuda.get_device_name(),
}
"""What a row says that a machine without a GPU cannot measure."""


@dataclass(frozen=True)
class Row:
    """One comparison of the plain form with ours.

    Attributes:
        id: what ``--rows`` and the results call it.
        about: the work, in a few words.
        setup: makes both sides ready; called in the thread setting of the measurement.
        rounds: how many, unless the user says.
        seconds: about how long that takes on two cores. For the estimate only.
        target: the ratio ours/plain we hold ourselves to, or None.
        threads: of either side, where they are part of what is compared. None: as the user says.
        available: whether this machine can measure it, and
        needs: what it takes.
        processor: the name of what both sides are measured on.
    """

    id: str
    about: str
    setup: Callable[[], Duel]
    rounds: int
    seconds: float
    target: float | None = None
    threads: int | None = None
    available: Callable[[], bool] = lambda: True
    needs: str = ""
    processor: Callable[[], str] = lambda: provenance()["processor"]


_DECLARED: dict[str, Row] = {}


def row(id: str, about: str, setup: Callable[[], Duel], **settings: Any) -> None:
    """Declare a `Row`."""
    _DECLARED[id] = Row(id, about, setup, **settings)


def all_rows() -> dict[str, Row]:
    """Every row by its id, in the order in which they are declared."""
    for name in _MODULES:
        import_module(f"grokkit.bench.{name}")
    return _DECLARED


@dataclass(frozen=True)
class Result:
    """A row that has been measured."""

    row: Row
    comparison: Comparison
    rounds: int
    threads: int
    note: str

    def record(self) -> dict[str, Any]:
        """What the JSON file says of it, and of where it was measured."""
        return {
            "id": self.row.id,
            "about": self.row.about,
            **asdict(self.comparison),
            "target": self.row.target,
            "rounds": self.rounds,
            "threads": self.threads,
            "note": self.note,
            "processor": self.row.processor(),
            "torch": provenance()["torch"],
        }


def write_results(path: Path, results: Sequence[Result]) -> None:
    """A JSON list of the results' records, the file whole or not there."""
    atomic_write(path, (json.dumps([result.record() for result in results], indent=2) + "\n").encode())


def choose(rows: Mapping[str, Row], ids: list[str] | None) -> list[Row]:
    """The rows asked for, in that order, or all that this machine can measure.

    Raises:
        InputError: for an unknown row, or one that this machine cannot measure.
    """
    if ids is None:
        return [row for row in rows.values() if row.available()]
    for name in ids:
        if name not in rows:
            raise unknown("row", name, rows)
        if not rows[name].available():
            raise InputError(f"row {name!r} needs {rows[name].needs}; leave it out of --rows")
    return [rows[name] for name in dict.fromkeys(ids)]


def measure(row: Row, *, rounds: int, threads: int, after_round: Callable[[int], None] = lambda done: None) -> Result:
    """Measure a row with ``threads`` threads on either side, unless the row has a number of its own."""
    number = row.threads or threads
    with using_threads(number):
        duel = row.setup()
        pairs = alternate(duel, rounds, after_round)
        return Result(row, compare(pairs), rounds, number, duel.note())
