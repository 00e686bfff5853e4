"""Jobs on worker processes: single-threaded each, and none able to harm another.

The caller's process waits on pipes, hands out jobs in the given order and turns all that happens into
`Event`s. A job that raises, or takes its whole process down with it, is one failed job; no job is begun
twice. Workers outlive their jobs, since importing PyTorch costs seconds, but never the process that
started them, however that ends. One that has died idle may be known to be dead only when it does not take its next
job: the job, of which nothing was begun, then goes to another.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from types import ModuleType
from typing import Any, Literal, Self

from grokkit.errors import InputError, plain_line
from grokkit.files import is_full
from grokkit.outside import line_of

Work = Callable[[Any, Callable[[Any], None]], None]

# The libraries read these when they are imported, so they must be there before the worker's interpreter
# starts. With a process on every core, a second thread in one of them only takes another's time.
ONE_THREAD = dict.fromkeys(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"], "1")

# What a worker says before it does anything of a job.
_TAKEN = "taken"

# Between two times of telling the caller that time passes.
_TICK_SECONDS = 0.2

# How long a worker that was told to end may take over it.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Failure:
    """Why a job failed: one line to show, and the traceback (empty if the job's whole process died).

    ``cause`` is what the system said, where it was that nothing more can be written: the next job would fail as well.
    """

    error: str
    traceback: str = ""
    cause: OSError | None = None

    @staticmethod
    def of(error: BaseException) -> Failure:
        """That of the exception being handled."""
        is_plain = isinstance(error, InputError | OSError | MemoryError)
        line = plain_line(error) if is_plain else line_of(error)  # of somebody's code, where in it
        full = error if isinstance(error, OSError) and is_full(error) else None
        return Failure(line, traceback.format_exc(), full and OSError(full.errno, full.strerror, full.filename))


@dataclass(frozen=True)
class Event:
    """Something that happened to the job ``key``. A "tick" belongs to no job: it only says that time passes.

    ``payload`` is where the job runs ("started", if not here), what it reported ("progress"), why it waits again
    ("lost", on other machines only), a `Failure` ("failed"), or None.
    """

    kind: Literal["started", "progress", "lost", "finished", "failed", "tick"]
    key: str = ""
    payload: Any = None


def _context() -> ForkServerContext | SpawnContext:
    """How workers begin.

    On Linux one process imports PyTorch, once, and is forked for each worker, which is spared a second and a half.
    Polars starts threads when it is imported, and these would be missing in a fork: each worker imports it, and what is
    ours, itself. Elsewhere a fork of a process that has loaded so much is not safe.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pydantic"])
    return context


_CONTEXT = _context()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Worker processes, each started when there is a job for it and kept until the context ends."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._idle:  # all are told before any is waited for
            worker.retire()
        for worker in self._idle:
            worker.reap()
        self._idle = []

    def run(
        self,
        jobs: Iterable[tuple[str, Any]],
        work: Work,
        *,
        workers: int,
        on_event: Callable[[Event], None],
    ) -> None:
        """Call ``work(payload, report)`` in a worker process for every ``(key, payload)`` of ``jobs``.

        ``work`` is a function at the top level of a module; what it gives to ``report`` arrives as a "progress"
        event. ``on_event`` is called in this process, with a "tick" every fifth of a second for a live display.
        If it raises, or on Ctrl-C, the workers that have a job are stopped, and the exception goes on once they are
        gone. There is always at least one worker: a crash must not be the caller's.
        """
        waiting = _Waiting(jobs)
        busy: list[_Worker] = []
        next_tick = time.monotonic()

        def hand_out(worker: _Worker) -> None:
            key, payload = waiting.take()
            worker.take(key, (work, payload))
            on_event(Event("started", key))

        try:
            while waiting or busy:
                while waiting and len(busy) < max(1, workers):
                    busy.append(self._free_worker())
                    hand_out(busy[-1])

                pipes = [worker.pipe for worker in busy]
                ready = wait(pipes, timeout=max(0.0, next_tick - time.monotonic()))
                for worker in [worker for worker in busy if worker.pipe in ready or worker.has_died()]:
                    event = worker.next_event()
                    if event is None:
                        continue
                    if event.kind == "failed" and worker.died_idle():
                        busy[busy.index(worker)] = heir = self._free_worker()
                        heir.take(*worker.job)
                        continue
                    on_event(event)
                    if event.kind == "progress":
                        continue
                    # Its job has ended. A worker that has ended, too, gets no other.
                    if waiting and not worker.gone and not worker.has_died():
                        hand_out(worker)
                        continue
                    busy.remove(worker)
                    if not worker.gone:
                        self._idle.append(worker)

                if time.monotonic() >= next_tick:
                    on_event(Event("tick"))
                    next_tick = time.monotonic() + _TICK_SECONDS
        finally:
            for worker in busy:  # none, unless an exception is under way
                worker.kill()
            for worker in busy:
                worker.reap()

    def _free_worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if not worker.has_died():
                return worker
            worker.reap()
        with _birth():
            return _Worker()


def run_pool(
    jobs: Iterable[tuple[str, Any]],
    work: Work,
    *,
    workers: int,
    on_event: Callable[[Event], None],
) -> None:
    """:meth:`Pool.run` in a pool of its own."""
    with Pool() as pool:
        pool.run(jobs, work, workers=workers, on_event=on_event)


class _Waiting:
    """The jobs that nobody has yet, of which no more are made than one at a time; true while there are any."""

    def __init__(self, jobs: Iterable[tuple[str, Any]]) -> None:
        self._jobs = iter(jobs)
        self._next = next(self._jobs, None)

    def __bool__(self) -> bool:
        return self._next is not None

    def take(self) -> tuple[str, Any]:
        job, self._next = self._next, next(self._jobs, None)
        assert job is not None
        return job


class _Worker:
    """The parent's end of one worker process, and the job it has, by its key."""

    job: tuple[str, tuple[Work, Any]]

    def __init__(self) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        # The fork server has the environment of the moment at which it began.
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, dict(os.environ)), name="grokkit worker")
        self._jobs_given = self._jobs_taken = 0
        self.gone = False
        # With our copy of its end closed, the worker's death is an end of file for us.
        with theirs:
            self._process.start()

    def has_died(self) -> bool:
        """Whether the process has ended. Its pipe may not say so: a process it has forked keeps that open."""
        return not self._process.is_alive()

    def take(self, key: str, job: tuple[Work, Any]) -> None:
        self.job = key, job
        self._jobs_given += 1
        # It may die at this very moment: `next_event` says so.
        with suppress(OSError):
            self.pipe.send(job)

    def next_event(self) -> Event | None:
        """The next message or, after the last one that a dead worker sent, its end; None if it has taken its job."""
        key, _ = self.job
        with suppress(EOFError, OSError):
            if self.pipe.poll():
                kind, payload = self.pipe.recv()
                if kind == _TAKEN:
                    self._jobs_taken += 1
                    return None
                return Event(kind, key, payload)
        return Event("failed", key, Failure(_cause_of_death(self.reap())))

    def died_idle(self) -> bool:
        """Whether it ended after a job and before the next one, which it has not begun.

        One that ends before its first job may do so whenever it begins, as may all that follow it.
        """
        return self.gone and 0 < self._jobs_taken < self._jobs_given

    def retire(self) -> None:
        """Let it end by itself: there is nothing more to do."""
        self.pipe.close()

    def kill(self) -> None:
        if not self.gone:
            self._process.kill()

    def reap(self) -> int | None:
        """Wait for its end, and leave neither a zombie nor an open file. Gives the exit code."""
        if self.gone:
            return None
        self.pipe.close()
        self._process.join(_GRACE_SECONDS)
        self._process.kill()  # nothing happens to a process that has ended
        self._process.join()
        code = self._process.exitcode
        self._process.close()
        self.gone = True
        return code


