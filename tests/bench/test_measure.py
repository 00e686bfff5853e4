"""Who is timed when, and what becomes of the times."""

import threading
import time
from pathlib import Path

import pytest

from grokkit.bench.row import Row, choose
from grokkit.bench.runs import Job, train_steps
from grokkit.bench.settings import GROKFAST
from grokkit.bench.timing import Duel, alternate, compare, timed
from grokkit.errors import InputError
from grokkit.train.resolve import model_config, task_config


class Clock:
    """A clock that only work moves on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        durations = iter(seconds)

        def work():
            self.now += next(durations)

        return work


def test_sides_take_turns_and_ratios_are_of_pairs():
    clock, order, rounds = Clock(), [], []
    works = {
        # two rounds to warm up, then three that count, two times each
        "plain": clock.work([9, 9, 9, 9, 1, 3, 2, 2, 5, 5]),
        "ours": clock.work([7, 7, 7, 7, 1, 1, 1, 0, 5, 5]),
    }

    def side(name):
        inner = timed(works[name], times=2, clock=clock)

        def noted(number):
            order.append((name, number))
            return inner(number)

        return noted

    pairs = alternate(Duel(side("plain"), side("ours"), warmup=2), 3, rounds.append)
    assert order[:4] == [("plain", 0), ("ours", 0)] * 2
    assert order[4:] == [("plain", 0), ("ours", 0), ("ours", 1), ("plain", 1), ("plain", 2), ("ours", 2)]
    assert rounds == [1, 2, 3]
    assert pairs == [(2.0, 1.0), (2.0, 0.5), (5.0, 5.0)]
    comparison = compare(pairs)
    assert (comparison.plain_ms, comparison.ours_ms) == (2000.0, 1000.0)
    assert (comparison.ratio, comparison.ratio_min, comparison.ratio_max) == (0.5, 0.25, 1.0)


def row(name, **settings):
    return Row(name, "", lambda: pytest.fail("not asked"), rounds=1, seconds=1, **settings)


def test_rows_that_this_machine_cannot_measure():
    rows = {"a": row("a"), "b": row("b", available=lambda: False, needs="a CUDA device"), "c": row("c")}
    assert [r.id for r in choose(rows, None)] == ["a", "c"]
    assert [r.id for r in choose(rows, ["c", "a", "c"])] == ["c", "a"]
    with pytest.raises(InputError, match="row 'b' needs a CUDA device; leave it out"):
        choose(rows, ["a", "b"])


def test_runs_at_once_wait_for_each_other(tmp_path):
    config = GROKFAST.model_copy(update={"task": task_config("mul:7"), "model": model_config("decoder(width=16)")})
    windows = []
    job = Job(config.model_dump(), threads=1, folder=str(tmp_path), together=2)
    worker = threading.Thread(target=train_steps, args=(job, windows.append))
    worker.start()
    while not (tmp_path / "0").exists():
        time.sleep(0.001)
    time.sleep(0.05)
    assert windows == []
    ready = time.time()
    Path(tmp_path, "1").touch()
    worker.join()
    [(begin, end)] = windows
    assert ready <= begin < end
