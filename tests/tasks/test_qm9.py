"""Molecules: their bonds, their packed tensors, what is normalized by whom, and damaged files."""

import csv

import numpy as np
import pytest
import torch

from grokkit.errors import InputError
from grokkit.tasks import make_task, qm9_task
from grokkit.tasks.bonds import perceive
from grokkit.tasks.qm9 import FEATURES, TARGETS
from grokkit.tasks.sources import package_file


def ring(elements, radius, hydrogens=1.08):
    """A planar ring with a hydrogen outside each atom that is written as a capital and an h, e.g. ``Ch``."""
    atoms, positions = [], []
    for place, element in enumerate(elements):
        angle = 2 * np.pi * place / len(elements)
        way = np.array([np.cos(angle), np.sin(angle), 0.0])
        atoms.append(element[0])
        positions.append(radius * way)
        if element.endswith("h"):
            atoms.append("H")
            positions.append((radius + hydrogens) * way)
    order = sorted(range(len(atoms)), key=lambda at: atoms[at] == "H")
    return [atoms[at] for at in order], np.array([positions[at] for at in order])


def line(*atoms):
    """Atoms on a line: element, and distance to the atom before."""
    at = np.cumsum([distance for _, distance in atoms])
    return [element for element, _ in atoms], np.stack([at, 0 * at, 0 * at], 1)


def heavy(elements, orders):
    """Bonds without those of hydrogens, atoms numbered without them."""
    place = {atom: at for at, atom in enumerate(atom for atom, element in enumerate(elements) if element != "H")}
    return {(place[a], place[b]): order for (a, b), order in orders.items() if a in place and b in place}


def test_single_double_and_triple():
    elements, positions = line(("H", 0.0), ("C", 1.06), ("C", 1.20), ("C", 1.37), ("N", 1.16))  # H–C≡C–C≡N
    found = perceive(elements, positions)
    assert found.orders == {(0, 1): 1, (1, 2): 3, (2, 3): 1, (3, 4): 3}
    assert found.hybridization == [0, 1, 1, 1, 1]
    elements, positions = line(("O", 0.0), ("C", 1.16), ("O", 1.16))
    assert perceive(elements, positions).orders == {(0, 1): 2, (1, 2): 2}


def test_benzene_is_aromatic_and_cyclohexane_s_ring_is_not():
    elements, positions = ring(["Ch"] * 6, 1.395)
    found = perceive(elements, positions)
    assert len(found.aromatic) == 6
    assert sorted(heavy(elements, found.orders).values()) == [1, 1, 1, 2, 2, 2]
    assert found.hybridization == [2] * 6 + [0] * 6
    saturated = ["C"] * 6 + ["H"] * 12
    up = np.array([0.0, 0.0, 0.9])
    around = np.concatenate([positions[:6] * 1.09] + [positions[:6] * 1.45 + side * up for side in (1, -1)])
    found = perceive(saturated, around)
    assert not found.aromatic
    assert set(found.orders.values()) == {1}
    assert found.hybridization == [3] * 6 + [0] * 12


def test_furan_and_pyrrole_give_a_pair():
    for first in ("O", "Nh"):
        elements, positions = ring([first, "Ch", "Ch", "Ch", "Ch"], 1.16)
        found = perceive(elements, positions)
        assert len(found.aromatic) == 5
        assert found.hybridization[0] == 2


def test_atoms_apart_have_no_bonds():
    found = perceive(["C", "O"], np.array([[0.0, 0, 0], [5.0, 0, 0]]))
    assert found.orders == {}
    assert perceive(["F"], np.zeros((1, 3))).orders == {}


def test_an_unknown_element():
    with pytest.raises(InputError, match="an atom 'Xe' is not possible: H, C, N, O, F"):
        perceive(["Xe"], np.zeros((1, 3)))


def smiles_bonds(text):
    """Bonds between heavy atoms and their orders, of a SMILES without lower-case atoms."""
    atoms, stack, bonds, open_rings, last, order, at = 0, [], {}, {}, None, 1, 0
    while at < len(text):
        sign = text[at]
        if sign in "-=#":
            order = " -=#".index(sign)
        elif sign == "(":
            stack.append(last)
        elif sign == ")":
            last = stack.pop()
        elif sign.isdigit():
            if sign in open_rings:
                other, its = open_rings.pop(sign)
                bonds[other, last] = max(order, its)
            else:
                open_rings[sign] = (last, order)
            order = 1
        else:
            at = text.index("]", at) if sign == "[" else at
            if last is not None:
                bonds[last, atoms] = order
            last, order, atoms = atoms, 1, atoms + 1
        at += 1
    return bonds


