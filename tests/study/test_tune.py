"""A search from end to end: equal trials, what it costs, what it leaves, and what a comparison makes of it."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_process import grokkit
from spirals import problem as spirals
from train_here import train_here

from grokkit import lab
from grokkit.analyse.verdict import cautions, searched_elsewhere, unequal_search
from grokkit.errors import InputError
from grokkit.lab.carry_out import uncounted
from grokkit.lab.study import chosen
from grokkit.study.extend import extended
from grokkit.study.give_up import limits_of
from grokkit.study.pool import Failure
from grokkit.study.question import Question
from grokkit.study.sealed import sealed
from grokkit.study.store import Store
from grokkit.study.trial import Result
from grokkit.study.tune import FIRST_SEED, SearchOptions, Tuning, _Trials
from grokkit.train.limit import Limit

SPIRALS = Path(__file__).parents[1] / "spirals.py"
TASK = f"{SPIRALS}:problem(width=16)"
METHODS = ["adamw", "grokfast-ema"]
lab_tune = import_module("grokkit.lab.tune")  # the module; the package has the function under that name
HOW = {"trials": 4, "seeds": 2, "batch": 2, "budget": 80, "every": 5, "quiet": True}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _in_this_process(monkeypatch)


@pytest.fixture
def here(patched):
    """Trains in this process, and keeps the ids of what was trained, round by round."""
    patched.clear()
    return patched


@pytest.fixture(scope="module")
def whole(patched, tmp_path_factory):
    """The folder of a search that nothing has disturbed, what it says, and what was trained in its rounds."""
    patched.clear()
    folder = tmp_path_factory.mktemp("whole")
    record = lab.tune(TASK, METHODS, out=folder, **HOW)
    return folder, record, list(patched)


def _in_this_process(monkeypatch):
    monkeypatch.setattr(lab_tune, "write_search", lambda folder, record: folder)  # one test writes the page
    return train_here(monkeypatch, lab_tune)


WRITE_SEARCH = lab_tune.write_search


def told(record):
    """What tune.json says, apart from seconds."""
    text = json.dumps(record)
    methods = json.loads(text)["methods"]
    for own in methods.values():
        del own["cost_of_tuning"]["train_seconds"], own["best"]["spent"]["train_seconds"]
        for trial in own["trials"]:
            del trial["spent"]["train_seconds"]
    return methods


def test_every_method_has_the_same_trials_on_seeds_of_their_own_and_what_they_took_is_counted(whole):
    folder, record, rounds = whole
    first, *waves = [len(ids) for ids in rounds]
    assert first == 4, "two methods on two seeds: a trial alone"
    assert waves[0] == 2, "its round's other, on the first seed, since it may be out by then"
    assert sum(waves) <= 12
    assert record["seeds"] == [FIRST_SEED, FIRST_SEED + 1]
    store = Store(folder)
    for name, own in record["methods"].items():
        assert [trial["number"] for trial in own["trials"]] == [0, 1, 2, 3]
        records = [store.record(run_id) for ids in rounds for run_id in ids]
        runs = [run for run in records if run["method"].startswith(name)]
        assert own["cost_of_tuning"]["runs"] == len(runs) == 8 - sum(trial["spared"] for trial in own["trials"])
        assert own["cost_of_tuning"]["flops"] == sum(run["flops"] for run in runs), "given-up runs are paid for, too"
        assert own["cost_of_tuning"]["steps"] == sum(run["steps"] for run in runs)
        assert {run["config"]["judged_on"] for run in runs} == {"validation"}
        assert {run["seed"] for run in runs} == set(record["seeds"])
        arrived = [trial for trial in own["trials"] if trial["has_arrived"]]
        assert arrived, "a search that finds nothing tests nothing"
        assert own["best"]["cost"] == min(trial["cost"] for trial in arrived)
        one = arrived[0]
        costs = [run["flops_to_target"] for run in runs if run["method"] == store_label(one["method"])]
        assert one["cost"] == pytest.approx((costs[0] * costs[1]) ** 0.5, rel=1e-12)
    page = WRITE_SEARCH(folder, record)
    assert page == folder / "tune.html"
    assert "What tuning took" in page.read_text()
    assert (folder / "figures" / "tuning.png").read_bytes().startswith(b"\x89PNG")


def store_label(text):
    from grokkit.train.resolve import method_config

    return method_config(text, "", {"optimizer": "adamw", "lr": 0.01, "wd": 0.01}).label


def test_a_search_goes_on_with_what_there_is_and_is_extended_by_trials_and_methods(whole, here, tmp_path):
    lab.tune(TASK, METHODS[:1], out=tmp_path / "parts", **(HOW | {"trials": 2}))
    lab.tune(TASK, METHODS, out=tmp_path / "parts", **HOW)
    here.clear()
    parts = lab.tune(TASK, METHODS, out=tmp_path / "parts", **HOW)
    assert here == [], "nothing is run twice"
    assert told(parts) == told(whole[1])


def test_a_search_is_repeated_beside_what_there_is_and_its_curve_gets_a_band(whole, here, tmp_path):
    folder, before, _ = whole
    shutil.copytree(folder, tmp_path / "again")
    how = HOW | {"repeats": 2}
    record = lab.tune(TASK, METHODS[:1], out=tmp_path / "again", **how)
    own, was = (found["methods"]["adamw"] for found in (record, before))
    assert [(trial["repeat"], trial["number"]) for trial in own["trials"]] == [(r, n) for r in (0, 1) for n in range(4)]
    assert [trial["settings"] for trial in own["trials"][:4]] == [trial["settings"] for trial in was["trials"]]
    assert len({json.dumps(trial["settings"]) for trial in own["trials"]}) == 7, "both begin with the method as it is"
    new = [trial for trial in own["trials"][4:] if trial["settings"] != was["trials"][0]["settings"]]
    made = sum(len(trial["costs"]) for trial in new)
    assert len([run_id for ids in here for run_id in ids]) == made, "only what is new is run"
    assert own["best"]["value"] == min(trial["value"] for trial in own["trials"])
    assert own["cost_of_tuning"]["runs"] == was["cost_of_tuning"]["runs"] + made, "what was run once is paid once"
    WRITE_SEARCH(folder=tmp_path / "again", tuning=record)
    assert "over 2 repeats of the search" in (tmp_path / "again" / "tune.html").read_text()
    with pytest.raises(InputError, match="holds a search with --repeats 2"):
        lab.tune(TASK, METHODS[:1], out=tmp_path / "again", **HOW)


def test_where_a_round_was_stopped_it_goes_on(whole, here, tmp_path, monkeypatch):
    train, calls = lab_tune.train_runs, []

    def stopped(runs, *more):
        calls.append(len(runs))
        if len(calls) == 2:
            train(runs[:1], *more)
            raise KeyboardInterrupt
        return train(runs, *more)

    monkeypatch.setattr(lab_tune, "train_runs", stopped)
    with pytest.raises(KeyboardInterrupt):
        lab.tune(TASK, METHODS, out=tmp_path / "parts", **HOW)
    here.clear()
    assert told(lab.tune(TASK, METHODS, out=tmp_path / "parts", **HOW)) == told(whole[1])
    made, whole_search = ([run_id for ids in rounds for run_id in ids] for rounds in (here, whole[2]))
    assert made == whole_search[5:], "four of the first round were done, and one of the second"


def test_a_search_for_what_is_stable_is_judged_by_that(here, tmp_path):
    """And not by the first arrival, which a run that falls back has too early."""
    found = lab.tune(TASK, ["adamw"], out=tmp_path, event="stable", after=20, **{**HOW, "trials": 2})
    records = [Store(tmp_path).record(run_id) for ids in here for run_id in ids]
    arrived = [run for run in records if run["stable_at"] is not None]
    assert arrived, "a search that finds nothing tests nothing"
    assert all(run["generalized_at"] == run["stable_at"] for run in records)
    assert all(run["steps"] >= run["stable_at"] + 20 for run in arrived)
    costs = {run["flops_to_target"] for run in arrived}
    own = found["methods"]["adamw"]
    assert {trial["has_arrived"] for trial in own["trials"]} >= {True}
    assert min(costs) * 0.999 <= own["best"]["cost"] <= max(costs) * 1.001
    with pytest.raises(InputError, match="holds a search with event=stable, not with event=stays"):
        lab.tune(TASK, ["adamw"], out=tmp_path, after=20, **{**HOW, "trials": 2})


def test_a_run_that_fails_is_tried_once_more_and_then_its_trial_has_failed(here, tmp_path, monkeypatch):
    train, failed = lab_tune.train_runs, []

    def failing(runs, *more):
        bad = next((run.run_id() for run in runs if not failed or run.run_id() == failed[0]), None)
        if bad is None:
            return train(runs, *more)
        failed.append(bad)
        train([run for run in runs if run.run_id() != bad], *more)
        return {bad: Failure("RuntimeError: planted")}

    monkeypatch.setattr(lab_tune, "train_runs", failing)
    with pytest.raises(InputError, match="1 runs failed.*planted"):
        lab.tune(TASK, METHODS[:1], out=tmp_path, **HOW)
    assert len(failed) == 2
    record = json.loads((tmp_path / "tune.json").read_text())["methods"]["adamw"]
    assert [trial["failed"] for trial in record["trials"]] == [1, 0, 0, 0]
    assert record["best"]["number"] != 0
    with pytest.raises(InputError, match="1 runs failed.*planted"):
        lab.tune(TASK, METHODS[:1], out=tmp_path, **HOW)
    assert len(failed) == 4, "the same command tries again, and does not call a failed run done"
    monkeypatch.setattr(lab_tune, "train_runs", train)
    here.clear()
    healed = lab.tune(TASK, METHODS[:1], out=tmp_path, **HOW)["methods"]["adamw"]
    assert here == [[failed[0]]]
    assert [trial["failed"] for trial in healed["trials"]] == [0, 0, 0, 0]
    assert healed["trials"][0]["value"] is not None


def test_a_method_without_a_finished_trial_is_in_nobody_else_s_way(whole, tmp_path):
    record = whole[1]
    broken = {**record["methods"]["grokfast-ema"], "best": None}
    methods = {**record["methods"], "grokfast-ema": broken}
    (tmp_path / "tune.json").write_bytes(sealed({**record, "methods": methods}))
    asked = {"task": TASK, "tuned": tmp_path, "budget": 80, "every": 5}
    plan = Question(methods=["adamw"], baseline="adamw", **asked).plan()
    assert [found["method"] for found in plan.study["tuned"].values()] == ["adamw"]
    for more in ({}, {"methods": ["adamw"], "primary": "grokfast-ema"}):
        with pytest.raises(InputError, match="no finished trial of grokfast-ema; run the same `grokkit tune` again"):
            Question(**asked, **more).plan()


def test_a_run_of_several_repeats_is_given_up_where_each_of_them_would(tmp_path, monkeypatch):
    tuning = Tuning([Question(task=TASK, methods=["adamw"], budget=80, every=5)], SearchOptions(repeats=3), tmp_path)
    method, limits = tuning.methods[0], {}
    monkeypatch.setattr(tuning, "_limits", lambda method, repeat: limits[repeat])
    runs = tuning._runs(method, {"lr": 0.01, "wd": 0.01})
    found = [_Trials(method, repeat, {repeat: runs}) for repeat in range(3)]
    for amounts, expected in (((5, 9, 7), 9), ((5, None, 7), None), ((None, 9, 7), None), ((9, 7, 5), 9)):
        limits |= {repeat: [] if most is None else [Limit("flops", most)] * 2 for repeat, most in enumerate(amounts)}
        given_up = tuning._round(found).limits
        assert [given_up.get(run.run_id()) for run in runs] == [expected and Limit("flops", expected)] * 2


def test_what_costs_less_on_every_seed_than_the_best_is_not_given_up(tmp_path, monkeypatch):
    """Though a slow seed takes more than three times the mean of all."""
    question = Question(task=TASK, methods=["adamw"], budget=80, every=5)
    tuning = Tuning([question], SearchOptions(seeds=3), tmp_path)
    best = {"arrived": 3, "progress": 1.0, "given_up": 0, "failed": 0, "spared": 0, "spent": {}, "repeat": 0}
    for costs in ([300.0, 3000.0, 300.0], [9000.0, 200.0, 200.0], [300.0, 300.0, 300.0]):
        found = Result(number=0, method="adamw", settings={}, costs=costs, **best)
        monkeypatch.setattr(tuning, "_results", lambda method, repeat, found=found: [found])
        limits = tuning._limits(tuning.methods[0], 0)
        assert [limit.most > cost for limit, cost in zip(limits, costs, strict=True)] == [True] * 3
        mean = math.prod(costs) ** (1 / 3)
        assert [limit.most for limit in limits] == pytest.approx([3 * max(mean, cost) for cost in costs])


def test_a_trial_ranks_by_how_many_runs_did_not_arrive_and_only_then_by_how_far_they_got():
    def value(*far):
        arrived, given = sum(share == 1 for share in far), {"number": 0, "method": "", "settings": {}, "repeat": 0}
        given |= {"costs": [10.0] * len(far), "given_up": 0, "failed": 0, "spared": 0, "spent": {}}
        return Result(arrived=arrived, progress=sum(far) / len(far), **given).value

    ranked = [(1, 1, 1), (1, 1, 0.0), (1, 0.9, 0.9), (1, 0.01, 0.0), (0.99, 0.99, 0.99), (0.0, 0.0, 0.0)]
    values = [value(*far) for far in ranked]
    assert values == sorted(set(values))


def test_hopeless_runs_are_given_up_at_a_multiple_of_the_best_and_charged_for_what_ran(here, tmp_path):
    space = {"space": "adamw: lr=1e-7..3e-2 log", "trials": 6, "claim": "steps", "sampler": "random"}
    record = lab.tune(TASK, ["adamw"], out=tmp_path, **(HOW | space | {"budget": 400, "seeds": 1}))
    trials = record["methods"]["adamw"]["trials"]
    assert sum(trial["given_up"] for trial in trials), "none was hopeless, which tests nothing"
    best = None
    for first in range(0, 6, 2):
        for trial in trials[first : first + 2]:
            if best is None:
                assert trial["given_up"] == 0, "nothing is known in the first round"
            elif trial["given_up"]:
                assert all(3 * best * 0.9 <= cost <= 3 * best * 1.1 for cost in trial["costs"])
                assert trial["spent"]["steps"] < 400
        arrived = [trial["cost"] for trial in trials[: first + 2] if trial["has_arrived"]]
        best = min(arrived, default=None)
    assert record["methods"]["adamw"]["cost_of_tuning"]["steps"] == sum(trial["spent"]["steps"] for trial in trials)


def test_the_method_as_it_is_comes_first_and_alone_so_that_its_round_s_others_can_be_given_up(here, tmp_path):
    how = {"space": "adamw: lr=1e-7..3e-2 log", "trials": 4, "batch": 4, "budget": 400, "seeds": 1}
    record = lab.tune(TASK, ["adamw"], out=tmp_path, **(HOW | how))
    assert [len(ids) for ids in here] == [1, 3]
    first, *others = record["methods"]["adamw"]["trials"]
    assert first["has_arrived"]
    assert any(trial["given_up"] and trial["spent"]["steps"] < 400 for trial in others)


def test_a_trial_that_does_not_arrive_on_a_seed_is_spared_the_others_once_one_has_arrived(here, tmp_path):
    """It ranks behind what arrived, whatever its other runs would do. Before any has arrived it may be the best."""
    space = {"space": "adamw: lr=1e-7..3e-2 log", "trials": 5, "batch": 4, "budget": 400, "seeds": 3}
    first, *others = lab.tune(TASK, ["adamw"], out=tmp_path / "p", **(HOW | space))["methods"]["adamw"]["trials"]
    assert [len(ids) for ids in here][:2] == [3, 3], "the method as it is on all seeds; the others on the first"
    assert first["has_arrived"]
    out = [trial for trial in others if not trial["has_arrived"]]
    assert any(trial["spared"] == 2 for trial in out), "none was out at once, which tests nothing"
    for trial in others:
        assert len(trial["costs"]) + trial["spared"] == 3
        assert trial["spared"] == 0 or trial["arrived"] == len(trial["costs"]) - 1
        assert trial["failed"] == 0
    values = [trial["value"] for trial in out]
    assert all(1000 < value < 1003.5 for value in values)
    here.clear()
    again = lab.tune(TASK, ["adamw"], out=tmp_path / "p", **(HOW | space))
    assert here == [], "what was spared has not failed"
    hard = {**space, "target": 1.0, "budget": 10, "space": "adamw: lr=1e-7..1e-6 log", "trials": 2}
    record = lab.tune(TASK, ["adamw"], out=tmp_path / "q", **(HOW | hard))
    assert [len(trial["costs"]) for trial in record["methods"]["adamw"]["trials"]] == [3, 3]
    assert len(again["methods"]["adamw"]["trials"]) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "--trials 0 is not possible"),
        ({"seeds": 0}, "--seeds 0 is not possible"),
        ({"batch": 1.5}, "--batch 1.5 is not possible"),
        ({"sampler": "bayes"}, "--sampler '?bayes'? is not possible|unknown --sampler 'bayes'"),
        ({"prune": 1.0}, "--prune 1.0 is not possible"),
        ({"repeats": 2, "sampler": "random"}, "--repeats 2 is for --sampler tpe; with random give more --trials"),
        ({"claim": "seconds"}, "--claim seconds is no aim for a search"),
        ({"methods": ["adamw", "lioness"]}, "unknown method 'lioness'"),
        ({"space": "adamw: lr=1"}, "lr=1 is not possible"),
        ({"validation_fraction": 0.0}, "no validation rows"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(here, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        lab.tune(**({"problem": "add:11", "methods": METHODS, "out": tmp_path / "out"} | HOW | changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 90}, "holds a search with budget=80, not with budget=90"),
        ({"seeds": 1}, "holds a search with seeds="),
        ({"sampler": "random"}, "holds a search with sampler=tpe, not with random"),
        ({"claim": "steps"}, "holds a search with cost=flops, not with steps"),
        ({"space": "adamw: lr=1e-3..1e-1 log"}, "holds a search of adamw in"),
        ({"problem": "add:11"}, "holds a search of 'spirals"),
    ],
)
def test_a_folder_holds_one_search(whole, changes, message):
    with pytest.raises(InputError, match=message):
        lab.tune(**({"problem": TASK, "methods": METHODS[:1], "out": whole[0]} | HOW | changes))


ENTRYWISE = """
import torch
from dataclasses import replace
from spirals import problem as spirals

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 2))

    def forward(self, points):
        return (points[:, None, :] * self.weight).sum(-1)

