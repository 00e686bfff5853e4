"""A study on the machines of a Ray cluster. This process is the driver: it alone decides and writes the store.

A run, or a group of them, is one task of Ray's, which never repeats it: whether and from where it is tried again is
decided here, from the checkpoint that has come back last. See :mod:`grokkit.study.ray_node` for the other side.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import ray
from ray import exceptions
from ray._private import worker
from ray._private.services import canonicalize_bootstrap_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from grokkit.errors import InputError
from grokkit.study import ray_node
from grokkit.study.machines import DoJob
from grokkit.study.pool import ONE_THREAD, Event, Failure, cores
from grokkit.study.ray_node import Desk, Instructions, Letter, Pieces, cut, loan, versions
from grokkit.study.travel import NAME, given_parts, luggage, pack
from grokkit.study.work import Job
from grokkit.train.config import RunConfig
from grokkit.train.groups import choose_device

_POLL_SECONDS = 0.2
_CONNECT_SECONDS = 4.0  # for each of the two questions whether a cluster is there
_LOOK_AROUND_SECONDS = 180.0  # a busy node starts a Python and imports PyTorch
_QUEUED = 2  # attempts that wait in the cluster, so that no processor waits for the driver
_MOST_CRASHES = 2
_STORE_BYTES = 100 * 2**20  # of a Ray of our own, which needs next to none; Ray asks for 75 MiB at least


def check_address(address: str) -> None:
    """Refuse an address with no cluster.

    Raises:
        InputError: within ten seconds.
    """
    try:
        place = canonicalize_bootstrap_address("auto") if address == "auto" else address.removeprefix("ray://")
    except ConnectionError:
        raise InputError(
            "--on ray:auto finds no Ray cluster on this machine; start one with `ray start --head`, or take --on ray"
        ) from None
    host, _, port = str(place).rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(
            f"--on ray:{address} is not possible: auto, HOST:PORT or ray://HOST:PORT, e.g. ray:10.0.0.1:6379"
        )
    try:
        # TCP first, which says at once what Ray would find out in minutes.
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        if "RAY_USE_TLS" not in os.environ:
            with grpc.insecure_channel(str(place)) as channel:
                grpc.channel_ready_future(channel).result(timeout=_CONNECT_SECONDS)
    except (OSError, OverflowError, grpc.FutureTimeoutError) as error:
        what = getattr(error, "strerror", None) or "something else answers" * isinstance(error, grpc.FutureTimeoutError)
        raise InputError(
            f"there is no Ray cluster at {place} ({what or error}); start one with `ray start --head`, "
            "or give the address that it printed"
        ) from None


@contextmanager
def cluster(address: str, jobs: int | None, runs: Sequence[RunConfig], folder: Path) -> Iterator[RayCluster]:
    """The cluster at ``address``, or one of our own for an empty one; see :func:`grokkit.study.machines.machines`."""
    if ray.is_initialized():
        raise InputError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    bag = luggage(runs, travels=bool(address))
    environment: dict[str, Any] = {"env_vars": dict(ONE_THREAD)}
    with tempfile.TemporaryDirectory(prefix="grokkit-") as temporary:
        if bag.places:
            environment["py_modules"] = [str(Path(temporary, NAME))]
            pack(bag, Path(temporary, NAME), folder)
        try:
            _connect(address, jobs, environment)
            executor = RayCluster(jobs, Instructions(versions(), bag))
            executor.look_around(runs)
            yield executor
        except exceptions.RayError as error:
            raise InputError(
                f"the Ray cluster is lost ({_line(error)}); what is done is kept, the same command goes on from there"
            ) from error
        finally:
            ray.shutdown()


def _connect(address: str, jobs: int | None, environment: dict[str, Any]) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    # Ray prints the log of every node that is lost, whatever it was told; that it is lost is said by us, in one line.
    worker.print_to_stdstream = lambda *_, **__: None
    where: dict[str, Any] = {"address": address}
    if not address:
        own = {"num_cpus": jobs or cores(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        where = {"address": "local", **own}
    try:
        ray.init(**where, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, exceptions.RayError) as error:
        token = (
            "; if it asks for a token, set RAY_AUTH_MODE=token and bring its ~/.ray/auth_token here" if address else ""
        )
        raise InputError(f"cannot use the Ray cluster {address or 'of our own'}: {_line(error)}{token}") from error


class RayCluster:
    """An :class:`grokkit.study.machines.Executor`."""

    def __init__(self, jobs: int | None, instructions: Instructions) -> None:
        self.instructions = instructions
        self.desk = self._on(ray.get_runtime_context().get_node_id(), Desk, max_restarts=-1, max_task_retries=-1)()
        self.other_versions: set[str] = set()  # ids of nodes
        self._jobs = jobs
        self._lent: set[str] = set()

    def device(self, asked: str) -> str:
        return choose_device(asked, there_is_one=ray.cluster_resources().get("GPU", 0) >= 1)

    def at_once(self, device: str) -> int:
        there = ray.cluster_resources().get("CPU" if device == "cpu" else "GPU", 0)
        return max(1, min(int(there), self._jobs or int(there)))

    def room(self, device: str) -> int:
        """How many attempts may be in the cluster's hands."""
        return self._jobs or self.at_once(device) + _QUEUED

    def run(
        self, jobs: Iterable[tuple[str, Job]], work: DoJob, *, device: str, on_event: Callable[[Event], None]
    ) -> None:
        _Round(self, list(jobs), work, on_event).run()

    def look_around(self, runs: Sequence[RunConfig]) -> None:
        """Refuse a cluster of which a node has other versions than this machine, or cannot do ``runs``."""
        parts = self.lend_parts(given_parts(runs))
        # One of each method on each task, whatever its seed.
        arms = {run.model_copy(update={"seed": 0}).hash(): run for run in reversed(runs)}
        samples = [run.model_dump() for run in arms.values()]
        for name, answer in self._ask(ray_node.look_around, self.desk, parts, samples, self.instructions):
            if answer:
                raise InputError(f"the Ray node {name} {answer}")

    def _ask(self, question: Callable[..., str], *about: Any) -> Iterator[tuple[str, str]]:
        """Names of all nodes that may get work, with their answers; a node that is gone gives none."""
        here = ray.get_runtime_context().get_node_id()
        nodes = [node for node in ray.nodes() if node["Alive"]]
        nodes = [node for node in nodes if node["Resources"].get("CPU") or node["NodeID"] == here]
        asked = [(node_name(node), self._on(node["NodeID"], question)(*about)) for node in nodes]
        until = time.monotonic() + _LOOK_AROUND_SECONDS
        for name, answer in asked:
            try:
                yield name, ray.get(answer, timeout=max(0.0, until - time.monotonic()))
            except exceptions.GetTimeoutError:
                yield name, f"does not answer within {_LOOK_AROUND_SECONDS:.0f} seconds"
            except (exceptions.NodeDiedError, exceptions.TaskUnschedulableError):
                continue
            except exceptions.RayError as error:
                ours = self.instructions.versions["grokkit"]
                yield name, f"cannot run grokkit: {_line(error)}; install grokkit[lab,ray] there, {ours} as here"

    def lend_parts(self, parts: bytes) -> str:
        """Lay what the registry carries on the desk; gives the name that it has there."""
        name = hashlib.sha256(parts).hexdigest() if parts else ""
        if name and name not in self._lent:
            for piece in cut("parts", parts):
                ray.get(self.desk.lend.remote(name, piece))
            self._lent.add(name)
        return name

    def is_alive(self, node: str) -> ray.ObjectRef:
        """The answer comes from the node itself; an error says that it is gone."""
        return self._on(node, ray_node.is_alive)()

    @staticmethod
    def _on(node: str, what: Any, **options: Any) -> Callable[..., Any]:
        """``what`` on that node and no other, beside the runs there."""
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        more = options if isinstance(what, type) else {"max_retries": 0, **options}
        return ray.remote(what).options(num_cpus=0, scheduling_strategy=there, **more).remote


