"""What a folder makes of another command: more of the same question, or a question that it does not hold."""

import json
from pathlib import Path

import pytest

from grokkit.errors import InputError
from grokkit.study.extend import extended
from grokkit.study.question import Question
from grokkit.study.store import STUDY_FORMAT

OUT = Path("out/x")


def plan(methods="adamw,grad-norm", seeds=2, **changes):
    settings = {"task": "mul:7", "model": "fnn(width=8,dim=4)", "budget": 20, **changes}
    return Question(methods=methods, seeds=seeds, **settings).plan("typed")


def on_disk(study):
    return {"format": STUDY_FORMAT, **json.loads(json.dumps(study))}


def kept(*plans):
    return {run.run_id(): run.method.label for plan in plans for run in plan.runs}


@pytest.fixture(scope="module")
def first():
    return extended(plan(), None, {}, OUT)


@pytest.fixture(scope="module")
def before(first):
    return on_disk(first.study)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "add:7"}, r"out/x holds a study of 'a\*b mod 7', not of 'a \+ b mod 7'; choose another --out"),
        ({"budget": 30}, "holds a study with budget=20, not with budget=30; choose another --out"),
        ({"model": "fnn(width=16,dim=4)"}, "with width=8, not with width=16"),
        ({"model": "decoder(width=8)"}, "with name=fnn, not with name=decoder"),
        ({"train_fraction": 0.4}, r"with train_fraction=0\.5, not with train_fraction=0\.4"),
        ({"train_size": 20}, "with train_size=none, not with train_size=20"),
        ({"target": 0.9}, r"with target=0\.95, not with target=0\.9"),
        ({"target_loss": 0.1}, r"with target_loss=none, not with target_loss=0\.1"),
        ({"sustain": 2}, "with sustain=5, not with sustain=2"),
        ({"event": "stable", "after": 9}, "with event=stays, not with event=stable"),
        ({"every": 5}, "with every=10, not with every=5"),
        ({"batch_size": 16}, "with batch_size=none, not with batch_size=16"),
        ({"precision": "bf16"}, "with precision=float32, not with precision=bf16"),
    ],
    ids=str,
)
def test_another_question_is_refused_naming_both(first, before, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        extended(plan(**changes), before, kept(first), OUT)
    assert "\n" not in str(caught.value)


def test_what_is_not_said_where_it_is_the_usual_is_a_difference_all_the_same():
    stable, stays = (plan(after=9, event=event) for event in ("stable", "stays"))
    for asked, held in ((stable, stays), (stays, stable)):
        before, (now, was) = on_disk(extended(held, None, {}, OUT).study), (asked.question, held.question)
        difference = f"event={was.get('event', 'stays')}, not with event={now.get('event', 'stays')}"
        with pytest.raises(InputError, match=f"holds a study with {difference}"):
            extended(asked, before, kept(held), OUT)
        with pytest.raises(InputError, match=f"holds runs with {difference}"):
            extended(asked, None, kept(held), OUT, held.question)


def test_where_no_run_is_finished_another_question_may_be_asked(before):
    study = extended(plan(budget=30), before, {}, OUT).study
    assert (study["budget"], len(study["run_ids"])) == (30, 4)


def test_a_folder_of_an_earlier_grokkit_is_not_extended(first, before):
    with pytest.raises(InputError, match=r"earlier grokkit \(format 1\).* cannot be extended; choose another --out"):
        extended(plan(), {**before, "format": 1}, kept(first), OUT)


def test_other_methods_and_more_seeds_join_what_is_there(first, before):
    more = extended(plan("grokfast-ema", seeds=3), before, kept(first), OUT)
    assert len(more.runs) == 3, "only what is asked for is to be run"
    assert more.study["methods"] == ["adamw", "grad-norm", "grokfast-ema"]
    assert more.study["family"] == more.study["methods"]
    assert (more.study["seeds"], more.study["baseline"]) == ([0, 1, 2], "adamw")
    assert more.study["run_ids"] == [*before["run_ids"], *(run.run_id() for run in more.runs)]
    assert set(more.study["methods_detail"]) == set(more.study["methods"])
    again = extended(plan("grokfast-ema", seeds=3), on_disk(more.study), kept(first, more), OUT)
    assert on_disk(again.study) == on_disk(more.study)


def test_the_same_question_again_says_nothing_new(first, before):
    again = extended(Question(task="mul:7", methods="grad-norm", seeds=1, budget=20, model="fnn(width=8,dim=4)").plan(),
                     before, kept(first), OUT)  # fmt: skip
    assert on_disk(again.study) == before, "also the command is the one that made it"


def test_an_arm_keeps_the_name_that_its_runs_have(first, before):
    """Labels follow from settings today; a folder may have been written when they were made otherwise."""
    text = json.dumps(before).replace('"grad-norm"', '"grad-norm(of before)"')
    names = {run_id: label.replace("grad-norm", "grad-norm(of before)") for run_id, label in kept(first).items()}
    study = extended(plan("adamw(lr=0.003),grad-norm"), json.loads(text), names, OUT)
    assert {run.method.label for run in study.runs} == {"adamw", "grad-norm(of before)"}
    assert study.study["methods"] == ["adamw", "grad-norm(of before)"]
    # Where study.json was lost, the runs say how they were called.
    alone = extended(plan(), None, names, OUT)
    assert alone.study["methods"] == ["adamw", "grad-norm(of before)"]
    assert alone.study["methods_detail"].keys() == {"adamw", "grad-norm(of before)"}


def test_an_arm_that_changed_under_its_name_is_another_arm(first, before):
    changed = json.loads(json.dumps(before))
    changed["methods_detail"]["grad-norm"]["identity"] = "other code"
    study = extended(plan(), changed, kept(first), OUT)
    assert study.study["methods"] == ["adamw", "grad-norm", "grad-norm #2"]
    assert [run.method.label for run in study.runs] == ["adamw", "grad-norm #2"] * 2
    again = extended(plan(), on_disk(study.study), kept(first, study), OUT)
    assert again.study["methods"] == study.study["methods"]


def test_baseline_and_primary_may_be_arms_that_only_the_folder_has(first, before):
    study = extended(plan("grokfast-ema", baseline="adamw(lr=0.003)"), before, kept(first), OUT).study
    assert study["baseline"] == "adamw"
    with pytest.raises(InputError, match="unknown baseline 'grokfast-ma'"):
        extended(plan(baseline="grokfast-ma"), before, kept(first), OUT)
    with pytest.raises(InputError, match="--primary grad-norm comes too late: this study had no --primary"):
        extended(plan("grokfast-ema", primary="grad-norm"), before, kept(first), OUT)
    assert extended(plan("grokfast-ema", primary="grad-norm"), before, {}, OUT).study["primary"] == "grad-norm"


def test_one_method_in_two_spellings_is_given_twice():
    with pytest.raises(InputError, match=r"'grad-norm\(wd=1,lr=0.003\)' is the same as 'grad-norm\("):
        plan("grad-norm(lr=0.003,wd=1.0),grad-norm(wd=1,lr=0.003)")


def test_another_version_s_identities_are_not_mixed_with_ours(first, before):
    with pytest.raises(InputError, match="another version of grokkit, .* another identity; choose another --out"):
        extended(plan(), {**before, "identity": 1}, kept(first), OUT)
