"""Reviews from the package and from a folder: words, tokens, and that nothing is learned from held-out reviews."""

import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks import imdb_task, make_task, split
from grokkit.tasks.imdb import FIRST_WORD, PADDING, UNKNOWN
from grokkit.tasks.tokenize import STOP_WORDS, words_of

TEXTS = {
    "train/pos": ["good film", "good good story", "<br /><br />GOOD!", "I liked it; a good, good film."],
    "train/neg": ["bad film", "bad bad acting", "", "12345 ?!?", "the of and"],
    "test/pos": ["unheard zebra", "Ünïcödé 映画 café", "good " * 300],
    "test/neg": ["awful", "bad", "bad film", "worst film"],  # one of them is in train as well
}


@pytest.fixture
def folder(tmp_path):
    for part, texts in TEXTS.items():
        (tmp_path / "aclImdb" / part).mkdir(parents=True)
        for number, text in enumerate(texts):
            (tmp_path / "aclImdb" / part / f"{number}_7.txt").write_text(text, encoding="utf-8")
    (tmp_path / "aclImdb" / "train" / "unsup").mkdir()
    (tmp_path / "aclImdb" / "train" / "unsup" / "0_0.txt").write_text("no label")
    return tmp_path


@pytest.fixture
def small(folder):
    """The 15 different reviews; and the row of each text."""
    task = make_task("imdb:15", data_dir=str(folder))
    return task, {task.text_of(row): row for row in range(15)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("The film wasn't GOOD, it was great!", ["film", "good", "great"]),
        ("line<br />break<br/>and <i>this</i>", ["line", "break"]),
        ("don’t miss O'Brien's 3rd film", ["miss", "o'brien's", "rd", "film"]),
        ("1 < 2 and 3 > 2", []),
        ("映画 café_noir", ["映画", "café", "noir"]),
        ("\x00\ufffd\U0001f600", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_stop_words_are_words_as_they_are_found():
    assert all(words_of(f"film {word}") == ["film"] for word in STOP_WORDS)


def test_tokens_are_ranks_among_the_training_words(small):
    task, row = small
    trained = [row["good good story"], row["bad bad acting"], row["bad film"], row["<br /><br />GOOD!"]]
    fitted = task.fitted(torch.tensor(trained))
    # bad 3, good 3, acting 1, film 1, story 1: by frequency, then alphabetically.
    bad, good, acting, film, story = range(FIRST_WORD, FIRST_WORD + 5)
    assert fitted.vocabulary == FIRST_WORD + 1000, "the same for all splits"
    by_text = {text: [t for t in fitted.inputs_NT[at].tolist() if t != PADDING] for text, at in row.items()}
    assert by_text["good good story"] == [good, good, story]
    assert by_text["I liked it; a good, good film."] == [good, good, film]
    assert by_text["bad bad acting"] == [bad, bad, acting]
    assert by_text["worst film"] == [film], "a word that is not of the vocabulary is left out"
    for nothing in ("", "12345 ?!?", "the of and", "unheard zebra", "Ünïcödé 映画 café", "awful"):
        assert by_text[nothing] == [UNKNOWN]


def test_padding_is_at_the_end_and_nowhere_else_and_what_is_too_long_is_cut(small):
    task, row = small
    inputs_NT = task.fitted(torch.arange(15)).inputs_NT
    assert (inputs_NT.shape, inputs_NT.dtype) == ((15, 200), torch.int64)
    lengths_N = (inputs_NT != PADDING).sum(1)
    assert torch.equal(inputs_NT != PADDING, torch.arange(200) < lengths_N[:, None])
    assert lengths_N.min() == 1
    assert lengths_N[row["good " * 300]] == 200


def test_labels_and_a_text_only_once(small):
    task, row = small
    assert len(row) == 15, "of 16 files"
    assert task.targets_N[row["good film"]] == 1
    assert task.targets_N[row["awful"]] == -1
    assert set(task.targets_N.tolist()) == {-1.0, 1.0}
    assert "no label" not in row


def test_nothing_is_learned_from_held_out_reviews(folder):
    """Held-out reviews are changed at will: training rows and all tokens of them stay as they were."""
    task = make_task("imdb:15", data_dir=str(folder))
    parts = split(task, train_fraction=0.5, validation_fraction=0.1, seed=3)
    before = task.fitted(parts.train)
    held_out = torch.cat([parts.validation, parts.test])
    replaced_W = task.words_W.clone()
    starts = [0, *task.ends_N.tolist()]
    for row in held_out.tolist():
        replaced_W[starts[row] : starts[row + 1]] = task.lexicon - 1
    object.__setattr__(task, "words_W", replaced_W)
    after = task.fitted(parts.train)
    assert torch.equal(before.inputs_NT[parts.train], after.inputs_NT[parts.train])
    assert not torch.equal(before.inputs_NT[held_out], after.inputs_NT[held_out])


def test_a_small_vocabulary_keeps_the_most_frequent(folder):
    task = imdb_task(rows=15, vocabulary=2, length=5, data_dir=str(folder)).fitted(torch.arange(15))
    assert task.vocabulary == FIRST_WORD + 2
    assert set(task.inputs_NT.unique().tolist()) <= {PADDING, UNKNOWN, FIRST_WORD, FIRST_WORD + 1}
    assert task.inputs_NT.shape == (15, 5)


def test_the_package_s_reviews():
    task = make_task("imdb")
    assert (len(task.targets_N), task.objective, task.classes, task.inputs) == (2500, "logistic", 1, "text")
    # 2,500 of a half each: 5 standard deviations of 25.
    assert abs(int((task.targets_N > 0).sum()) - 1250) < 125
    fitted = task.fitted(torch.arange(1000))
    assert fitted.inputs_NT.shape == (2500, 200)
    lengths_N = (fitted.inputs_NT > 0).sum(1)
    assert 50 < float(lengths_N.float().mean()) < 90
    assert float((lengths_N == 200).float().mean()) < 0.04
    assert int(fitted.inputs_NT[:1000].max()) == FIRST_WORD + 999
    # Words are with the right labels: what is said of bad films is said in negative reviews.
    (awful,) = [row for row in range(2500) if "awful" in words_of(task.text_of(row))][:1]
    with_awful = torch.tensor(["awful" in words_of(task.text_of(row)) for row in range(2500)])
    assert with_awful[awful]
    assert float(task.targets_N[with_awful].mean()) < -0.5


def test_errors_of_a_folder(tmp_path, folder):
    with pytest.raises(InputError, match="train/neg is not a folder; for imdb name one with the folders train and"):
        make_task("imdb", data_dir=str(tmp_path / "aclImdb" / "test"))
    with pytest.raises(InputError, match="imdb with 2,500 rows is not possible: there are 15 here; write imdb:15"):
        make_task("imdb", data_dir=str(folder))
    (folder / "aclImdb/train/pos/9_9.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="9_9.txt is damaged .*utf-8.*; get the file again"):
        make_task("imdb:15", data_dir=str(folder))
    with pytest.raises(InputError, match="cannot read 'imdb:long': 'long' is none of its sizes; write e.g. imdb:10000"):
        make_task("imdb:long")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no column 'text'"),
        ("text,stars,source\n", "has no column 'label'"),
        ("text,label,source\ngood,1,imdb\nbad,0\n", "line 3 has 2 of 3 entries"),
        ('text,label,source\n"good,1,imdb\n', "unexpected end of data"),
        ("text,label,source\ngood,maybe,imdb\n", "a label 'maybe', neither 0 nor 1"),
    ],
)
def test_a_damaged_table(tmp_path, monkeypatch, content, problem):
    (tmp_path / "reviews.csv").write_text(content)
    monkeypatch.setattr("grokkit.tasks.imdb.package_file", lambda *_, **__: tmp_path / "reviews.csv")
    with pytest.raises(InputError, match=f"reviews.csv is damaged .*{problem}"):
        make_task("imdb")


def test_only_the_rows_of_imdb_are_taken(tmp_path, monkeypatch):
    lines = [f"text {word},{number % 2},imdb" for number, word in enumerate("abcdefghijkl")]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label,source", "other,1,rotten_tomatoes", *lines]))
    monkeypatch.setattr("grokkit.tasks.imdb.package_file", lambda *_, **__: tmp_path / "reviews.csv")
    task = make_task("imdb:12")
    assert sorted(task.text_of(row) for row in range(12)) == [f"text {word}" for word in "abcdefghijkl"]
