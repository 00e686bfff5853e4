"""A study's results: tables, verdict and report of whatever runs its folder holds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import polars as pl
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.text import Text

from grokkit.analyse import leaderboard, verdict
from grokkit.analyse.claims import Claim, claims
from grokkit.arguments import shortest
from grokkit.call_syntax import parse_call, show_value, split_list, texts_in
from grokkit.errors import InputError, unknown
from grokkit.printed import paragraph
from grokkit.report import all_figures, leaderboard_table, of_every_run, table_names, with_lines, write_report
from grokkit.study.collected import open_store
from grokkit.study.looks import DEFAULT_CLAIM, looked
from grokkit.study.pace import Pace, at_pace, read_pace, unmeasured, without_seconds
from grokkit.terminal import terminal


class Study:
    """The study in ``folder``, as it is when this is made; every number is of its finished runs.

    Args:
        folder: that ``grokkit compare --out`` or :func:`grokkit.lab.compare` wrote.
        only: labels of the methods to show, as a list or as one text with commas; None for all. The baseline and the
            primary arm are always shown, and claims are adjusted for all arms of the folder, shown or not.

    Raises:
        InputError: if the folder holds no study, or not such a method.
    """

    def __init__(self, folder: Path | str, only: str | Sequence[str] | None = None) -> None:
        self._store, self._only = open_store(Path(folder)), only
        whole = self._store.read_study()
        done = self._store.finished(whole["run_ids"])
        self._run_ids = [run_id for run_id in whole["run_ids"] if run_id in done]
        self.unfinished = len(whole["run_ids"]) - len(self._run_ids)
        # Saved as it is in the folder, and shown with fewer methods.
        self._whole = whole
        self.info: dict[str, Any] = whole if only is None else {**whole, **self._shown_of(whole, only)}

    def _shown_of(self, whole: Mapping[str, Any], only: str | Sequence[str]) -> dict[str, Any]:
        """What is told of the study otherwise where a part of its methods is shown: which these are, which are not,
        and how many runs of the folder are not finished, whosever they are."""
        methods = chosen(only, whole)
        hidden = [label for label in whole["methods"] if label not in methods]
        return {"methods": methods, "not_shown": hidden, "unfinished": self.unfinished}

    @property
    def folder(self) -> Path:
        return self._store.folder

    @cached_property
    def _loaded(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Runs and curves of all methods, shown or not."""
        return self._store.load(self._run_ids)

    def _shown(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(pl.col("method").is_in(self.info["methods"]))

    @cached_property
    def runs(self) -> pl.DataFrame:
        """One row a run, with the keys of run.json; ``.to_pandas()`` makes a pandas frame of it."""
        return self._shown(self._loaded[0])

    @cached_property
    def curves(self) -> pl.DataFrame:
        """One row an evaluation of a run, with ``run_id``, ``method`` and ``seed`` in front."""
        return self._shown(self._loaded[1])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """leaderboard.json: one row a method, the baseline first."""
        claim = self.info.get("claim") or DEFAULT_CLAIM
        counted = self.runs
        if claim == "seconds":
            # Clocked seconds are not comparable: they hold whatever else the machine did beside each run.
            counted = without_seconds(self.runs) if self._pace is None else at_pace(self.runs, self._pace)
        return leaderboard(counted, self.info["methods"], self.info["baseline"], claim)

    @cached_property
    def _pace(self) -> Pace | None:
        """The seconds of a step, if they were measured."""
        return read_pace(self.folder)

    @property
    def unmeasured(self) -> list[str]:
        """The methods that a claim in seconds leaves out, because the others' pace was measured without them."""
        is_claimed = self.info.get("claim") == "seconds"
        return unmeasured(self.runs, self._pace) if is_claimed and self._pace is not None else []

    @property
    def leaderboard(self) -> pl.DataFrame:
        """One row a method, the baseline first, with the keys of leaderboard.json."""
        return pl.DataFrame(self.rows, infer_schema_length=None)

    @property
    def claims(self) -> pl.DataFrame:
        """One row a method but the baseline, with the fields of :class:`grokkit.analyse.claims.Claim`, and
        ``within_resolution``."""
        found = [
            claim._asdict() | {"within_resolution": claim.within_resolution} for claim in claims(self.rows, self.info)
        ]
        return pl.DataFrame(found, schema=[*Claim._fields, "within_resolution"], infer_schema_length=None)

    @cached_property
    def verdict(self) -> str:
        """Which methods help, by how much and how surely, in sentences."""
        said = verdict(self.rows, self.info)
        if self.info.get("claim") == "seconds" and self._pace is None and not self.runs.is_empty():
            said += (
                " Nothing is claimed in seconds, because the seconds of a step were not measured in turns (no "
                "pace.json); give the same compare command again."
            )
        return said

    def look(self) -> None:
        """Remember in study.json that these results have been looked at; the caller holds the store's lock."""
        self._whole = looked(self._whole, self._loaded[0])
        self.info = {**self.info, "looks": self._whole["looks"]}
        vars(self).pop("verdict", None)  # claims depend on how often somebody has looked
        self._store.write_study(self._whole)

    def report(self) -> Path:
        """Write leaderboard.json, report.html and figures/ into the folder; returns the page's path.

        They are of all that the folder holds by now, and so is this study from here on.
        """
        with self._store.lock():
            # Another command may have added methods, seeds or a look since this was made. None of it may be lost.
            now = vars(Study(self.folder, self._only))
            vars(self).clear()
            vars(self).update(now)
            self.look()
            return self.write()[0]

    def write(self) -> tuple[Path, Mapping[str, str]]:
        """The same for a caller who holds the store's lock and has looked. The second is the figures that could not be
        drawn, by name, with the reason."""
        figures = all_figures()
        few = with_lines(self.runs, self.info["methods"])["run_id"].to_list()
        tables = {
            name: self._shown(self._store.load_table(name, self._run_ids if of_every_run(figures, name) else few))
            for name in table_names(figures)
        }
        paths, failures = write_report(self.folder, self.info, self.runs, self.curves, tables, self.rows, self.verdict)
        return paths["report.html"], failures

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield leaderboard_table(self.rows, self.info, options.max_width)
        yield Text(f"\n{paragraph(self.verdict, options.max_width)}", style="bold")

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}): {self.verdict}"

    def _repr_html_(self) -> str:
        """The table and the verdict, in the cell of a notebook."""
        console = terminal(record=True, file=io.StringIO(), width=110)
        console.print(Group(self))
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def chosen(only: str | Sequence[str], study: Mapping[str, Any]) -> list[str]:
    """The labels to show of the study's methods: those of ``only``, the baseline's and the primary arm's.

    A method may be written in any order of its settings and parts, with any spelling of their numbers, and one whose
    settings were searched as it was searched.

    Raises:
        InputError: for a label that the study does not have.
    """
    known = {found["method"]: label for label, found in (study.get("tuned") or {}).items()}
    known |= {label: label for label in study["methods"]}
    wanted: set[Any] = {study.get("primary")}
    for name in texts_in(only):
        alike = [name] if name in known else [other for other in known if _in_one_form(other) == _in_one_form(name)]
        if len(alike) != 1:
            raise unknown("method of this study", name, study["methods"])
        wanted.add(known[alike[0]])
    wanted.add(study["baseline"])
    return [label for label in study["methods"] if label in wanted]


def _in_one_form(method: str) -> Any:
    """What the text of a method says, the same for its spellings; its code may be gone, so that nobody else can read
    it. An alias is no call, and stands for itself."""
    found = []
    try:
        for piece in split_list(method, "+"):
            name, given = parse_call(piece)
            before, at, step = name.rpartition("@")
            if at and ":" not in step:  # as method_config reads it
                name, given["merge"] = before, int(step) if step.isdecimal() else step
            found.append((PurePath(name).name, sorted((key, show_value(shortest(given[key]))) for key in given)))
    except InputError:
        return method
    return sorted(found)
