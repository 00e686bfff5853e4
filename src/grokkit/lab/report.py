"""The report of what a study's folder holds: written, and shown. PyTorch is not imported by this."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl
from rich.console import Console

from grokkit.analyse.format import listed
from grokkit.lab.study import Study
from grokkit.printed import one_line
from grokkit.study.store import Store


def report(store: Store, console: Console, only: Sequence[str] | None = None) -> Study:
    """Write the report of the finished runs in ``store``, and show it; the caller holds its lock."""
    store.compact()
    study = Study(store.folder, only)
    if study.unfinished:
        if study.runs.is_empty():
            of = "" if only is None else f" of {listed(list(only))}"
            console.print(f"no run{of} is finished, so there is no report", soft_wrap=True, markup=False)
            return study
        console.print(_unfinished(study), soft_wrap=True, markup=False)
    study.look()
    with console.status("drawing the report"):
        page, failures = study.write()
    console.print()
    console.print(study)
    console.print()
    told = {json.loads(text).get("resuming") for text in study.runs["provenance"]} - {None}
    for note in sorted(told):
        console.print(f"a run that is resumed goes on {note}", soft_wrap=True)
    for line in (*diverged(study), *never_finite(study), *not_measured(study)):
        console.print(line, soft_wrap=True, markup=False)
    for name, failure in failures.items():
        console.print(f"the figure {name} could not be drawn: {failure}", soft_wrap=True)
    console.print(f"report: {one_line(page)}", soft_wrap=True)
    return study


def _unfinished(study: Study) -> str:
    total = len(study.info["run_ids"])
    finished = f"only {total - study.unfinished} of {total} runs"
    if study.info.get("not_shown"):
        return f"{finished} of the folder are finished; the report is of those of {listed(study.info['methods'])}"
    return f"{finished} are finished; the report is of those"


def not_measured(study: Study) -> Iterator[str]:
    """A line for each method of a claim in seconds that the pace of the others was measured without."""
    for method in study.unmeasured:
        yield (
            f"{method}: nothing is claimed of it in seconds, because those of its steps have not been measured in "
            "turns with the others'; give the same compare command again"
        )


def never_finite(study: Study) -> Iterator[str]:
    """A line for each method of which the held-out loss of runs that did not diverge was at no evaluation a number:
    then no run can be seen to arrive, whatever it has learned. Of collected tables without curves nobody knows."""
    if study.curves.is_empty():
        return
    for (method,), runs in study.runs.group_by("method", maintain_order=True):
        without = runs.filter(pl.col("status") != "diverged", pl.col("best_test_loss").is_null())
        if without.height:
            yield (
                f"{method}: in {without.height} of {runs.height} runs the held-out loss was never a finite number; "
                "look for a test row that is not, e.g. with grokkit check"
            )


def diverged(study: Study) -> Iterator[str]:
    """A line for each method of which runs diverged: they count as later than the whole budget."""
    for (method,), runs in study.runs.group_by("method", maintain_order=True):
        at = runs.filter(status="diverged")["diverged_at"]
        if len(at):
            yield f"{method}: {len(at)} of {runs.height} runs diverged, the first at step {at.min()}"
