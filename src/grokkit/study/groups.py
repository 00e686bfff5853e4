"""Groups of runs that are trained as one program, and where those go on that an earlier command has begun."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from grokkit.study.store import Store
from grokkit.train.checkpoint import steps_saved
from grokkit.train.config import RunConfig
from grokkit.train.groups import group_name, plan_groups


def group_checkpoints(store: Store) -> list[Path]:
    """Those that there are, the latest first."""
    found = store.group_checkpoint_path("").parent.glob("group--*.safetensors")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def grouped(runs: Sequence[RunConfig], store: Store, done: Collection[str], device: str) -> dict[str, list[RunConfig]]:
    """The groups of what is not ``done``, by their names. Runs that an earlier command has begun together stay together
    and go on from their checkpoint, whatever seeds and methods this one has beside them."""
    asked = {run.hash(): run for run in runs}
    ended = {own for own, run in asked.items() if run.run_id() in done}
    left = {own: run for own, run in asked.items() if own not in ended}
    groups: dict[str, list[RunConfig]] = {}
    for path in group_checkpoints(store):
        saved = steps_saved(path)
        if group := [left.pop(own) for own in saved if own in left]:
            name = path.stem
            if not saved.keys() <= asked.keys():  # the others, of which nobody asks now, shall find theirs, too
                name = group_name(group)
                shutil.copyfile(path, store.group_checkpoint_path(name))
            groups[name] = group
        elif saved and saved.keys() <= ended:
            path.unlink()
    return groups | {group_name(group): group for group in plan_groups(list(left.values()), device, batched=True)}
