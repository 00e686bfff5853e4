"""Trials are drawn whole, from the space, the same whoever draws them."""

import io
import sqlite3
from types import SimpleNamespace

import pytest

from grokkit.analyse.search_curve import Trial, best_over_repeats
from grokkit.errors import InputError
from grokkit.lab.tune import _announce
from grokkit.study.search import SAMPLERS, Search, left_out_of_grid, open_storage
from grokkit.study.search_space import Choice, parse_space
from grokkit.study.spaces import own_spaces, searched
from grokkit.study.tune import SearchOptions
from grokkit.terminal import terminal

METHOD = searched("grokfast-ma", "mul:97", {}, {})


def search(folder, sampler, trials=12):
    return Search(open_storage(folder / "optuna.db"), METHOD, sampler, trials)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_is_taken_up_again_draws_what_it_would_have(tmp_path, sampler):
    whole = search(tmp_path / "whole", sampler)
    for until in (4, 8, 12):
        whole.draw(until)
        for trial in whole.trials()[until - 4 :]:
            whole.tell(trial.number, trial.values["lr"])
    for until in range(1, 13):  # another process for each trial
        again = search(tmp_path / "again", sampler)
        again.draw(until)
        if until % 4 == 0:
            for trial in again.trials()[until - 4 :]:
                again.tell(trial.number, trial.values["lr"])
    assert again.trials() == whole.trials()
    assert [trial.number for trial in whole.trials()] == list(range(12))
    settings = {tuple(trial.values.values()) for trial in whole.trials()}
    assert len(settings) == 12
    for trial in whole.trials():
        assert 1e-4 <= trial.values["lr"] <= 1e-2
        assert 5 <= trial.values["window_size"] <= 200
        assert type(trial.values["window_size"]) is int


def test_tpe_begins_with_the_setting_that_the_method_has_anyway(tmp_path):
    found = search(tmp_path, "tpe")
    found.draw(2)
    first, second = (trial.values for trial in found.trials())
    assert first == {"lr": 1e-3, "wd": 1e-2, "window_size": 100, "lamb": 5.0}
    assert second != first
    own = searched(
        "grokfast-ma(filter_type=sum)",
        "mul:97",
        {},
        own_spaces("grokfast-ma: lr=1..2 log, wd=0..1e-3", ["grokfast-ma"]),
    )
    other = Search(open_storage(tmp_path / "other.db"), own, "tpe", 4)
    other.draw(1)
    assert other.trials()[0].values == {"lr": 1.0, "wd": 1e-3}, "the ends of a space that it lies beyond"
    chosen = searched("grokfast-ma", "mul:97", {}, own_spaces("grokfast-ma: filter_type=sum|mean", ["grokfast-ma"]))
    third = Search(open_storage(tmp_path / "third.db"), chosen, "tpe", 4)
    third.draw(1)
    assert third.trials()[0].values == {"filter_type": "mean"}
    for sampler in ("random", "quasi-random", "grid"):
        unlearned = search(tmp_path / sampler, sampler)
        unlearned.draw(1)
        assert unlearned.trials()[0].values != first, "these are what they are called"


def test_tpe_goes_where_it_was_good_and_a_failed_trial_is_no_end(tmp_path):
    found = search(tmp_path, "tpe", 60)
    for until in range(4, 64, 4):
        found.draw(until)
        for trial in found.trials()[until - 4 :]:
            failed = trial.number == 3
            found.tell(trial.number, None if failed else abs(trial.values["wd"] - 1e-3))
    late = [trial.values["wd"] for trial in found.trials()[40:]]
    near = sum(2e-4 < wd < 5e-3 for wd in late) / len(late)
    assert near > 0.6, "by chance it would be a third"
    assert all(trial.is_told for trial in found.trials())


def test_repeats_of_a_search_know_nothing_of_each_other_and_make_a_band(tmp_path):
    storage, searches = open_storage(tmp_path / "optuna.db"), []
    for repeat in range(3):
        found = Search(storage, METHOD, "tpe", 16, repeat)
        for until in range(4, 20, 4):
            found.draw(until)
            for trial in found.trials()[until - 4 :]:
                found.tell(trial.number, abs(trial.values["wd"] - 1e-3))
        searches.append([trial.values["wd"] for trial in found.trials()])
    assert {drawn[0] for drawn in searches} == {0.01}, "the first is the method as it is"
    assert len({wd for drawn in searches for wd in drawn[1:]}) == 45, "no draw is another's"
    alone = search(tmp_path / "alone", "tpe", 16)
    alone.draw(4)
    assert [trial.values["wd"] for trial in alone.trials()] == searches[0][:4], (
        "the first is the search without repeats"
    )
    after = best_over_repeats([[Trial(abs(wd - 1e-3), True) for wd in drawn] for drawn in searches])
    bests = sorted(min(abs(wd - 1e-3) for wd in drawn) for drawn in searches)
    assert [after[-1].low, after[-1].median, after[-1].high] == bests
    assert after[-1].high < after[0].low, "sixteen trials find more than one, whichever search it is"