@contextmanager
def _birth() -> Iterator[None]:
    """What a worker started here inherits, one thread and SIGINT blocked, and no Ctrl-C before it is complete.

    Ctrl-C goes to every process of the terminal, and a worker that is still importing would answer with a
    traceback, as would one whose parent was interrupted while telling it what to import. Blocking SIGINT is
    not enough for the parent: another of its threads may receive it on behalf of the main one.
    """
    # Else `multiprocessing` does so with the first worker, and unblocks SIGINT on the way.
    resource_tracker.ensure_running()
    interrupts: list[int] = []
    here = threading.current_thread() is threading.main_thread()  # the only one that is ever interrupted
    handler = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number)) if here else None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    environment = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    # A worker would run the script anew that is running here. It needs nothing of it: work is in modules of ours, and
    # what somebody's script defines is carried by the registry. So a script needs no ``if __name__ == "__main__":``.
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if here:
            signal.signal(signal.SIGINT, handler)
        if interrupts:
            signal.raise_signal(signal.SIGINT)


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        name = {int(number): number.name for number in signal.Signals}.get(-code, f"signal {-code}")
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its worker process was killed by {name}{hint}"
    return f"its worker process ended with exit code {code}"


def _serve(pipe: Connection, environment: Mapping[str, str]) -> None:
    """A worker's life: do the jobs that come through ``pipe`` until the parent closes it."""
    os.environ.clear()
    os.environ.update(environment)
    with suppress(OSError):  # What somebody's code prints is not what a command gives to a pipe.
        os.dup2(2, 1)
    # Whether Ctrl-C ends this worker is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    with suppress(EOFError, OSError):  # only the pipe's: `_do` keeps the job's own
        while True:
            job = pipe.recv_bytes()
            pipe.send((_TAKEN, None))
            pipe.send(_do(job, lambda progress: pipe.send(("progress", progress))))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(job: bytes, report: Callable[[Any], None]) -> tuple[str, Failure | None]:
    def unpickled(_: None, report: Callable[[Any], None]) -> None:
        # Unpickled here and not by the pipe: a function that cannot be imported is this job's failure.
        work, payload = pickle.loads(job)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        work(payload, report)

    return carry_out(unpickled, None, report)


def carry_out(work: Work, payload: Any, report: Callable[[Any], None]) -> tuple[str, Failure | None]:
    """Call ``work``; gives the kind and the payload of the event that its end is."""
    try:
        work(payload, report)
    except BaseException as error:  # SystemExit, too, is the job's and not the worker's
        return "failed", Failure.of(error)
    return "finished", None
