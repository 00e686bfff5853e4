"""The protocol of recording and playing: n calls are n executions, whichever of them are recorded."""

import gc
from contextlib import contextmanager, nullcontext
from weakref import ref

import pytest
import torch

from grokkit.train import graph
from grokkit.train.graph import Graphed


class Device:
    """A CUDA device as far as streams and graphs go: what is called during a capture is recorded, not executed."""

    def __init__(self, monkeypatch):
        self.log = []
        self._recording = None
        self.side_streams = 0
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self.new_stream())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream(self.log, "main"))
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        monkeypatch.setattr(torch.cuda, "graph", self.capture)

    def new_stream(self):
        self.side_streams += 1
        return FakeStream(self.log, "side")

    @contextmanager
    def capture(self, captured, pool):
        assert pool == "pool"
        assert not gc.isenabled(), "what it frees might be another graph, and this capture would be invalid"
        self.log.append("capture")
        self._recording = captured
        yield
        self._recording = None

    def run(self, kernel):
        if self._recording is None:
            kernel()
        else:
            self._recording.kernels.append(kernel)


class FakeStream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


class FakeGraph:
    def __init__(self):
        self.kernels = []

    def replay(self):
        for kernel in self.kernels:
            kernel()

    def reset(self):
        self.kernels = []


@pytest.fixture
def device(monkeypatch):
    graph._side_stream.cache_clear()
    yield Device(monkeypatch)
    graph._side_stream.cache_clear()


def test_every_call_is_one_execution(device):
    executed, called = [], []

    def function(length):
        called.append(length)
        device.run(lambda: executed.append(length))
        return f"result of {length}"

    step = Graphed(function, torch.device("cuda:0"))
    order = [5, 5, 6, 5, 5, 6, 5, 6, 6, 5, 6]
    assert [step(length) for length in order] == [f"result of {length}" for length in order]
    assert executed == order
    assert called == [5, 5, 6, 5, 5, 6, 6, 6], "three times to warm up, once to record, for each length"
    assert device.log.count("capture") == 2


def test_warming_up_is_on_a_stream_of_its_own(device):
    step = Graphed(lambda length: None, torch.device("cuda:0"))
    for _ in range(5):
        step(1)
    assert device.log == ["side waits for main", "main waits for side"] * 3 + ["capture"]


def test_on_a_cpu_it_is_the_function():
    calls = []
    step = Graphed(lambda length: calls.append(length) or length, torch.device("cpu"))
    assert [step(3) for _ in range(6)] == calls == [3] * 6


def test_groups_one_after_the_other_share_one_side_stream(device):
    """cuBLAS keeps a workspace of 64 MB for each stream that it has worked on, and gives none back."""
    for _ in range(3):
        step = Graphed(lambda length: None, torch.device("cuda:0"))
        for _ in range(5):
            step(1)
        step.release()
    assert device.side_streams == 1
    Graphed(lambda length: None, torch.device("cuda:1"))(1)
    assert device.side_streams == 2, "each device has its own"


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_before_a_capture_and_never_during_one(device, monkeypatch, enabled):
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append("capture" in device.log))
    (gc.enable if enabled else gc.disable)()
    try:
        step = Graphed(lambda length: None, torch.device("cuda:0"))
        for _ in range(5):
            step(1)
        assert gc.isenabled() is enabled, "as it was"
    finally:
        gc.enable()
    assert collected == [False]


def test_a_capture_that_fails_turns_the_collector_on_again(device):
    def fails(length):
        if not gc.isenabled():
            raise RuntimeError("in the capture")

    step = Graphed(fails, torch.device("cuda:0"))
    for _ in range(3):
        step(1)
    with pytest.raises(RuntimeError, match="in the capture"):
        step(1)
    assert gc.isenabled()


def test_what_is_released_is_freed_at_once_though_its_owner_is_in_a_circle(device):
    class Owner:
        def __init__(self):
            self.step = Graphed(self.take, torch.device("cuda:0"))

        def take(self, length):
            device.run(lambda: None)

    owner = Owner()
    for _ in range(5):
        owner.step(1)
    ((recorded, _),) = owner.step._recorded.values()
    assert recorded.kernels
    alive, step = ref(owner), owner.step
    step.release()
    assert recorded.kernels == []
    gc.disable()
    try:
        del owner
        assert alive() is None, "without the garbage collector"
    finally:
        gc.enable()