def test_methods_of_one_storage_do_not_see_each_other(tmp_path):
    storage = open_storage(tmp_path / "optuna.db")
    one, other = (Search(storage, searched(name, "mul:97", {}, {}), "tpe", 4) for name in ("adamw", "adam-l2"))
    one.draw(3)
    other.draw(2)
    assert (len(one.trials()), len(other.trials())) == (3, 2)


def test_what_is_run_is_kept_with_a_trial_and_of_before_it_has_three_digits(tmp_path):
    method = searched("adamw", "mul:97", {}, own_spaces("adamw: beta2=0.999..0.99999", ["adamw"]))
    found = Search(open_storage(tmp_path / "optuna.db"), method, "random", 3)
    found.draw(3)
    now = [trial.values["beta2"] for trial in found.trials()]
    assert len(set(now)) == 3
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        assert database.execute("select count(*) from trial_user_attributes").fetchone() == (3,)
        database.execute("delete from trial_user_attributes")
    before = [
        trial.values["beta2"] for trial in Search(open_storage(tmp_path / "optuna.db"), method, "random", 3).trials()
    ]
    assert before == [min(max(float(f"{value:.3g}"), 0.999), 0.99999) for value in now]


def test_two_grids_are_not_mixed(tmp_path):
    method, storage = searched("adamw", "mul:97", {}, {}), open_storage(tmp_path / "optuna.db")
    grid = Search(storage, method, "grid", 4)
    grid.draw(2)
    Search(storage, method, "grid", 4).check()
    with pytest.raises(InputError, match=r"--trials 9 is another grid than that of the trials so far of adamw \(2\);"):
        Search(storage, method, "grid", 9).check()
    grid.draw(4)
    Search(storage, method, "grid", 2).check(), "nothing is drawn"
    Search(open_storage(tmp_path / "other.db"), method, "grid", 9).check()


@pytest.mark.parametrize(
    ("space", "trials", "expected"),
    [("window_size=1..2, lamb=1..9", 16, (2, 8)), ("window_size=1..8 log, lamb=1..9", 64, (8, 8))],
)
def test_a_grid_takes_no_whole_number_twice(space, trials, expected, tmp_path):
    method = searched("grokfast-ma", "mul:97", {}, own_spaces(f"grokfast-ma: {space}", ["grokfast-ma"]))
    grid = Search(open_storage(tmp_path / "optuna.db"), method, "grid", trials)
    grid.draw(trials)
    found = [trial.values for trial in grid.trials()]
    assert tuple(len({values[name] for values in found}) for name in ("window_size", "lamb")) == expected
    assert len({tuple(values.values()) for values in found}) == trials


@pytest.mark.parametrize(
    ("space", "trials", "expected"),
    [("1..4", 3, [2, 3, 4]), ("1..4", 4, [1, 2, 3, 4]), ("1..8 log", 6, [1, 2, 3, 4, 5, 7]), ("1..100", 2, [26, 75])],
)
def test_points_of_whole_numbers_on_a_grid_are_all_different(space, trials, expected, tmp_path):
    own = own_spaces(f"grokfast-ma: window_size={space}", ["grokfast-ma"])
    grid = Search(open_storage(tmp_path / "optuna.db"), searched("grokfast-ma", "mul:97", {}, own), "grid", trials)
    grid.draw(trials)
    assert [trial.values["window_size"] for trial in grid.trials()] == expected


def test_choices_that_a_grid_does_not_come_to_are_told():
    own = {"grokfast-ma": parse_space("lr=1e-4..1e-2 log, filter_type=sum|mean, lamb=1|2|5")}
    method = searched("grokfast-ma(wd=1)", "mul:97", {}, own)
    assert left_out_of_grid(method, 4) == {"lamb": Choice((2, 5))}
    assert left_out_of_grid(method, 12) == {"lamb": Choice((5,))}
    assert left_out_of_grid(method, 18) == {}
    screen = io.StringIO()
    options = SearchOptions(sampler="grid", trials=4)
    _announce(SimpleNamespace(title="t", methods=[method], plans=[], budget=9, options=options), terminal(file=screen))
    said = (
        "grokfast-ma(wd=1): a grid of 4 trials does not come to lamb=2|5; give more --trials, or name fewer choices\n"
    )
    assert said in screen.getvalue()


def test_a_grid_is_the_finest_that_has_no_more_trials_and_ends_there(tmp_path):
    method = searched("adamw", "mul:97", {}, {})
    grid = Search(open_storage(tmp_path / "optuna.db"), method, "grid", 14)
    grid.draw(20)
    found = [trial.values for trial in grid.trials()]
    assert len(found) == 12
    assert len({values["lr"] for values in found}) == 4
    assert len({values["wd"] for values in found}) == 3
