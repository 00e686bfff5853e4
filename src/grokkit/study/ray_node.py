"""What runs on the nodes of a Ray cluster: attempts at jobs, and the desk on the driver's node that letters go by.

A job writes into a folder of its own on its node, and what it writes there is sent to the driver by value, whole files,
the record of a run after all else of it. So the driver has every checkpoint and every finished run when the node is
lost, and no disk is shared. Letters are cut into pieces that travel inside Ray's messages and not in its object store:
that may be full, and an object there dies with the process that made it.
"""

from __future__ import annotations

import itertools
import pickle
import platform
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch

import grokkit
from grokkit.files import atomic_write
from grokkit.outside import digest_of_package, line_of
from grokkit.registry import carry
from grokkit.study.machines import DoJob
from grokkit.study.pool import Failure, carry_out
from grokkit.study.store import is_table
from grokkit.study.travel import Luggage
from grokkit.study.work import Job
from grokkit.train.config import RunConfig
from grokkit.train.problem import build_problem

PIECE_BYTES = 64 * 1024
"""Ray puts arguments and results from 100 KiB on into the object store."""

_MOST_TRACEBACK = 20_000  # characters of it, for the same reason


class Piece(NamedTuple):
    """A part of a file. ``path`` is within the study's folder; ``size`` is the whole file's, None if it is gone."""

    path: str
    start: int
    data: bytes
    size: int | None


class Letter(NamedTuple):
    """Something that an attempt has to tell: ``kind`` is that of an event, or "file" with a :class:`Piece`."""

    key: str
    attempt: int
    kind: str
    payload: Any


class Desk:
    """An actor on the driver's node: letters for the driver, and the files with which attempts begin."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._lent: dict[str, list[Piece]] = {}

    def post(self, letter: Letter) -> None:
        self._letters.append(letter)

    def collect(self) -> list[Letter]:
        """Some of the letters, in the order in which they came; none if there are no more."""
        found, size = [], 0
        while self._letters and size < PIECE_BYTES:
            found.append(self._letters.popleft())
            size += len(pickle.dumps(found[-1]))
        return found

    def lend(self, name: str, piece: Piece) -> None:
        self._lent.setdefault(name, []).append(piece)

    def lent(self, name: str, number: int) -> Piece | None:
        pieces = self._lent.get(name, [])
        return pieces[number] if number < len(pieces) else None

    def forget(self, name: str) -> None:
        self._lent.pop(name, None)


def loan(key: str, attempt: int) -> str:
    """The name under which the desk lends an attempt its checkpoint."""
    return f"{key} {attempt}"


class Pieces:
    """Files that arrive in pieces; a file is written once it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: dict[str, bytearray] = {}

    def take(self, piece: Piece) -> None:
        if piece.size is None:
            gone = self._folder / piece.path
            gone.unlink(missing_ok=True)
            if gone.name == "run.json":  # of a run that had been given up and has gone on: its tables are others now
                for table in filter(is_table, gone.parent.glob("*")):
                    table.unlink()
            return
        content = bytearray() if piece.start == 0 else self._parts.pop(piece.path, bytearray())
        if len(content) != piece.start:  # one before it was lost
            return
        content += piece.data
        if len(content) == piece.size:
            atomic_write(self._folder / piece.path, bytes(content))
        else:
            self._parts[piece.path] = content


def cut(path: str, data: bytes) -> list[Piece]:
    """A file in pieces; at least one."""
    starts = range(0, max(1, len(data)), PIECE_BYTES)
    return [Piece(path, start, data[start : start + PIECE_BYTES], len(data)) for start in starts]


def borrowed(desk: Any, name: str) -> Iterator[Piece]:
    """The pieces that the desk lends under this name."""
    for number in itertools.count():
        piece: Piece | None = ray.get(desk.lent.remote(name, number))  # pyright: ignore[reportAssignmentType]
        if piece is None:
            return
        yield piece


def versions() -> dict[str, str]:
    """What has to be equal on all machines, in words."""
    return {
        "grokkit": f"{grokkit.__version__} (code {digest_of_package('grokkit')})",
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }


@dataclass(frozen=True)
class Instructions:
    """What every attempt needs."""

    versions: Mapping[str, str]
    luggage: Luggage

    def refusal(self) -> str:
        """Why nothing can run in this process; empty if it can."""
        for name, version in versions().items():
            if version != self.versions[name]:
                return f"has {name} {version}, and the machine that asks has {self.versions[name]}; install the same"
        return ""


