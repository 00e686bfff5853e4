"""CIFAR and STL from binary files made by hand: the order of pixels, labels, and what can be wrong."""

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks import make_task, split


def cifar(folder, files, labels):
    """Ten records a file; picture i has red pixel 0 at i, green pixel 1 at 2·i, and i % 10 as its (last) label."""
    for place, file in enumerate(files):
        table = np.zeros((10, labels + 3072), np.uint8)
        number = 10 * place + np.arange(10)
        table[:, 0], table[:, labels - 1] = 7, number % 10
        table[:, labels], table[:, labels + 1024 + 1] = number, 2 * number
        (folder / file).write_bytes(table.tobytes())


CIFAR_10 = [*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"]


@pytest.mark.parametrize(
    ("name", "files", "labels", "classes"),
    [("cifar10", CIFAR_10, 1, 10), ("cifar100", ["train.bin", "test.bin"], 2, 100)],
)
def test_records_of_cifar(tmp_path, name, files, labels, classes):
    cifar(tmp_path, files, labels)
    rows = 10 * len(files)
    task = make_task(f"{name}:{rows}", data_dir=str(tmp_path))
    assert (task.inputs_NT.shape, task.classes, task.objective) == ((rows, 3072), classes, "cross-entropy")
    assert (255 * task.inputs_NT[:, 0]).round().tolist() == list(range(rows))
    assert (255 * task.inputs_NT[:, 1025]).round().tolist() == list(range(0, 2 * rows, 2))
    assert task.targets_N.tolist() == [number % 10 for number in range(rows)]
    assert len(split(task, train_fraction=0.5, validation_fraction=0.1, seed=0).train) == rows // 2


def stl(folder):
    """Six pictures of each part; picture i has the red pixel of row 1, column 0 at i + 1, and label i + 1."""
    for part in ("train", "test"):
        pictures = np.zeros((6, 3, 96, 96), np.uint8)  # colour, column, row: as the files have it
        pictures[:, 0, 0, 1] = np.arange(1, 7)
        (folder / f"{part}_X.bin").write_bytes(pictures.tobytes())
        (folder / f"{part}_y.bin").write_bytes(bytes(range(1, 7)))


def test_columns_of_stl_become_rows(tmp_path):
    stl(tmp_path)
    task = make_task("stl10:mse,12", data_dir=str(tmp_path))
    assert (task.name, task.inputs_NT.shape) == ("stl10:mse,12", (12, 27648))
    assert (255 * task.inputs_NT[:, 96]).round().tolist() == [1, 2, 3, 4, 5, 6] * 2
    assert task.inputs_NT[:, 1].count_nonzero() == 0
    assert task.targets_N.tolist() == [0, 1, 2, 3, 4, 5] * 2
    outputs = torch.nn.functional.one_hot(task.targets_N, 10).float()
    assert float(task.loss(outputs, task.targets_N)) == 0.0


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("cifar10", "data_batch_3.bin", bytes(3073 * 2 - 1), "6,145 bytes are no whole records of 3,073"),
        ("cifar10", "test_batch.bin", b"\x0a" + bytes(3072), "a label 10 of 10 kinds"),
        ("cifar10", "data_batch_1.bin", b"", "0 bytes are no whole records"),
        ("stl10", "test_X.bin", bytes(27648), "27,648 bytes are not 6 pictures"),
        ("stl10", "train_y.bin", bytes(6), "a label 0, where they begin with 1"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, name, file, content, message):
    cifar(tmp_path, CIFAR_10, 1)
    stl(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"{file} is damaged.*{message}"):
        make_task(f"{name}:12", data_dir=str(tmp_path))


def test_without_a_folder_or_with_another_it_is_said_what_is_needed(tmp_path):
    with pytest.raises(
        InputError, match=r"^cifar10 comes with no package; name a folder with .*test_batch.bin: --data"
    ):
        make_task("cifar10")
    with pytest.raises(InputError, match=r"has no train_X.bin; for stl10 it needs the binary files"):
        make_task("stl10", data_dir=str(tmp_path))
