"""Seconds a step, measured in turns: whose turn it is, what is counted, what a claim makes of it. Never real speed."""

import itertools
import json
import time
from dataclasses import asdict
from statistics import median
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from damaged import make_store
from kept_runs import record
from kept_runs import study as made_study

from grokkit.analyse import claims, leaderboard
from grokkit.errors import InputError
from grokkit.lab import Study
from grokkit.lab.report import not_measured
from grokkit.study import measure_pace as module
from grokkit.study.measure_pace import measure_pace, study_pace, take_turns
from grokkit.study.pace import FORMAT, ArmPace, Pace, at_pace, claimed_seconds, read_pace
from grokkit.study.sealed import sealed
from grokkit.study.store import Store
from grokkit.train import alone
from grokkit.train.config import EvaluationConfig, RunConfig
from grokkit.train.resolve import method_config, model_config, task_config

FNN = "fnn(dim=4,width=8,depth=2)"


def run_of(method, **changes):
    settings = {
        "task": task_config("add:7(layout=operands)"),
        "model": model_config(FNN),
        "method": method_config(method),
        "seed": 0,
        "budget": 40,
        "batch_size": 8,
        "evaluation": EvaluationConfig(every=5),
    }
    return RunConfig(**{**settings, **changes})


def measured_here(runs, rounds, block, warm_up):
    """The pace that the worker reports, without one."""
    told = []
    arms = {run.method.label: run.model_dump() for run in runs}
    module._measure_arms(module._Job(arms, rounds, block, warm_up, parts=b""), told.append)
    (found,) = told
    return module.pace_of(found)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the engine reads at the beginning and at the end of a stretch; ``clock.lengths`` says how long."""
    fake = SimpleNamespace(now=0.0, reads=0, lengths=itertools.repeat(1.0))

    def read():
        if fake.reads % 2:
            fake.now += next(fake.lengths)
        fake.reads += 1
        return fake.now

    monkeypatch.setattr(alone, "time", SimpleNamespace(perf_counter=read, monotonic=time.monotonic))
    return fake


def test_every_round_another_side_is_first_and_nobody_is_left_out():
    order = []

    def side(label):
        return lambda: order.append(label) or len(order)

    taken = take_turns({label: side(label) for label in "abc"}, 4)
    assert "".join(order) == "abcbcacababc"
    assert taken == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}


def test_the_pace_is_the_median_over_rounds_of_a_block_s_seconds_a_step(clock):
    # Warm-up of both, then rounds a b, b a, a b: of blocks of 4 steps.
    clock.lengths = iter([100.0, 100.0, 4.0, 40.0, 44.0, 16.0, 8.0, 60.0])
    pace = measured_here([run_of("adamw"), run_of("grokfast-ema")], rounds=3, block=4, warm_up=5)
    adamw, ema = pace.arms["adamw"], pace.arms["grokfast-ema"]
    assert (adamw.seconds, adamw.rounds, adamw.steps) == (2.0, [1.0, 4.0, 2.0], 4)
    assert (ema.seconds, ema.rounds, ema.steps) == (11.0, [10.0, 11.0, 15.0], 4)
    assert (pace.rounds, pace.warm_up) == (3, 5)
    assert pace.machine["processor"]


def test_a_block_is_so_many_steps_of_the_trainer_and_no_evaluation(monkeypatch):
    stops, train_to = [], alone.Alone.train_to

    def noting(engine, stop):
        stops.append((engine.members[0].config.method.label, stop))
        train_to(engine, stop)

    def evaluating(*_):
        raise AssertionError("an evaluation")

    monkeypatch.setattr(alone.Alone, "train_to", noting)
    monkeypatch.setattr(alone.Alone, "score", evaluating)
    measured_here([run_of("adamw"), run_of("adam-l2")], rounds=2, block=3, warm_up=4)
    adamw = [stop for label, stop in stops if label == "adamw"]
    assert adamw == [4, 7, 10]
    assert [label for label, _ in stops] == ["adamw", "adam-l2", "adamw", "adam-l2", "adam-l2", "adamw"]


@pytest.mark.parametrize(("every", "steps"), [(1, 10), (4, 12), (5, 10), (30, 30)])
def test_a_block_has_whole_periods_of_outer_steps(monkeypatch, every, steps):
    begun, begin = [], alone.Alone.begin
    monkeypatch.setattr(alone.Alone, "begin", lambda engine: begun.append(engine) or begin(engine))
    label = f"neuralgrok(hidden=(4,),every={every},lr_warmup=0)"
    pace = measured_here([run_of(label)], rounds=2, block=10, warm_up=0)
    assert [arm.steps for arm in pace.arms.values()] == [steps]
    progress = begun[0].members[0].progress
    assert progress.step == 2 * steps
    assert progress.outer_steps == 2 * steps // every


def test_what_a_start_takes_is_not_part_of_a_step(clock):
    clock.lengths = itertools.repeat(6.0)
    label = "groktransfer(weak=fnn(dim=4,width=8),weak_steps=10,weak_seeds=1)"
    pace = measured_here([run_of(label)], rounds=3, block=3, warm_up=1)
    assert [arm.seconds for arm in pace.arms.values()] == [2.0]


def test_an_arm_that_diverges_has_no_pace_and_the_others_have():
    pace = measured_here(
        [run_of("adamw(optimizer=sgd,lr=1e30,lr_warmup=0)"), run_of("adamw")], rounds=2, block=4, warm_up=0
    )
    diverged, other = pace.arms.values()
    assert (diverged.seconds, diverged.rounds) == (None, None)
    assert min(other.rounds) <= other.seconds <= max(other.rounds)


def test_a_study_is_measured_in_a_worker_once_an_arm_and_kept(tmp_path):
    runs = [run_of(method, seed=seed) for seed in (0, 1) for method in ("adamw", "grad-norm")]
    found = measure_pace(runs, rounds=2, block=2, warm_up=1)
    assert list(found.arms) == ["adamw", "grad-norm"]
    assert found.machine["threads"] == 1
    assert all(0 < min(arm.rounds) <= arm.seconds <= max(arm.rounds) for arm in found.arms.values())


@pytest.fixture
def counted(monkeypatch):
    """``measure_pace`` as something that is counted, and takes no time."""
    calls = []

    def measure(runs, **_):
        calls.append(runs)
        return measured_here(list(module._arms(runs).values()), rounds=1, block=1, warm_up=0)

    monkeypatch.setattr(module, "measure_pace", measure)
    return calls


def test_a_pace_is_kept_and_holds_for_the_same_arms(tmp_path, counted):
    runs = [run_of("adamw"), run_of("grad-norm")]
    first = study_pace(tmp_path, runs)
    assert json.loads((tmp_path / "pace.json").read_text())["format"] == FORMAT
    assert read_pace(tmp_path) == first
    longer = [run.model_copy(update={"seed": 7, "budget": 90, "sustain": 2}) for run in reversed(runs)]
    assert study_pace(tmp_path, longer) == first
    assert len(counted) == 1


@pytest.mark.parametrize(
    "changed",
    [
        [run_of("adamw")],
        [run_of("adamw"), run_of("grad-norm"), run_of("adam-l2")],
        [run_of("adamw"), run_of("grad-norm", batch_size=4)],
        [run_of("adamw"), run_of("grad-norm", model=model_config("fnn(dim=4,width=9,depth=2)"))],
    ],
)
def test_a_pace_of_other_steps_is_measured_again(tmp_path, counted, changed):
    study_pace(tmp_path, [run_of("adamw"), run_of("grad-norm")])
    assert list(study_pace(tmp_path, changed).arms) == [run.method.label for run in changed]
    assert len(counted) == 2


@pytest.mark.parametrize("name", ["processor", "torch", "grokkit", "matmul", "platform"])
def test_a_pace_of_another_machine_or_version_is_measured_again(tmp_path, counted, monkeypatch, name):
    runs = [run_of("adamw")]
    study_pace(tmp_path, runs)
    here = module.provenance()
    monkeypatch.setattr(module, "provenance", lambda: {**here, name: "another"})
    assert study_pace(tmp_path, runs).machine[name] == "another"
    assert len(counted) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 3}', '{"format": 3, "arms": 3}'])
def test_what_is_no_pace_is_named_and_measured_again_once_it_is_deleted(tmp_path, counted, text):
    path = tmp_path / "pace.json"
    path.write_text(text)
    for use in (read_pace, lambda folder: study_pace(folder, [run_of("adamw")])):
        with pytest.raises(InputError, match=r"pace\.json is damaged: it .*; delete it, and grokkit compare measures"):
            use(tmp_path)
    path.unlink()
    study_pace(tmp_path, [run_of("adamw")])
    assert read_pace(tmp_path) is not None


def test_a_pace_with_a_number_changed_is_named(tmp_path, counted):
    study_pace(tmp_path, [run_of("adamw")])
    path = tmp_path / "pace.json"
    found = json.loads(path.read_text())
    found["arms"]["adamw"]["seconds"] *= 2
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"does not have the digest that it was written with"):
        read_pace(tmp_path)


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"block": 0}, {"warm_up": -1}])
def test_impossible_counts_are_refused(settings):
    ((name, value),) = settings.items()
    with pytest.raises(InputError, match=f"{name}={value} is not possible: at least"):
        measure_pace([run_of("adamw")], **settings)


def test_a_worker_s_failure_is_one_line_with_its_cause():
    nonesuch = task_config("add:7").model_copy(update={"name": "nonesuch", "text": "nonesuch"})
    with pytest.raises(
        InputError, match=r"seconds of a step cannot be measured \(InputError: .*; claim FLOPs or steps"
    ) as caught:
        measure_pace([run_of("adamw", task=nonesuch)], rounds=1)
    assert "nonesuch" in str(caught.value)
    assert "\n" not in str(caught.value)


def pace_of(**seconds):
    arms = {
        label: ArmPace(step="", steps=1, seconds=value, rounds=None if value is None else [value])
        for label, value in seconds.items()
    }
    return Pace(arms=arms, rounds=1, warm_up=0, load=0.0, machine={"processor": "here"})


def records(**columns):
    """Runs of which every column has a default."""
    rows = len(next(iter(columns.values())))
    defaults = {
        "run_id": [f"run{number}" for number in range(rows)],
        "method": ["slow"] * rows,
        "seed": list(range(rows)),
        "generalized_at": [None] * rows,
        "steps": [90] * rows,
        "budget": [90] * rows,
        "start_seconds": [0.0] * rows,
        "provenance": ['{"processor": "here"}'] * rows,
    }
    types = {"generalized_at": pl.Int64, "below_until": pl.Int64}
    return pl.DataFrame(
        {**defaults, **columns}, schema_overrides={k: t for k, t in types.items() if k in {*defaults, *columns}}
    )


CLAIMED = ("claimed_seconds_to_target", "claimed_seconds_below_until")


def claimed(runs, **seconds):
    found = claimed_seconds(runs, pace_of(**seconds))
    assert found.columns == ["run_id", "method", "seed", *CLAIMED]
    return tuple(found[name].to_list() for name in CLAIMED)


def test_a_run_s_seconds_are_its_start_and_its_steps_at_its_arm_s_pace():
    runs = records(method=["slow", "fast", "fast"], generalized_at=[100, 100, 20], start_seconds=[0.0, 3.0, None])
    assert claimed(runs, slow=0.5, fast=0.25) == ([50.0, 28.0, 5.0], [None, None, None])


def test_a_run_that_did_not_arrive_has_a_bound_at_its_last_evaluation_below_the_target():
    runs = records(generalized_at=[None, 40, None], start_seconds=[2.0, 2.0, 0.0], below_until=[80, 30, None])
    assert claimed(runs, slow=0.5) == ([None, 22.0, None], [42.0, None, 45.0])


def test_without_that_column_the_bound_is_the_budget_also_of_a_run_that_broke_off():
    runs = records(generalized_at=[None, 40, None], steps=[90, 50, 10])
    assert claimed(runs, slow=0.5) == ([None, 20.0, None], [45.0, None, 45.0])


def test_seconds_of_another_processor_are_not_added_to_those_of_this_one():
    runs = records(
        generalized_at=[40, 40, None, 40],
        start_seconds=[2.0, 0.0, 2.0, 2.0],
        provenance=['{"processor": "there"}'] * 3 + [None],
    )
    assert claimed(runs, slow=0.5) == ([None, 20.0, None, None], [None, None, None, None])


def test_seconds_of_another_processor_that_make_no_difference_are():
    there = {"provenance": ['{"processor": "there"}'] * 2, "start_seconds": [0.125, 0.5]}
    assert claimed(records(generalized_at=[40, 40], **there), slow=0.5) == ([20.125, None], [None, None])
    assert claimed(records(generalized_at=[None, None], **there), slow=0.5) == ([None, None], [45.125, None])


def test_an_arm_without_a_pace_has_no_seconds_and_one_not_measured_is_refused():
    runs = records(method=["slow", "fast"], generalized_at=[40, None])
    assert claimed(runs, slow=None, fast=1.0) == ([None, None], [None, 90.0])
    with pytest.raises(InputError, match="the pace of fast was not measured with the other arms'; measure all"):
        claimed_seconds(runs, pace_of(slow=1.0))


def test_no_runs_have_no_seconds():
    assert claimed(records(generalized_at=[40]).clear(), slow=1.0) == ([], [])


def test_at_pace_the_leaderboard_counts_steps_and_not_what_a_busy_machine_made_of_them():
    runs = records(
        method=["slow", "slow", "slow", "fast", "fast", "fast"],
        seed=[0, 1, 2] * 2,
        generalized_at=[100, 200, 150, 100, 200, None],
        below_until=[None, None, None, None, None, 80],
        train_seconds=[900.0] * 6,
        train_seconds_to_target=[900.0] * 5 + [None],
        provenance=[f'{{"processor": "{name}"}}' for name in ("here", "there", "here", "here", "here", "here")],
    )
    counted = at_pace(runs, pace_of(slow=0.5, fast=0.25))
    assert counted["train_seconds_to_target"].to_list() == [50, 100, 75, 25, 50, None]
    assert counted["train_seconds_below_until"].to_list() == [None] * 5 + [20]
    fast = leaderboard(counted, ["slow", "fast"], "slow", "seconds")[1]
    assert fast["pairs"] == 3
    assert fast["ratio_seconds_vs_baseline"] is None  # two complete pairs and a bound
    assert leaderboard(counted.filter(pl.col("seed") < 2), ["slow", "fast"], "slow", "seconds")[1][
        "ratio_seconds_vs_baseline"
    ] == pytest.approx(0.5)


def paced(methods, rounds, steps):
    """The second row of ``methods`` in seconds, all arms with ``steps``, and of each what a step took in each round."""
    n = len(steps)
    runs = records(method=[name for name in methods for _ in steps], seed=[*range(n)] * 2, generalized_at=[*steps] * 2)
    arms = {
        name: ArmPace(step="", steps=1, seconds=median(own), rounds=own)
        for name, own in zip(methods, rounds, strict=True)
    }
    pace = Pace(arms=arms, rounds=len(rounds[0]), warm_up=0, load=0.0, machine={"processor": "here"})
    return leaderboard(at_pace(runs, pace), methods, methods[0], "seconds")


def test_arms_that_only_the_clock_tells_apart_are_not_claimed_to_differ_in_seconds():
    """Their steps are the same in every seed, so that seeds do not scatter and the pace's error is all there is."""
    adamw = [1.000, 0.970, 1.090, 1.004, 0.998, 1.020, 0.985, 1.011, 0.995]
    clip = [1.003, 0.960, 1.080, 1.010, 0.990, 1.030, 0.989, 1.001, 1.006]
    rows = paced(["adamw", "clip"], [adamw, clip], [300, 410, 520, 350, 600])
    (found,) = claims(rows, {"claim": "seconds"})
    assert not found.claimed
    assert found.p == 1.0
    ratios = np.sort(np.divide(clip, adamw))
    assert rows[1]["ratio_seconds_ci_low"] == pytest.approx(ratios[1])
    assert rows[1]["ratio_seconds_ci_high"] == pytest.approx(ratios[-2])
    far = paced(["adamw", "clip"], [adamw, [0.5 * own for own in clip]], [300, 410, 520, 350, 600])
    (found,) = claims(far, {"claim": "seconds"})
    assert found.claimed
    assert found.direction == "less"
    assert [far[1][key] for key in ("pace_error_low", "pace_error_high")] == pytest.approx(
        [rows[1][key] for key in ("pace_error_low", "pace_error_high")]
    )


