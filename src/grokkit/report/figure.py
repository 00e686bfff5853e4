"""A picture of the report as one record: what it reads, its numbers, how it is drawn and where it stands.

A module under ``report/figures``, or of an installed package that names it as an entry point ``grokkit.figures``, holds
a :class:`Figure`; no list anywhere else does. The page, its sections and their order, the PNG files and the tables that
are read from runs all follow from the records. docs/extending.md has a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

import altair as alt
import polars as pl

from grokkit.analyse.target import Target, target_of
from grokkit.errors import InputError
from grokkit.report.curves import IMAGE_POINTS, seed_curves_data, target_columns
from grokkit.report.parts import Layers, specification

RUN_KEYS = {"run_id": pl.String(), "method": pl.String(), "seed": pl.Int64()}
"""The columns that every table has in front: they tell which run a row is of."""

Chart = alt.Chart | Layers
Medium = Literal["page", "image"]
Result = TypeVar("Result")


class Sizes(NamedTuple):
    """Width and height of a chart, in points. A page width of None fills the place that the chart has."""

    page: tuple[int | None, int] = (None, 260)
    image: tuple[int, int] = (620, 300)


_USUAL = Sizes()

_LINES = 240
"""Thin lines that a chart has at most. More of them could not be told apart, and take minutes to draw."""


class Panel(NamedTuple):
    """One chart of a figure, with the words that stand over it on the page."""

    name: str
    """Of the chart in the page's script; no two charts of a page share one."""

    chart: Chart | Mapping[str, Chart]
    """The chart, or one for each x axis that a reader can choose: ``step``, ``train_seconds``, ``flops``."""

    caption: str
    note: str = ""
    description: str = ""
    """What a screen reader says in place of the chart, if not the caption."""

    title: str = ""
    """Stands over the chart in the PNG, which shows no caption."""

    sizes: Sizes | None = None
    """Those of the figure unless given."""

    method: str = ""
    """Whose the whole chart is, if it is one method's: the page hides it with that method."""

    def specifications(self, size: tuple[int | None, int], *, check: bool = True) -> dict[str, dict[str, Any]]:
        """The charts as Vega-Lite; where there is one for each x axis, they are named ``step:…`` and so on."""
        width, height = size[0] or "container", size[1]
        if not isinstance(self.chart, Mapping):
            return {self.name: specification(self.chart.properties(width=width, height=height), check=check)}
        specs = {}
        for clock, chart in self.chart.items():
            own = chart.properties(width=width, height=height)
            specs[f"{clock}:{self.name}"] = specification(own, check=check)
        return specs


class Row(NamedTuple):
    """Charts beside each other; more of them than ``columns`` go on below."""

    panels: Sequence[Panel]
    columns: int = 1
    key: tuple[str, ...] = ()
    """Methods whose colours and dashes the page explains above the row. The row above may have done so already."""

    heading: str = ""
    shares_scales: bool = True
    """Whether a colour means the same in all charts of the PNG, so that one legend is enough."""


def a_panel_each(name: str, methods: Sequence[str], draw: Callable[[str], Chart], says: str) -> list[Row]:
    """A row, three beside each other, with the chart of each method; ``says`` is what it shows, for a screen reader."""
    panels = [
        Panel(f"{name}:{method}", draw(method), method, description=f"{says}, {method}.", title=method, method=method)
        for method in methods
    ]
    return [Row(panels, columns=3)]


class Html(NamedTuple):
    """A piece of the page that is no chart, such as a table. It has no place in the PNG. Text must be escaped."""

    text: str


Block = Row | Html


