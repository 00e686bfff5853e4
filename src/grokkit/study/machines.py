"""Where a study's runs are carried out: worker processes here, or the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from grokkit.errors import InputError, MissingExtraError, shown
from grokkit.study.pool import Event, Pool, cores, run_pool
from grokkit.study.work import Job
from grokkit.train.config import RunConfig
from grokkit.train.groups import choose_device

DoJob = Callable[[Job, Callable[[object], None]], None]
"""A function at the top level of a module, e.g. :func:`grokkit.study.work.train_and_keep`."""


class Executor(Protocol):
    """Carries jobs out. Whatever becomes of a job is told by events: none is lost, and none is told to end twice."""

    def device(self, asked: str) -> str:
        """``cpu`` or ``cuda:0`` for ``auto``, ``cpu`` or ``cuda``; an InputError for what there is not."""
        ...

    def at_once(self, device: str) -> int:
        """How many jobs run at once, as far as is known now."""
        ...

    def run(
        self, jobs: Iterable[tuple[str, Job]], work: DoJob, *, device: str, on_event: Callable[[Event], None]
    ) -> None:
        """Call ``work(job, report)`` for every ``(key, job)``, all of ``device``; see :func:`~.pool.run_pool`."""


class Processes:
    """Worker processes on this machine: so many on a CPU, and one for a GPU; those of ``pool``, which stay for the next
    call of :meth:`run`, or of a pool of each call's own."""

    def __init__(self, workers: int, pool: Pool | None = None) -> None:
        self._workers, self._run = workers, run_pool if pool is None else pool.run

    def device(self, asked: str) -> str:
        return choose_device(asked)

    def at_once(self, device: str) -> int:
        return self._workers if device == "cpu" else 1

    def run(
        self, jobs: Iterable[tuple[str, Job]], work: DoJob, *, device: str, on_event: Callable[[Event], None]
    ) -> None:
        self._run(jobs, work, workers=self.at_once(device), on_event=on_event)


def check_machines(on: str) -> None:
    """Refuse what cannot be, before any other work: a wrong word, Ray missing, no cluster at the address.

    Raises:
        InputError: in one line, within ten seconds.
    """
    if on == "local":
        return
    kind, address = _parts(on) if isinstance(on, str) else ("", "")
    if kind != "ray" or (on != "ray" and not address):
        raise InputError(f"--on {shown(on)} is not possible: local, ray, or ray:ADDRESS, e.g. ray:auto")
    try:
        from grokkit.study.ray import check_address
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "ray") from None
    if address:
        check_address(address)


@contextmanager
def machines(on: str, jobs: int | None, runs: Sequence[RunConfig], folder: Path) -> Iterator[Executor]:
    """The machines that ``--on`` names, ready for ``runs``; what was started for them ends with the context.

    Args:
        on: ``local``, ``ray`` for a Ray of this command's own, or ``ray:ADDRESS``; see :func:`check_machines`.
        jobs: runs at once; None for one a core.
        runs: what they will be asked to do; the code that these need travels to other machines.
        folder: the study's, which does not.

    Raises:
        InputError: if a machine has other versions than this one, or cannot do the runs.
    """
    if on == "local":
        with Pool() as pool:
            yield Processes(jobs or cores(), pool)
        return
    from grokkit.study.ray import cluster

    with cluster(_parts(on)[1], jobs, runs, folder) as executor:
        yield executor


def _parts(on: str) -> tuple[str, str]:
    """The word in front, and the address. A client's address begins with that word itself, and stands alone as well."""
    kind, _, address = on.partition(":")
    return kind, on if address.startswith("//") else address