def test_a_pace_of_before_without_its_rounds_is_measured_again(tmp_path):
    (tmp_path / "pace.json").write_bytes(sealed({"format": 2, "arms": {}, "rounds": 9}))
    assert read_pace(tmp_path) is None


def test_a_method_that_joined_after_the_others_were_measured_has_no_seconds_and_they_keep_theirs(tmp_path):
    """As the folder is when a command that adds a method is stopped: a report is made of what there is."""
    arms, store = ["adamw", "b", "late"], Store(tmp_path)
    its = {"status": "generalized", "generalized_at": 500, "below_until": None}
    entries = [record(arm, seed, name=arm, **its) for arm in arms for seed in range(3)]
    for entry in entries:
        store.save_run(entry["run_id"], entry, pl.DataFrame({"step": [0]}), {})
    asked = {"task": {}, "model": {}, "budget": 1000, "target": 0.95, "sustain": 5, "claim": "seconds"}
    about = {"methods": arms, "methods_detail": {arm: {} for arm in arms}, "family": arms, "seeds": [0, 1, 2], **asked}
    store.write_study(made_study([entry["run_id"] for entry in entries], **about))
    (tmp_path / "pace.json").write_bytes(sealed({"format": FORMAT, **asdict(pace_of(adamw=1.0, b=0.5))}))
    found = Study(tmp_path)
    ratios = [row["ratio_seconds_vs_baseline"] for row in found.rows]
    assert ratios[1:] == [pytest.approx(0.5), None]
    assert found.rows[2]["median_train_seconds"] is None
    assert "late" in found.verdict
    (line,) = not_measured(found)
    assert line.startswith("late: nothing is claimed of it in seconds")
    assert line.endswith("same compare command again")
    assert list(not_measured(Study(tmp_path, only=["b"]))) == []


