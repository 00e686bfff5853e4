"""Runs that another item has made: papers show the same trainings in several figures, and nobody needs them twice."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from grokkit.errors import InputError
from grokkit.study.store import Store


def take_over(run_ids: Sequence[str], study: Path, out: Path) -> int:
    """Copy to ``study`` those of ``run_ids`` which it lacks and another study below ``out`` has finished.

    A run's id is a hash of all that determines it, so one of the same id is the same run. What is damaged elsewhere is
    left there: it is named when its own item is measured.

    Returns:
        how many were copied.

    Raises:
        InputError: if a run in ``study`` is damaged, or another process is at work there.
    """
    own = Store(study)
    missing = {*run_ids} - own.finished(run_ids)
    others = [Store(path.parent) for path in sorted(out.rglob("study.json")) if path.parent != study] if missing else []
    taken = {}
    for other in others:
        taken |= {run_id: other for run_id in missing - {*taken} if _is_finished(other, run_id)}
    if taken:
        with own.lock():
            for run_id, other in taken.items():
                _copy(other.run_folder(run_id), own.run_folder(run_id), study / ".taken.tmp")
    return len(taken)


def _is_finished(store: Store, run_id: str) -> bool:
    try:
        return bool(store.finished([run_id])) and store.run_folder(run_id).is_dir()
    except InputError:
        return False


def _copy(run: Path, to: Path, aside: Path) -> None:
    """A run's folder, under its name at once: a copy that was cut off is no run."""
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(run, aside)
    shutil.rmtree(to, ignore_errors=True)  # the checkpoint of one that had begun here
    to.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(to)
