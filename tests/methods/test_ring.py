"""State that begins with its parameter's dimensions: cut, permuted or grown with the parameter, the filter goes on."""

import pytest
import torch
from factories import FACTORIES

from grokkit import attach, chain, grad_norm, grokfast_ema, grokfast_ma
from grokkit.methods.ring import empty_window, laid_out
from grokkit.rng import stream
from grokkit.state import Overwriting, counters_to_ints, leaves, map_leaves
from grokkit.testing.excitation import SHAPES, gradients, parameters
from grokkit.transform import in_place

FILTERS = {
    "ema": lambda: grokfast_ema(alpha=0.8, lamb=2.0),
    "ma": lambda: grokfast_ma(window_size=4, lamb=2.0),
    "ma of one": lambda: grokfast_ma(window_size=1),
    "ma of two": lambda: grokfast_ma(window_size=2),
    "ma, late": lambda: grokfast_ma(window_size=3, start_step=9, warmup=False),
    "ma, bfloat16": lambda: grokfast_ma(window_size=4, window_dtype=torch.bfloat16),
    "chain": lambda: chain(grokfast_ma(window_size=3), grokfast_ema(alpha=0.7)),
}
KEEP = torch.tensor([True, False, True, True, False])


def overwriting(transform, grads, state, params):
    """As a captured step does it."""
    with Overwriting(state):
        out, state = transform.update(grads, state, params)
    for name, g in out.items():
        grads[name].copy_(g)
    return state


def in_place_(transform, grads, state, params):
    return in_place(transform)(grads, counters_to_ints(state), params)


STEPPERS = pytest.mark.parametrize("stepper", [overwriting, in_place_])


def steps(rows, count=20):
    """Gradients of a matrix and a vector with five rows; ``rows`` of them."""
    generator = stream(0, "rows")
    given = []
    for _ in range(count):
        matrix, vector = torch.randn(5, 3, generator=generator), torch.randn(5, generator=generator)
        given.append({"w": matrix[rows], "b": vector[rows]})
    return given


def run(stepper, transform, given, state=None):
    state, out = state or transform.init(given[0]), []
    for grads in given:
        grads = {name: g.clone() for name, g in grads.items()}
        state = stepper(transform, grads, state, grads)
        out.append(grads)
    return out, state


def edited(state, change):
    """As users edit optimizer state: every entry of a parameter but the counts."""
    return map_leaves(lambda _path, _name, leaf: leaf if is_count(leaf) else change(leaf), state)


def is_count(leaf):
    return not isinstance(leaf, torch.Tensor) or not leaf.ndim


@pytest.mark.parametrize("name", FACTORIES)
def test_every_entry_of_a_parameter_s_state_begins_with_the_parameter_s_dimensions(name):
    params = parameters()
    for path, parameter, leaf in leaves(FACTORIES[name]().init(params)):
        if parameter is not None and not is_count(leaf):
            shape = SHAPES[parameter]
            assert leaf.shape[: len(shape)] == shape, path


@STEPPERS
@pytest.mark.parametrize("at", [1, 7, 12])
@pytest.mark.parametrize("name", FILTERS)
def test_cut_with_its_parameter_the_filter_is_that_of_what_is_left(name, at, stepper):
    """A filter works entry by entry, so what was cut away may leave no trace: bit for bit the filter of the rest."""
    _, state = run(stepper, FILTERS[name](), steps(slice(None))[:at])
    ours, after = run(stepper, FILTERS[name](), steps(KEEP)[at:], edited(state, lambda leaf: leaf[KEEP]))
    theirs, expected = run(stepper, FILTERS[name](), steps(KEEP))
    for mine, other in zip(ours, theirs[at:], strict=True):
        for parameter, value in other.items():
            torch.testing.assert_close(mine[parameter], value, rtol=1e-6, atol=1e-6)
    for (path, parameter, mine), (_, _, other) in zip(leaves(after), leaves(expected), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6, msg=f"{path} of {parameter}")


