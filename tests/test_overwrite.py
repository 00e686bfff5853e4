"""A state's ring is overwritten where a pure update asks for a changed copy, and only there."""

import pytest
import torch

from grokkit.overwrite import Overwriting

SLOT = torch.tensor([0, 2])


def put(ring, slot, value):
    return ring.index_put((slot,), value)


def update(function, ring):
    def member(ring, slot):
        with Overwriting(({"p": ring},)):
            return function(ring, slot, torch.ones(3))

    return torch.vmap(member)(ring, SLOT)


@pytest.mark.parametrize("function", [put, lambda ring, slot, value: torch.index_put(ring, (slot,), value)])
def test_a_tensor_of_the_state_is_overwritten(function):
    ring = torch.zeros(2, 4, 3)
    new = update(function, ring)
    assert new.data_ptr() == ring.data_ptr()
    expected = torch.zeros(2, 4, 3)
    expected[0, 0] = expected[1, 2] = 1
    assert torch.equal(ring, expected)


def test_any_other_tensor_is_copied():
    ring = torch.zeros(2, 4, 3)
    new = update(lambda ring, slot, value: put(ring + 0, slot, value), ring)
    assert new.sum() == 6
    assert not ring.any()


@pytest.mark.parametrize(
    "after", [lambda ring, new: ring + 1, lambda ring, new: torch.stack([new, ring]), lambda ring, new: ring.sum()]
)
def test_reading_the_old_tensor_after_the_write_is_an_error(after):
    def function(ring, slot, value):
        new = put(ring, slot, value)
        return after(ring, new)

    with pytest.raises(RuntimeError, match="reads a tensor of the state that index_put has overwritten"):
        update(function, torch.zeros(2, 4, 3))


def test_the_new_tensor_may_be_read_and_written_again():
    new = update(lambda ring, slot, value: put(ring, slot, value) * 2, torch.zeros(2, 4, 3))
    assert new.sum() == 12