def problem():
    return replace(spirals(), model=Net)
"""


def test_a_network_without_a_product_is_searched_in_steps_and_a_claim_in_flops_of_it_is_warned_of(here, tmp_path):
    shutil.copy(SPIRALS, tmp_path)
    (tmp_path / "entrywise.py").write_text(ENTRYWISE)
    task, how = f"{tmp_path}/entrywise.py:problem", HOW | {"trials": 1, "seeds": 1, "budget": 10}
    with pytest.raises(InputError, match="no matrix product in a step of .*; give --claim steps"):
        lab.tune(task, ["adamw"], out=tmp_path / "out", **how)
    assert not (tmp_path / "out").exists()
    lab.tune(task, ["adamw"], out=tmp_path / "out", claim="steps", **how)
    asked = {"methods": ["adamw"], "budget": 10}
    in_flops, in_steps = (Question(task=task, claim=claim, **asked).plan() for claim in ("flops", "steps"))
    assert "nothing can be claimed in FLOPs; give --claim steps" in uncounted(in_flops)
    assert uncounted(in_steps) == uncounted(Question(task=TASK, claim="flops", **asked).plan()) == ""


def test_a_search_of_which_the_best_runs_cost_nothing_is_shown(here, tmp_path):
    how = HOW | {"trials": 1, "seeds": 1, "sustain": 0, "target": 0.01}
    record = lab.tune(TASK, ["adamw"], out=tmp_path, **how)
    assert record["methods"]["adamw"]["best"]["spent"]["flops"] == 0
    assert WRITE_SEARCH(tmp_path, record).is_file()


def test_a_search_that_never_ran_is_in_nobody_s_way(here, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="--device cuda is not possible"):
        lab.tune(TASK, METHODS[:1], out=tmp_path / "out", device="cuda", **HOW)
    assert not (tmp_path / "out").exists()

    def stopped(*args):
        raise KeyboardInterrupt

    train = lab_tune.train_runs
    monkeypatch.setattr(lab_tune, "train_runs", stopped)
    with pytest.raises(KeyboardInterrupt):
        lab.tune(TASK, METHODS, out=tmp_path / "out", **HOW)
    monkeypatch.setattr(lab_tune, "train_runs", train)
    other = {"budget": 10, "trials": 1, "seeds": 1, "space": "adamw: lr=1e-3..1e-1 log"}
    record = lab.tune(TASK, METHODS[:1], out=tmp_path / "out", **(HOW | other))
    assert record["methods"].keys() == {"adamw"}
    assert record["methods"]["adamw"]["trials"][0]["settings"].keys() == {"lr"}


def test_what_another_command_has_written_meanwhile_is_kept(whole, here, tmp_path):
    tuning = Tuning([Question(task=TASK, methods=METHODS[1:], budget=80, every=5)], SearchOptions(batch=2), tmp_path)
    for name in ("tune.json", "optuna.db"):
        shutil.copy(whole[0] / name, tmp_path / name)
    tuning.open()
    assert tuning.write()["methods"].keys() == {*METHODS}
    late = Tuning([Question(task=TASK, methods=METHODS[1:], budget=90, every=5)], SearchOptions(), tmp_path / "late")
    (tmp_path / "late").mkdir()
    shutil.copy(whole[0] / "tune.json", tmp_path / "late" / "tune.json")
    with pytest.raises(InputError, match="holds a search with budget=80, not with budget=90"):
        late.open()


def test_a_damaged_storage_is_named_with_its_remedy_which_loses_no_run(whole, here, tmp_path):
    shutil.copytree(whole[0], tmp_path / "out")
    (tmp_path / "out" / "optuna.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match=r"optuna.db is damaged \(.*\); delete it and run the same search again"):
        lab.tune(TASK, METHODS, out=tmp_path / "out", **HOW)
    (tmp_path / "out" / "optuna.db").unlink()
    assert told(lab.tune(TASK, METHODS, out=tmp_path / "out", **HOW)) == told(whole[1])
    assert all(not ids for ids in here), "nothing is run twice"


@pytest.mark.parametrize("option", [{"give_up": 4}, {"baseline": "x"}, {"only": "x"}, {"primary": "x"}, {"tuned": "x"}])
def test_what_the_command_has_no_option_for_python_refuses_too(tmp_path, option):
    with pytest.raises(InputError, match=f"unknown option '{next(iter(option))}'"):
        lab.tune(TASK, METHODS, out=tmp_path, **HOW, **option)
    with pytest.raises(InputError, match="unknown option 'only'"):
        lab.suite("quick", METHODS, out=tmp_path, only="adamw")


def test_methods_that_were_searched_with_more_trials_than_others_are_named(whole, here, tmp_path):
    folder, record, _ = whole
    trials = record["methods"]["adamw"]["trials"][:1]
    adamw = {**record["methods"]["adamw"], "trials": trials}
    adamw["cost_of_tuning"] = {**adamw["cost_of_tuning"], "trials": 1}
    found = {**record, "methods": {**record["methods"], "adamw": adamw}}
    (tmp_path / "tune.json").write_bytes(sealed(found))
    equal, unequal = (Question(task=TASK, tuned=place, budget=80, every=5).plan().study for place in (folder, tmp_path))
    assert unequal_search(equal["tuned"], equal["methods"]) == ""
    said = unequal_search(unequal["tuned"], unequal["methods"])
    assert said.startswith("settings were not searched alike, adamw(")
    assert "with 1 trial and grokfast-ema(" in said
    assert said.endswith("with 4 trials: give all methods as many --trials")
    WRITE_SEARCH(tmp_path, found)
    assert "But settings were not searched alike, adamw with 1 trial" in (tmp_path / "tune.html").read_text()


def test_settings_that_were_searched_with_other_code_are_said_to_be(whole, tmp_path):
    folder, record, _ = whole
    methods = {name: {**own, "codes": ["other"]} if name == "adamw" else own for name, own in record["methods"].items()}
    (tmp_path / "tune.json").write_bytes(sealed({**record, "methods": methods}))
    same, other = (Question(task=TASK, tuned=place, budget=80, every=5).plan().study for place in (folder, tmp_path))
    assert cautions(same, same["methods"]) == []
    (said,) = cautions(other, other["methods"])
    assert said.startswith("settings of adamw(")
    assert said.endswith(") were searched with other code than now")


def test_settings_that_were_searched_on_another_task_are_said_to_be_carried_over(whole):
    folder, _, _ = whole

    def said(task: str, other: dict | None = None) -> str:
        study = Question(task=task, tuned=folder, budget=80, every=5).plan().study
        return searched_elsewhere({**study, **(other or {})}, study["methods"])

    usual = Question(task=TASK).plan().study
    title, task = usual["title"], usual["task"]
    assert said(TASK) == ""
    assert said("add:11") == f"settings were searched on {title}, not on a + b mod 11: they are carried over"
    for other, what in (
        ({"task": {**task, "train_fraction": 0.3}}, "training share"),
        ({"task": {**task, "data": "others"}}, "data"),
        ({"task": {**task, "settings": {**task["settings"], "width": 9}}}, "width"),
        ({"model": {}}, "model"),
        ({"batch_size": 7}, "batch"),
        ({"target": 0.5}, "target"),
        ({"model": {}, "batch_size": 7, "event": "stable"}, "model, batch and event"),
    ):
        assert said(TASK, other) == f"settings were searched on {title} with another {what}: they are carried over"


def test_settings_that_were_searched_for_another_length_of_the_event_are_said_to_be_carried_over(whole, tmp_path):
    folder, record, _ = whole
    stable = {**record, "event": "stable", "after": 500}
    unknown = {name: value for name, value in stable.items() if name != "after"}  # as records of before are
    study = Question(task=TASK, tuned=folder, budget=80, every=5).plan().study
    asked = [{"after": 500}, {"after": 200}, {"after": 500, "sustain": 9}]
    for place, (was, found) in enumerate(((stable, ["", "--after", ""]), (unknown, ["", "", ""]))):
        (tmp_path / str(place)).mkdir()
        (tmp_path / str(place) / "tune.json").write_bytes(sealed(was))
        tuned = Question(task=TASK, tuned=tmp_path / str(place), budget=80, every=5).plan().study["tuned"]
        for other, what in zip(asked, found, strict=True):
            said = searched_elsewhere({**study, "tuned": tuned, "event": "stable", **other}, study["methods"])
            assert said.partition(" with another ")[2] == (what and f"{what}: they are carried over")
        ends = searched_elsewhere({**study, "tuned": tuned, "after": 200}, study["methods"])
        assert ends.endswith("with another event: they are carried over")
    stays = searched_elsewhere({**study, "after": 200}, study["methods"])
    assert stays == ""
    sustained = searched_elsewhere({**study, "sustain": 9}, study["methods"])
    assert sustained.endswith("with another --sustain: they are carried over")


def test_a_method_is_shown_by_the_name_that_it_was_searched_by(whole):
    study = Question(task=TASK, tuned=whole[0], budget=80, every=5).plan().study
    assert chosen(["grokfast-ema"], {**study, "baseline": None}) == [study["methods"][1]]
    assert chosen([study["methods"][1]], {**study, "baseline": None}) == [study["methods"][1]]
    with pytest.raises(InputError, match="unknown method of this study 'lion'"):
        chosen(["lion"], study)


def test_a_search_s_folder_is_no_study_s_and_the_other_way_round(whole, tmp_path):
    with pytest.raises(InputError, match="holds a search"):
        lab.compare(TASK, ["adamw"], seeds=1, out=whole[0], quiet=True)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_text("{}")
    with pytest.raises(InputError, match="holds a study"):
        lab.tune(TASK, METHODS, out=tmp_path / "study", **HOW)


def test_the_winners_are_compared_on_fresh_seeds_and_what_tuning_took_stands_beside(whole, tmp_path):
    out, record, _ = whole
    with pytest.raises(InputError, match=f"seed {FIRST_SEED} is one that .* was tuned on"):
        lab.compare(TASK, tuned=out, seeds=[0, FIRST_SEED], out=tmp_path / "study", quiet=True)
    with pytest.raises(InputError, match="unknown method that was tuned in .* 'muon'"):
        lab.compare(TASK, ["muon"], tuned=out, seeds=1, out=tmp_path / "study", quiet=True)
    study = lab.compare(
        TASK, tuned=out, seeds=1, budget=80, every=5, baseline="adamw", out=tmp_path / "study", jobs=1, quiet=True
    )
    best = {store_label(own["best"]["method"]): name for name, own in record["methods"].items()}
    assert set(study.leaderboard["method"]) == set(best)
    assert study.info["baseline"] in best
    assert best[study.info["baseline"]] == "adamw"
    assert {run["judged_on"] for run in map(json.loads, study.runs["config"])} == {"test"}
    tuned = json.loads((tmp_path / "study" / "study.json").read_text())["tuned"]
    for label, name in best.items():
        assert tuned[label]["method"] == name
        assert tuned[label]["flops"] == record["methods"][name]["cost_of_tuning"]["flops"]
        assert tuned[label]["trials"] == 4
    assert "What tuning took" in (tmp_path / "study" / "report.html").read_text()


def test_killed_at_any_moment_the_same_command_goes_on_and_nothing_is_run_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(lab_tune, "write_search", WRITE_SEARCH)  # the command is carried out in this process
    shutil.copy(SPIRALS, tmp_path / "my_problem.py")
    args = ["tune", "my_problem.py:problem(width=16)", "--methods", "adamw", "--trials", "4", "--batch", "2"]
    args += ["--seeds", "1", "--budget", "100", "--every", "5", "--jobs", "1"]
    done: dict[str, int] = {}
    for wait_for in (1, 3):  # finished runs at which it is killed, with its workers
        process = subprocess.Popen(
            [sys.executable, "-m", "grokkit", *args, "--out", "killed"],
            cwd=tmp_path,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 900
        while len(inodes(tmp_path / "killed")) < wait_for and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = inodes(tmp_path / "killed")
        assert done.items() <= found.items(), "a finished run was written again"
        done = found
    for out in ("killed", "whole"):
        said, err = grokkit(*args, "--out", out, "--json", "--quiet", cwd=tmp_path, pictures=True)
        assert err == ""
    assert done.items() <= inodes(tmp_path / "killed").items()
    killed, whole = (json.loads((tmp_path / out / "tune.json").read_text()) for out in ("killed", "whole"))
    assert told(killed) == told(whole)
    (row,), paths = (json.loads(said)[name] for name in ("table", "paths"))
    assert (row["method"], row["trials"], row["best"]) == ("adamw", 4, whole["methods"]["adamw"]["best"])
    assert paths == {"folder": "whole", "page": "whole/tune.html", "table": "whole/tune.json"} | {
        name: f"whole/{name}" for name in ("figures", "runs")
    }
    assert len(inodes(tmp_path / "killed")) == len(inodes(tmp_path / "whole"))


def inodes(folder):
    return {path.parent.name: path.stat().st_ino for path in (folder / "runs").glob("*/run.json")}


def test_what_compares_a_search_of_this_process_is_a_call_in_it(here, tmp_path):
    """No command finds what is of this process alone."""
    own = replace(spirals(), name="own", version="1")
    lab.tune(own, ["adamw"], out=tmp_path / "found", **{**HOW, "trials": 1})
    asked = Question(task="here:own", methods=["adamw"], budget=80, every=5)
    call = asked.compared(tmp_path / "found")
    assert call.startswith("lab.compare('here:own', tuned=")
    arguments = f"{call[:-1]}, seeds=1, out={str(tmp_path / 'compared')!r}, quiet=True)"
    study = eval(arguments, {"lab": lab})
    assert [told["method"] for told in study.info["tuned"].values()] == ["adamw"]
    assert Question(task="nowhere:own", methods="adamw").compared(Path("out/t")).startswith("grokkit compare")


def test_runs_are_given_up_by_steps_where_a_network_costs_no_flops(here, tmp_path):
    """A baseline's cost of no FLOPs would give every other run up at its first step."""
    shutil.copy(SPIRALS, tmp_path)
    (tmp_path / "entrywise.py").write_text(ENTRYWISE)
    asked = {"task": f"{tmp_path}/entrywise.py:problem", "methods": ["adamw", "grokfast-ema"], "seeds": 1}
    plan = extended(Question(**asked).plan(), None, {}, tmp_path)
    baseline = plan.runs.ids[0]
    done = SimpleNamespace(
        labels=lambda: {baseline: "adamw"},
        record=lambda run_id: {"seed": 0, "generalized_at": 40, "flops_to_target": 0},
    )
    assert limits_of(plan, done, 3.0) == {plan.runs.ids[1]: Limit("steps", 120.0)}
