"""How a study's folder grows, and what a run costs beside its training: docs/results/store.json and cluster.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from grokkit.analyse.format import number, whole

Table = Callable[[Sequence[Sequence[str]]], str]


class _Measure(NamedTuple):
    """A key of a row of store.json, what it is called, its unit's size and name, and the aim at ten thousand runs."""

    key: str
    name: str
    size: float = 1.0
    unit: str = "s"
    aim: float | None = None


_MEASURES = (
    _Measure("scan", "finding what is done", aim=2),
    _Measure("load", "reading records and curves", aim=5),
    _Measure("analysis", "all numbers and the verdict"),
    _Measure("page", "page, from what was read", aim=15),
    _Measure("page_bytes", "the page's size", 1e6, "MB", aim=5),
    _Measure("pictures", "pictures, all together", aim=20),
    _Measure("report", "`grokkit report`, in all, with starting Python"),
    _Measure("scan_loose", "once: finding what is done before it is packed"),
    _Measure("compact", "once: packing"),
    _Measure("study_bytes", "the folder", 1e6, "MB"),
    _Measure("peak_bytes", "memory at most", 1e6, "MB"),
)


def store_table(found: Mapping[str, Any], table: Table) -> str:
    """A row for each thing that was measured, a column for each folder."""
    rows = found["rows"]
    heads = [f"{whole(row['runs'])} runs: {row['methods']} methods × {whole(row['seeds'])} seeds" for row in rows]
    lines = [["", "aim at 10,000", *heads]]
    for measure in _MEASURES:
        aim = "" if measure.aim is None else f"≤ {number(measure.aim)} {measure.unit}"
        values = [f"{number(row[measure.key] / measure.size)} {measure.unit}" for row in rows]
        lines.append([measure.name, aim, *values])
    return table(lines)


def store_missed(found: Mapping[str, Any]) -> str:
    """Which aims were missed, in words."""
    missed = []
    for row in found["rows"]:
        for measure in _MEASURES:
            if row["runs"] >= 10_000 and measure.aim is not None and row[measure.key] / measure.size > measure.aim:
                missed.append(f"{measure.name}, with {row['methods']} methods")
    return f"these are missed: {'; '.join(missed)}" if missed else "all are met"


def where(found: Mapping[str, Any]) -> str:
    """The machine, and how busy it was."""
    loads = [row["load_average"] for row in found["rows"]]
    busy = number(min(loads)) if min(loads) == max(loads) else f"{number(min(loads))} to {number(max(loads))}"
    return f"{found['processor']}, {found['cores']} cores, PyTorch {found['torch']}, load average {busy}"


def cluster_table(found: Mapping[str, Any], table: Table) -> str:
    """A row for each way to carry runs out."""
    lines = [["", "to the first run, s", "each further run, s"]]
    lines += [[row["on"], number(row["first"]), number(row["each"])] for row in found["rows"]]
    return table(lines)


def cluster_rate(found: Mapping[str, Any]) -> str:
    """How fast a file comes from a node."""
    return f"{number(found['megabytes_per_second'])} MB a second"