@dataclass(frozen=True)
class View:
    """A study as figures see it: ``runs`` has a row a run with the keys of run.json, ``curves`` the rows of all
    curves.parquet, ``tables`` the other tables that runs keep, without a row where no run has them."""

    study: Mapping[str, Any]
    runs: pl.DataFrame
    curves: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    medium: Medium

    @property
    def methods(self) -> list[str]:
        """The labels of all methods, in the order in which they get their colours."""
        return list(self.study["methods"])

    @property
    def target(self) -> Target:
        return target_of(self.study)

    @property
    def is_image(self) -> bool:
        """A PNG has legends and titles of its own; on the page the text around a chart says these."""
        return self.medium == "image"

    @property
    def points(self) -> int:
        """Points that the thin line of a run may have. All lines of a page have 6,000 at most: at some 200 bytes each
        they stay near a megabyte."""
        return IMAGE_POINTS if self.is_image else max(30, min(IMAGE_POINTS, 6_000 // max(self.lines.height, 1)))

    @cached_property
    def lines(self) -> pl.DataFrame:
        """The runs that have a thin line, or a mark, of their own; see :func:`with_lines`."""
        return with_lines(self.runs, self.methods)

    def of_lines(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of ``table`` that are of such a run."""
        return table.join(self.lines, on="run_id", how="semi", maintain_order="left")

    @cached_property
    def seed_curves(self) -> pl.DataFrame:
        """The thin lines, made once: several figures draw from them, and the page stores equal data once."""
        columns = target_columns(self.target.measure)
        return seed_curves_data(self.lines, self.of_lines(self.curves), columns, self.points)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: a section's part of the page, and the file ``figures/<name>.png``.

    ``data`` returns the numbers, or None (or a frame without rows) where the study has nothing to show, and the figure
    is left out. ``draw`` makes of them a chart, or rows of charts.
    """

    name: str
    section: str
    title: str
    data: Callable[[View], Any]
    draw: Callable[[Any, View], Chart | Sequence[Block]]
    note: str = ""
    """Stands under the section's heading."""

    reading: str = ""
    """How to read the picture, under the title of the PNG."""

    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Table → column → polars type, of what ``data`` reads from ``view.tables`` beside :data:`RUN_KEYS`. The table is
    ``<table>.parquet`` of every run that has one, for instance what a probe returned."""

    of_lines: Collection[str] = ()
    """Those of the tables that are read of the runs of :attr:`View.lines` only: of very many runs, of the first."""

    sizes: Sizes = _USUAL
    order: int = 1000
    """Figures, and with them sections, stand in the order of this number. Ours are below 200, in steps of ten."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise InputError(
                f"a figure cannot be named {self.name!r}: its file is named so; use small letters, digits and '-'"
            )

    @property
    def is_ours(self) -> bool:
        """Whether it comes with the report, and its charts are known to be Vega-Lite: tests see to that."""
        return self.data.__module__.startswith("grokkit.")

    def blocks(self, view: View) -> list[Block]:
        """The figure of a study, piece by piece; empty where there is nothing to show."""
        for table, columns in self.columns.items():
            absent = [column for column in columns if column not in view.tables[table].columns]
            if absent:
                raise InputError(f"the table {table} has no column {absent[0]!r}")
        data = self.data(view)
        if data is None or (isinstance(data, pl.DataFrame) and data.is_empty()):
            return []
        drawn = self.draw(data, view)
        if isinstance(drawn, Sequence):
            return list(drawn)
        caption = self.title[:1].upper() + self.title[1:]
        return [Row([Panel(self.name, drawn, caption, self.reading)])]


def table_names(figures: Sequence[Figure]) -> list[str]:
    """The tables that the figures read, to be loaded from the runs."""
    return sorted({name for figure in figures for name in figure.columns})


def of_every_run(figures: Sequence[Figure], table: str) -> bool:
    """Whether one of the figures reads the table of more runs than have lines."""
    return any(table in figure.columns and table not in figure.of_lines for figure in figures)


def with_lines(runs: pl.DataFrame, methods: Sequence[str]) -> pl.DataFrame:
    """Those of ``runs`` that have lines of their own: all, or if they are many the first seeds of each method."""
    seeds = max(1, _LINES // max(len(methods), 1))
    return runs.filter(pl.col("seed").rank("dense").over("method") <= seeds)


def completed(figures: Sequence[Figure], tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """All tables that the figures read. One that is absent, or without a row, has its columns all the same."""
    complete = dict(tables)
    for name in table_names(figures):
        if name not in tables or tables[name].is_empty():
            schema = dict(RUN_KEYS)
            for figure in figures:
                schema |= figure.columns.get(name, {})
            complete[name] = pl.DataFrame(schema=schema)
    return complete


def drawn(
    figures: Sequence[Figure],
    view: View,
    finish: Callable[[Figure, list[Block]], Result],
    failures: dict[str, str],
) -> list[tuple[Figure, Result]]:
    """Every figure that has something to show, in order, with its ``finish``.

    A figure may be anybody's. What goes wrong in one is told in a line of ``failures``, and the others are drawn.
    """
    found: list[tuple[Figure, Result]] = []
    for figure in sorted(figures, key=lambda figure: figure.order):
        try:
            blocks = figure.blocks(view)
            if blocks:
                found.append((figure, finish(figure, blocks)))
        except Exception as error:
            failures.setdefault(figure.name, _in_one_line(error))
    return found


def _in_one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    text = words if isinstance(error, InputError) else f"{type(error).__name__}: {words}"
    return text if len(text) <= 200 else f"{text[:197]}..."
