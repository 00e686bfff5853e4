"""Jobs for the pool's tests, in a module of their own because workers must be able to import them.

Run as a program, it is a study to be killed: `python -m jobs` starts two workers on jobs that never end, and
prints their process ids.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokkit.study.pool import Event, run_pool

Report = Callable[[Any], None]


def square(number: int, report: Report) -> None:
    report(number**2)


def count(number: int, report: Report) -> None:
    for step in range(number):
        report(step)


def sleep(seconds: float, report: Report) -> None:
    time.sleep(seconds)


def process_id(_: None, report: Report) -> None:
    report(os.getpid())


def die_after(seconds: float, report: Report) -> None:
    """End well, and take the worker down a moment later."""
    threading.Timer(seconds, os._exit, [5]).start()


def forever(_: None, report: Report) -> None:
    report(os.getpid())
    while True:
        time.sleep(60)


def threads(_: None, report: Report) -> None:
    import numpy  # noqa: F401  (its own OpenBLAS, besides PyTorch's)
    import polars
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    report(
        {
            **{name: os.environ.get(name) for name in names},
            "torch": torch.get_num_threads(),
            "polars": polars.thread_pool_size(),
        }
    )
    torch.set_num_threads(3)  # which the next job in this worker must not see


def misbehave(how: str, report: Report) -> None:
    """End as ``how`` says; anything unknown is to end well."""
    report(how)
    match how:
        case "raise":
            raise ValueError("a message\nof two lines")
        case "sys.exit":
            sys.exit(3)
        case "os._exit":
            os._exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "unpicklable":
            report(lambda: None)


def fork_and_exit(_: None, report: Report) -> None:
    """End the worker, and leave a process that has its pipe open."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    report(child)
    os._exit(4)


def note(arguments: tuple[Path, str, str], report: Report) -> None:
    """Write down that this job was begun, then `misbehave`."""
    file, key, how = arguments
    with open(file, "a") as lines:
        lines.write(f"{key}\n")
    misbehave(how, report)


def main() -> None:
    def show(event: Event) -> None:
        if event.kind == "progress":
            print(event.payload, flush=True)

    import jobs  # a worker finds the function in the module of this name, and this program is called __main__

    run_pool([("a", None), ("b", None)], jobs.forever, workers=2, on_event=show)


if __name__ == "__main__":
    main()
