"""A study in groups keeps what the study of runs alone keeps, tells of its runs one by one, and loses none."""

import json

import pytest
import torch

from grokkit.study import work
from grokkit.study.execute import execute
from grokkit.study.groups import group_checkpoints
from grokkit.study.machines import Processes
from grokkit.study.plan import make_plan
from grokkit.study.store import Store
from grokkit.study.work import Job, train_group_and_keep
from grokkit.train.config import EvaluationConfig
from grokkit.train.groups import group_name, plan_groups
from grokkit.train.loop import train_group
from grokkit.train.resolve import model_config, task_config

EVENTS = (
    "status",
    "steps",
    "flops",
    "memorized_at",
    "generalized_first_at",
    "generalized_at",
    "collapsed_at",
    "diverged_at",
    "resolution_steps",
)


def tiny_plan(methods=("adamw", "grokfast-ema(alpha=0.9)"), seeds=2, **changes):
    settings = {
        "task": task_config("add:11(layout=operands)"),
        "model": model_config("fnn(width=16,dim=8,depth=2)"),
        "budget": 40,
        "batch_size": 16,
        "evaluation": EvaluationConfig(every=5),
        **changes,
    }
    return make_plan(methods=list(methods), seeds=seeds, baseline=None, command="test", **settings)


def carry_out(plan, folder, done=frozenset(), **how):
    store, events = Store(folder), []
    with store.lock():
        failures = execute(plan.runs, store, set(done), on=Processes(1), on_event=events.append, **how)
    return store, [event for event in events if event.kind != "tick"], failures


def records(store, plan):
    return {run.run_id(): json.loads((store.run_folder(run.run_id()) / "run.json").read_text()) for run in plan.runs}


def test_in_groups_the_same_runs_happen(tmp_path):
    plan = tiny_plan(methods=["adamw", "adamw(optimizer=sgd,lr=1e30,lr_warmup=0)", "grokfast-ema(alpha=0.9)"])
    alone, _, _ = carry_out(plan, tmp_path / "alone")
    groups, events, failures = carry_out(plan, tmp_path / "groups", batched=True)
    assert failures == {}
    by_itself, in_group = records(alone, plan), records(groups, plan)
    for run_id, record in by_itself.items():
        assert {key: in_group[run_id][key] for key in EVENTS} == {key: record[key] for key in EVENTS}
        assert (record["provenance"]["plan"], in_group[run_id]["provenance"]["plan"]) == ("alone", "batched")
        told = [event for event in events if event.key == run_id]
        assert [told[0].kind, told[-1].kind] == ["started", "finished"]
        assert told[-2].payload["step"] == record["steps"], "the last news before the end"
    assert {record["status"] for record in in_group.values()} == {"censored", "diverged"}
    assert {event.key for event in events} == set(by_itself)
    assert not (tmp_path / "groups" / "groups").exists(), "no checkpoint is left"


def test_what_is_done_stays_done(tmp_path):
    plan = tiny_plan()
    store, _, _ = carry_out(plan, tmp_path, batched=True)
    ids = [run.run_id() for run in plan.runs]
    (store.run_folder(ids[0]) / "run.json").unlink()
    _, events, _ = carry_out(plan, tmp_path, done=store.finished(ids), batched=True)
    assert {event.key for event in events} == {ids[0]}
    assert store.finished(ids) == set(ids)


def test_a_run_that_cannot_be_kept_harms_no_other(tmp_path):
    plan = tiny_plan()
    blocked = plan.runs[0].run_id()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / blocked).write_text("a file where the run's folder should be")
    store, events, failures = carry_out(plan, tmp_path, batched=True)
    assert list(failures) == [blocked]
    assert "Error: " in failures[blocked].error
    assert store.finished() == {run.run_id() for run in plan.runs} - {blocked}
    assert {event.key for event in events if event.kind == "failed"} == {blocked}


def test_a_group_that_fails_fails_its_members(tmp_path):
    plan = tiny_plan()
    store, _, failures = carry_out(plan, tmp_path, device="no such device")
    assert set(failures) == {run.run_id() for run in plan.runs}
    assert all("no such device" in failure.error for failure in failures.values())
    assert store.finished() == set()


def job(plan, folder):
    (group,) = plan_groups(plan.runs, "cpu", batched=True)
    return Job(str(folder), group_name(group), "cpu", {run.run_id(): run.model_dump() for run in group}, b"")


class Killed(BaseException):
    pass


def killed_at_step_20(*args, report, **options):
    """``train_group``, which saves at every stop until it is killed."""

    def until_step_20(progress):
        report(progress)
        if progress["step"] == 20:
            raise Killed

    return train_group(*args, report=until_step_20, checkpoint_seconds=0, **options)


