"""What `grokkit compare` shows while it works: a table that fits any terminal, or plain lines without one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from grokkit.analyse.format import count, number
from grokkit.analyse.target import Measure
from grokkit.study.plan import ids_of
from grokkit.study.pool import Event
from grokkit.terminal import Watched
from grokkit.train.config import RunConfig, TaskConfig

_MOST_ROWS = 16
_TASK_WIDTH = 18
# Columns of the terminal: a narrower one gets fewer of ours, and none that is cut.
_BAR_FROM, _TRAIN_FROM, _TASK_FROM = 84, 68, 70


@dataclass
class _Row:
    method: str
    seed: int
    budget: int
    measure: Measure
    part: str
    task: str
    state: str = "waiting"
    step: int = 0
    first: int = 0  # the step at which it went on from a checkpoint
    train: float = 0.0
    test: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    node: str | None = None

    @property
    def run(self) -> str:
        """Which run it is, in words."""
        return f"{self.method}{f' on {self.task}' if self.task else ''}, seed {self.seed}"


class Progress(Watched):
    """A view of the runs; give :meth:`on_event` to the pool, inside ``with``."""

    def __init__(self, console: Console, runs: Sequence[RunConfig], done: set[str], workers: int) -> None:
        super().__init__(console, auto_refresh=False)
        self._console = console
        self._workers = workers
        tasks: dict[str, TaskConfig] = {}
        rows: list[_Row] = []
        for run in runs:  # once: a study of many makes each when it is asked for it
            key = repr(run.task)
            tasks[key] = run.task
            rows.append(_Row(run.method.label, run.seed, run.budget, _measure(run), run.judged_on, key))
        named = _told_apart(tasks)
        for row in rows:
            row.task = named[row.task]
        self._rows = dict(zip(ids_of(runs), rows, strict=True))
        for run_id in done:
            self._rows[run_id].state = "kept"
        self._begun = time.monotonic()

    def on_event(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "tick":
            if self.live:
                self.live.update(self._picture(), refresh=True)
            return
        row = self._rows[event.key]
        row.seconds = now - row.started
        if event.kind == "started":
            row.state, row.started, row.seconds, row.node = "running", now, 0.0, event.payload
        elif event.kind == "lost":
            row.state = "waiting"
            line = Text(f"{row.run}: {event.payload}; it goes on from its last checkpoint")
            self._console.print(line, highlight=False, soft_wrap=True)
        elif event.kind == "progress" and "note" in event.payload:
            row.step = row.first = event.payload["step"]
            line = Text(f"{row.run}: {event.payload['note']}")
            self._console.print(line, highlight=False, soft_wrap=True)
        elif event.kind == "progress":
            parts = (f"{part}_{row.measure}" for part in ("train", "test"))
            row.step, row.train, row.test = (event.payload[name] for name in ("step", *parts))
        else:
            row.state = "failed" if event.kind == "failed" else "done"
            self._say(row, event.payload)

    def _say(self, row: _Row, failure: Any) -> None:
        """One line for a run that ended: the whole output where there is no terminal."""
        ended = [r for r in self._rows.values() if r.state in ("done", "failed", "kept")]
        line = Text(f"[{len(ended)}/{len(self._rows)}] {row.run}: ")
        if failure is not None:
            line.append(f"failed: {failure.error}", style="red")
        else:
            test = f"{row.test:.1%}" if row.measure == "accuracy" else number(row.test)
            where = f" on {row.node}" if row.node else ""
            line.append(f"{count(row.step, 'step')}, {row.part} {row.measure} {test}, {row.seconds:.0f} s{where}")
        left = self._left()
        if not self.live and left:
            line.append(f"; at most {_clock(left)} left")
        if not self.live or failure is not None:
            self._console.print(line, highlight=False, soft_wrap=True)

    def _picture(self) -> Group:
        rows = sorted(
            self._rows.values(), key=lambda r: ["running", "failed", "done", "kept", "waiting"].index(r.state)
        )
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        width = self._console.width
        several = width >= _TASK_FROM and any(row.task for row in rows)
        narrow = width - _TASK_WIDTH * several
        dropped = ["of budget"] * (narrow < _BAR_FROM) + ["train"] * (narrow < _TRAIN_FROM) + ["task"] * (not several)
        heads = ["run", "task", "seed", "of budget", "step", "train", "test", "time"]
        for name in heads:
            if name == "task" and several:
                table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=_TASK_WIDTH - 2)
            elif name == "run":
                table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=28)
            elif name not in dropped:
                table.add_column(name, justify="left" if name == "of budget" else "right", no_wrap=True)
        for row in rows[:_MOST_ROWS]:
            cells = [cell for name, cell in zip(heads, self._cells(row), strict=True) if name not in dropped]
            table.add_row(*cells, style="dim" if row.state in ("waiting", "kept") else "")
        counts = {state: sum(row.state == state for row in rows) for state in ("done", "kept", "running", "waiting")}
        ended = counts["done"] + counts["kept"]
        left = self._left()
        foot = f"{ended} of {len(rows)} runs done, {counts['running']} running, {counts['waiting']} waiting"
        if len(rows) > _MOST_ROWS:
            foot += f" (showing {_MOST_ROWS})"
        if nodes := Counter(row.node for row in rows if row.state == "running" and row.node):
            foot += "".join(f" · {node}: {count}" for node, count in sorted(nodes.items()))
        foot += f" · {_clock(time.monotonic() - self._begun)} so far"
        foot += f", at most {_clock(left)} left" if left else ""
        return Group(table, Text(f"\n{foot} · Ctrl-C keeps what is done", style="dim"))

    def _cells(self, row: _Row) -> list[Any]:
        run = [Text(row.method), Text(row.task), str(row.seed)]
        if row.state in ("waiting", "kept"):
            return [*run, "", "", "", "", row.state]
        if row.state == "failed":
            return [*run, "", "", "", "", Text("failed", style="red")]
        done = row.state == "done"
        bar = ProgressBar(total=row.budget, completed=row.step, width=12, complete_style="blue")
        seconds = row.seconds if done else time.monotonic() - row.started
        end = Text(f"{seconds:.0f} s done" if done else f"{seconds:.0f} s")
        shown = [f"{value:.0%}" if row.measure == "accuracy" else number(value) for value in (row.train, row.test)]
        return [*run, bar, f"{row.step:,}", *shown, end]

    def _left(self) -> float | None:
        """An upper estimate of the seconds left: every unfinished run to its budget, at the pace seen so far.

        One run has one worker, whatever others are idle. So the longest may begin when the rest is done, and then
        takes all of its own steps: (the others' steps / workers) + the longest's is the most that it can be.
        """
        seen = [row for row in self._rows.values() if row.step > row.first]
        steps, seconds = sum(row.step - row.first for row in seen), sum(row.seconds for row in seen)
        if not steps:
            return None
        todo = [row.budget - row.step for row in self._rows.values() if row.state in ("running", "waiting")]
        longest = max(todo, default=0)
        return ((sum(todo) - longest) / self._workers + longest) * seconds / steps


def _told_apart(tasks: Mapping[str, TaskConfig]) -> dict[str, str]:
    """Each by what no other has: its name or, where others have that, the settings that differ. Nothing if alone."""
    if len(tasks) < 2:
        return dict.fromkeys(tasks, "")
    asked = {key: task.settings | task.model_dump(exclude={"settings"}) for key, task in tasks.items()}
    named: dict[str, str] = {}
    for key, own in asked.items():
        rivals = [other for other in asked.values() if other["name"] == own["name"]]
        differ = {name: value for name, value in own.items() if any(value != other.get(name) for other in rivals)}
        texts = [value if isinstance(value, str) else f"{name}={value}" for name, value in differ.items()]
        named[key] = ", ".join(texts) or own["name"]
    return named


def _measure(run: RunConfig) -> Measure:
    return "accuracy" if run.target_loss is None else "loss"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
