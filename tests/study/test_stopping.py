"""Ctrl-C says what is kept at which step, and a run that goes on says where."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import polars as pl
import pytest
from interrupted import Interrupted, interrupt_at
from kept_runs import record
from rich.console import Console

from grokkit.lab import carry_out as module
from grokkit.lab.carry_out import Stopped, carry_out
from grokkit.lab.stopping import undisturbed, what_is_kept
from grokkit.progress import Progress
from grokkit.study.execution import Execution
from grokkit.study.pool import Event
from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.work import _keep
from grokkit.train.limit import Limit
from grokkit.train.loop import train, train_group


def question(**changes):
    settings = {"task": "add:11", "methods": "adamw,grad-norm", "seeds": 3, "budget": 1200, "every": 5}
    return Question(**{**settings, "model": "fnn(dim=4,width=8)", **changes})


def begun(store, run, step):
    """Train the run to that step at least, and leave its checkpoint."""
    path = store.checkpoint_path(run.run_id())
    with pytest.raises(Interrupted):
        train(run, report=interrupt_at(step + 5), checkpoint=path, checkpoint_seconds=0)


def test_what_is_kept_is_said_with_its_steps(tmp_path):
    plan, store = question().plan(), Store(tmp_path)
    assert what_is_kept(plan.runs, store) == (
        f"0 of 6 runs are done and kept in {tmp_path}; the same command goes on from there"
    )
    _keep(store, train(plan.runs[0].model_copy(update={"budget": 1200})))
    begun(store, plan.runs[1], 10)
    begun(store, plan.runs[2], 20)
    assert what_is_kept(plan.runs, store) == (
        f"1 of 6 runs are done and kept in {tmp_path}, and grad-norm, seed 0 at step 10 of 1,200; "
        "adamw, seed 1 at step 20 of 1,200; the same command goes on from there"
    )


def test_a_run_that_had_been_given_up_and_is_being_continued_is_not_done(tmp_path):
    plan, store = question(seeds=1).plan(), Store(tmp_path)
    run = plan.runs[0]
    _keep(store, train(run, limit=Limit("steps", 5)))
    assert "0 of 2 runs are done" in what_is_kept(plan.runs, store)
    same, later = ({run.run_id(): Limit("steps", most)} for most in (5, 50))
    assert "1 of 2 runs are done" in what_is_kept(plan.runs, store, same)
    begun(store, run, 10)
    assert "0 of 2 runs are done" in what_is_kept(plan.runs, store, later)
    assert "adamw, seed 0 at step 10 of 1,200" in what_is_kept(plan.runs, store, later)


def test_of_many_runs_a_few_are_named(tmp_path):
    plan, store = question().plan(), Store(tmp_path)
    for run in plan.runs:
        begun(store, run, 5)
    said = what_is_kept(plan.runs, store)
    assert said.count(" at step 5 of 1,200") == 4
    assert "; 2 more on their way; the same command" in said


def test_the_members_of_a_group_are_kept_in_its_checkpoint(tmp_path):
    plan, store = question(methods="adamw", seeds=2).plan(), Store(tmp_path)
    path = store.group_checkpoint_path("group--abc")
    with pytest.raises(Interrupted):
        train_group(plan.runs, device="cpu", report=interrupt_at(15), checkpoint=path, checkpoint_seconds=0)
    assert "and adamw, seed 0 at step 10 of 1,200; adamw, seed 1 at step 10 of 1,200;" in what_is_kept(plan.runs, store)


@pytest.mark.parametrize("where", ["question.plan", "_train", "report"])
def test_ctrl_c_at_any_time_is_one_line(tmp_path, monkeypatch, where):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    asked = question()
    if where == "question.plan":
        monkeypatch.setattr(Question, "plan", interrupted)
    else:
        monkeypatch.setattr(module, "_train", lambda *args: {})
        monkeypatch.setattr(module, where, interrupted)
    text = io.StringIO()
    with pytest.raises(Stopped):
        carry_out(asked, Execution(out=tmp_path), console=Console(file=text, width=60))
    said = "nothing was begun" if where == "question.plan" else "0 of 6 runs are done and kept in"
    assert text.getvalue().startswith(f"stopped; {said}")
    assert text.getvalue().count("\n") == 1


def test_a_second_ctrl_c_does_not_disturb_the_closing_line():
    before = signal.getsignal(signal.SIGINT)
    with undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_where_a_run_goes_on_is_one_line_of_the_progress():
    runs = question(seeds=1).plan().runs
    text = io.StringIO()
    with Progress(Console(file=text, width=200), runs, set(), 1) as progress:
        progress.on_event(Event("started", runs[0].run_id()))
        note = {"run_id": runs[0].run_id(), "step": 450, "budget": 1200, "note": "goes on at step 450 of 1,200"}
        progress.on_event(Event("progress", runs[0].run_id(), note))
    assert text.getvalue() == "adamw, seed 0: goes on at step 450 of 1,200\n"


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
@pytest.mark.parametrize("live", [False, True])
def test_a_loss_that_is_no_number_is_shown_and_ends_nothing(loss, live):
    (run,) = (run.model_copy(update={"target_loss": 0.05}) for run in question(seeds=1, methods="adamw").plan().runs)
    text = io.StringIO()
    with Progress(Console(file=text, width=200, force_terminal=live), [run], set(), 1) as progress:
        progress.on_event(Event("started", run.run_id()))
        progress.on_event(Event("progress", run.run_id(), {"step": 10, "train_loss": loss, "test_loss": loss}))
        progress.on_event(Event("tick"))
        progress.on_event(Event("finished", run.run_id()))
    assert str(loss) in text.getvalue()


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ([{"task": "add:11"}, {"task": "a - b mod 11"}], ["a + b mod 11", "a - b mod 11"]),
        ([{"task": "add:11"}, {"task": "s5", "batch_size": 64}], ["modular", "s5"]),
        ([{"train_fraction": 0.25}, {"train_fraction": 0.5}], ["train_fraction=0.25", "train_fraction=0.5"]),
    ],
)
def test_a_run_is_named_by_what_tells_its_task_from_the_others(asked, named):
    runs = [question(seeds=1, methods="adamw", **changes).plan().runs[0] for changes in asked]
    text = io.StringIO()
    with Progress(Console(file=text, width=200), runs, set(), 1) as progress:
        for run in runs:
            progress.on_event(Event("started", run.run_id()))
            note = {"run_id": run.run_id(), "step": 450, "budget": 1200, "note": "goes on"}
            progress.on_event(Event("progress", run.run_id(), note))
    assert text.getvalue() == "".join(f"adamw on {name}, seed 0: goes on\n" for name in named)


def test_where_all_is_done_nobody_asks_for_the_gpu_that_only_the_cluster_has(tmp_path, monkeypatch):
    """The command of a study that was trained on a cluster's GPUs, given again on a laptop, makes the page again."""
    asked, store = question(seeds=1), Store(tmp_path)
    for run in asked.plan().runs:
        own = {"run_id": run.run_id(), "method": run.method.label, "budget": run.budget, "config_hash": run.hash()}
        its = {**record(), **own, "config": run.model_dump(mode="json")}
        store.save_run(run.run_id(), its, pl.DataFrame({"step": [0]}), {})
    monkeypatch.setattr(module, "check_machines", lambda on: None)
    monkeypatch.setattr(module, "report", lambda store, console, only: "the page")
    text = io.StringIO()
    there = Execution(out=tmp_path, on="ray:auto", device="cuda")
    assert carry_out(asked, there, console=Console(file=text, width=200)) == ("the page", {})
    assert "2 of them done before" in text.getvalue()


