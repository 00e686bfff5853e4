"""Runs killed at random moments end as they would have undisturbed: equal in every column that is not time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import killed
import numpy as np
import pytest

from grokkit.study.store import Store

TIMES = ("seconds", "peak_memory_bytes", "provenance")


def untimed(frame):
    return frame.select(name for name in frame.columns if not any(time in name for time in TIMES))


def check_kills(folder, kills, seed):
    """Kill so often; returns what was counted."""
    command = [sys.executable, killed.__file__, str(folder), str(kills), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    counted = json.loads(done.stdout)
    ids = [run.run_id() for run in killed.plan().runs]
    whole = Store(folder / "whole")
    runs, curves = whole.load(ids)
    for number in range(counted["done"]):
        store = Store(folder / str(number))
        again, points = store.load(ids)
        assert untimed(again).equals(untimed(runs))
        assert untimed(points).equals(untimed(curves))
        for path in whole.folder.glob("runs/*/*"):
            other = store.run_folder(path.parent.name) / path.name
            if path.suffix == ".parquet":
                tables = [one.load_table(path.stem, [path.parent.name]) for one in (whole, store)]
                assert untimed(tables[0]).equals(untimed(tables[1])), path.name
            if path.suffix == ".npz":
                with np.load(path) as one, np.load(other) as two:
                    assert one.files == two.files
                    assert all(np.array_equal(one[name], two[name]) for name in one.files)
        assert not list(store.folder.rglob("*.safetensors")), "a checkpoint is left"
        assert not list(store.folder.rglob(".*.tmp")), "half a file is left"
    return counted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the trainer")
def test_killed_a_few_times_every_run_ends_as_undisturbed(tmp_path):
    counted = check_kills(tmp_path, kills=5, seed=0)
    assert counted["kills"] == 5
    assert counted["begun"] >= 1, "kills came before anything had begun"


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the trainer")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_many_times_every_run_ends_as_undisturbed(tmp_path, seed, record_property):
    counted = check_kills(tmp_path, kills=40, seed=seed)
    for name, number in counted.items():
        record_property(name, number)
    print(f"{counted['kills']} kills, {counted['begun']} of them in the middle of a run, {counted['done']} studies")
    assert counted["kills"] == 40
    assert counted["begun"] >= 10
