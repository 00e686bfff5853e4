"""Parameters that are cut, padded and permuted while training, and their optimizer's state with them."""

import pytest
import torch
from torch import nn

from grokkit import InputError, attach, chain, grokfast_ema, grokfast_ma

FIRST = torch.tensor([10.0, 20.0, 30.0])
SLOW = 0.9 * FIRST + 0.1  # after a gradient of FIRST, and one of 1


def trained(cls=torch.optim.Adam, transform=None, rows=FIRST, **settings):
    """A parameter of three rows whose first gradients were 10, 20 and 30."""
    p = nn.Parameter(torch.zeros(len(rows), 2))
    optimizer = cls([{"params": [p], "name": "means"}], lr=0.1)
    handle = attach(optimizer, transform or grokfast_ema(alpha=0.9, lamb=1.0), **settings)
    step(p, optimizer, rows[:, None])
    return p, optimizer, handle


def step(p, optimizer, gradient=1.0):
    p.grad = torch.zeros_like(p) + gradient
    optimizer.step()
    return p.grad[:, 0]


def put_in_place(p, optimizer, change_state, change_param):
    """As programs for Gaussian splatting do it: every tensor but Adam's step is changed like the parameter."""
    entry = optimizer.state.pop(p)
    for key in entry:
        if key != "step":
            entry[key] = change_state(entry[key])
    q = nn.Parameter(change_param(p.detach()))
    optimizer.param_groups[0]["params"] = [q]
    optimizer.state[q] = entry
    return q


def relocated(state):
    state[torch.tensor([1])] = 0
    return state


KEEP = torch.tensor([True, False, True])
CUTS = {
    "prune": (lambda s: s[KEEP], lambda p: p[KEEP], SLOW[KEEP]),
    "permute": (lambda s: s[[2, 0, 1]], lambda p: p[[2, 0, 1]], SLOW[[2, 0, 1]]),
    "grow": (
        lambda s: torch.cat([s, torch.zeros(2, *s.shape[1:])]),
        lambda p: torch.cat([p, p[:2]]),
        torch.cat([SLOW, torch.tensor([0.1, 0.1])]),  # new rows begin with an average of zero, as Adam's do
    ),
    "split": (
        lambda s: torch.cat([s[KEEP], torch.zeros((2, *s.shape[1:]))]),
        lambda p: torch.cat([p[KEEP], p[:2]]),
        torch.cat([SLOW[KEEP], torch.tensor([0.1, 0.1])]),
    ),
    "relocate": (relocated, lambda p: p, torch.tensor([SLOW[0], 0.1, SLOW[2]])),
    "zero": (torch.zeros_like, lambda p: p, torch.ones(3)),  # all of it: afresh
    "repeat": (lambda s: s.repeat_interleave(2, 0), lambda p: p.repeat_interleave(2, 0), SLOW.repeat_interleave(2)),
}


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("cut", CUTS)
def test_state_is_cut_like_the_parameter(cut, cls, capturable):
    p, optimizer, handle = trained(cls, capturable=capturable)
    change_state, change_param, slow = CUTS[cut]
    q = put_in_place(p, optimizer, change_state, change_param)
    torch.testing.assert_close(step(q, optimizer), 1 + slow)
    torch.testing.assert_close(step(q, optimizer), 1 + 0.9 * slow + 0.1)
    assert [int(count) for count in handle.state.step.values()] == [2 if cut == "zero" else 3]


def test_a_chain_s_counts_are_cut_with_it():
    p, optimizer, handle = trained(
        transform=chain(grokfast_ema(alpha=0.9, lamb=1.0), grokfast_ema(alpha=0.5, lamb=0.0))
    )
    q = put_in_place(p, optimizer, lambda s: s[KEEP], lambda p: p[KEEP])
    torch.testing.assert_close(step(q, optimizer), 1 + SLOW[KEEP])
    assert [set(state.step.values()) for state in handle.state] == [{2}, {2}]


def test_cut_again_and_again():
    """As many steps are counted as were taken, whatever is cut in between."""
    rows = torch.arange(1.0, 65.0)
    p, optimizer, handle = trained(rows=rows)
    for _ in range(5):
        half = torch.arange(len(p)) % 2 == 0
        p = put_in_place(p, optimizer, lambda s, half=half: s[half], lambda p, half=half: p[half])
        grad = step(p, optimizer, 0.0)
    assert list(handle.state.step.values()) == [6]
    torch.testing.assert_close(grad, 0.9**5 * rows[::32])


def test_all_rows_cut_and_others_grown():
    p, optimizer, _ = trained()
    q = put_in_place(p, optimizer, lambda s: s[:0], lambda p: p[:0])
    step(q, optimizer)
    r = put_in_place(q, optimizer, lambda s: torch.cat([s, torch.zeros(2, *s.shape[1:])]), lambda p: torch.zeros(2, 2))
    torch.testing.assert_close(step(r, optimizer), torch.full((2,), 2.0))


def test_only_adam_s_own_state_cut_by_name_begins_the_filter_afresh_and_says_so_once():
    p, optimizer, handle = trained()
    for _ in range(2):
        entry = optimizer.state.pop(p)
        keep = torch.arange(len(p)) < len(p) - 1
        for key in ("exp_avg", "exp_avg_sq"):
            entry[key] = entry[key][keep]
        p = nn.Parameter(p.detach()[keep])
        optimizer.param_groups[0]["params"][0] = p
        optimizer.state[p] = entry
        if len(p) == 2:
            with pytest.warns(
                UserWarning, match=r"shape \(3, 2\), but the parameter \(2, 2\): its filter begins afresh"
            ):
                grad = step(p, optimizer)
        else:
            grad = step(p, optimizer)  # not again
        torch.testing.assert_close(grad, torch.full((len(p),), 2.0))
    assert list(handle.state.step.values()) == [1]


def test_a_parameter_cut_in_place_is_another_one():
    """``p.data = ...`` leaves the parameter what it was, and its state behind."""
    p, optimizer, _ = trained(torch.optim.SGD)
    p.data = p.data[KEEP].clone()
    p.grad = None
    with pytest.warns(UserWarning, match="its filter begins afresh"):
        torch.testing.assert_close(step(p, optimizer), torch.full((2,), 2.0))
    for key, leaf in optimizer.state[p].items():
        optimizer.state[p][key] = leaf[:1]
    p.data = p.data[:1].clone()
    p.grad = None
    torch.testing.assert_close(step(p, optimizer), torch.full((1,), 2.0))
    assert optimizer.state[p]["grokkit/step"].tolist() == [2]


def test_the_window_of_other_settings_is_refused_all_the_same():
    p, optimizer, handle = trained(transform=grokfast_ma(window_size=4))
    saved = optimizer.state_dict()
    handle.detach()
    attach(optimizer, grokfast_ma(window_size=5))
    optimizer.load_state_dict(saved)
    with pytest.raises(InputError, match="'window' has shape .* attach it with the settings it was saved with"):
        step(p, optimizer)


def test_a_checkpoint_is_cut_before_the_first_step_after_loading():
    _, optimizer, _ = trained()
    q, other, _ = trained()
    other.load_state_dict(optimizer.state_dict())
    q = put_in_place(q, other, lambda s: s[KEEP], lambda p: p[KEEP])
    torch.testing.assert_close(step(q, other), 1 + SLOW[KEEP])
