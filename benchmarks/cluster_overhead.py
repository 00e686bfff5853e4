"""What a run costs beside its training, on processes and on a Ray cluster of several nodes of this machine, in seconds.

    python benchmarks/cluster_overhead.py [nodes] [runs]    # writes docs/results/cluster.json; then docs/build.py

A run of ten steps is next to nothing but overhead. The time to the first is starting and comparing; the rest is for
each further run: the task, its letters, writing it. Nodes have one processor each. Then what it takes to bring a file
of 100 MB, such as a large checkpoint, from a node to the driver.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from grokkit.files import atomic_write
from grokkit.study.execute import execute
from grokkit.study.machines import machines
from grokkit.study.question import Question
from grokkit.study.ray_node import Desk, Letter, Pieces, cut
from grokkit.study.store import Store
from grokkit.train.config import RunConfig
from grokkit.train.record import provenance

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
MEGABYTES = 100
TARGET = Path(__file__).parent.parent / "docs" / "results" / "cluster.json"


def seconds(on: str, runs: Sequence[RunConfig], workers: int) -> tuple[float, float]:
    """Until the first run has ended, and for each after that."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store, began = Store(Path(folder)), time.monotonic()
        with store.lock(), machines(on, workers, runs, store.folder) as executor:
            failures = execute(
                runs,
                store,
                set(),
                on=executor,
                on_event=lambda event: ends.append(time.monotonic()) if event.kind == "finished" else None,
            )
    assert not failures
    return ends[0] - began, (ends[-1] - ends[0]) / (len(ends) - 1)


def bring_a_file(address: str) -> float:
    """Megabytes a second from an actor's messages into a file here."""
    ray.init(address, log_to_driver=False)
    desk = ray.remote(Desk).options(num_cpus=0).remote()

    @ray.remote(num_cpus=1)
    def send(desk: object) -> None:
        receipts = [desk.post.remote(Letter("a", 0, "file", piece)) for piece in cut("file", bytes(MEGABYTES * 10**6))]
        ray.get(receipts[-1])

    ray.get(desk.collect.remote())
    with tempfile.TemporaryDirectory() as folder:
        began, sent, arriving = time.monotonic(), send.remote(desk), Pieces(Path(folder))
        while not Path(folder, "file").exists():
            for letter in ray.get(desk.collect.remote()):
                arriving.take(letter.payload)
        ray.get(sent)
        taken = time.monotonic() - began
    ray.shutdown()
    return MEGABYTES / taken


def main(nodes: int = 3, runs: int = 60) -> None:
    options = {"methods": ["adamw"], "seeds": runs, "budget": 10, "model": "fnn(width=16,dim=8,depth=2)"}
    planned = Question(task="add:11", **options).plan().runs
    origin, rows = provenance(), []

    def measure(name: str, on: str) -> None:
        first, each = seconds(on, planned, nodes)
        rows.append({"on": name, "first": first, "each": each, "load_average": os.getloadavg()[0]})
        print(f"{name}: {first:.1f} s to the first of {runs} runs, {each:.3f} s for each further")

    measure(f"{nodes} processes", "local")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    try:
        measure(f"Ray, {nodes} nodes", f"ray:{cluster.address}")
        rate = bring_a_file(cluster.address)
        print(f"a file of {MEGABYTES} MB from a node: {rate:.0f} MB/s")
    finally:
        cluster.shutdown()
    about = {**{name: origin[name] for name in ("processor", "torch")}, "ray": ray.__version__, "cores": os.cpu_count()}
    content = {**about, "nodes": nodes, "runs": runs, "megabytes_per_second": rate, "rows": rows}
    atomic_write(TARGET, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
