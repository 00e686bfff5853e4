"""Whole tables against plain loops, token layouts spelled out, and bad options."""

import itertools

import pytest
import torch
from torch.nn import functional

from grokkit.errors import InputError
from grokkit.tasks import modular_task


def test_infix_of_two_operands():
    p = 7
    task = modular_task("mul:7")
    rows = [(a, b) for a in range(p) for b in range(p)]
    assert task.inputs_NT.tolist() == [[a, p + 1, b, p] for a, b in rows]
    assert task.targets_N.tolist() == [a * b % p for a, b in rows]
    assert task.inputs_NT.dtype == task.targets_N.dtype == torch.int64
    assert (task.vocabulary, task.classes) == (p + 2, p + 2)
    assert task.name == "a*b mod 7"
    assert task.description == "a*b mod 7, 49 rows, tokens: a * b ="


def test_published_table_of_two_operands():
    p = 97
    task = modular_task("a*b mod 97", b=1)
    rows = [(a, b) for a in range(p) for b in range(1, p)]
    assert task.inputs_NT.tolist() == [[a, 98, b, 97] for a, b in rows]
    assert task.targets_N.tolist() == [a * b % p for a, b in rows]
    assert task.vocabulary == 99
    assert "b from 1" in task.description


@pytest.mark.parametrize("p", [2, 3, 11])
def test_division_leaves_out_a_zero_divisor(p):
    task = modular_task(f"div:{p}")
    rows = [(a, b) for a in range(p) for b in range(1, p)]
    assert task.inputs_NT.tolist() == [[a, p + 1, b, p] for a, b in rows]
    assert task.targets_N.tolist() == [a * pow(b, -1, p) % p for a, b in rows]


def test_division_by_a_compound_divisor():
    task = modular_task("a/(a - b) mod 5", layout="operands-first")
    rows = [(a, b) for a in range(5) for b in range(5) if a != b]
    assert task.inputs_NT.tolist() == [[a, b, 6, 7, 5] for a, b in rows]
    assert task.targets_N.tolist() == [a * pow(a - b, -1, 5) % 5 for a, b in rows]


@pytest.mark.parametrize(
    ("spec", "layout", "pattern", "first_row", "vocabulary"),
    [
        # first_row: every operand at 1, P = 3, = is 3, operators from 4
        ("a + b mod 3", "infix", "a + b =", [1, 4, 1, 3], 5),
        ("a + b mod 3", "operands-first", "a b + =", [1, 1, 4, 3], 5),
        ("a*a - b mod 3", "infix", "a ∘ b =", [1, 4, 1, 3], 5),
        ("a*a - b mod 3", "operands-first", "a b * - =", [1, 1, 4, 5, 3], 6),
        ("a^2 - b mod 3", "operands-first", "a b ^ - =", [1, 1, 4, 5, 3], 6),
        ("a*c + b*d - e mod 3", "infix", "a * c + b * d - e =", [1, 4, 1, 5, 1, 4, 1, 6, 1, 3], 7),
        ("a*c + b*d - e mod 3", "operands-first", "a b c d e * + * - =", [1, 1, 1, 1, 1, 4, 5, 4, 6, 3], 7),
        ("-a*(b + c) mod 3", "infix", "a * b + c =", [1, 4, 1, 5, 1, 3], 6),
        ("c*b + c - a mod 3", "infix", "c ∘ b ∘ a =", [1, 4, 1, 4, 1, 3], 5),
        ("a + 2*b + c mod 3", "infix", "a ∘ b ∘ c =", [1, 4, 1, 4, 1, 3], 5),
        ("b - a mod 3", "infix", "b - a =", [1, 4, 1, 3], 5),
        ("a*a mod 3", "infix", "a =", [1, 3], 4),
        ("a*a mod 3", "operands-first", "a * =", [1, 4, 3], 5),
    ],
)
def test_layouts(spec, layout, pattern, first_row, vocabulary):
    task = modular_task(spec, layout=layout, **dict.fromkeys(set(spec[:-6]) & set("abcde"), 1))
    assert task.description.endswith(f"tokens: {pattern}")
    assert task.inputs_NT[0].tolist() == first_row
    assert (task.vocabulary, task.classes) == (vocabulary, vocabulary)
    assert int(task.inputs_NT.max()) == vocabulary - 1


