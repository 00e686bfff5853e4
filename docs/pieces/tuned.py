"""Methods that were tuned by a search: what their studies found, and the account that they carry of the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pieces.markers import PageError
from pieces.studies import Study
from pieces.words import MISSING, giga_text, median_text, ratio_text, reached_text

Table = Callable[[Sequence[Sequence[str]]], str]


def fair_table(studies: Mapping[str, Study], table: Table) -> str:
    """A row for each method that was searched, and a column for each study by its heading: the cost beside the
    baseline's, of the baseline its steps, and how many runs got there where not all did.

    Raises:
        PageError: if a study's methods were not searched, or were others than those of the study before.
    """
    labels = {
        head: {search["method"]: label for label, search in _searched(study).items()} for head, study in studies.items()
    }
    methods = list(next(iter(labels.values())))
    if any(set(own) != set(methods) for own in labels.values()):
        raise PageError("the studies of a fair table must have the same methods")
    rows = [["method", *studies]]
    for method in methods:
        cells = [_beside(study, labels[head][method]) for head, study in studies.items()]
        rows.append([f"`{method}`", *cells])
    return table(rows)


def _beside(study: Study, label: str) -> str:
    row = study.row(label)
    is_baseline = label == study.baseline
    text = f"1, {median_text(row, interval=True)} steps" if is_baseline else ratio_text(study, label)
    return text if row["successes"] == row["runs"] else f"{text}, {reached_text(row)} arrived"


def tuned_table(study: Study, table: Table) -> str:
    """A row for each method: where was searched, what came of it, and what finding it took.

    Raises:
        PageError: if the study's methods were not searched.
    """
    rows = [["best setting", "searched in", "trials that arrived", "GFLOP to the target", "runs", "TFLOP of all"]]
    for label, search in _searched(study).items():
        arrived = sum(has_arrived for _, has_arrived, *_ in search["costs"])
        rows.append(
            [
                f"`{label}`",
                f"`{search['space'].replace('|', ' or ')}`" if search["space"] else MISSING,
                f"{arrived}/{search['trials']}",
                giga_text(search["cost_to_target"]) if search["has_arrived"] else "not reached",
                str(search["runs"]),
                giga_text(search["flops"] / 1e3),
            ]
        )
    return table(rows)


def _searched(study: Study) -> dict[str, dict[str, Any]]:
    """What the study says of the search of each of its methods, by label."""
    searched: dict[str, dict[str, Any]] = study.about.get("tuned") or {}
    if not searched:
        raise PageError(f"the methods of study {study.name!r} were not tuned by a search")
    return searched
