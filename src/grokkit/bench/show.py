"""What `grokkit bench` does and shows: measures row after row, a line while it does, and the table at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from grokkit.bench.row import Result, Row, measure, write_results
from grokkit.bench.timing import Comparison
from grokkit.errors import InputError
from grokkit.terminal import Watched

_TIMES_FROM = 76  # columns of the terminal
_TRUST = 30.0  # seconds after which the pace seen weighs as much as what the rows say of themselves


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
        console.print(results_table(results, console.width))
        console.print(notes(results), style="dim", end="", soft_wrap=True)
    return complete


def writable(path: Path) -> Path:
    """The file that ``--json PATH`` names, where a link leads; makes its folder.

    Raises:
        InputError: what is there is no regular file, which a new one would replace, or the folder cannot be written to.
    """
    file = path
    try:
        file = path.resolve(strict=path.is_symlink())
        file.parent.mkdir(parents=True, exist_ok=True)
        fits = os.access(file.parent, os.W_OK) and (not os.path.lexists(file) or file.is_file())
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links that lead in a circle
        fits = False
    if not fits:
        raise InputError(f"--json {path} cannot be written; give a file in a folder of yours, e.g. out/bench.json")
    return file


class Progress(Watched):
    """A line about the row being measured and the time left; without a terminal, a line for each row done.

    It is drawn once a second: more often would be seen in the times of the smallest steps.
    """

    def __init__(self, console: Console, rows: Sequence[Row], rounds: Mapping[str, int]) -> None:
        super().__init__(console, get_renderable=self._picture, refresh_per_second=1)
        self._console = console
        self._rows, self._rounds = list(rows), rounds
        self._index = self._round = 0
        self._begun = self._last = time.monotonic()

    def after_round(self, done: int) -> None:
        self._round, self._last = done, time.monotonic()

    def after_row(self, result: Result) -> None:
        self._index, self._round, self._last = self._index + 1, 0, time.monotonic()
        if not self.live:
            c, left = result.comparison, ""
            if self._index < len(self._rows):
                left = f"; about {_duration(self._left())} left"
            self._console.print(
                f"[{self._index}/{len(self._rows)}] {result.row.id}: {_ms(c.plain_ms)} and {_ms(c.ours_ms)} ms, "
                f"ours/plain {ratio(c.ratio, 3)} [{spread(c)}]{left}",
                soft_wrap=True,
            )

    def _picture(self) -> Group | Text:
        if self._index == len(self._rows):
            return Text("")
        row = self._rows[self._index]
        number = min(self._round + 1, self._rounds[row.id])
        return Group(
            Text(
                f"[{self._index + 1}/{len(self._rows)}] {row.id}: {row.about}; round {number} of {self._rounds[row.id]}"
            ),
            Text(f"about {_duration(self._left())} left in all · Ctrl-C keeps the rows that are done", style="dim"),
        )

    def _left(self) -> float:
        """Seconds, from what the rows say of themselves and the pace so far."""
        expected = [expected_seconds(row, self._rounds[row.id]) for row in self._rows]
        done = sum(expected[: self._index])
        if self._round:
            done += expected[self._index] * self._round / self._rounds[self._rows[self._index].id]
        pace = (self._last - self._begun + _TRUST) / (done + _TRUST)
        return max(1.0, (sum(expected) - done) * pace - (time.monotonic() - self._last))


def announcement(rows: Sequence[Row], rounds: Mapping[str, int], threads: int) -> str:
    """What is about to be measured."""
    seconds = sum(expected_seconds(row, rounds[row.id]) for row in rows)
    return (
        f"{len(rows)} row{'s' * (len(rows) != 1)}, the plain form and ours in turns, "
        f"{threads} thread{'s' * (threads != 1)}: about {_duration(seconds)}"
    )


def expected_seconds(row: Row, rounds: int) -> float:
    return row.seconds * rounds / row.rounds


def results_table(results: Sequence[Result], width: int = 80) -> Table:
    """A rich table of what was measured; a terminal of less than 76 columns gets the ratios and no times."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("row", overflow="fold")
    has_times = width >= _TIMES_FROM
    times = ("plain, ms", "ours, ms") if has_times else ()
    for header in (*times, "ours/plain", "least–most", "at most"):
        table.add_column(header, justify="right", no_wrap=True)
    for result in results:
        c, target = result.comparison, result.row.target
        met = target is not None and c.ratio <= target
        table.add_row(
            result.row.id,
            *((_ms(c.plain_ms), _ms(c.ours_ms)) if has_times else ()),
            Text(ratio(c.ratio, 3), style="bold"),
            spread(c),
            Text("") if target is None else Text(f"{target:g} {'met' if met else 'missed'}", "green" if met else "red"),
        )
    return table


def notes(results: Sequence[Result]) -> Text:
    """What the rows have to say besides, each on a line of its own."""
    return Text("".join(f"\n{result.row.id}: {result.note}" for result in results if result.note) + "\n")


def ratio(value: float, decimals: int) -> str:
    """With so many decimals, or with two digits where these would say next to nothing.

    >>> ratio(0.26, 3), ratio(0.000312, 3)
    ('0.260', '0.00031')
    """
    return f"{value:.{decimals}f}" if value >= 0.01 else f"{value:.2g}"


def spread(c: Comparison) -> str:
    """The smallest and the largest ratio of a round."""
    return f"{ratio(c.ratio_min, 2)}–{ratio(c.ratio_max, 2)}"


def _ms(milliseconds: float) -> str:
    digits = 2 if milliseconds < 10 else 1 if milliseconds < 1000 else 0
    return f"{milliseconds:,.{digits}f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
