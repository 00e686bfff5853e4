"""The pool: order, progress, and every way in which a job, a worker or the parent can end."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from grokkit.study.pool import Event, Failure, Pool, run_pool

HERE = Path(__file__).parent
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def jobs() -> Iterator[ModuleType]:
    """The module ``jobs.py``, importable by its name here and in workers, which are given this `sys.path`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("jobs")


def run(todo: list[tuple[str, Any]], work: Any, workers: int = 2) -> list[Event]:
    events: list[Event] = []
    run_pool(todo, work, workers=workers, on_event=events.append)
    assert multiprocessing.active_children() == []
    return events


def keys(events: list[Event], kind: str) -> list[str]:
    return [event.key for event in events if event.kind == kind]


def payloads(events: list[Event], kind: str) -> dict[str, Any]:
    return {event.key: event.payload for event in events if event.kind == kind}


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or while it is read
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def deaf(pid: int) -> bool:
    """Whether SIGINT does nothing to the process: it is blocked or ignored."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn"))]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family_of(pid: int) -> list[int]:
    """Its children and theirs: where a fork server starts the workers, they are the server's children."""
    own = children(pid)
    for child in own.copy():
        with suppress(FileNotFoundError):
            own += children(child)
    return own


def test_each_job_is_done_once_and_handed_out_in_order(jobs):
    todo = [(f"job {number}", number) for number in range(7)]
    events = run(todo, jobs.square)
    assert keys(events, "started") == [key for key, _ in todo]
    assert sorted(keys(events, "finished")) == sorted(key for key, _ in todo)
    assert payloads(events, "progress") == {key: number**2 for key, number in todo}
    assert keys(events, "failed") == []


def test_no_jobs_need_no_worker():
    assert run([], None) == []


def test_progress_arrives_in_order_between_start_and_end(jobs):
    events = [event for event in run([("a", 500)], jobs.count) if event.kind != "tick"]
    assert events[0] == Event("started", "a")
    assert [event.payload for event in events[1:-1]] == list(range(500))
    assert events[-1] == Event("finished", "a")