def test_without_a_pace_nothing_is_claimed_in_seconds_and_the_study_says_why(tmp_path, monkeypatch):
    make_store(tmp_path)
    late = records(
        method=["slow"] * 4 + ["fast"] * 4,
        seed=[0, 1, 2, 3] * 2,
        generalized_at=[50] * 8,
        train_seconds=[90.0, 91.0, 92.0, 93.0, 9.0, 9.1, 9.2, 9.3],
        train_seconds_to_target=[90.0, 91.0, 92.0, 93.0, 9.0, 9.1, 9.2, 9.3],
    )
    monkeypatch.setattr(Study, "runs", late)

    def study():
        found = Study(tmp_path)
        found.info = {**found.info, "methods": ["slow", "fast"], "baseline": "slow", "family": ["slow", "fast"]}
        return found

    (tmp_path / "pace.json").unlink()
    unmeasured = study()
    assert unmeasured.claims["claimed"].to_list() == [False], "clocked, it would be a tenth of the seconds"
    assert "Nothing is claimed in seconds, because the seconds of a step were not measured" in unmeasured.verdict
    pace = pace_of(slow=1.0, fast=0.1)
    monkeypatch.setattr("grokkit.lab.study.read_pace", lambda folder: pace)
    measured = study()
    assert measured.claims["claimed"].to_list() == [True]
    assert "Nothing is claimed" not in measured.verdict
