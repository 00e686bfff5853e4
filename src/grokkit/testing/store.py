"""Does the lab keep and find its runs in a folder, such as one on a network's disk?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grokkit.errors import InputError
from grokkit.study.execute import execute
from grokkit.study.machines import Processes
from grokkit.study.plan import make_plan
from grokkit.study.pool import Event
from grokkit.study.store import Store
from grokkit.testing.runs import small_run, values_of
from grokkit.train.loop import train


def check_store(folder: Path) -> None:
    """Two runs, trained and kept by a worker process, come back; none is trained again; what is damaged is not used.

    Args:
        folder: that need not exist; the runs are left in it.

    Raises:
        AssertionError: for the first thing that is wrong, in a sentence.
    """
    like = small_run()
    names = ("task", "model", "batch_size", "evaluation")
    shared: dict[str, Any] = {name: getattr(like, name) for name in names}
    plan = make_plan(methods=["adamw", "grokfast-ema"], seeds=1, budget=10, **shared)
    store, events = Store(folder), list[Event]()
    with store.lock():
        _check_lock(folder)
        failures = execute(plan.runs, store, set(), on=Processes(1), on_event=events.append)
    assert not failures, f"a run could not be kept in {folder}: {next(iter(failures.values())).error}"
    ids = [run.run_id() for run in plan.runs]
    assert store.finished() == set(ids), f"{folder} has other runs than those that were kept"
    runs, curves = store.load(ids)
    for config, row in zip(plan.runs, runs.rows(named=True), strict=True):
        run, own = train(config), curves.filter(run_id=config.run_id())
        assert store.config(config.run_id()) == config, f"{config.run_id()} came back with another configuration"
        for name in ("method", "seed", "status", "steps", "flops", "final_test_loss"):
            assert row[name] == run.record()[name], f"{name} of {config.run_id()} came back as {row[name]}"
        for name, values in values_of(run).items():
            assert own[name].to_list() == values, f"{name} of {config.run_id()} came back with other values"
    files = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    events.clear()
    with store.lock():
        execute(plan.runs, store, store.finished(), on=Processes(1), on_event=events.append)
    assert not events, f"a finished run was trained again: {events[0].key}"
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")} == files, "a finished run was written to"
    _check_damage(store, ids[0])


def _check_lock(folder: Path) -> None:
    try:
        with Store(folder).lock():
            raise AssertionError(f"{folder} can be locked twice; its file system has no locks")
    except InputError:
        return


def _check_damage(store: Store, run_id: str) -> None:
    """Files that end too early, or of which a bit is another, are named, and nothing in them is used."""
    for name in ("curves.parquet", "run.json"):
        path = store.run_folder(run_id) / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        for damage, data in {"cut off": whole[:middle], "changed in one bit": flipped}.items():
            path.write_bytes(data)
            try:
                store.load([run_id])
                line = ""
            except InputError as error:
                line = str(error)
            finally:
                path.write_bytes(whole)
            assert line, f"{path} was {damage} and is used"
            assert run_id in line, f"the error on a {name} that was {damage} does not name the run: {line}"