def test_killed_and_started_again_goes_on_from_the_checkpoint(tmp_path, monkeypatch):
    plan = tiny_plan(methods=["adamw"])
    monkeypatch.setattr(work, "train_group", killed_at_step_20)
    with pytest.raises(Killed):
        train_group_and_keep(job(plan, tmp_path), lambda news: None)
    assert len(list((tmp_path / "groups").iterdir())) == 1
    monkeypatch.setattr(work, "train_group", train_group)
    monkeypatch.setattr(work, "_REPORT_SECONDS", -1.0)
    news = []
    train_group_and_keep(job(plan, tmp_path), news.extend)
    steps = [payload["step"] for kind, _, payload in news if kind == "progress"]
    assert min(steps) > 0
    assert Store(tmp_path).finished() == {run.run_id() for run in plan.runs}
    assert not (tmp_path / "groups").exists()


def test_a_group_goes_on_whatever_is_asked_beside_it(tmp_path, monkeypatch):
    begun = tiny_plan(methods=["adamw", "gd"], seeds=2)
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(work, "train_group", killed_at_step_20)
        for group in plan_groups(begun.runs, "cpu", batched=True):
            members = {run.run_id(): run.model_dump() for run in group}
            with pytest.raises(Killed):
                train_group_and_keep(Job(str(tmp_path), group_name(group), "cpu", members, b""), lambda news: None)
    assert len(group_checkpoints(store)) == 2

    def first_steps(events):
        seen = {}
        for event in events:
            if event.kind == "progress" and "step" in event.payload:
                seen.setdefault(event.key, event.payload["step"])
        return seen

    one = tiny_plan(methods=["adamw"], seeds=1)
    _, events, _ = carry_out(one, tmp_path, batched=True)
    assert first_steps(events).keys() == {one.runs[0].run_id()}
    assert min(first_steps(events).values()) >= 15, "it goes on"
    assert len(group_checkpoints(store)) == 2, "the others' are left"
    more = tiny_plan(methods=["adamw", "gd"], seeds=3)
    done = store.finished(run.run_id() for run in more.runs)
    _, events, failures = carry_out(more, tmp_path, done=done, batched=True)
    assert failures == {}
    steps = first_steps(events)
    begun_before = {run.run_id() for run in begun.runs} - done
    assert all(steps[run_id] >= 15 for run_id in begun_before)
    assert all(steps[run_id] <= 10 for run_id in steps.keys() - begun_before)
    assert store.finished() == {run.run_id() for run in more.runs}
    carry_out(more, tmp_path, done=store.finished(), batched=True)
    assert not group_checkpoints(store), "of which all are done"


def test_a_group_too_large_for_the_device_is_trained_in_halves(tmp_path, monkeypatch):
    plan = tiny_plan(methods=["adamw"], seeds=5)
    sizes = []

    def with_little_memory(configs, **options):
        sizes.append(len(configs))
        if len(configs) > 2:
            raise torch.OutOfMemoryError
        return train_group(configs, checkpoint_seconds=0, **options)

    monkeypatch.setattr(work, "train_group", with_little_memory)
    news = []
    train_group_and_keep(job(plan, tmp_path), news.extend)
    assert sizes == [5, 2, 3, 1, 2]
    notes = [payload["note"] for kind, _, payload in news if kind == "progress" and "note" in payload]
    assert not notes, "no half finds the checkpoint of another"
    assert Store(tmp_path).finished() == {run.run_id() for run in plan.runs}


def test_a_run_too_large_for_the_device_fails(tmp_path, monkeypatch):
    def without_memory(configs, **options):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(work, "train_group", without_memory)
    with pytest.raises(torch.OutOfMemoryError):
        train_group_and_keep(job(tiny_plan(methods=["adamw"]), tmp_path), lambda news: None)


def test_what_a_kill_has_left_of_a_group_s_checkpoint_goes_with_the_checkpoint(tmp_path, monkeypatch):
    run = tiny_plan(methods=["adamw"], seeds=1).runs[0]
    job = Job(str(tmp_path), "group", "cpu", {run.run_id(): run.model_dump()}, b"")
    for name in ("group.safetensors", ".group.safetensors.abc.tmp"):
        job.checkpoint.parent.mkdir(exist_ok=True)
        (job.checkpoint.parent / name).write_bytes(b"gigabytes")
    monkeypatch.setattr(work, "train_group", lambda *_, **__: [])
    train_group_and_keep(job, print)
    assert not job.checkpoint.parent.exists()
