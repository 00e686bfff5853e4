"""Real Ray clusters of two and three nodes on this machine, and everything that can happen to them."""

from __future__ import annotations

import dataclasses
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import grokkit
from grokkit import lab
from grokkit.errors import InputError
from grokkit.study.execute import execute
from grokkit.study.extend import extended
from grokkit.study.machines import check_machines, machines
from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.work import _keep
from grokkit.train.limit import Limit
from grokkit.train.loop import train

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.update(RAY_worker_niceness="0")  # else whatever else this machine does comes before them
os.environ.update(RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S="180")  # a busy machine starts a Python in more than 30
ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

# Ray warns of what it will do one day, and leaves files of its logs to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

# What two runs of the same configuration need not share.
MEASURED = pl.selectors.contains("seconds", "memory", "provenance")

# A problem of somebody's own whose steps take a while, and which is saved often. It marks the workers of Ray that train
# it; a plan takes a step, too, of which FLOPs are counted, where the command runs.
SLOW = """
import functools, os, time
from pathlib import Path
import torch
from torch import nn
from grokkit.lab import Problem
from grokkit.study import work
from grokkit.train import loop
from words import WORDS

work.train = functools.partial(loop.train, checkpoint_seconds=0.3)
work.train_group = functools.partial(loop.train_group, checkpoint_seconds=0.3)

def loss(outputs, targets):
    time.sleep(0.01)
    if torch.is_grad_enabled() and "RAY_RAYLET_PID" in os.environ:
        Path(MARKS, str(os.getpid())).touch()
    return nn.functional.cross_entropy(outputs, targets)

def problem(width=8):
    inputs = torch.arange(64).float().reshape(64, 1) / 64
    rest = torch.tensor([len(word) for word in WORDS * 16][:64]) % 2
    model = lambda: nn.Sequential(nn.Linear(1, width), nn.Linear(width, 2))
    score = lambda outputs, targets: outputs.argmax(1) == targets
    return Problem(name="slow", data=(inputs, rest), model=model, loss=loss, score=score, batch_size=8)
"""

DEADLY = """
import os
from grokkit import MethodCard, GradientTransform

def deadly():
    def update(grads, state, params):
        os._exit(7)
    return GradientTransform(lambda params: None, update)

CARD = MethodCard(name="deadly", factory=deadly, base={"optimizer": "sgd", "lr": 0.1})
"""


@contextmanager
def a_cluster(**head):
    started = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False, **head},
    )
    try:
        yield started
    finally:
        with suppress(Exception):
            ray.shutdown()
        started.shutdown()
        gc.collect()  # here, where such a file is no error, and not in the middle of another module's tests


def another_node(cluster):
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


@pytest.fixture(scope="module")
def cluster():
    with a_cluster() as started:
        yield started


@pytest.fixture
def node(cluster):
    node = another_node(cluster)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture
