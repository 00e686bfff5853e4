"""A state's window is overwritten where a pure update puts a new entry into it, and only there."""

import pytest
import torch

from grokkit.state import Overwriting, put_slot

SLOT = torch.tensor([0, 2])


def windows():
    """Two members' windows of four slots for a parameter of three entries, the slots first in memory."""
    return torch.zeros(2, 4, 3).movedim(1, -1)


def expected():
    full = torch.zeros(2, 3, 4)
    full[0, :, 0] = full[1, :, 2] = 1
    return full


def member(window, slot):
    return put_slot(window, slot, torch.ones(3))


def overwriting(function, state=lambda window: ({"p": window},)):
    def inside(window, slot):
        with Overwriting(state(window)):
            return function(window, slot)

    return inside


def test_a_tensor_of_the_state_is_overwritten():
    window = windows()
    new = torch.vmap(overwriting(member))(window, SLOT)
    assert new.data_ptr() == window.data_ptr()
    assert torch.equal(window, expected())


@pytest.mark.parametrize(
    "function",
    [
        member,
        overwriting(lambda window, slot: member(window + 0, slot)),
        overwriting(member, state=lambda window: ({"p": torch.zeros(3, 4)},)),
    ],
)
def test_any_other_tensor_is_copied(function):
    window = windows()
    new = torch.vmap(function)(window, SLOT)
    assert torch.equal(new, expected())
    assert not window.any()


def test_outside_it_is_over_even_after_an_error():
    window = torch.zeros(3, 4)
    with pytest.raises(ZeroDivisionError), Overwriting((window,)):
        _ = 1 / 0
    put_slot(window, torch.tensor(1), torch.ones(3))
    assert not window.any()


def test_the_slots_stay_first_in_memory():
    window = torch.zeros(4, 3).movedim(0, -1)
    assert put_slot(window, torch.tensor(1), torch.ones(3)).stride() == window.stride() == (1, 3)