def test_bonds_are_those_of_the_smiles():
    """Neighbours in all of 1,000 molecules; orders in nearly all, where no resonance lets one choose."""
    path = package_file("qm9pack", "data", "qm9_part2.csv", extra="qm9", task="qm9", folder="")
    same = seen = 0
    with open(path, newline="") as file:
        for place, row in enumerate(csv.DictReader(file)):
            if place % 40:
                continue
            elements, positions = eval(row["Elements"]), np.array(eval(row["XYZ_Ang"]))
            found = heavy(elements, (bonds := perceive(elements, positions)).orders)
            written = smiles_bonds(row["SMILES"])
            assert set(found) == set(written), row["SMILES"]
            if not bonds.aromatic and not set("+-") & set(row["SMILES"]):
                seen += 1
                same += found == written
    assert seen > 800
    assert same >= 0.995 * seen


HEADER = ["SMILES", "Elements", "XYZ_Ang", *TARGETS]
METHANE = "['C','H','H','H','H']", "[[0,0,0],[0.63,0.63,0.63],[-0.63,-0.63,0.63],[-0.63,0.63,-0.63],[0.63,-0.63,-0.63]]"
CARBON_DIOXIDE = "['O','C','O']", "[[-1.16,0,0],[0,0,0],[1.16,0,0]]"
NEON_LIKE = "['F']", "[[0,0,0]]"


def write(folder, molecules, part=1, header=HEADER):
    with open(folder / f"qm9_part{part}.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(header)
        for number, (elements, positions, *value) in enumerate(molecules):
            rows.writerow(["?", elements, positions, *(value or [10.0 + number]), *[1.0] * (len(TARGETS) - 1)])


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, [METHANE, CARBON_DIOXIDE, NEON_LIKE] * 3)
    write(tmp_path, [(*METHANE, 100.0)] * 3, part=2)
    return tmp_path


def test_a_packed_molecule(folder):
    task = make_task("qm9:12", data_dir=str(folder))
    assert (task.packed_NAX.shape, task.packed_NAX.dtype) == ((12, 5, FEATURES + 4 * 5), torch.uint8)
    methane, dioxide, alone = task.packed_NAX[:3]
    #                                     H  C  N  O  F  Z  ar sp 2  3  hydrogens
    assert methane[0, :FEATURES].tolist() == [0, 1, 0, 0, 0, 6, 0, 0, 0, 1, 4]
    assert methane[1, :FEATURES].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert dioxide[:2, :FEATURES].tolist() == [[0, 0, 0, 1, 0, 8, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 6, 0, 1, 0, 0, 0]]
    bonds = methane[:, FEATURES:].unflatten(1, (4, 5)).transpose(0, 1)
    expected = torch.zeros(5, 5, dtype=torch.uint8)
    expected[0, 1:] = expected[1:, 0] = 1
    assert torch.equal(bonds[0], expected)
    assert not bonds[1:].any()
    double = dioxide[:, FEATURES:].unflatten(1, (4, 5))[:, 1]
    assert double.nonzero().tolist() == [[0, 1], [1, 0], [1, 2], [2, 1]]
    assert not dioxide[3:].any(), "no atom, all zero"
    assert alone[0, :FEATURES].tolist() == [0, 0, 0, 0, 1, 9, 0, 0, 0, 1, 0]
    assert not alone[:, FEATURES:].any(), "a molecule without bonds"
    assert task.targets_N.tolist() == [*range(10, 19), 100, 100, 100]


