"""Measure rows one after the other, and show and keep each as soon as it is done."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from grokkit.bench.row import Result, Row, measure, write_results
from grokkit.bench.show import Progress, announcement, notes, results_table


def run(rows: Sequence[Row], rounds: Mapping[str, int], *, threads: int, json: Path | None, console: Console) -> bool:
    """Measure ``rows`` and print the table; ``json`` is written after every row.

    Returns:
        whether all were measured: on Ctrl-C, False, with what is done shown and written.
    """
    console.print(announcement(rows, rounds, threads))
    results: list[Result] = []
    complete = True
    try:
        with Progress(console, rows, rounds) as progress:
            for row in rows:
                results.append(measure(row, rounds=rounds[row.id], threads=threads, after_round=progress.after_round))
                progress.after_row(results[-1])
                if json is not None:
                    write_results(json, results)
    except KeyboardInterrupt:
        complete = False
        console.print(f"stopped; {len(results)} of {len(rows)} rows are done")
    if results:
        console.print()
        console.print(results_table(results))
        console.print(notes(results), style="dim", end="", soft_wrap=True)
    return complete


def writable(path: Path) -> bool:
    """Whether a file can be written at ``path``; makes its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return not path.is_dir() and os.access(path.parent, os.W_OK)
