"""`--log`: what runs report reaches a logger whole and in order, and nothing that becomes of it reaches the study."""

from __future__ import annotations

import io
import json
import time
from functools import cache
from pathlib import Path

import pytest
from rich.console import Console

from grokkit.errors import InputError, MissingExtraError
from grokkit.lab.carry_out import carry_out
from grokkit.lab.live import Live
from grokkit.lab.loggers.card import LoggerCard, find_logger, scalars
from grokkit.lab.tune import search
from grokkit.study.execution import Execution
from grokkit.study.pool import Event
from grokkit.study.question import Question
from grokkit.study.tune import SearchOptions
from grokkit.study.work import _joined, _Latest
from grokkit.train.loop import train

QUESTION = {"task": "add:11", "methods": "adamw", "seeds": 1, "every": 5, "model": "fnn(dim=4,width=8)", "budget": 60}


class Kept:
    """A logger that keeps what it gets, and fails where it is told to."""

    def __init__(self, fails=""):
        self.fails, self.points, self.ends, self.first = fails, [], [], []

    def card(self):
        return LoggerCard("kept", self.open)

    def open(self, run):
        self._do("open", self.first, run.first_step)
        return self

    def point(self, step, values):
        self._do("point", self.points, (step, values))

    def close(self, failed):
        self._do("close", self.ends, failed)

    def _do(self, what, where, value):
        where.append(value)
        if self.fails == what:
            raise OSError(28, "No space left on device")


@cache
def trained():
    """A run, its curves as rows, and what it reports of itself: everything, and what is passed on of that."""
    (config,) = Question(**QUESTION).plan().runs
    told, passed_on = [], []
    news = _Latest(passed_on.append)
    run = train(config, report=lambda progress: (told.append(progress), news(progress)))
    news.flush()
    rows = [dict(zip(run.curves, row, strict=True)) for row in zip(*run.curves.values(), strict=True)]
    return config, rows, told, passed_on


def logged(logger, folder, reports, end="finished", quiet=False):
    """Give the reports of the run above to the logger; returns what is said meanwhile."""
    text = io.StringIO()
    config = trained()[0]
    with Live(logger, folder, Console(file=text, width=60, quiet=quiet)) as live:
        live.follow({config.run_id(): config})
        live.on_event(Event("started", config.run_id()))
        for payload in reports:
            live.on_event(Event("progress", config.run_id(), payload))
        live.on_event(Event("tick"))
        if end:
            live.on_event(Event(end, config.run_id()))
    return text.getvalue()


def test_every_evaluation_is_passed_on_however_rarely_reports_are():
    _, rows, told, passed_on = trained()
    assert len(passed_on) < len(told)
    assert [point for payload in passed_on for point in payload["points"]] == rows
    assert passed_on[-1]["step"] == rows[-1]["step"] == 60
    first, last = {"points": [1], "step": 5}, {"points": [2, 3], "step": 9}
    assert _joined(_joined(None, first), last) == {"points": [1, 2, 3], "step": 9}


@pytest.mark.parametrize(("end", "failed"), [("finished", False), ("failed", True), ("", True)])
def test_a_logger_gets_the_curves_and_the_end(tmp_path, end, failed):
    _, rows, _, passed_on = trained()
    kept = Kept()
    note = {"note": "goes on", "step": 0}
    assert logged(kept.card(), tmp_path, [note, *passed_on], end) == ""
    assert kept.points == [(row["step"], scalars(row)) for row in rows]
    assert {"test_accuracy", "flops", "train_loss"} <= kept.points[0][1].keys()
    assert (kept.first, kept.ends) == ([0], [failed])


def test_what_is_trained_again_is_told_once(tmp_path):
    _, rows, told, _ = trained()
    kept = Kept()
    logged(kept.card(), tmp_path, [*told[:5], *told[2:]])
    assert [step for step, _ in kept.points] == [row["step"] for row in rows]


@pytest.mark.parametrize("where", ["open", "point", "close"])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_logger_that_fails_says_so_once_and_is_asked_no_more(tmp_path, capsys, where, quiet):
    kept = Kept(fails=where)
    said = logged(kept.card(), tmp_path, trained()[2], quiet=quiet)
    line = "--log kept stops here (OSError: [Errno 28] No space left on device); the study goes on\n"
    assert (said, capsys.readouterr().err) == (("", line) if quiet else (line, ""))
    assert (len(kept.first), len(kept.points)) == (1, {"open": 0, "point": 1, "close": len(trained()[1])}[where])


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_package_that_is_not_there_is_one_line_before_anything_is_written(tmp_path, monkeypatch, name):
    monkeypatch.setattr("grokkit.lab.loggers.card.find_spec", lambda package: None)
    there = Execution(out=tmp_path / "out", log=name)
    with pytest.raises(MissingExtraError, match=rf"{name} is not installed; .*'grokkit\[{name}\]'"):
        carry_out(Question(**QUESTION), there)
    with pytest.raises(MissingExtraError, match=name):
        search([Question(**QUESTION)], SearchOptions(trials=1), there)
    assert not (tmp_path / "out").exists()


def test_a_logger_is_found_by_name_or_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from grokkit.lab.loggers.card import LoggerCard\nLINES = LoggerCard('lines', print)\n")
    assert find_logger(f"{path}:LINES").open is print
    with pytest.raises(InputError, match="--log: unknown logger 'tensorbord'; did you mean 'tensorboard'"):
        find_logger("tensorbord")


def test_tensorboard_has_the_points_of_a_run_that_went_on_once(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config, rows, told, _ = trained()
    logged(find_logger("tensorboard"), tmp_path, told[:6])  # the last of which was not in the checkpoint
    logged(find_logger("tensorboard"), tmp_path, told[4:])
    events = accumulator.EventAccumulator(str(tmp_path / "log" / "tensorboard" / config.run_id())).Reload()
    found = [(event.step, pytest.approx(event.value, rel=1e-6)) for event in events.Scalars("test_loss")]
    assert found == [(row["step"], row["test_loss"]) for row in rows]


def test_wandb_is_offline_and_has_every_point(tmp_path, monkeypatch, capfd):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config, rows, told, _ = trained()
    assert logged(find_logger("wandb"), tmp_path, told) == ""
    (folder,) = (tmp_path / "log" / "wandb").glob("offline-run-*")
    assert folder.name.endswith(config.run_id())
    (path,) = folder.glob("run-*.wandb")  # numbers stand there as JSON
    wanted, deadline = [json.dumps(row["test_loss"]).encode() for row in rows], time.monotonic() + 60
    while not all(number in path.read_bytes() for number in wanted):  # another process of wandb's writes it
        assert time.monotonic() < deadline, "not all points are in the file"
        time.sleep(0.05)
    assert capfd.readouterr().out == ""


def test_trackio_keeps_every_point_of_two_runs_at_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # which is read when it is imported, here alone
    pytest.importorskip("trackio")
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    config, rows, told, _ = trained()
    said = io.StringIO()
    with Live(find_logger("trackio"), Path("out/mul-97"), Console(file=said)) as live:
        live.follow({"one": config, "two": config})
        for payload in told:
            for run_id in ("one", "two"):
                live.on_event(Event("progress", run_id, payload))
        live.on_event(Event("finished", "one"))
    assert (said.getvalue(), capfd.readouterr().out) == ("", "")
    for run_id in ("one", "two"):
        found = storage.get_logs("out-mul-97", run_id)
        assert [(log["step"], log["test_loss"]) for log in found] == [(row["step"], row["test_loss"]) for row in rows]
