"""A suite from end to end on tasks of seconds: settings from the tuning tasks alone, one number from the others."""

import json
import math
import shutil
import sys
from importlib import import_module

import pytest
from train_here import train_here

from grokkit import lab
from grokkit.cli import main
from grokkit.errors import InputError
from grokkit.registry import parts
from grokkit.study.pool import Failure
from grokkit.study.sealed import read_sealed
from grokkit.study.store import STUDY_FORMAT, Store
from grokkit.study.suite import SuitePlan, SuiteQuestion, _same_question, read_suite, write_suite
from grokkit.study.suites.card import SuiteCard, find_suite
from grokkit.study.tune import FIRST_SEED, SearchOptions, Tuning

METHODS = ["adamw", "grokfast-ema"]
SMALL = {"model": "fnn(width=16)", "every": 5}
TINY = SuiteCard(
    name="tiny",
    budget=80,
    tuning=[{"task": f"parity:{signs},2", **SMALL} for signs in (7, 8)],
    held_out=[
        {"task": "parity:7,2", "train_fraction": 0.6, "label": "seven signs", **SMALL},
        {"task": "parity:8,2", "train_fraction": 0.6, "label": "eight signs", "budget": 70, **SMALL},
        {"task": "parity:9,2", "label": "nine signs", **SMALL},
    ],
)
SPACE = "adamw: lr=0.01..0.03 log; grokfast-ema: lr=0.01..0.03 log"
HOW = {"trials": 2, "tuning_seeds": 1, "batch": 2, "seeds": 2, "space": SPACE, "quiet": True}
lab_tune, lab_carry_out, lab_suite = (import_module(f"grokkit.lab.{name}") for name in ("tune", "carry_out", "suite"))
WRITE_PAGE = lab_suite.write_suite_page


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (lab_tune, lab_suite):  # one test writes the suite's page; the others have tests of their own
            monkeypatch.setattr(module, f"write_{'search' if module is lab_tune else 'suite_page'}", _no_page)
        monkeypatch.setattr(lab_carry_out.Study, "write", lambda study: (study.folder, {}))
        yield train_here(monkeypatch, lab_tune, lab_carry_out)


def _no_page(folder, record):
    return folder


@pytest.fixture
def here(patched):
    """Trains in this process, and keeps the ids of what was trained, call by call."""
    patched.clear()
    return patched


@pytest.fixture(scope="module")
def whole(patched, tmp_path_factory):
    """The folder of a suite that nothing has disturbed, what it says, and what was trained."""
    patched.clear()
    folder = tmp_path_factory.mktemp("whole")
    record = lab.suite(TINY, METHODS, out=folder, **HOW)
    return folder, record, [list(ids) for ids in patched]


def told(record):
    """What suite.json says, apart from seconds."""
    text = json.loads(json.dumps(record))
    for own in text["tuning"]["methods"].values():
        del own["cost_of_tuning"]["train_seconds"]
    tasks = [[{k: v for k, v in row.items() if "seconds" not in k} for row in task["rows"]] for task in text["tasks"]]
    return text["tuning"], text["rows"], text["profiles"], tasks


def test_settings_come_from_all_tuning_tasks_together_and_are_judged_on_the_others(whole):
    folder, record, rounds = whole
    assert [len(ids) for ids in rounds] == [4, 4, 4, 4, 4], "2 methods × 2 tasks a trial, then 2 methods × 2 seeds"
    tuning = json.loads((folder / "tuning" / "tune.json").read_text())
    store = Store(folder / "tuning")
    records = [store.record(run_id) for run_id in rounds[0]]
    assert {run["config"]["judged_on"] for run in records} == {"validation"}
    assert {run["seed"] for run in records} == {FIRST_SEED}
    for name, own in tuning["methods"].items():
        for trial in own["trials"]:
            assert len(trial["costs"]) == 2, "a run on each tuning task"
            assert trial["cost"] == pytest.approx(math.sqrt(trial["costs"][0] * trial["costs"][1]), rel=1e-12)
        best = min(own["trials"], key=lambda trial: trial["value"])
        assert record["tuning"]["methods"][name]["method"] == best["method"]
        for task in record["tasks"]:
            study = json.loads((folder / task["folder"] / "study.json").read_text())
            (label,) = [label for label, found in study["tuned"].items() if found["method"] == name]
            assert study["methods_detail"][label]["optimizer"]["lr"] == best["settings"]["lr"]
            assert study["seeds"] == [0, 1]
    assert [task["budget"] for task in record["tasks"]] == [80, 70, 80], "a task may have a budget of its own"