def test_a_worker_is_reused_and_is_not_this_process(jobs):
    events = run([("a", None), ("b", None), ("c", None)], jobs.process_id, workers=0)
    pids = set(payloads(events, "progress").values())
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_a_worker_outlives_a_call_but_not_its_pool_and_one_that_has_died_meanwhile_is_replaced(jobs):
    def process_id(key: str) -> int:
        events: list[Event] = []
        pool.run([(key, None)], jobs.process_id, workers=1, on_event=events.append)
        assert keys(events, "finished") == [key]
        return payloads(events, "progress")[key]

    with Pool() as pool:
        first = process_id("a")
        assert process_id("b") == first
        os.kill(first, signal.SIGKILL)
        # Whether it is known by now that this one has died is left to chance: the next call must not care.
        assert process_id("c") != first
        third = process_id("d")
        os.kill(third, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while alive(third) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process_id("e") != third
    assert multiprocessing.active_children() == []


def test_time_passes_while_jobs_are_silent(jobs):
    times: list[float] = []

    def note_ticks(event: Event) -> None:
        if event.kind == "tick":
            times.append(time.monotonic())

    run_pool([("a", 1.0)], jobs.sleep, workers=1, on_event=note_ticks)
    gaps = [late - early for early, late in pairwise(times)]
    assert len(times) >= 4
    assert sorted(gaps)[len(gaps) // 2] < 0.3  # the median: other programs share these cores


def test_libraries_in_workers_are_single_threaded_and_the_environment_here_is_as_it_was(jobs, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    events = run([("a", None), ("b", None)], jobs.threads, workers=1)
    assert dict(os.environ) == before
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    expected = {**one, "torch": 1, "polars": 1}
    assert payloads(events, "progress") == {"a": expected, "b": expected}


def test_a_job_that_fails_harms_no_other_and_is_not_tried_again(jobs, tmp_path):
    file = tmp_path / "begun"
    ways = ["raise", "fine", "sys.exit", "os._exit", "fine", "kill", "unpicklable", "fine"]
    todo = [(f"{number} {way}", (file, f"{number} {way}", way)) for number, way in enumerate(ways)]
    events = run(todo, jobs.note)

    assert sorted(file.read_text().splitlines()) == [key for key, _ in todo]
    assert sorted(keys(events, "finished")) == ["1 fine", "4 fine", "7 fine"]
    # What a job said before its process died is not lost.
    assert payloads(events, "progress") == {key: way for key, (_, _, way) in todo}
    failures: dict[str, Failure] = payloads(events, "failed")
    said = {key: re.sub(r"line \d+", "line N", failure.error) for key, failure in failures.items()}
    assert {key: error for key, error in said.items() if key != "6 unpicklable"} == {
        "0 raise": "ValueError: a message of two lines (line N of jobs.py)",
        "2 sys.exit": "SystemExit: 3 (line N of jobs.py)",
        "3 os._exit": "its worker process ended with exit code 3",
        "5 kill": "its worker process was killed by SIGKILL (out of memory?)",
    }
    assert "\n" not in failures["6 unpicklable"].error
    assert "in misbehave" in failures["0 raise"].traceback
    assert failures["5 kill"].traceback == ""


def test_a_process_that_a_job_left_behind_does_not_hide_the_workers_death(jobs):
    events = run([("a", None)], jobs.fork_and_exit, workers=1)
    os.kill(payloads(events, "progress")["a"], signal.SIGKILL)  # which is an error if it is gone
    assert payloads(events, "failed")["a"].error == "its worker process ended with exit code 4"


def test_a_worker_that_dies_between_two_jobs_takes_neither_with_it(jobs):
    events: list[Event] = []

    def slow(event: Event) -> None:
        events.append(event)
        if event == Event("finished", "a"):
            time.sleep(0.5)  # by then it is dead

    run_pool([("a", 0.1), ("b", 0.1)], jobs.die_after, workers=1, on_event=slow)
    assert keys(events, "finished") == ["a", "b"]
    assert keys(events, "failed") == []


def test_a_job_whose_module_cannot_be_imported_fails_by_name(jobs, monkeypatch):
    # The parent has the module; a worker looks for it in vain.
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(HERE)])
    events = run([("a", 1)], jobs.square)
    assert payloads(events, "failed")["a"].error == "ModuleNotFoundError: No module named 'jobs'"


def test_what_on_event_raises_stops_the_workers(jobs):
    stopped: dict[int, float] = {}

    def stop(event: Event) -> None:
        if event.kind == "progress":
            stopped[event.payload] = time.monotonic()
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_pool([("a", None), ("b", None)], jobs.forever, workers=2, on_event=stop)
    assert multiprocessing.active_children() == []
    [(pid, began)] = stopped.items()
    assert not alive(pid)
    assert time.monotonic() - began < 3  # killed, not waited for


def test_a_payload_that_cannot_be_sent_is_the_callers_error(jobs):
    with pytest.raises((pickle.PicklingError, AttributeError)):
        run([("a", lambda: None)], jobs.square)
    assert multiprocessing.active_children() == []


@NEEDS_PROC
def test_no_worker_is_left_behind_not_even_as_a_zombie(jobs, tmp_path):
    run_pool([("a", 1)], jobs.square, workers=1, on_event=lambda _: None)
    before = children(os.getpid())  # the fork server and the resource tracker live as long as this process
    ways = ["fine", "kill", "fine", "raise"]
    run_pool([(way, (tmp_path / "begun", way, way)) for way in ways], jobs.note, workers=2, on_event=lambda _: None)
    assert set(family_of(os.getpid())) == set(before)
    assert all(alive(pid) for pid in before)


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """Starts two workers on endless jobs and prints their process ids; a process group, as under a terminal."""
    search = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        [sys.executable, "-m", "jobs"],
        env={**os.environ, "PYTHONPATH": search},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            yield program
        finally:
            with suppress(ProcessLookupError):  # as it should be: nothing is left of the group
                os.killpg(program.pid, signal.SIGKILL)


def busy_family(program: subprocess.Popen[str]) -> tuple[list[int], list[int]]:
    """The workers, once both are at work, and those that only serve them, which end after all others."""
    assert program.stdout is not None
    workers = {int(program.stdout.readline()), int(program.stdout.readline())}
    family = family_of(program.pid)
    assert workers < set(family)
    return list(workers), [pid for pid in family if pid not in workers]


def gone_within(seconds: float, pids: list[int]) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@NEEDS_PROC
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_do_not_outlive_a_killed_parent(program, end):
    workers, servers = busy_family(program)
    program.send_signal(end)
    program.wait()
    assert gone_within(2.0, workers)
    assert gone_within(60.0, servers)


@NEEDS_PROC
def test_ctrl_c_reaches_the_caller_and_ends_the_workers_quietly(program):
    workers, servers = busy_family(program)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert gone_within(2.0, workers)
    assert gone_within(60.0, servers)
    # Python's own way to say that an uncaught KeyboardInterrupt ended it.
    assert program.returncode == -signal.SIGINT
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1


@NEEDS_PROC
def test_ctrl_c_while_workers_are_still_importing_is_quiet_too(program):
    helpers = 2 if sys.platform == "linux" else 3  # the resource tracker, and the fork server or two workers
    while len(family := children(program.pid)) < helpers:
        time.sleep(0.001)
    assert all(deaf(pid) for pid in family)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert gone_within(60.0, family)
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == 1