_CARRIED: set[str] = set()


def _carry(desk: Any, name: str) -> None:
    """Take over what the driver's registry was given; once, since a worker has many jobs."""
    if name and name not in _CARRIED:
        carry(b"".join(piece.data for piece in borrowed(desk, name)))
        _CARRIED.add(name)


def look_around(desk: Any, parts: str, runs: Sequence[Mapping[str, Any]], instructions: Instructions) -> str:
    """Why this node cannot do ``runs``; empty if it can. ``parts``: the name that the registry's parts are lent by."""
    if refusal := instructions.refusal():
        return refusal
    try:
        instructions.luggage.arrive()
        _carry(desk, parts)
        configs = [RunConfig(**run) for run in runs]
        build_problem(configs[0])
    except Exception as error:
        return f"cannot do the runs: {line_of(error)}"
    return ""


def attempt(
    desk: Any, key: str, number: int, job: Job, work: DoJob, parts: str, instructions: Instructions
) -> tuple[str, Any]:
    """Do ``job``, from the checkpoint that the desk lends; gives the kind and payload of its end.

    "refused" is one of them: this node joined later, and has other versions.
    """
    if refusal := instructions.refusal():
        return "refused", refusal
    instructions.luggage.arrive()
    torch.set_num_threads(1)

    def do(job: Job, report: Callable[[object], None]) -> None:
        _carry(desk, parts)
        outbox.begin()
        work(job, report)
        outbox.send_files()

    with tempfile.TemporaryDirectory(prefix="grokkit-") as folder:
        outbox = _Outbox(desk, key, number, Path(folder))
        outbox.post("started", ray.get_runtime_context().get_node_id())
        kind, failure = carry_out(do, replace(job, folder=folder), outbox.report)
    if failure is not None:  # without its cause: the disk of this node may be full, and no other's
        failure = Failure(failure.error, failure.traceback[-_MOST_TRACEBACK:])
    return kind, failure


def is_alive() -> bool:
    """Asked on a node whose worker has died: was it the worker, or the node?"""
    return True


class _Outbox:
    """Sends what a job reports and writes."""

    def __init__(self, desk: Any, key: str, attempt: int, folder: Path) -> None:
        self._desk, self._key, self._attempt, self._folder = desk, key, attempt, folder
        self._sent: dict[str, tuple[int, int]] = {}

    def post(self, kind: str, payload: Any) -> Any:
        return self._desk.post.remote(Letter(self._key, self._attempt, kind, payload))

    def begin(self) -> None:
        """Fetch the checkpoint, if there is one."""
        arriving, name = Pieces(self._folder), loan(self._key, self._attempt)
        for piece in borrowed(self._desk, name):
            arriving.take(piece)
        self._desk.forget.remote(name)
        self._sent = self._found()

    def report(self, payload: Any) -> None:
        self.send_files()  # first: "finished" of a group's member says that they are there
        self.post("progress", payload)

    def send_files(self) -> None:
        """Send what has changed, and wait until it has arrived."""
        found, receipt = self._found(), None
        # A record says that the run is complete, so it is the last here as it is in the store; the clocks of file
        # systems are too coarse to tell. One of a run that had been given up goes before its files are replaced.
        new = [path for path, stamp in found.items() if self._sent.get(path) != stamp]
        records = [path for path in new if path.endswith("/run.json")]
        for path in records:
            self.post("file", Piece(path, 0, b"", None))
        for path in [*(path for path in new if path not in records), *records]:
            for piece in cut(path, (self._folder / path).read_bytes()):
                receipt = self.post("file", piece)
        for path in self._sent.keys() - found.keys():
            receipt = self.post("file", Piece(path, 0, b"", None))
        self._sent = found
        if receipt is not None:
            ray.get(receipt)  # letters of one sender arrive in order, so this stands for all

    def _found(self) -> dict[str, tuple[int, int]]:
        """When each file was written, and its size; names with a dot in front are not complete."""
        stamps = {}
        for path in self._folder.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                about = path.stat()
                stamps[path.relative_to(self._folder).as_posix()] = (about.st_mtime_ns, about.st_size)
        return stamps