def problem(tmp_path, monkeypatch):
    """The folder of somebody who has a problem, a helper, a method and a virtual environment in it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "marks").mkdir()
    (folder / "slow.py").write_text(SLOW.replace("MARKS", repr(str(tmp_path / "marks"))))
    (folder / "words.py").write_text("WORDS = ['a', 'be', 'sea', 'deep']\n")
    (folder / "deadly.py").write_text(DEADLY)
    monkeypatch.chdir(folder)
    return "slow.py:problem"


def plan_of(task="add:11", methods=("adamw", "grokfast-ema"), seeds=2, budget=60, **options):
    return Question(task=task, methods=list(methods), seeds=seeds, budget=budget, **options).plan("test")


def carry_out(plan, folder, on="local", hook=lambda event: None, jobs=None, **how):
    """Events in order, and failures. A local study has two workers."""
    events, store = [], Store(folder)
    plan = extended(plan, None, {}, folder)

    def on_event(event):
        if event.kind != "tick":
            events.append(event)
        hook(event)

    done = store.finished()
    with store.lock(), machines(on, jobs or (2 if on == "local" else None), plan.runs, folder) as executor:
        store.write_study(plan.study)
        failures = execute(plan.runs, store, done, on=executor, on_event=on_event, **how)
    return events, failures


def assert_same_study(one, other):
    """Equal in every column that is not measured time, memory or provenance: runs, curves, and the leaderboard."""
    for folder in (one, other):
        assert not list(Path(folder).rglob("*.tmp"))
    first, second = lab.Study(Path(one)), lab.Study(Path(other))
    for table in ("runs", "curves", "leaderboard"):
        a, b = (pl.DataFrame(getattr(study, table)) for study in (first, second))
        assert_frame_equal(a.drop(MEASURED), b.drop(MEASURED), check_exact=True)


def of_kind(events, kind):
    return [event.key for event in events if event.kind == kind]


def checkpoints(folder):
    return list(Path(folder).rglob("checkpoint.safetensors"))


# ---------------------------------------------------------------------------------------------------------------------
# Before anything runs


@pytest.mark.parametrize("on", ["rays", "ray:", "ray:nowhere", "ray:host:port", 7, "local:4"])
def test_a_wrong_word_is_refused_in_one_line(on):
    with pytest.raises(InputError, match="is not possible") as refused:
        check_machines(on)
    assert "\n" not in str(refused.value)


def test_an_address_with_no_cluster_is_refused_within_ten_seconds():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()  # and never answers
        silent = other.getsockname()[1]
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        for on in (f"ray:127.0.0.1:{port}", f"ray:ray://127.0.0.1:{port}", f"ray://127.0.0.1:{silent}"):
            began = time.monotonic()
            with pytest.raises(InputError, match="there is no Ray cluster at 127.0.0.1") as refused:
                check_machines(on)
            assert time.monotonic() - began < 10
            assert "\n" not in str(refused.value)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "grokkit.study.ray", raising=False)
    with pytest.raises(InputError, match=r"ray is not installed; install it with: pip install 'grokkit\[ray\]'"):
        check_machines("ray")


def test_a_study_that_is_done_needs_no_cluster(tmp_path):
    with socket.socket() as listening:
        options = {"methods": ["adamw"], "seeds": 1, "budget": 20, "out": tmp_path, "quiet": True}
        lab.compare("add:11", **options)
        listening.bind(("127.0.0.1", 0))
        assert lab.compare("add:11", on="ray", **options).runs.height == 1


# ---------------------------------------------------------------------------------------------------------------------
# A cluster of two nodes


def test_a_run_that_had_been_given_up_and_has_gone_on_elsewhere_leaves_no_old_table(tmp_path):
    asked = Question(task="add:11", methods=["adamw"], seeds=1, budget=20, every=5, model="fnn(dim=4,width=8)")
    run = asked.plan().runs[0]
    given_up, whole = train(run, limit=Limit("steps", 5)), train(run)
    given_up = dataclasses.replace(given_up, tables={**given_up.tables, "digits": {"row": [1]}})
    _keep(Store(tmp_path / "driver"), given_up)
    _keep(Store(tmp_path / "node"), whole)
    from grokkit.study.ray_node import Piece, Pieces, cut

    arriving, node = Pieces(tmp_path / "driver"), tmp_path / "node"
    files = sorted(path.relative_to(node).as_posix() for path in node.rglob("*") if path.is_file())
    (record,) = (name for name in files if name.endswith("run.json"))
    arriving.take(Piece(record, 0, b"", None))
    for name in [*(name for name in files if name != record), record]:
        for piece in cut(name, (node / name).read_bytes()):
            arriving.take(piece)
    assert Store(tmp_path / "driver").record(run.run_id())["status"] != "given up"


@pytest.mark.long
def test_a_node_killed_in_the_middle_of_its_runs_costs_nothing(cluster, node, problem, tmp_path):
    plan = plan_of(problem, budget=150)
    carry_out(plan, tmp_path / "local")
    where, killed = {}, {}

    def kill_the_node(event):
        if event.kind == "started":
            where[event.key] = event.payload
        if killed or event.kind != "progress" or node.node_id[:6] not in where[event.key]:
            return
        if event.payload["step"] >= 60 and Store(tmp_path / "ray").checkpoint_path(event.key).exists():
            killed[event.key] = event.payload["step"]
            cluster.remove_node(node, allow_graceful=False)

    events, failures = carry_out(plan, tmp_path / "ray", f"ray:{cluster.address}", kill_the_node)
    assert failures == {}
    (run_id,) = killed
    lost = of_kind(events, "lost")
    assert run_id in lost  # and perhaps another that was about to begin there
    assert len(lost) == len(set(lost))
    assert sorted(of_kind(events, "finished")) == sorted(run.run_id() for run in plan.runs)
    after = events[[event.key if event.kind == "lost" else "" for event in events].index(run_id) :]
    steps = [event.payload["step"] for event in after if event.kind == "progress" and event.key == run_id]
    assert steps[0] > 0  # it went on from its checkpoint
    assert_same_study(tmp_path / "local", tmp_path / "ray")
    assert checkpoints(tmp_path / "ray") == []
    assert not ray.is_initialized()


def test_a_worker_killed_once_goes_on_and_a_run_that_always_kills_its_worker_fails_alone(
    cluster, node, problem, tmp_path
):
    plan = plan_of(problem, ["adamw", "deadly.py:CARD"], budget=150)
    carry_out(plan_of(problem, ["adamw"], budget=150), tmp_path / "local")
    killed = []

    def kill_a_worker(event):
        if killed or event.kind != "progress" or not checkpoints(tmp_path / "ray"):
            return
        for mark in (tmp_path / "marks").iterdir():
            if time.time() - mark.stat().st_mtime < 0.2:
                killed.append(event.key)
                os.kill(int(mark.name), signal.SIGKILL)
                return

    events, failures = carry_out(plan, tmp_path / "ray", f"ray:{cluster.address}", kill_a_worker)
    adamw, deadly = (
        {run.run_id() for run in plan.runs if run.method.label == name} for name in ("adamw", "deadly.py:CARD")
    )
    assert killed
    assert set(failures) == deadly
    assert all("its worker process ended 2 times" in failure.error for failure in failures.values())
    lost = of_kind(events, "lost")
    assert all(lost.count(run_id) == 1 for run_id in deadly)
    assert len([run_id for run_id in lost if run_id in adamw]) == 1
    assert Store(tmp_path / "ray").finished() == adamw
    ours = lab.Study(tmp_path / "ray", ["adamw"]).runs.drop(MEASURED)
    assert_frame_equal(ours, lab.Study(tmp_path / "local").runs.drop(MEASURED), check_exact=True)


@pytest.mark.long
def test_a_node_with_other_code_is_refused_and_one_that_joins_later_gets_no_run(
    cluster, problem, tmp_path, monkeypatch
):
    package = Path(grokkit.__file__).parent
    shutil.copytree(package, tmp_path / "other" / "grokkit", ignore=shutil.ignore_patterns("__pycache__"))
    version = tmp_path / "other" / "grokkit" / "__init__.py"
    version.write_text(version.read_text().replace('__version__ = "', '__version__ = "0.0.'))

    def other_node():
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")]))
            return another_node(cluster)

    plan = plan_of(problem, ["adamw"], budget=150)
    carry_out(plan, tmp_path / "local")
    joined = []

    def join_late(event):
        if event.kind == "progress" and not joined:
            joined.append(other_node())

    try:
        events, failures = carry_out(plan, tmp_path / "ray", f"ray:{cluster.address}", join_late)
        assert failures == {}
        assert not any(joined[0].node_id[:6] in str(event.payload) for event in events if event.kind == "started")
        assert_same_study(tmp_path / "local", tmp_path / "ray")
        with pytest.raises(InputError, match=r"the Ray node .* has grokkit 0\.0\..*, and the machine that asks") as why:
            carry_out(plan, tmp_path / "refused", f"ray:{cluster.address}")
        assert "\n" not in str(why.value)
        assert not (tmp_path / "refused" / "runs").exists()
    finally:
        cluster.remove_node(joined[0])


@pytest.mark.long
def test_a_group_whose_node_is_killed_trains_its_finished_members_no_second_time(cluster, node, tmp_path):
    # One of the members diverges at once, the others take their time; all are in one program.
    methods = ["adamw(optimizer=sgd,lr=1e30,lr_warmup=0)", "adamw(optimizer=sgd,lr=0.1)"]
    plan = plan_of(methods=methods, seeds=1, budget=3000, model="fnn(width=16,dim=8,depth=2)")
    carry_out(plan, tmp_path / "local", batched=True)
    where = {}

    def kill_the_node(event):
        if event.kind == "started":
            where[event.key] = event.payload
        if event.kind == "finished" and node in cluster.worker_nodes and node.node_id[:6] in where[event.key]:
            cluster.remove_node(node, allow_graceful=False)

    for attempt in range(4):  # until the group has been given to the node that is killed
        folder = tmp_path / f"ray{attempt}"
        events, failures = carry_out(plan, folder, f"ray:{cluster.address}", kill_the_node, batched=True)
        assert failures == {}
        finished = of_kind(events, "finished")
        assert sorted(finished) == sorted(run.run_id() for run in plan.runs)
        assert_same_study(tmp_path / "local", folder)
        if lost := of_kind(events, "lost"):
            assert lost == finished[1:]
            break


# ---------------------------------------------------------------------------------------------------------------------
# What takes longer


def command(task, *options, env=None):
    """``grokkit compare`` in a process of its own, as from a terminal."""
    line = [sys.executable, "-m", "grokkit", "compare", task, "--methods", "adamw,grokfast-ema", "--seeds", "2"]
    return subprocess.Popen(
        [*line, *map(str, options)], env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_until(holds, seconds=120):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.1)


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.long
def test_a_driver_killed_and_started_again_goes_on(cluster, node, problem, tmp_path):
    plan = plan_of(problem, budget=150)
    carry_out(plan, tmp_path / "local")
    out, options = tmp_path / "ray", ("--budget", 150, "--out", tmp_path / "ray", "--on", f"ray:{cluster.address}")
    driver = command(problem, *options)
    wait_until(lambda: Store(out).finished() and checkpoints(out))
    driver.kill()
    driver.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    saved = {path.parent.name for path in checkpoints(out)}
    assert done
    wait_until(lambda: all(is_gone(mark.name) for mark in (tmp_path / "marks").iterdir()))  # Ray ends its workers
    events, failures = carry_out(plan, out, f"ray:{cluster.address}")
    assert failures == {}
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert set(of_kind(events, "finished")) == {run.run_id() for run in plan.runs} - {path.parent.name for path in done}
    for run_id in saved:
        assert next(e.payload["step"] for e in events if e.kind == "progress" and e.key == run_id) > 0
    assert_same_study(tmp_path / "local", out)


@pytest.mark.long
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_ray_of_our_own_leaves_nothing_behind(is_killed, problem, tmp_path):
    short = tempfile.mkdtemp(prefix="r", dir="/tmp")  # sockets have short names
    try:
        options = ("--budget", 30, "--out", tmp_path / "ray", "--on", "ray")
        driver = command(problem, *options, env={"RAY_TMPDIR": short})

        def left():
            lines = ((path, path.read_bytes()) for path in Path("/proc").glob("[0-9]*/cmdline"))
            with suppress(OSError):
                return [path.parent.name for path, line in lines if f"{short}/".encode() in line]
            return ["unknown"]

        if is_killed:
            wait_until(lambda: any((tmp_path / "marks").iterdir()))
            assert left()
            driver.kill()
        printed, _ = driver.communicate()
        assert is_killed or driver.returncode == 0, printed
        wait_until(lambda: not left(), 60)
    finally:
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.long
def test_a_full_object_store_stops_nothing(problem, tmp_path):
    plan = plan_of(f"{problem}(width=40000)", ["adamw"], budget=60)  # whose checkpoints have a megabyte
    carry_out(plan, tmp_path / "local")
    filler = """
