"""A run with a limit ends there, says how far it got, and goes on from there as if it had never had one."""

from dataclasses import replace

import pytest
from interrupted import Interrupted, curves, interrupt_at

from grokkit.study.question import Question
from grokkit.study.store import Store
from grokkit.study.work import Job, train_and_keep, train_group_and_keep
from grokkit.train import together
from grokkit.train.config import EvaluationConfig
from grokkit.train.groups import group_name
from grokkit.train.limit import Limit
from grokkit.train.loop import train, train_group


@pytest.mark.parametrize("cost", ["steps", "flops"])
def test_a_run_beyond_its_limit_ends_and_is_censored_there(tiny, cost):
    whole = train(tiny())
    at = 20
    most = at if cost == "steps" else whole.curves["flops"][whole.curves["step"].index(at)]
    given_up = train(tiny(), limit=Limit(cost, most))
    record = given_up.record()
    assert (record["status"], record["steps"], record["below_until"]) == ("given up", at, at)
    assert record["given_up_beyond"] == [cost, most]
    assert record["flops_below_until"] == given_up.curves["flops"][-1]
    assert (record["generalized_at"], record["diverged_at"]) == (None, None)
    assert record["run_id"] == whole.record()["run_id"], "it is no part of a run's identity"
    assert whole.record()["given_up_beyond"] is None


@pytest.mark.parametrize("limit", [None, Limit("steps", 30)])
def test_asked_for_more_it_goes_on_bit_for_bit(tiny, tmp_path, limit):
    config, path = tiny("grokfast-ma(window_size=3)"), tmp_path / "checkpoint.safetensors"
    for at in (10, 20):
        train(config, checkpoint=path, limit=Limit("steps", at))
    again = train(config, checkpoint=path, limit=limit)
    undisturbed = train(config, limit=limit)
    assert curves(again) == curves(undisturbed)
    assert again.record()["status"] == ("censored" if limit is None else "given up")
    assert again.tables["tensors"] == undisturbed.tables["tensors"]


def test_a_run_that_arrives_is_not_given_up_while_it_shows_that_it_stays(tiny):
    config = tiny(target_loss=1e9, budget=100)  # at the target from the first evaluation on
    assert train(config, limit=Limit("steps", 1)).record()["status"] == "generalized"


def test_a_run_that_its_last_evaluation_finds_at_the_target_goes_on():
    """It may have got there since the evaluation before, by which it was judged."""
    (config,) = (
        Question(task="parity:9,2", methods=["adamw(lr=0.00005)"], seeds=1, budget=600, target=0.9, train_fraction=0.6)
        .plan()
        .runs
    )
    rarely = config.model_copy(update={"evaluation": EvaluationConfig(every=1, share=1e-9)})
    free = train(rarely).record()
    at, known_to = free["generalized_at"], free["resolution_steps"]
    assert known_to > 2, "evaluated too often to get there in between"
    found = [train(rarely, limit=Limit("steps", most)).record() for most in range(at - known_to + 1, at)]
    assert any(record["generalized_first_at"] is not None for record in found), "none was there sooner than was seen"
    for record in found:
        assert (record["status"] == "given up") == (record["generalized_first_at"] is None)


def test_a_run_that_may_be_stable_goes_on_and_one_that_fell_back_is_given_up(tiny):
    settings = {"event": "stable", "after": 90, "budget": 100}
    assert train(tiny(target_loss=1e9, **settings), limit=Limit("steps", 1)).record()["status"] == "generalized"
    whole = train(tiny(target_loss=1e-9, **settings))
    losses = whole.curves["test_loss"]
    fell = next(step for step, loss in zip(whole.curves["step"], losses, strict=True) if loss > 1.2 * losses[0])
    given_up = train(tiny(target_loss=losses[0], **settings), limit=Limit("steps", 1)).record()
    assert (given_up["status"], given_up["generalized_first_at"], given_up["generalized_at"]) == ("given up", 0, None)
    assert given_up["steps"] <= fell


def test_the_members_of_a_group_have_limits_of_their_own(tiny, tmp_path):
    configs = [tiny("adamw", model="fnn(dim=8,width=16)", seed=seed) for seed in range(3)]
    kept = []
    limits = [None, Limit("steps", 10), Limit("steps", 20)]
    runs = train_group(configs, device="cpu", limits=limits, keep=lambda run: kept.append(run.config.seed))
    assert [(run.status, run.steps) for run in runs] == [("censored", 40), ("given up", 10), ("given up", 20)]
    assert kept == [1, 2, 0]
    alone = train(configs[2], limit=limits[2])
    assert runs[2].curves["step"] == alone.curves["step"]


def test_a_store_keeps_what_was_given_up_and_where_to_go_on(tiny, tmp_path):
    store, config = Store(tmp_path), tiny()
    run_id = config.run_id()
    job = Job(str(tmp_path), "", "cpu", {run_id: config.model_dump()}, b"")
    train_and_keep(replace(job, limits={run_id: Limit("steps", 20)}), lambda news: None)
    assert store.finished([run_id]) == {run_id}
    assert store.checkpoint_path(run_id).is_file()
    for limits, left in (
        ({}, {run_id}),
        ({run_id: Limit("steps", 30)}, {run_id}),
        ({run_id: Limit("flops", 1)}, {run_id}),
        ({run_id: Limit("steps", 20)}, set()),
        ({run_id: Limit("steps", 10)}, set()),
    ):
        assert store.to_continue([run_id], limits) == left
    begun = []
    assert job.left() == job
    assert replace(job, limits={run_id: Limit("steps", 20)}).left() is None
    train_and_keep(job, lambda news: begun.append(news["step"]))
    assert begun[0] >= 20, "it goes on, and does not begin again"
    assert store.record(run_id)["status"] == "censored"
    assert not store.checkpoint_path(run_id).exists()
    assert store.to_continue([run_id], {}) == set()


def test_a_member_that_was_given_up_is_trained_again_where_its_group_has_gone_on(tiny, tmp_path):
    group = [tiny("adamw", model="fnn(dim=8,width=16)", seed=seed) for seed in range(2)]
    ids = [config.run_id() for config in group]
    name = group_name(group)

    def job(limits):
        return Job(str(tmp_path), name, "cpu", {config.run_id(): config.model_dump() for config in group}, b"", limits)

    train_group_and_keep(job({ids[1]: Limit("steps", 10)}), lambda news: None)
    assert Store(tmp_path).record(ids[1])["status"] == "given up"
    train_group_and_keep(job({}), lambda news: None)
    assert [Store(tmp_path).record(run_id)["steps"] for run_id in ids] == [40, 40]


def test_a_member_given_up_that_its_group_has_not_left_behind_yet_begins_anew(tiny, tmp_path, monkeypatch):
    """On a GPU a group drops members by the quarter; until then it steps them on, and their books are closed."""
    monkeypatch.setattr(together, "_is_worth_retiring", lambda *_: False)
    configs = [tiny("adamw", model="fnn(dim=8,width=16)", seed=seed) for seed in range(3)]
    how = {"device": "cpu", "checkpoint": tmp_path / "checkpoint.safetensors", "checkpoint_seconds": 0}
    with pytest.raises(Interrupted):
        train_group(configs, limits=[Limit("steps", 10), None, None], report=interrupt_at(25), **how)
    notices = []
    again = train_group(configs, notice=notices.append, **how)
    assert all("had been given up; the run begins anew" in notice["note"] for notice in notices)
    assert [curves(run) for run in again] == [curves(run) for run in train_group(configs, device="cpu")]