@dataclass
class _Attempt:
    """A job that the cluster has. ``job`` is None once all its members have failed."""

    key: str
    number: int
    job: Job | None
    arriving: Pieces
    node: str = ""


class _Round:
    """One call of :meth:`RayCluster.run`."""

    def __init__(
        self,
        cluster: RayCluster,
        jobs: Sequence[tuple[str, Job]],
        work: DoJob,
        on_event: Callable[[Event], None],
    ) -> None:
        self._cluster, self._work, self._on_event = cluster, work, on_event
        self._waiting = deque(jobs)
        self._numbers = itertools.count()
        self._attempts: dict[str, _Attempt] = {}  # by the job's key: the only one that is listened to
        self._running: dict[ray.ObjectRef, _Attempt] = {}
        self._questioned: dict[ray.ObjectRef, tuple[_Attempt, str]] = {}
        self._crashes: Counter[str] = Counter()
        self._names: dict[str, str] = {}

    def run(self) -> None:
        next_tick = time.monotonic()
        while self._waiting or self._running or self._questioned:
            while self._waiting and len(self._running) < self._cluster.room(self._waiting[0][1].device):
                self._begin(*self._waiting.popleft())
            ended, _ = ray.wait([*self._running, *self._questioned], timeout=_POLL_SECONDS, fetch_local=False)
            self._read_letters()  # what an attempt has sent is here before its end is
            for ref in ended:
                if ref in self._running:
                    self._end(ref)
                else:
                    self._answer(ref)
            if time.monotonic() >= next_tick:
                self._on_event(Event("tick"))
                next_tick = time.monotonic() + _POLL_SECONDS

    def _begin(self, key: str, job: Job) -> None:
        number, folder = next(self._numbers), Path(job.folder)
        self._attempts[key] = attempt = _Attempt(key, number, job, Pieces(folder))
        if job.checkpoint.exists():
            path = job.checkpoint.relative_to(folder).as_posix()
            loans = [
                self._cluster.desk.lend.remote(loan(key, number), piece)
                for piece in cut(path, job.checkpoint.read_bytes())
            ]
            ray.get(loans[-1])  # the attempt asks for them as soon as it has begun
        parts = self._cluster.lend_parts(job.parts)
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": int(job.device != "cpu"), "max_retries": 0, "name": key}
        if others := ",".join(sorted(self._cluster.other_versions)):
            options["label_selector"] = {"ray.io/node-id": f"!in({others})"}
        ref = (
            ray.remote(ray_node.attempt)
            .options(**options)
            .remote(
                self._cluster.desk,
                key,
                number,
                replace(job, parts=b""),
                self._work,
                parts,
                self._cluster.instructions,
            )
        )
        self._running[ref] = attempt

    def _read_letters(self) -> None:
        while letters := ray.get(self._cluster.desk.collect.remote()):
            for letter in letters:
                attempt = self._attempts.get(letter.key)
                if attempt is not None and attempt.number == letter.attempt:  # not of one that was given up
                    self._read(attempt, letter)

    def _read(self, attempt: _Attempt, letter: Letter) -> None:
        if letter.kind == "started":
            attempt.node = letter.payload
            self._on_event(Event("started", attempt.key, self._name(attempt.node)))
        elif letter.kind == "file":
            try:
                attempt.arriving.take(letter.payload)
            except OSError as error:  # where the disk is full, this ends the study
                self._over(attempt, "failed", Failure.of(error))
        else:
            attempt.job = attempt.job and attempt.job.after(letter.payload)
            self._on_event(Event("progress", attempt.key, letter.payload))

    def _end(self, ref: ray.ObjectRef) -> None:
        attempt = self._running.pop(ref)
        if self._attempts.get(attempt.key) is not attempt:
            return
        try:
            kind, payload = ray.get(ref)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            cause = "memory was short" if isinstance(error, exceptions.OutOfMemoryError) else "it died"
            if attempt.node:
                self._questioned[self._cluster.is_alive(attempt.node)] = attempt, cause
            else:
                self._crashed(attempt, cause)
        except (exceptions.RayTaskError, exceptions.RuntimeEnvSetupError) as error:  # it could not even begin
            self._over(attempt, "failed", Failure(_line(error), str(error)))
        except exceptions.RayError as error:
            gone = isinstance(error, exceptions.NodeDiedError)
            self._again(attempt, f"node {self._name(attempt.node)} is gone" if gone else _line(error))
        else:
            if kind == "refused":
                self._cluster.other_versions.add(attempt.node)
                self._again(attempt, f"node {self._name(attempt.node)} {payload}")
            elif kind == "finished" and attempt.job is not None and attempt.job.left() is not None:
                self._crashed(attempt, "what it sent was lost")
            else:
                self._over(attempt, kind, payload)

    def _answer(self, ref: ray.ObjectRef) -> None:
        """Whether a node still lives of which a worker has died."""
        attempt, cause = self._questioned.pop(ref)
        try:
            ray.get(ref)
        except exceptions.RayError:
            self._again(attempt, f"node {self._name(attempt.node)} is gone")
        else:
            self._crashed(attempt, cause)

    def _crashed(self, attempt: _Attempt, cause: str) -> None:
        self._crashes[attempt.key] += 1
        where = self._name(attempt.node)
        if self._crashes[attempt.key] < _MOST_CRASHES:
            self._again(attempt, f"its worker process on node {where} ended ({cause})")
        else:
            line = f"its worker process ended {_MOST_CRASHES} times, the last time on node {where} ({cause})"
            self._over(attempt, "failed", Failure(line))

    def _again(self, attempt: _Attempt, why: str) -> None:
        """The job waits again, in front, if anything is left of it."""
        left = attempt.job and attempt.job.left()
        if left is None:
            self._over(attempt, "finished", None)
            return
        del self._attempts[attempt.key]
        self._cluster.desk.forget.remote(loan(attempt.key, attempt.number))  # it may not have come to fetching it
        self._on_event(Event("lost", attempt.key, why))
        self._waiting.appendleft((attempt.key, left))

    def _over(self, attempt: _Attempt, kind: Any, payload: Any) -> None:
        del self._attempts[attempt.key]
        self._on_event(Event(kind, attempt.key, payload))

    def _name(self, node: str) -> str:
        if node not in self._names:
            self._names |= {about["NodeID"]: node_name(about) for about in ray.nodes()}
        return self._names.get(node, "unknown")


def node_name(about: dict[str, Any]) -> str:
    """Its address, and the beginning of its id, since a machine may have several."""
    return f"{about['NodeManagerAddress']}/{about['NodeID'][:6]}"


def _line(error: BaseException) -> str:
    """The error's line that says something; in Ray's the last is the cause, and where the first ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    return lines[-1] if isinstance(error, exceptions.RayTaskError) or lines[0].endswith(":") else lines[0]