def test_a_hopeless_run_is_given_up_at_what_the_best_trial_took_on_its_own_task(whole, tmp_path):
    folder, _, _ = whole
    shutil.copytree(folder / "tuning", tmp_path / "tuning")
    best = json.loads((tmp_path / "tuning" / "tune.json").read_text())["methods"]["adamw"]["best"]
    assert best["has_arrived"]
    assert best["costs"][0] != best["costs"][1]
    asked = SuiteQuestion(suite=TINY, methods=METHODS)
    options = SearchOptions(trials=3, seeds=1, batch=2, space=SPACE)
    tuning = Tuning(SuitePlan(asked, options, tmp_path / "none").tuning_questions(), options, tmp_path / "tuning")
    with tuning.store.lock():
        tuning.open()
        trials, limits = tuning.next_round()
    runs = trials["adamw", 2, 0]
    assert [run.task.settings["n"] for run in runs] == [7, 8]
    assert [limits[run.run_id()].most for run in runs] == pytest.approx([3 * cost for cost in best["costs"]], rel=1e-12)


def test_the_number_is_of_the_held_out_leaderboards_and_the_file_is_sealed_and_the_page_leads_to_them(whole):
    folder, record, _ = whole
    kept = read_sealed(folder / "suite.json", newest=STUDY_FORMAT)
    assert told(kept) == told(record)
    base, own = record["rows"]
    ratios = [task["rows"][1]["cell"]["value"] for task in record["tasks"]]
    sides = {task["rows"][1]["cell"]["side"] for task in record["tasks"]}
    assert sides == {None}, "runs that do not arrive are for other tests"
    assert own["ratio_flops_vs_baseline"] == pytest.approx(math.prod(ratios) ** (1 / 3), rel=1e-12)
    assert (base["method"], base["tasks"], own["pairs"]) == ("adamw", 3, 3)
    assert record["verdict"].startswith("Over the 3 held-out tasks of tiny, ")
    page = WRITE_PAGE(folder, record).read_text()
    for task in record["tasks"]:
        assert f'<a href="{task["folder"]}/report.html">{task["label"]}</a>' in page
        assert (folder / task["folder"] / "study.json").is_file()
    assert 'data-chart="profile"' in page
    assert "How near the best" in page
    assert (folder / "figures" / "profile.png").read_bytes().startswith(b"\x89PNG")


def test_stopped_within_a_held_out_task_it_goes_on_and_extended_it_trains_what_is_new(
    whole, here, tmp_path, monkeypatch
):
    train, calls = lab_carry_out.train_runs, []

    def stopped(runs, store, *others):
        calls.append(len(runs))
        if len(calls) == 2:
            train(runs[:3], store, *others)
            raise KeyboardInterrupt
        return train(runs, store, *others)

    out = tmp_path / "parts"
    shutil.copytree(whole[0] / "tuning", out / "tuning")  # where a search is stopped is for its own tests
    with monkeypatch.context() as patch:
        patch.setattr(lab_carry_out, "train_runs", stopped)
        with pytest.raises(KeyboardInterrupt):
            lab.suite(TINY, METHODS, out=out, **HOW)
    assert read_suite(out)["looks"] == [], "nobody has seen a number"
    here.clear()
    again = lab.suite(TINY, METHODS, out=out, **HOW)
    assert [len(ids) for ids in here] == [0, 1, 4], "what was done is not done again"
    assert told(again) == told(whole[1])
    here.clear()
    more = lab.suite(TINY, METHODS, out=out, **(HOW | {"seeds": 3}))
    assert [len(ids) for ids in here] == [2, 2, 2]
    assert len(more["looks"]) == 2, "more seeds are another look"
    assert more["tuning"] == again["tuning"], "and settings stay"


