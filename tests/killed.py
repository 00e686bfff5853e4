"""Runs that are killed at random moments, again and again, until they are done; run as a program.

    python tests/killed.py FOLDER KILLS SEED

Forks the trainer, so that a kill costs no import, and kills it within 20 ms after so many changes of its folder: a
number and a time drawn at random. Prints as JSON how many kills there were, how many of them found a run begun, and how
many times all runs were done. ``FOLDER/whole`` has the runs undisturbed, ``FOLDER/0`` and so on those that were killed.
Every stop is saved; a start's search is, too, after each of its rounds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from grokkit.study.plan import Plan
from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.work import _keep
from grokkit.train.loop import train

METHODS = [
    "adamw",
    "neuralgrok(hidden=(6,5),every=3)",
    "groktransfer(stop=0.99,weak_steps=60,weak_patience=60,weak_seeds=2)",
    "grokfast-ma(window_size=5)+zero-head",
]


def plan() -> Plan:
    return Question(task="add:11", methods=METHODS, seeds=1, budget=60, model="fnn(dim=4,width=8)", every=5).plan()


def do_all(runs: Plan, folder: Path) -> None:
    store = Store(folder)
    for run in runs.runs:
        if run.run_id() not in store.finished([run.run_id()]):
            _keep(store, train(run, checkpoint=store.checkpoint_path(run.run_id()), checkpoint_seconds=0))


def fork(runs: Plan, folder: Path) -> int:
    child = os.fork()
    if child == 0:
        do_all(runs, folder)
        os._exit(0)
    return child


def stamps(folder: Path) -> dict[str, int]:
    """The files there, half-written ones as well, and when each was written."""
    found: dict[str, int] = {}
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may be gone by now
            found[str(path)] = path.stat().st_mtime_ns
    return found


def wait_for(changes: int, folder: Path, child: int) -> int | None:
    """Until so many changes of ``folder`` were seen, on any machine; the child's status if it ended before."""
    before = stamps(folder)
    while changes > 0:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        now = stamps(folder)
        changes -= now != before
        before = now
        time.sleep(0.001)
    return None


def main(folder: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    generator, runs = random.Random(seed), plan()
    assert os.waitpid(fork(runs, folder / "whole"), 0)[1] == 0
    killed = begun = done = 0
    while killed < kills:
        own = folder / str(done)
        child = fork(runs, own)
        status = wait_for(generator.randrange(20), own, child)
        if status is None:
            time.sleep(generator.uniform(0.0, 0.02))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            killed += 1
            begun += any(own.glob("runs/*/*.safetensors"))
        else:
            assert status == 0, "the trainer failed"
            done += 1
    assert os.waitpid(fork(runs, folder / str(done)), 0)[1] == 0
    print(json.dumps({"kills": killed, "begun": begun, "done": done + 1}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
