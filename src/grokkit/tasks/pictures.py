"""CIFAR-10, CIFAR-100 and STL-10: small colour pictures, from a folder with the files that their authors publish.

    x ∈ [0, 1]^F, all red pixels row by row, then all green, then all blue, bytes divided by 255;  y ∈ 0…C−1

The binary versions are read: of CIFAR-10 ``data_batch_1.bin`` to ``_5`` and ``test_batch.bin``, of CIFAR-100
``train.bin`` and ``test.bin`` with their fine labels, 32 × 32 pixels; of STL-10 ``train_X.bin``, ``train_y.bin`` and
the same of ``test``, 96 × 96 pixels. No package has them, and nothing is fetched. As for mnist the task is a pool of
all pictures, drawn at random and always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError
from grokkit.tasks.cache import cached
from grokkit.tasks.card import TaskCard
from grokkit.tasks.pool_options import check_rows, drawn_rows
from grokkit.tasks.sources import damaged, data_folder, read_bytes
from grokkit.tasks.task import Task

Objective = Literal["cross-entropy", "mse"]
Pictures = dict[str, Tensor]

_ROWS, _STL_ROWS = 5000, 2000  # unless told
_MOST = 2**29  # bytes of a file; STL-10's largest has 221,184,000
_CIFAR_10 = (*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin")
_CIFAR_100 = ("train.bin", "test.bin")
_STL_10 = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


def cifar10_task(objective: Objective = "cross-entropy", rows: int = _ROWS, *, data_dir: str | None = None) -> Task:
    """A pool of ``rows`` pictures of CIFAR-10's 60,000.

    Args:
        objective: ``cross-entropy`` or ``mse``. Default cross-entropy.
        rows: size of the pool. Default 5,000, as mnist's.
        data_dir: the folder with the six binary files.

    Raises:
        InputError: no folder, a file that is not there or damaged, more rows than there are.
    """
    return _pool("cifar10", _CIFAR_10, lambda paths: _cifar(paths, 1, 10), 10, objective, rows, _ROWS, data_dir)


def cifar100_task(objective: Objective = "cross-entropy", rows: int = _ROWS, *, data_dir: str | None = None) -> Task:
    """The same of CIFAR-100, whose records have a coarse label before the fine one."""
    return _pool("cifar100", _CIFAR_100, lambda paths: _cifar(paths, 2, 100), 100, objective, rows, _ROWS, data_dir)


def stl10_task(objective: Objective = "cross-entropy", rows: int = _STL_ROWS, *, data_dir: str | None = None) -> Task:
    """The same of STL-10's 13,000 labelled pictures; 2,000 of them are 221 MB as numbers."""
    return _pool("stl10", _STL_10, _stl, 10, objective, rows, _STL_ROWS, data_dir)


def _pool(
    name: str,
    files: tuple[str, ...],
    read: Callable[[list[Path]], Pictures],
    classes: int,
    objective: Objective,
    rows: int,
    usual: int,
    data_dir: str | None,
) -> Task:
    holds = f"the binary files {files[0]} … {files[-1]}"
    if data_dir is None:
        raise InputError(f"{name} comes with no package; name a folder with {holds}: --data-dir DIR")
    folder = data_folder(data_dir, task=name, holds=holds)
    paths = [folder / file for file in files]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{folder} has no {path.name}; for {name} it needs {holds}")
    found = cached(f"{name}-1", {}, paths, lambda: read(paths))
    check_rows(name, rows, len(found["labels"]), more=f"in {holds}")
    chosen = drawn_rows(name, rows, len(found["labels"]))
    options = [objective] * (objective != "cross-entropy") + [str(rows)] * (rows != usual)
    return Task(
        name=name + (f":{','.join(options)}" if options else ""),
        inputs="numbers",
        inputs_NT=found["images"][chosen].float() / 255,
        targets_N=found["labels"][chosen].long(),
        vocabulary=None,
        classes=classes,
        description=f"colour pictures of {classes} kinds, {rows} of {len(found['labels']):,}, {objective} loss",
        objective=objective,
        more_rows=f"for more take a larger pool, e.g. {name}:{len(found['labels'])}",
    )


def _cifar(paths: list[Path], labels: int, classes: int) -> Pictures:
    """Records of ``labels`` bytes, the last of which counts, and 3,072 of pixels."""
    tables = []
    for path in paths:
        data = np.frombuffer(read_bytes(path, most=_MOST), np.uint8)
        if not len(data) or len(data) % (labels + 3072):
            raise damaged(path, f"{len(data):,} bytes are no whole records of {labels + 3072:,}")
        tables.append(data.reshape(-1, labels + 3072))
        _check_labels(path, tables[-1][:, labels - 1], classes)
    table = np.concatenate(tables)
    return {"images": torch.tensor(table[:, labels:]), "labels": torch.tensor(table[:, labels - 1])}


def _stl(paths: list[Path]) -> Pictures:
    """Pictures with the pixels of a colour column by column, and labels from 1 on."""
    images, labels = [], []
    for pixels_path, labels_path in (paths[:2], paths[2:]):
        pixels = np.frombuffer(read_bytes(pixels_path, most=_MOST), np.uint8)
        kinds = np.frombuffer(read_bytes(labels_path, most=_MOST), np.uint8)
        if not len(kinds) or len(pixels) != len(kinds) * 3 * 96 * 96:
            raise damaged(pixels_path, f"{len(pixels):,} bytes are not {len(kinds):,} pictures of 27,648")
        if not kinds.min():
            raise damaged(labels_path, "a label 0, where they begin with 1")
        _check_labels(labels_path, kinds - 1, 10)
        images.append(pixels.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2).reshape(len(kinds), -1))
        labels.append(kinds - 1)
    return {"images": torch.tensor(np.concatenate(images)), "labels": torch.tensor(np.concatenate(labels))}


def _check_labels(path: Path, labels: np.ndarray, classes: int) -> None:
    if labels.max() >= classes:
        raise damaged(path, f"a label {labels.max()} of {classes} kinds")


def _card(name: str, build: Callable[..., Task], what: str) -> TaskCard:
    return TaskCard(
        name=name,
        build=build,
        usage={name: f"{what}, cross-entropy ({name}:mse: squared error), from binary files: --data-dir DIR"},
        example=f"{name}:mse",
        model="mlp",
        batch_size=200,
        train_size=1000,
    )


CIFAR10 = _card("cifar10", cifar10_task, "colour pictures of 32 × 32 pixels, 10 kinds")
CIFAR100 = _card("cifar100", cifar100_task, "colour pictures of 32 × 32 pixels, 100 kinds")
STL10 = _card("stl10", stl10_task, "colour pictures of 96 × 96 pixels, 10 kinds")