def test_a_method_is_added_with_a_space_that_names_the_others_and_none_may_change(whole, here, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    how = HOW | {"space": f"{SPACE}; grad-norm: lr=0.01..0.03 log"}
    record = lab.suite(TINY, ["grad-norm"], out=out, **how)
    assert {row["method"] for row in record["rows"]} == {*METHODS, "grad-norm"}
    assert record["tuning"]["methods"]["adamw"]["space"] == whole[1]["tuning"]["methods"]["adamw"]["space"]
    with pytest.raises(InputError, match="holds a search of adamw in lr=0.01..0.03 log, not in lr=0.01..0.02 log"):
        lab.suite(TINY, METHODS, out=out, **(HOW | {"space": "adamw: lr=0.01..0.02 log"}))


def test_a_task_is_there_twice_however_it_is_spelt(tmp_path):
    for again in ("a*b mod 97", {"task": "mul:97", "budget": 4000, "label": "longer"}):
        card = SuiteCard(name="twice", tuning=["mul:97"], held_out=["add:97", again])
        with pytest.raises(InputError, match="suite twice: .* is the same as mul:97; what settings are chosen on"):
            SuitePlan(SuiteQuestion(suite=card, methods=["adamw"]), SearchOptions(), tmp_path)


def test_a_budget_that_is_given_is_another_than_that_of_the_card_although_it_is_as_many_steps(whole):
    with pytest.raises(InputError, match="holds a suite with --budget what the suite says, not 80"):
        lab.suite(TINY, METHODS, out=whole[0], budget=80, **HOW)
    question = {**whole[1]["question"]}
    del question["budget_given"]
    _same_question(question, {**question, "budget_given": None}, whole[0])


def test_a_suite_that_never_ran_is_in_nobody_s_way(here, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="--device cuda is not possible"):
        lab.suite(TINY, METHODS, out=tmp_path / "out", device="cuda", **HOW)
    assert not (tmp_path / "out").exists()
    options = SearchOptions(seeds=1)
    plan = SuitePlan(SuiteQuestion(suite=TINY, methods=["lion"]), options, tmp_path)
    write_suite(tmp_path, {"question": plan.question(options), "methods": plan.known, "looks": []})
    other = SuitePlan(SuiteQuestion(suite=TINY, methods=METHODS, claim="steps"), options, tmp_path)
    assert other.known == METHODS


@pytest.mark.parametrize(
    ("suite", "changes", "message"),
    [
        ("cor", {}, "unknown suite 'cor'; did you mean 'core'"),
        ("mine.toml", {}, "cannot read mine.toml"),
        (TINY, {"trials": 3}, "holds a suite with --trials 2, not 3; choose another --out"),
        (TINY, {"tuning_seeds": 2}, "holds a suite with --tuning-seeds 1, not 2"),
        (TINY, {"claim": "steps"}, "holds a suite with --claim flops, not steps"),
        (TINY, {"baseline": "adam"}, "--baseline: unknown method of this suite 'adam'"),
        (TINY, {"primary": "adamw"}, "--primary adamw is the baseline"),
        (TINY, {"finalists": 0}, "--finalists 0 is not possible"),
        (TINY, {"methods": "adamw,nonsense"}, "seven signs: --methods: unknown method 'nonsense'"),
        (SuiteCard(name="tiny", tuning=["mul:7"], held_out=["add:7"]), {}, "holds a suite tiny of other tasks"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_runs(whole, here, suite, changes, message):
    folder, _, _ = whole
    with pytest.raises(InputError) as caught:
        lab.suite(suite, **({"methods": METHODS, "out": folder} | HOW | changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert here == []


def test_the_command_asks_the_same_and_tells_a_script(whole, here, tmp_path, monkeypatch, capsys):
    shutil.copytree(whole[0], tmp_path / "suite")
    card = f"from grokkit.lab import SuiteCard\nTINY = {TINY!r}\n"
    (tmp_path / "cards.py").write_text(card)
    given = {"trials": "2", "tuning-seeds": "1", "batch": "2", "seeds": "2", "space": SPACE, "out": tmp_path / "suite"}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    line = ["suite", f"{tmp_path}/cards.py:TINY", "--methods", ",".join(METHODS), *words, "--json", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["grokkit", *line])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert not any(here), "all is done"
    out, err = capsys.readouterr()
    told_script = json.loads(out)
    assert err == ""
    record = read_suite(tmp_path / "suite")
    assert told_script["table"] == record["rows"]
    assert (told_script["title"], told_script["unfinished"], told_script["failed"]) == ("tiny", 0, {})
    assert [claim["method"] for claim in told_script["claims"]] == ["grokfast-ema"]
    assert told_script["paths"]["table"] == str(tmp_path / "suite" / "suite.json")


def test_a_study_s_folder_is_no_suite_s_and_the_other_way_round(whole):
    folder, record, _ = whole
    with pytest.raises(InputError, match="holds a study or a search; choose another --out for a suite"):
        lab.suite(TINY, METHODS, out=folder / record["tasks"][0]["folder"], **HOW)
    for call in (lab.compare, lab.tune):
        with pytest.raises(InputError, match="holds a suite"):
            call(TINY.tuning_tasks[0].options["task"], METHODS, out=folder, budget=60, quiet=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tuning = ["mul:7"]', "it has no held_out; write e.g. held_out = ['mul:97']"),
        ('tuning = ["mul:7"]\nheld_out = []', "held_out=[] is not possible"),
        ('tuning = ["mul:7"]\nheld_out = ["mul:7"]', "mul:7 is there twice"),
        ('tuning = ["mul:7"]\nheld_out = [{task = "add:7", budgets = 3}]', "did you mean 'budget'?"),
        ('tuning = ["mul:7"]\nheld_out = [{budget = 3}]', "{'budget': 3} is no task"),
        ('tunning = ["mul:7"]', "unknown key of"),
        ("tuning = [", "is no TOML"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        find_suite(str(tmp_path / "mine.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_suite_of_one_s_own_is_a_card_in_a_file_or_toml(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from grokkit.lab import SuiteCard\n"
        "SUITE = SuiteCard(name='mine', tuning=['mul:7'], held_out=[{'task': 'add:7', 'train_fraction': 0.3}])\n"
    )
    (tmp_path / "mine.toml").write_text('tuning = ["mul:7"]\n[[held_out]]\ntask = "add:7"\ntrain_fraction = 0.3\n')
    by_file, by_toml = find_suite(f"{tmp_path}/mine.py:SUITE"), find_suite(f"{tmp_path}/mine.toml")
    assert by_file == by_toml
    assert by_toml.held_out_tasks[0].label == "add:7 train_fraction=0.3"


def test_the_baseline_the_primary_method_those_kept_and_the_best_go_on(tmp_path):
    methods = ["adamw", "grokfast-ema", "grokfast-ma", "grad-norm", "lion"]
    asked = SuiteQuestion(suite=TINY, methods=methods, finalists=1, keep="grad-norm")
    plan = SuitePlan(asked, SearchOptions(), tmp_path)
    values = {"adamw": 9.0, "grokfast-ema": 7.0, "grokfast-ma": 6.0, "grad-norm": 8.0, "lion": 6.5}
    tuning = {"methods": {name: {"best": {"value": value}} for name, value in values.items()}}
    assert plan.chosen(tuning) == ["adamw", "grokfast-ma", "grad-norm"]


def test_a_method_that_is_added_goes_on_only_if_it_is_among_the_best_of_all(tmp_path):
    plan = SuitePlan(SuiteQuestion(suite=TINY, methods=["adamw", "lion"], finalists=1), SearchOptions(), tmp_path)
    values = {"adamw": 9.0, "grokfast-ema": 7.0, "lion": 8.0}
    tuning = {"methods": {name: {"best": {"value": value}} for name, value in values.items()}}
    assert plan.chosen(tuning) == ["adamw"]
    values["lion"] = 6.0
    tuning = {"methods": {name: {"best": {"value": value}} for name, value in values.items()}}
    assert plan.chosen(tuning) == ["adamw", "lion"]


def test_a_method_of_which_no_trial_is_finished_does_not_go_on(here, tmp_path, monkeypatch, capsys):
    train = lab_tune.train_runs

    def failing(runs, *more):
        bad = [run for run in runs if run.method.label.startswith(broken)]
        train([run for run in runs if run not in bad], *more)
        return {run.run_id(): Failure("RuntimeError: planted") for run in bad}

    broken = "grokfast-ema"
    monkeypatch.setattr(lab_tune, "train_runs", failing)
    how = {**HOW, "trials": 1, "seeds": 1, "quiet": False}
    with pytest.raises(InputError, match="2 runs failed.*planted"):
        lab.suite(TINY, METHODS, out=tmp_path / "out", **how)
    assert "no trial of grokfast-ema is finished: not compared on the held-out tasks" in capsys.readouterr().out
    record = read_suite(tmp_path / "out")
    assert [row["method"] for task in record["tasks"] for row in task["rows"]] == ["adamw"] * 3
    assert WRITE_PAGE(tmp_path / "out", record).is_file()
    broken = "adamw"
    with pytest.raises(InputError, match=r"has no finished trial of adamw, .*give the same command again"):
        lab.suite(TINY, METHODS, out=tmp_path / "other", **how)
    monkeypatch.setattr(lab_tune, "train_runs", train)
    again = lab.suite(TINY, METHODS, out=tmp_path / "out", **how)
    assert {row["method"] for task in again["tasks"] for row in task["rows"]} == {*METHODS}


def test_ours_are_listed_and_every_task_of_theirs_is_one():
    assert set(parts("suites")) == {"core", "quick"}
    for part in parts("suites").values():
        for task in (*part.value.tuning_tasks, *part.value.held_out_tasks):
            assert (part.value.summary, task.options["task"]) > ("", "")


def test_a_setting_stands_once_a_held_out_task_has_seen_it(here, tmp_path, monkeypatch):
    train, first = lab_tune.train_runs, []

    def failing(runs, *more):
        own = [run for run in runs if run.method.name == "grokfast-ema"]
        if own and not first:
            first.append(own[0].method.label)
        bad = [run for run in own if run.method.label == first[0]]
        train([run for run in runs if run not in bad], *more)
        return {run.run_id(): Failure("RuntimeError: planted") for run in bad}

    monkeypatch.setattr(lab_tune, "train_runs", failing)
    how = {**HOW, "seeds": 1}
    with pytest.raises(InputError, match="runs failed.*planted"):
        lab.suite(TINY, METHODS, out=tmp_path, **how)
    chosen = read_suite(tmp_path)["tuning"]["methods"]
    monkeypatch.setattr(lab_tune, "train_runs", train)
    here.clear()
    again = lab.suite(TINY, METHODS, out=tmp_path, **how)
    assert again["tuning"]["methods"] == chosen
    assert not any(here), "nothing is trained, neither the trial that failed nor a held-out run"


def test_methods_of_which_the_same_settings_are_the_best_are_compared_once(here, tmp_path, capsys):
    methods = ["grokfast-ema", "adamw(lr=0.01)", "adamw"]
    space = "grokfast-ema: lr=0.01|0.02; adamw: lr=0.01|0.02, wd=1|2"  # of which a grid of one trial has the first
    how = HOW | {"trials": 1, "seeds": 1, "space": space, "sampler": "grid", "quiet": False}
    found = lab.suite(TINY, methods, out=tmp_path / "out", **how)
    said = "the best settings of adamw(lr=0.01) make it the same as adamw: compared once, as adamw"
    assert said in capsys.readouterr().out
    assert [[row["method"] for row in task["rows"]] for task in found["tasks"]] == [["adamw", "grokfast-ema"]] * 3
    with pytest.raises(InputError, match=r"adamw\(lr=0.01\) in .* make it the same as the baseline, adamw:"):
        lab.suite(TINY, methods, out=tmp_path / "primary", primary=methods[1], **how)
    with pytest.raises(InputError, match=r"of adamw in .* make it the same as adamw\(lr=0.01\); name one of them"):
        lab.compare("parity:9,2", tuned=tmp_path / "out" / "tuning", seeds=1, out=tmp_path / "study", **SMALL)


def test_a_method_that_was_compared_under_another_name_stays_what_it_was_searched_as(here, tmp_path, capsys):
    how = HOW | {"trials": 1, "seeds": 1, "space": "grokfast-ema: lr=0.01|0.02; adamw: lr=0.01|0.02, wd=1|2"}
    how |= {"sampler": "grid", "quiet": False}
    before = lab.suite(TINY, ["grokfast-ema", "adamw"], out=tmp_path, **how)
    after = lab.suite(TINY, ["adamw(lr=0.01)"], out=tmp_path, **how)
    assert "the best settings of adamw(lr=0.01) make it the same as adamw" in capsys.readouterr().out
    assert [row for row in after["rows"] if row["runs"]] == before["rows"]
    study = json.loads((tmp_path / after["tasks"][0]["folder"] / "study.json").read_text())
    assert sorted(own["method"] for own in study["tuned"].values()) == ["adamw", "grokfast-ema"]
    lab.compare("parity:9,2", tuned=tmp_path / "tuning", methods=["adamw"], seeds=1, out=tmp_path / "study", **SMALL)
    lab.compare(
        "parity:9,2", tuned=tmp_path / "tuning", methods=["adamw(lr=0.01)"], seeds=1, out=tmp_path / "study", **SMALL
    )
    study = json.loads((tmp_path / "study" / "study.json").read_text())
    assert [own["method"] for own in study["tuned"].values()] == ["adamw"]


def stop(*_args, **_options):
    raise KeyboardInterrupt


def test_the_baseline_is_named_until_every_held_out_task_has_seen_it(here, tmp_path, monkeypatch):
    how = HOW | {"seeds": 1, "trials": 1}
    with monkeypatch.context() as patch:
        patch.setattr(lab_suite, "carry_out", stop)
        with pytest.raises(KeyboardInterrupt):
            lab.suite(TINY, METHODS, out=tmp_path, **how)
    message = "--methods: .* has not compared adamw, the baseline or the primary method, on every held-out task yet"
    with pytest.raises(InputError, match=message):
        lab.suite(TINY, ["grokfast-ema"], out=tmp_path, **how)


def test_what_held_out_tasks_have_seen_is_remembered_whatever_is_killed_or_deleted(here, tmp_path, monkeypatch):
    how = HOW | {"seeds": 1, "trials": 1}
    lab.suite(TINY, METHODS, out=tmp_path, **how)
    with monkeypatch.context() as patch:
        patch.setattr(lab_suite, "results", stop)
        with pytest.raises(KeyboardInterrupt):
            lab.suite(TINY, ["gd"], out=tmp_path, **how | {"space": SPACE + "; gd: lr=0.1|0.2"})
    again = lab.suite(TINY, METHODS, out=tmp_path, **how)
    assert {*again["family"]} == {*METHODS, "gd"}
    (tmp_path / "tuning" / "tune.json").unlink()
    with pytest.raises(InputError, match="holds a suite with --trials 1, not 2"):
        lab.suite(TINY, METHODS, out=tmp_path, **how | {"trials": 2})