import sys, time, numpy, ray
ray.init(sys.argv[1], log_to_driver=False)
kept = []
for size in [2**23] * 12 + [2**20] * 8 + [2**17] * 16:
    try:
        kept.append(ray.put(numpy.zeros(size, dtype=numpy.uint8)))
    except ray.exceptions.ObjectStoreFullError:
        pass
print("full", flush=True)
time.sleep(600)
"""
    with a_cluster(_system_config={"automatic_object_spilling_enabled": False}, num_cpus=2) as full:
        line = [sys.executable, "-W", "ignore", "-c", filler, full.address]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
            assert other.stdout.readline() == b"full\n"
            arrived = []

            def watch(event):
                if event.kind == "progress":
                    arrived.extend(path.stat().st_size for path in checkpoints(tmp_path / "ray"))

            _, failures = carry_out(plan, tmp_path / "ray", f"ray:{full.address}", watch)
            other.kill()
    assert failures == {}
    assert max(arrived) > 2**20
    assert_same_study(tmp_path / "local", tmp_path / "ray")


@pytest.mark.long
def test_through_a_client_and_from_a_notebook(tmp_path):
    # Three times what goes inside a message of Ray's.
    data = (torch.arange(2 * 40_000).float().reshape(-1, 2) % 7, torch.arange(40_000) % 2)
    own = lab.Problem(
        name="here",
        version="1",
        data=data,
        model=partial(torch.nn.Linear, 2, 2),
        loss=torch.nn.functional.cross_entropy,
        target=0.1,
        batch_size=64,
    )
    options = {"methods": ["adamw"], "seeds": 2, "budget": 20, "quiet": True}
    lab.compare(own, out=tmp_path / "local", **options)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def listens():
        with socket.socket() as here:
            return here.connect_ex(("127.0.0.1", port)) == 0

    with a_cluster(ray_client_server_port=port):
        wait_until(listens)
        lab.compare(own, out=tmp_path / "ray", on=f"ray://127.0.0.1:{port}", **options)
    assert_same_study(tmp_path / "local", tmp_path / "ray")


@pytest.mark.long
def test_a_node_killed_in_the_middle_of_a_search_costs_nothing_and_the_winners_are_the_same(
    cluster, node, problem, tmp_path, monkeypatch
):
    options = {"trials": 3, "seeds": 1, "batch": 2, "budget": 150, "quiet": True}
    methods, where, killed, events = ["adamw", "grokfast-ema"], {}, {}, []

    def kill_the_node(event):
        if event.kind == "tick":
            return
        events.append(event)
        if event.kind == "started":
            where[event.key] = event.payload
            return
        if killed or event.kind != "progress" or node.node_id[:6] not in where[event.key]:
            return
        if event.payload["step"] >= 60 and Store(tmp_path / "ray").checkpoint_path(event.key).exists():
            killed[event.key] = event.payload["step"]
            cluster.remove_node(node, allow_graceful=False)

    def watched(*given, on_event, **how):
        return execute(*given, on_event=lambda event: (kill_the_node(event), on_event(event)), **how)

    here = lab.tune(problem, methods, out=tmp_path / "local", **options)
    monkeypatch.setattr("grokkit.lab.carry_out.execute", watched)
    there = lab.tune(problem, methods, out=tmp_path / "ray", on=f"ray:{cluster.address}", **options)
    (run_id,) = killed
    assert run_id in of_kind(events, "lost")
    finished = of_kind(events, "finished")
    assert len(finished) == len(set(finished)) == 6
    for name in methods:
        one, other = here["methods"][name], there["methods"][name]
        for trials in zip([one["best"], *one["trials"]], [other["best"], *other["trials"]], strict=True):
            mine, its = ({**trial, "spent": {**trial["spent"], "train_seconds": 0}} for trial in trials)
            assert mine == its
    for run in Store(tmp_path / "local").finished():
        ours, theirs = (Store(tmp_path / folder).load([run]) for folder in ("local", "ray"))
        for a, b in zip(ours, theirs, strict=True):
            assert_frame_equal(a.drop(MEASURED), b.drop(MEASURED), check_exact=True)
    assert Store(tmp_path / "local").finished() == Store(tmp_path / "ray").finished()
    # What was chosen is compared there as it is here.
    for folder, on in (("local", "local"), ("ray", f"ray:{cluster.address}")):
        lab.compare(
            problem, tuned=tmp_path / folder, seeds=1, budget=60, out=tmp_path / f"{folder}-2", on=on, quiet=True
        )
    assert_same_study(tmp_path / "local-2", tmp_path / "ray-2")