@STEPPERS
@pytest.mark.parametrize("name", FILTERS)
def test_permuted_with_its_parameter_the_filter_is_permuted(name, stepper):
    order = torch.tensor([3, 0, 4, 1, 2])
    _, state = run(stepper, FILTERS[name](), steps(slice(None))[:7])
    ours, _ = run(stepper, FILTERS[name](), steps(order)[7:], edited(state, lambda leaf: leaf[order]))
    theirs, _ = run(stepper, FILTERS[name](), steps(slice(None)))
    for mine, other in zip(ours, theirs[7:], strict=True):
        for parameter, value in other.items():
            torch.testing.assert_close(mine[parameter], value[order], rtol=1e-6, atol=1e-6)


@STEPPERS
@pytest.mark.parametrize("name", ["ema", "ma", "ma, bfloat16"])
def test_grown_by_zeros_new_entries_have_seen_zeros(name, stepper):
    def grown(leaf):
        return torch.cat([leaf, leaf.new_zeros(2, *leaf.shape[1:])])

    before, after = steps(slice(None))[:7], steps(slice(None))[7:]
    _, state = run(stepper, FILTERS[name](), before)
    wider = [{name: torch.cat([g, g[:2]]) for name, g in grads.items()} for grads in after]
    ours, _ = run(stepper, FILTERS[name](), wider, edited(state, grown))
    padded = [{name: grown(g) for name, g in grads.items()} for grads in before]
    theirs, _ = run(stepper, FILTERS[name](), padded + wider)
    for mine, other in zip(ours, theirs[7:], strict=True):
        for parameter, value in other.items():
            torch.testing.assert_close(mine[parameter], value, rtol=1e-6, atol=1e-6)


def slots_come_first(window):
    return window.movedim(-1, 0).is_contiguous()


def test_in_memory_the_slots_come_first_and_do_again_after_a_cut():
    """Each step reads and writes one slot: were the slots of an entry side by side, it would touch the whole window."""
    transform = grokfast_ma(window_size=4)
    _, state = run(in_place_, transform, steps(slice(None))[:5])
    assert all(slots_come_first(window) for window in state.window.values())
    cut = edited(state, lambda leaf: leaf[KEEP].contiguous())
    assert not any(slots_come_first(window) for window in cut.window.values())
    _, state = run(in_place_, transform, steps(KEEP)[5:6], cut)
    assert all(slots_come_first(window) for window in state.window.values())


def test_a_window_that_is_laid_out_is_not_copied():
    window = empty_window(torch.zeros(3, 2), 4, None, None)
    assert laid_out(window) is window
    assert window.shape == (3, 2, 4)
    scattered = torch.randn(3, 2, 4)
    assert torch.equal(laid_out(scattered), scattered)
    assert slots_come_first(laid_out(scattered))


@pytest.mark.parametrize("shape", [(), (0, 2), (3,), (2, 3, 4)])
@pytest.mark.parametrize("slots", [0, 1, 5])
def test_windows_of_all_shapes(shape, slots):
    window = empty_window(torch.zeros(shape, dtype=torch.float64), slots, torch.bfloat16, torch.device("cpu"))
    assert (window.shape, window.dtype) == ((*shape, slots), torch.bfloat16)
    assert laid_out(window) is window
    assert not window.any()


@pytest.mark.parametrize("capturable", [False, True])
def test_attached_the_window_is_not_moved_by_steps(capturable):
    params = {name: torch.nn.Parameter(p) for name, p in parameters().items()}
    optimizer = torch.optim.AdamW(params.values(), lr=1e-2)
    attach(optimizer, chain(grad_norm(), grokfast_ma(window_size=4)), capturable=capturable)
    places = set()
    for grads in gradients():
        for name, p in params.items():
            p.grad = grads[name].clone()
        optimizer.step()
        windows = [optimizer.state[p]["grokkit/1/window"] for p in params.values()]
        places.add(tuple(window.data_ptr() for window in windows))
        assert all(slots_come_first(window) for window in windows)
    assert len(places) == 1
