"""Where a step's time goes: the table is of the committed numbers, and the products are counted from their shapes."""

from types import SimpleNamespace

import pytest
from matmul_share import product_flops
from pieces.profile import profile_table, profile_where

PROFILE = {
    "processor": "a processor",
    "torch": "2.9",
    "threads": 2,
    "gflops": 200.0,
    "cases": {
        "a model": {
            "milliseconds": 20.0,
            "gflop": 1.9,
            "products": 0.62,
            "at_machine_rate": 0.475,
            "others": {"gelu": 0.1, "add_": 0.05, "copy_": 0.014},
        }
    },
}


def test_a_row_names_the_products_their_least_and_the_largest_others():
    header, _, row = profile_table(PROFILE).splitlines()
    assert header.count("|") == row.count("|") == 7
    assert row == "| a model | 20 | 1.90 | 62 % | 48 % | `gelu` 10 %, `add_` 5 % |"
    assert profile_where(PROFILE) == "a processor, PyTorch 2.9, where 2 threads reach 200 GFLOP/s"


@pytest.mark.parametrize(
    ("operator", "shapes"),
    [
        ("mkldnn::_linear_pointwise", [[5, 7, 3], [4, 3], [4]]),
        ("aten::mm", [[35, 3], [3, 4]]),
        ("aten::addmm", [[4], [35, 3], [3, 4]]),
        ("aten::bmm", [[5, 7, 3], [5, 3, 4]]),
        ("aten::baddbmm", [[5, 7, 4], [5, 7, 3], [5, 3, 4]]),
    ],
)
def test_two_operations_are_counted_for_each_multiply_add(operator, shapes):
    assert product_flops(SimpleNamespace(key=operator, input_shapes=shapes, count=2)) == 2 * 2 * 5 * 7 * 3 * 4