@pytest.mark.parametrize(("workers", "left"), [(1, "7:30"), (2, "7:30"), (8, "7:30")])
def test_the_last_run_takes_all_of_its_steps_however_many_workers_are_idle(monkeypatch, workers, left):
    """90 steps at 5 seconds each are left of the run of 100."""
    runs = [run.model_copy(update={"budget": 100}) for run in question(seeds=1).plan().runs]
    now, text = [0.0], io.StringIO()
    monkeypatch.setattr("grokkit.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    with Progress(Console(file=text, width=200), runs, set(), workers) as progress:
        for run in runs:
            progress.on_event(Event("started", run.run_id()))
        now[0] = 50.0
        for run in runs:
            progress.on_event(
                Event("progress", run.run_id(), dict.fromkeys(("train_accuracy", "test_accuracy"), 0.0) | {"step": 10})
            )
        progress.on_event(Event("finished", runs[0].run_id()))
    assert text.getvalue().endswith(f"; at most {left} left\n")


@pytest.mark.long
def test_after_ctrl_c_the_same_command_goes_on_at_the_step_that_was_said(tmp_path):
    command = [sys.executable, "-m", "grokkit", "compare", "add:11", "--methods", "adam-paper(lr=1e-9)", "--seeds", "1"]
    command += ["--budget", "1000000", "--model", "fnn(dim=4,width=8)", "--jobs", "1", "--out", str(tmp_path)]

    def stop_once(is_time):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        deadline = time.monotonic() + 600
        while not is_time() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=600)
        assert (process.returncode, err) == (130, "")
        return out

    first = stop_once(lambda: any(tmp_path.glob("runs/*/checkpoint.safetensors")))
    (closing,) = [line for line in first.splitlines() if line.startswith("stopped")]
    step = closing.partition("adam-paper(lr=1e-09), seed 0 at step ")[2].partition(" of 1,000,000")[0]
    assert int(step.replace(",", "")) > 0, closing
    kept = next(tmp_path.glob("runs/*/checkpoint.safetensors")).stat().st_mtime_ns
    again = stop_once(lambda: next(tmp_path.glob("runs/*/checkpoint.safetensors")).stat().st_mtime_ns > kept)
    assert f"adam-paper(lr=1e-09), seed 0: goes on at step {step} of 1,000,000" in again
    assert json.loads((tmp_path / "study.json").read_text())["budget"] == 1000000