def test_targets_and_counts_are_normalized_by_training_molecules_only(folder):
    task = make_task("qm9:12", data_dir=str(folder))
    train = torch.tensor([0, 1, 2, 4])  # 10, 11, 12, 14
    fitted = task.fitted(train)
    assert (fitted.mean, fitted.deviation) == (pytest.approx(11.75), pytest.approx(2.1875**0.5))
    assert float(fitted.targets_N[train].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(fitted.targets_N[9]) == pytest.approx((100 - 11.75) / 2.1875**0.5)
    counts = fitted.inputs_NT[:, :, [5, 10]]
    here = task.packed_NAX[:, :, :5].sum(-1) > 0
    trained = counts[train][here[train]]
    torch.testing.assert_close(trained.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(trained.std(0, correction=0), torch.ones(2))
    assert not fitted.inputs_NT[~here].any(), "where there is no atom it is still all zero"
    others = [at for at in range(fitted.inputs_NT.shape[2]) if at not in (5, 10)]
    assert torch.equal(fitted.inputs_NT[:, :, others], task.packed_NAX[:, :, others].float())
    assert fitted.loss(torch.zeros(4, 1), fitted.targets_N[train]) == pytest.approx(1.0), "the best constant"


def test_a_regression_has_no_accuracy(folder):
    task = make_task("qm9:12", data_dir=str(folder)).fitted(torch.arange(12))
    assert not task.has_accuracy
    assert float(task.loss(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))) == pytest.approx(2.5)
    with pytest.raises(InputError, match="qm9:12 has numbers as targets, and so no accuracy"):
        task.correct(torch.zeros(2, 1), torch.zeros(2))


def test_training_targets_that_are_all_equal(folder):
    task = make_task("qm9:12", data_dir=str(folder))
    with pytest.raises(InputError, match="the target is 100 bohr³ in all 3 training molecules.*take more of them"):
        task.fitted(torch.tensor([9, 10, 11]))


def test_the_package_s_molecules():
    task = qm9_task()
    assert (task.packed_NAX.shape[0], task.packed_NAX.shape[2]) == (2000, FEATURES + 4 * task.packed_NAX.shape[1])
    assert 20 < task.packed_NAX.shape[1] <= 29
    # All 130,831 have mean 75.28 and standard deviation 8.17; 5 standard errors of 2,000.
    assert float(task.targets_N.mean()) == pytest.approx(75.28, abs=5 * 8.17 / 2000**0.5)
    assert float(task.targets_N.std()) == pytest.approx(8.17, abs=0.8)
    atoms_NA = task.packed_NAX[:, :, :5].sum(-1)
    assert int(atoms_NA.max()) == 1
    bonds_NAKA = task.packed_NAX[:, :, FEATURES:].unflatten(2, (4, -1))
    assert torch.equal(bonds_NAKA, bonds_NAKA.permute(0, 3, 2, 1)), "from both ends"
    assert bonds_NAKA.sum(2).max() == 1, "of one type"
    carbons = task.packed_NAX[:, :, 1] == 1
    assert bonds_NAKA.sum((2, 3))[carbons].max() <= 4
    # Larger molecules are more polarizable.
    together = torch.corrcoef(torch.stack([atoms_NA.sum(1).float(), task.targets_N]))
    assert float(together[0, 1]) > 0.5


def test_another_column(folder):
    task = make_task("qm9:Dipole_debye,12", data_dir=str(folder))
    assert (task.name, task.unit, task.targets_N.tolist()) == ("qm9:Dipole_debye,12", "debye", [1.0] * 12)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("qm9:Polarizability", "unknown target column of qm9 'Polarizability'; did you mean 'Polarizability_bohr3'"),
        ("qm9:SMILES", "unknown target column of qm9 'SMILES'"),
        ("qm9:13", "qm9 with 13 rows is not possible: there are 12 here; write qm9:12 .*qm9pack has 130,831"),
    ],
)
def test_what_cannot_be(folder, spec, problem):
    with pytest.raises(InputError, match=problem):
        make_task(spec, data_dir=str(folder))


@pytest.mark.parametrize(
    ("molecule", "problem"),
    [
        (("['C','H'", "[[0,0,0],[1,0,0]]"), r"an entry \"\['C','H'\""),
        (("__import__('os')", "[]"), "which is no list"),
        (("['C','H']", "[[0,0,0]]"), "elements and positions do not go together"),
        (("['C','X']", "[[0,0,0],[1,0,0]]"), "elements and positions do not go together"),
        (("[]", "[]"), "elements and positions do not go together"),
        (("['C']", "[[0,0]]"), "elements and positions do not go together"),
        (("['C']", "[['a','b','c']]"), "positions"),
        ((*METHANE, "nan"), "a target 'nan'"),
        ((*METHANE, "much"), "a target 'much'"),
    ],
)
def test_a_damaged_molecule(folder, molecule, problem):
    write(folder, [molecule] * 12)
    (folder / "qm9_part2.csv").unlink()
    with pytest.raises(InputError, match=f"qm9_part1.csv is damaged .*{problem}"):
        make_task("qm9:12", data_dir=str(folder))


def test_files_that_are_partial_or_not_there(folder, tmp_path):
    write(folder, [METHANE], header=HEADER[:3] + HEADER[4:] + ["more"])
    with pytest.raises(InputError, match="has no column 'Polarizability_bohr3'"):
        make_task("qm9:10", data_dir=str(folder))
    whole = (folder / "qm9_part2.csv").read_text()
    (folder / "qm9_part1.csv").write_text(whole[: len(whole) - 40])
    with pytest.raises(
        InputError, match=r"qm9_part1.csv is damaged .*line 4 has \d+ of 15 entries; get the file again"
    ):
        make_task("qm9:10", data_dir=str(folder))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="has no qm9_part1.csv; for qm9 it needs the files qm9_part1.csv"):
        make_task("qm9", data_dir=str(empty))
