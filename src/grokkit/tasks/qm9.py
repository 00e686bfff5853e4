"""QM9: small organic molecules and what quantum chemistry computes of them, the polarizability unless said.

A molecule of up to A atoms is one packed tensor (A, F + 4·A), F = 11: for each atom its features, then for each of four
types of bond a 0 or 1 for each of the A atoms that it is bonded to in that way. Rows of no atom are all zero.

    features   one-hot H, C, N, O, F | atomic number | aromatic | sp | sp² | sp³ | number of hydrogens bonded to it
    bonds      single | double | triple | aromatic

Those are the features of PyTorch Geometric's QM9, which Grokfast's network (arXiv 2405.20233) reads; here they are
perceived from elements and positions (:mod:`grokkit.tasks.bonds`), without RDKit. :meth:`Qm9Task.fitted` normalizes by
the mean and the standard deviation over the *training* molecules: the target, and over their atoms the two features
that are counts. A loss of 1 is then that of the best constant, and a loss of 0.05 says that 95 % of the variance is
explained. The published script normalizes nothing and takes the first 100 molecules, half of them to test on; its
losses are in bohr⁶, of molecules smaller than the average.

The molecules come from the package qm9pack, 130,831 of them, or from a folder with its files. The task is a pool of
them, drawn at random and always the same.

Shapes: N molecules, A atoms, F features.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokkit.errors import InputError, unknown
from grokkit.tasks.bonds import VALENCE, perceive
from grokkit.tasks.cache import cached
from grokkit.tasks.card import TaskCard
from grokkit.tasks.examples import VALUES, Table, predicted
from grokkit.tasks.pool_options import check_rows, drawn_rows
from grokkit.tasks.sources import damaged, data_folder, package_file, read_csv
from grokkit.tasks.task import Task

FEATURES = 11
_COUNTS = [5, 10]  # among them: the atomic number and the hydrogens
_ATOMIC_NUMBER = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}

TARGETS = {
    "Polarizability_bohr3": "bohr³",
    "Dipole_debye": "debye",
    "HOMO_au": "hartree",
    "LUMO_au": "hartree",
    "HOMO_LUMO_gap_au": "hartree",
    "R2_bohr2": "bohr²",
    "ZPVE_au": "hartree",
    "InternalEnergy_0K_au": "hartree",
    "InternalEnergy_298K_au": "hartree",
    "Enthalphy_298K_au": "hartree",  # as the files spell it
    "GibbsFreeEnergy_298K_au": "hartree",
    "Heatcapacity_Cv_cal_mol_K": "cal/(mol K)",
}
"""The columns that can be the target, and their units."""

_DEFAULT = "Polarizability_bohr3"
_ROWS = 2000  # unless told
_LONGEST = 2**16  # characters of a row; the longest of QM9 has some 2,600
_MOST_ATOMS, _MOST_HEAVY = 29, 9  # what QM9's largest molecules have; the search for their bonds grows with them
_FOLDER = "the files qm9_part1.csv, qm9_part2.csv, … of qm9pack"


@dataclass(frozen=True, eq=False, kw_only=True)
class Qm9Task(Task):
    """A pool of molecules. Until :meth:`fitted` has normalized them, ``inputs_NT`` holds row numbers.

    Attributes:
        packed_NAX: uint8, the molecules as above, counts as they are.
        unit: of the target before it was normalized.
        mean, deviation: of the target over the training molecules, in that unit; 0 and 1 before :meth:`fitted`.
    """

    packed_NAX: Tensor
    unit: str
    mean: float = 0.0
    deviation: float = 1.0

    def fitted(self, train_rows: Tensor) -> Task:
        """The molecules with targets and counts normalized by those of ``train_rows``.

        Raises:
            InputError: all training targets are equal.
        """
        targets_R = self.targets_N[train_rows].double()
        mean, deviation = float(targets_R.mean()), float(targets_R.std(correction=0))
        if deviation == 0.0:
            raise InputError(
                f"{self.name}: the target is {mean:g} {self.unit} in all {len(train_rows)} training molecules, "
                "and cannot be normalized; take more of them"
            )
        inputs_NAX = self.packed_NAX.float()
        atoms_NA = inputs_NAX[:, :, :5].sum(-1) > 0
        trained_MC = inputs_NAX[train_rows][atoms_NA[train_rows]][:, _COUNTS]
        spread_C = trained_MC.std(0, correction=0)
        spread_C[spread_C == 0] = 1.0
        normalized_NAC = (inputs_NAX[:, :, _COUNTS] - trained_MC.mean(0)) / spread_C
        inputs_NAX[:, :, _COUNTS] = normalized_NAC.where(atoms_NA[:, :, None], 0.0)
        targets_N = ((self.targets_N.double() - mean) / deviation).float()
        return replace(self, inputs_NT=inputs_NAX, targets_N=targets_N, mean=mean, deviation=deviation)

    def examples(self, rows: Tensor, outputs: Callable[[Tensor], Tensor]) -> dict[str, Table]:
        """``predictions``: what is predicted beside what is true."""
        rows = rows[:VALUES]
        unit, mean, deviation = self.unit, self.mean, self.deviation
        found = predicted(rows, self.targets_N[rows], outputs(rows), mean=mean, deviation=deviation, unit=unit)
        return {"predictions": found}


def qm9_task(target: str = _DEFAULT, rows: int = _ROWS, *, data_dir: str | None = None) -> Qm9Task:
    """A pool of ``rows`` molecules, always the same for the same source.

    Args:
        target: one of :data:`TARGETS`. Default the polarizability (Grokfast).
        rows: size of the pool. Default 2,000.
        data_dir: a folder with the files of qm9pack; None for the package.

    Raises:
        InputError: another target, more rows than there are, no package, no such folder, a damaged file.
    """
    if target not in TARGETS:
        raise unknown("target column of qm9", target, TARGETS)
    paths = _files(data_dir)
    found = cached("qm9-1", {"target": target, "rows": rows}, paths, lambda: _read(paths, target, rows))
    options = [target] * (target != _DEFAULT) + [str(rows)] * (rows != _ROWS)
    return Qm9Task(
        name="qm9" + (f":{','.join(options)}" if options else ""),
        inputs="molecules",
        inputs_NT=torch.arange(rows)[:, None],
        targets_N=found["targets"].float(),
        vocabulary=None,
        classes=1,
        description=f"{target} of {rows} small molecules of up to {found['molecules'].shape[1]} atoms",
        objective="regression",
        more_rows="for more take a larger pool, e.g. qm9:20000",
        packed_NAX=found["molecules"],
        unit=TARGETS[target],
    )


def _files(data_dir: str | None) -> list[Path]:
    if data_dir is None:
        folder = package_file("qm9pack", "data", "qm9_part1.csv", extra="qm9", task="qm9", folder=_FOLDER).parent
    else:
        folder = data_folder(data_dir, task="qm9", holds=_FOLDER)
    paths = sorted(folder.glob("qm9_part*.csv"))
    if not paths:
        raise InputError(f"{folder} has no qm9_part1.csv; for qm9 it needs {_FOLDER}")
    return paths


def _read(paths: list[Path], target: str, rows: int) -> dict[str, Tensor]:
    columns = ["Elements", "XYZ_Ang", target]
    available = sum(1 for path in paths for _ in read_csv(path, columns, _LONGEST))
    check_rows("qm9", rows, available, more="qm9pack has 130,831")
    chosen = set(drawn_rows("qm9", rows, available).tolist())
    every = chain.from_iterable(((path, entries) for entries in read_csv(path, columns, _LONGEST)) for path in paths)
    molecules, targets = [], []
    for place, (path, (elements, positions, value)) in enumerate(every):
        if place in chosen:
            molecules.append(_molecule(path, elements, positions))
            targets.append(_number(path, value))
    return {"molecules": _packed(molecules), "targets": torch.tensor(targets, dtype=torch.float64)}


def _number(path: Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise damaged(path, f"a target {text!r}")
    return value


def _molecule(path: Path, elements_text: str, positions_text: str) -> np.ndarray:
    """(A, 11 + 4·A) of one molecule, A being its own number of atoms."""
    elements: Any = _literal(path, elements_text)
    try:
        positions = np.array(_literal(path, positions_text), dtype=np.float64)
    except (ValueError, TypeError):
        raise damaged(path, f"positions {positions_text[:40]!r}…") from None
    known = isinstance(elements, list) and all(isinstance(name, str) and name in VALENCE for name in elements)
    heavy = len(elements) - elements.count("H") if known else 0
    if known and (len(elements) > _MOST_ATOMS or heavy > _MOST_HEAVY):
        most = f"at most {_MOST_ATOMS}, {_MOST_HEAVY} of them no hydrogen"
        raise damaged(path, f"a molecule of {len(elements)} atoms, {heavy} of them no hydrogen; QM9's have {most}")
    if not known or not elements or positions.shape != (len(elements), 3) or not np.isfinite(positions).all():
        raise damaged(path, f"a molecule {elements_text[:40]!r}…, whose elements and positions do not go together")
    bonds, atoms = perceive(elements, positions), len(elements)
    features = np.zeros((atoms, FEATURES), np.uint8)
    edges = np.zeros((4, atoms, atoms), np.uint8)
    for atom, element in enumerate(elements):
        features[atom, list(VALENCE).index(element)] = 1
        features[atom, 5] = _ATOMIC_NUMBER[element]
        if bonds.hybridization[atom]:
            features[atom, 6 + bonds.hybridization[atom]] = 1
    for pair, order in bonds.orders.items():
        kind = 3 if pair in bonds.aromatic else order - 1
        for a, b in (pair, pair[::-1]):
            edges[kind, a, b] = 1
            features[a, 6] |= kind == 3
            features[a, 10] += elements[b] == "H"
    return np.concatenate([features, *edges], axis=1)


def _literal(path: Path, text: str) -> Any:
    """A Python literal; nothing is evaluated."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise damaged(path, f"an entry {text[:40]!r}…, which is no list") from None


def _packed(molecules: list[np.ndarray]) -> Tensor:
    """All of them with room for the largest."""
    most = max(len(molecule) for molecule in molecules)
    packed = np.zeros((len(molecules), most, FEATURES + 4 * most), np.uint8)
    for target, molecule in zip(packed, molecules, strict=True):
        atoms = len(molecule)
        target[:atoms, :FEATURES] = molecule[:, :FEATURES]
        for kind in range(4):
            first = FEATURES + kind * most
            own = FEATURES + kind * atoms
            target[:atoms, first : first + atoms] = molecule[:, own : own + atoms]
    return torch.from_numpy(packed)


CARD = TaskCard(
    name="qm9",
    build=qm9_task,
    usage={
        "qm9": "polarizability of small molecules, a regression (qm9:Dipole_debye: that column), 100 training "
        "molecules unless told; pip install 'grokkit[qm9]' or --data-dir"
    },
    example="qm9:Dipole_debye,5000",
    model="graph-conv",
    batch_size=32,
    train_size=100,
    target_loss=0.05,
)
