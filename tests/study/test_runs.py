"""Many seeds are planned without making their runs, and what cannot fit is told before anything is allocated."""

import numpy as np
import pytest

from grokkit.errors import InputError
from grokkit.lab.carry_out import too_large
from grokkit.models import outline
from grokkit.models.card import TaskShape, card_of
from grokkit.registry import find
from grokkit.study.pool import _Waiting
from grokkit.study.question import Question

WORDS = TaskShape(kind="expressions", tokens=4, features=4, vocabulary=9, classes=9)


@pytest.fixture(scope="module")
def plan():
    return Question(task="mul:7", methods="adamw,grokfast-ema", seeds=100_000, model="fnn(dim=4,width=8)").plan()


def test_a_run_is_made_when_it_is_asked_for(plan):
    assert len(plan.runs) == len(plan.runs.ids) == len(set(plan.runs.ids)) == 200_000
    assert len(plan.runs.arms) == 2, "and nothing else is held"
    for place in (0, 1, 77_777, -1):
        assert plan.runs[place].run_id() == plan.runs.ids[place]
    assert [(run.method.label, run.seed) for run in plan.runs[2:5]] == [("adamw", 1), ("grokfast-ema", 1), ("adamw", 2)]
    with pytest.raises(IndexError):
        plan.runs[200_000]


def test_jobs_are_made_one_at_a_time():
    made = []
    waiting = _Waiting((made.append(number) or (str(number), number)) for number in range(1000))
    taken = [waiting.take()[1] for _ in range(3)]
    assert taken == [0, 1, 2]
    assert len(made) == 4
    assert waiting


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("fnn", {"depth": 3, "width": 100_000}, "fnn does not fit: .* more than 74.9 GiB"),
        ("decoder", {"width": 10_000_000}, "decoder does not fit"),
        ("fnn", {"depth": 10_000_000, "width": 1, "dim": 1}, "fnn has more than 10,000 parameters"),
    ],
)
def test_a_model_that_cannot_fit_is_refused_by_its_outline(monkeypatch, model, settings, message):
    monkeypatch.setattr(outline, "room", lambda: 64 * 2**30)
    card = card_of(find("models", model))
    with pytest.raises(InputError, match=message):
        outline.outline(card, WORDS, card.settings(settings))


def test_what_a_run_needs_at_the_least(plan):
    """Weights, gradients, Adam's two moments and the method's average, four bytes each; counts of steps, one Adam's and
    one of each parameter's average; a batch of outputs and of their gradient."""
    weights = 7 * 4 + 8 * 8 + 8 * 8 + 7 * 8
    (run, _) = plan.runs.arms
    assert run.batch_size is None
    assert plan.size == 4 * 5 * weights + 8 * (1 + 4) + 2 * 4 * 24 * 7


def test_a_state_that_cannot_fit_is_refused(monkeypatch):
    monkeypatch.setattr(outline, "room", lambda: 2**30)
    with pytest.raises(InputError, match=r"--methods grokfast-ma\(window_size=1000\) needs at least 1.5 GiB.* 1.0 GiB"):
        Question(task="mul:7", methods="adamw,grokfast-ma(window_size=1000)", seeds=1).plan()


def test_runs_that_may_not_fit_side_by_side_are_told(plan, monkeypatch):
    monkeypatch.setattr("grokkit.lab.carry_out.free", lambda: 3 * plan.size)
    assert too_large(plan, at_once=3) == ""
    assert "4 at once need at least" in too_large(plan, at_once=4)
    assert "take fewer --jobs" in too_large(plan, at_once=4)


def test_an_embedding_of_other_rows_is_refused_before_anything_runs(tmp_path):
    np.savez(tmp_path / "other.npz", embedding=np.ones((5, 3), np.float32))
    with pytest.raises(InputError, match="--methods: .*holds an embedding of 5 tokens, and this task has 9"):
        Question(task="mul:7", methods=f"groktransfer(weak={tmp_path / 'other.npz'})", seeds=1).plan()
