"""The report of what a study's folder holds: written, and shown. PyTorch is not imported by this."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from grokkit.lab.study import Study
from grokkit.study.store import Store
from grokkit.terminal import one_line


def report(store: Store, console: Console, only: Sequence[str] | None = None) -> Study:
    """Write the report of the finished runs in ``store``, and show it; the caller holds its lock."""
    store.compact()
    study = Study(store.folder, only)
    if study.unfinished:
        total = len(study.info["run_ids"])
        console.print(f"only {total - study.unfinished} of {total} runs are finished; the report is of those")
    if study.runs.is_empty():
        return study
    study.look()
    with console.status("drawing the report"):
        page, failures = study.write()
    console.print()
    console.print(study)
    console.print()
    told = {json.loads(text).get("resuming") for text in study.runs["provenance"]} - {None}
    for note in sorted(told):
        console.print(f"a run that is resumed goes on {note}", soft_wrap=True)
    for name, failure in failures.items():
        console.print(f"the figure {name} could not be drawn: {failure}", soft_wrap=True)
    console.print(f"report: {one_line(page)}", soft_wrap=True)
    return study