def test_operands_stand_where_the_layout_says():
    rows = list(itertools.product(range(3), range(3), range(1, 3), range(1, 3), range(3)))
    infix = modular_task("dot-sub:3", c=1, d=1)
    first = modular_task("dot-sub:3", layout="operands-first", c=1, d=1)
    assert infix.inputs_NT[:, [0, 4, 2, 6, 8]].tolist() == [list(row) for row in rows]
    assert first.inputs_NT[:, :5].tolist() == [list(row) for row in rows]
    assert infix.targets_N.tolist() == [(a * c + b * d - e) % 3 for a, b, c, d, e in rows]
    assert torch.equal(infix.targets_N, first.targets_N)


def test_rows_are_the_same_problems_in_both_layouts():
    infix, first = modular_task("b - a mod 5"), modular_task("b - a mod 5", layout="operands-first")
    assert torch.equal(infix.inputs_NT[:, [2, 0]], first.inputs_NT[:, :2])
    assert torch.equal(infix.targets_N, first.targets_N)


def test_published_size_of_the_five_operand_task():
    assert len(modular_task("dot-sub:7", c=1, d=1).targets_N) == 7**3 * 6**2


@pytest.mark.parametrize("starts", [{}, {"b": 1}])
def test_groups_are_the_unordered_pairs(starts):
    task = modular_task("a + b mod 6", split="unordered", **starts)
    assert task.groups is not None
    pairs = [frozenset((a, b)) for a, _, b, _ in task.inputs_NT.tolist()]
    groups = task.groups.tolist()
    assert len(set(zip(pairs, groups, strict=True))) == len(set(pairs)) == len(set(groups))


@pytest.mark.parametrize("spec", ["a - b mod 5", "a + b + c mod 5", "a*a mod 5"])
def test_no_pairs_where_operands_cannot_be_exchanged(spec):
    with pytest.raises(InputError, match="only two operands that can be exchanged make such pairs"):
        modular_task(spec, split="unordered")


def test_loss_and_correct():
    task = modular_task("add:5")
    outputs = torch.randn(len(task.targets_N), task.classes, generator=torch.Generator().manual_seed(0))
    log_p = outputs.double().log_softmax(-1)
    wanted = -sum(log_p[i, t] for i, t in enumerate(task.targets_N.tolist())) / len(task.targets_N)
    torch.testing.assert_close(task.loss(outputs, task.targets_N).double(), wanted, rtol=1e-6, atol=0)
    best = outputs.argmax(-1)
    assert task.correct(outputs, task.targets_N).tolist() == (best == task.targets_N).tolist()
    assert task.correct(functional.one_hot(task.targets_N, task.classes), task.targets_N).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "prefix"}, r"^unknown layout 'prefix'; .*Allowed: infix, operands, operands-first$"),
        ({"c": 1}, r"^unknown setting of 'a\*b mod 7' 'c'; .*Allowed: a, b, layout, split$"),
        ({"b": 7}, r"^operand 'b' cannot start at 7; allowed are 0 to 6, e\.g\. b=1$"),
        ({"b": -1}, r"^operand 'b' cannot start at -1; allowed are 0 to 6, e\.g\. b=1$"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        modular_task("mul:7", **options)


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match=r"^'a/\(b - b\) mod 7' divides by 0 in every row; change its divisor$"):
        modular_task("a/(b-b) mod 7")


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    modular_task("add:5")
    assert torch.equal(torch.get_rng_state(), before)


def test_operands_layout_has_numbers_only():
    task = modular_task("a*c + b*d - e mod 3", layout="operands")
    assert (task.vocabulary, task.classes, task.inputs_NT.shape) == (3, 3, (243, 5))
    assert task.inputs_NT[-2].tolist() == [2, 2, 2, 2, 1]
    assert torch.equal(task.targets_N, modular_task("a*c + b*d - e mod 3").targets_N)
