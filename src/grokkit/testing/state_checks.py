"""Checks of what becomes of a transform and its state outside: sent to processes, cut with a parameter, overwritten."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from grokkit.state import Overwriting, counters_to_ints, leaves, map_leaves
from grokkit.testing.excitation import SHAPES, STEPS, gradients, parameters
from grokkit.testing.harness import assert_close, assert_same, flat, run_pure
from grokkit.transform import GradientTransform, in_place

Make = Callable[[], GradientTransform]
Index = dict[str, Tensor]  # of a parameter's first dimension, by the parameter's name; 0-d parameters have none

_HALF = STEPS // 2
_ORDER: Index = {name: torch.arange(shape[0]).roll(1) for name, shape in SHAPES.items() if shape}
_BACK: Index = {name: order.argsort() for name, order in _ORDER.items()}
_KEPT: Index = {name: torch.arange(shape[0]) % 2 == 0 for name, shape in SHAPES.items() if shape}


def check_pickle(make: Make) -> None:
    """Pickled and back it gives the same, and so do a deep copy of it and a pickled state."""
    expected, expected_state = run_pure(make(), gradients())
    for copied in (_pickled(make(), "the transform"), copy.deepcopy(make())):
        params = parameters()
        state = copied.init(params)
        for step, grads in enumerate(gradients()):
            out, state = copied.update(grads, _pickled(state, "its state"), params)
            assert_same(expected[step], out, f"step {step}: the copy gave something else")
        assert_same(flat(expected_state), flat(state), "the copy's state is another")


def check_state_layout(make: Make) -> None:
    """What is kept of a parameter begins with the parameter's dimensions, or is a count: a 0-d integer.

    So code that cuts a parameter can cut all of its state alike, as it does with the state of PyTorch's optimizers.
    """
    state = make().init(parameters())
    for path, name, leaf in leaves(state):
        if name is None or (not leaf.ndim and not leaf.is_floating_point()):
            continue
        shape = SHAPES[name]
        assert leaf.shape[: len(shape)] == shape, (
            f"state {path} of {name} has shape {tuple(leaf.shape)}, which does not begin with {shape}"
        )


def check_indexed_state(make: Make) -> None:
    """Half way its state is indexed along the parameters, as pruning does; afterwards the transform goes on rightly.

    Indexed there and back, which only lays it out anew in memory, everything stays as it was. Cut with the parameters,
    both faces go on alike.
    """
    expected, _ = run_pure(make(), gradients())
    transform, params = make(), parameters()
    _, state = run_pure(transform, gradients()[:_HALF])
    state = _indexed(_indexed(state, _ORDER), _BACK)
    pure, placed = _go_on(transform, state, gradients()[_HALF:], params)
    for step, theirs in enumerate(expected[_HALF:], start=_HALF):
        for name in SHAPES:
            for value in (pure[step - _HALF][name], placed[step - _HALF][name]):
                where = f"step {step}, {name}, after its state was indexed there and back"
                assert_close(value, theirs[name], 2e-6, where, float(gradients()[step][name].abs().max()))
    _, state = run_pure(transform, gradients()[:_HALF])
    steps = [_cut(grads) for grads in gradients()[_HALF:]]
    pure, placed = _go_on(transform, _indexed(state, _KEPT), steps, _cut(params))
    for step, (one, other) in enumerate(zip(pure, placed, strict=True), start=_HALF):
        for name, g in steps[step - _HALF].items():
            assert torch.isfinite(one[name]).all(), f"step {step}, {name}: not finite after its state was cut"
            where = f"step {step}, {name}, in place, after its state was cut"
            assert_close(other[name], one[name], 2e-6, where, float(g.abs().max()))


def check_overwriting(make: Make) -> None:
    """It is the same where :func:`grokkit.state.put_slot` writes in place: in captured steps and stacked runs."""
    expected, expected_state = run_pure(make(), gradients())
    transform, params = make(), parameters()
    state = transform.init(params)
    for step, grads in enumerate(gradients()):
        with Overwriting(state):
            out, state = transform.update(grads, state, params)
        for name in SHAPES:
            where = f"step {step}, {name}: what was overwritten was read again"
            assert_close(out[name], expected[step][name], 2e-6, where, float(grads[name].abs().max()))
    for key, leaf in flat(expected_state).items():
        assert_close(flat(state)[key], leaf, 2e-6, f"state {key}, overwritten")


def check_state_shapes(make: Make) -> None:
    """The state keeps its structure, shapes and dtypes: it can be stacked, captured and saved."""
    transform, params = make(), parameters()
    state = transform.init(params)
    before = {key: (leaf.shape, leaf.dtype) for key, leaf in flat(state).items()}
    for grads in gradients():
        _, state = transform.update(grads, state, params)
    after = {key: (leaf.shape, leaf.dtype) for key, leaf in flat(state).items()}
    assert before == after, f"the state changed from {before} to {after}"


def _pickled(thing: Any, what: str) -> Any:
    try:
        data = pickle.dumps(thing)
    except Exception as error:  # pickle raises whatever a reduction raises
        raise AssertionError(
            f"{what} cannot be pickled, so no other process can have it: {error}; make its functions methods of a "
            "class at the top level of a module, and give that to GradientTransform.of()"
        ) from error
    return pickle.loads(data)


def _indexed(state: Any, index: Index) -> Any:
    """As users edit an optimizer's state: everything of a parameter but counts, and that of 0-d parameters."""

    def one(_path: str, name: str | None, leaf: Any) -> Any:
        return leaf[index[name]] if name in index and leaf.ndim else leaf

    return map_leaves(one, state)


def _cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[_KEPT[name]] if name in _KEPT else tensor for name, tensor in tensors.items()}


def _go_on(
    transform: GradientTransform, state: Any, steps: list[dict[str, Tensor]], params: dict[str, Tensor]
) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """What both faces make of ``steps`` from ``state`` on."""
    other, pure, placed = counters_to_ints(copy.deepcopy(state)), [], []
    try:
        for grads in steps:
            out, state = transform.update(grads, state, params)
            pure.append(out)
            given = {name: g.clone() for name, g in grads.items()}
            other = in_place(transform)(given, other, params)
            placed.append(given)
    except (RuntimeError, IndexError, ValueError) as error:
        raise AssertionError(f"after its state was indexed with its parameters it failed: {error}") from error
    return pure, placed
