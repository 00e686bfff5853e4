"""The protocol of recording and playing: n calls are n executions, whichever of them are recorded."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from grokkit.train.graph import Graphed


class Device:
    """A CUDA device as far as streams and graphs go: what is called during a capture is recorded, not executed."""

    def __init__(self, monkeypatch):
        self.log = []
        self._recording = None
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(self.log, "side"))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: FakeStream(self.log, "main"))
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        monkeypatch.setattr(torch.cuda, "graph", self.capture)

    @contextmanager
    def capture(self, graph, pool):
        assert pool == "pool"
        self.log.append("capture")
        self._recording = graph
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


@pytest.fixture
def device(monkeypatch):
    return Device(monkeypatch)


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
