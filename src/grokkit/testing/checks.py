"""One check per promise of the contract. Each takes a function that makes a fresh transform."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from grokkit.attach import attach
from grokkit.errors import InputError, shown
from grokkit.state import check_tensors, counters_to_ints, leaves
from grokkit.testing.excitation import SHAPES, STEPS, gradients, parameters
from grokkit.testing.harness import (
    assert_close,
    assert_same,
    flat,
    give,
    make_optimizer,
    run_pure,
    take_steps,
    train_with,
)
from grokkit.testing.state_checks import (
    check_indexed_state,
    check_overwriting,
    check_pickle,
    check_state_layout,
    check_state_shapes,
)
from grokkit.transform import GradientTransform

Make = Callable[[], GradientTransform]
Reference = Callable[[list[dict[str, Any]]], tuple[list[dict[str, Any]], dict[str, Any]]]

_INTERMITTENT, _LATE = range(0, STEPS, 3), range(3)  # the steps in which "vector" has no gradient
_SCALE = {name: max(float(g[name].abs().max()) for g in gradients()) for name in SHAPES}


def check_transform(make: Make, *, mixes_tensors: bool = False) -> None:
    """Run every check of ``CHECKS`` on the transform that ``make()`` returns.

    ``mixes_tensors``: a tensor's result depends on other tensors' gradients, so leave out ``PER_TENSOR_CHECKS``.

    >>> import grokkit
    >>> check_transform(lambda: grokkit.grokfast_ema(alpha=0.9))
    >>> check_transform(lambda: grokkit.clip_norm(max_norm=0.5), mixes_tensors=True)
    """
    for name, check in CHECKS.items():
        if not (mixes_tensors and name in PER_TENSOR_CHECKS):
            check(make)


def check_reference(make: Make, reference: Reference, tolerance: float = 2e-6) -> None:
    """Values *and* state, after every step, equal an independent float64 implementation.

    ``reference`` maps the list of gradients (numpy float64) to the list of results and the final state as
    ``{slot: {parameter: array}}``, and ``{slot: array}`` where the parameters share it: such a slot may be left out,
    the others may not. ``tolerance`` is relative to the largest value of the array.
    """
    expected, expected_state = reference([{n: t.double().numpy() for n, t in g.items()} for g in gradients()])
    got, state = run_pure(make(), gradients())
    for step, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        for name, value in ours.items():
            assert_close(value, torch.as_tensor(theirs[name]), tolerance, f"step {step}, {name}")
    slots = {path: name is None for path, name, _ in leaves(state)}
    compared = {path for path, is_shared in slots.items() if path in expected_state or not is_shared}
    assert compared == expected_state.keys(), f"state {sorted(slots)} instead of {sorted(expected_state)}"
    for path, name, leaf in leaves(state):
        if path in compared:
            theirs = expected_state[path] if name is None else expected_state[path][name]
            assert_close(leaf, torch.as_tensor(theirs), tolerance, f"state {path} of {name or 'all'}")


def check_off(make_off: Make) -> None:
    """Switched off, it is the bare optimizer bit for bit."""
    bare, attached = train_with(None), train_with(make_off())
    for name in SHAPES:
        assert torch.equal(bare[name], attached[name]), f"{name} differs from the bare optimizer's"


def check_form(make: Make) -> None:
    """A state of tensors; from ``update`` the gradients that it got, by their names, and a state."""
    transform, params, grads = make(), parameters(), gradients()[0]
    state = transform.init(params)
    try:
        check_tensors(state, "init")
    except InputError as error:
        raise AssertionError(str(error)) from error
    result = transform.update(grads, state, params)
    is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict)
    assert is_pair, f"update gives {shown(result)}; return the gradients, a dict by name, and the state"
    given = sorted(result[0])
    assert given == sorted(grads), f"update gives the gradients of {given}, and got those of {sorted(grads)}"


def check_pure(make: Make) -> None:
    """``update`` changes neither gradients nor state nor parameters, and gives the same answer twice."""
    transform, params = make(), parameters()
    state = transform.init(params)
    for grads in gradients():
        before = copy.deepcopy((grads, state, params))
        first, first_state = transform.update(grads, state, params)
        second, second_state = transform.update(grads, state, params)
        assert_same(before[0], grads, "update changed the gradients given")
        assert_same(flat(before[1]), flat(state), "update changed the state given")
        assert_same(before[2], params, "update changed the parameters given")
        noise = "what draws at random takes an argument seed, and keeps a generator's state in its own"
        assert_same(first, second, f"update gave another result the second time; {noise}")
        assert_same(flat(first_state), flat(second_state), "update gave another state the second time")
        state = first_state


def check_acts(make: Make) -> None:
    """Every parameter's gradient is non-zero in the test, finite afterwards, and changed by the transform."""
    given = gradients()
    got, _ = run_pure(make(), given)
    for name in SHAPES:
        assert all(g[name].abs().max() > 0 for g in given), f"the test does not excite {name}"
        assert all(torch.isfinite(g[name]).all() for g in got), f"{name} is not finite"
        assert any(not torch.equal(a[name], b[name]) for a, b in zip(given, got, strict=True)), f"{name} never changed"


def check_attached_equals_pure(make: Make) -> None:
    """The attached face gives the same gradients and the same state as the pure one."""
    pure, pure_state = run_pure(make(), gradients())
    for set_to_none in (True, False):
        params, optimizer = make_optimizer(lr=0.0)
        handle = attach(optimizer, make())
        for step, grads in enumerate(gradients()):
            optimizer.zero_grad(set_to_none=set_to_none)
            give(params, grads)
            optimizer.step()
            for name, p in params.items():
                assert_close(
                    p.grad,
                    pure[step][name],
                    2e-6,
                    f"step {step}, {name}, set_to_none={set_to_none}",
                    _SCALE[name],
                )
        places = dict(zip(SHAPES, handle.parameters, strict=True))
        found = {(path, name): leaf for path, name, leaf in leaves(handle.state)}
        for path, name, leaf in leaves(counters_to_ints(pure_state)):
            place, scale = (None, None) if name is None else (places[name], _SCALE[name])
            assert_close(found[path, place], leaf, 2e-6, f"state {path} of {name or 'all'}", scale)


def check_no_aliasing(make: Make) -> None:
    """Neither face keeps a reference to a gradient: spoiling it after the step changes nothing later."""
    clean, _ = run_pure(make(), gradients())
    transform, params = make(), parameters()
    state = transform.init(params)
    spoilt_params, optimizer = make_optimizer(lr=0.0)
    attach(optimizer, make())
    for step, grads in enumerate(gradients()):
        out, state = transform.update(grads, state, params)
        assert_same(clean[step], out, f"pure face, step {step}: an earlier gradient was still in use")
        give(spoilt_params, grads)
        optimizer.step()
        for name, p in spoilt_params.items():
            assert_close(p.grad, clean[step][name], 2e-6, f"attached face, step {step}, {name}", _SCALE[name])
            p.grad.fill_(1e6)  # pyright: ignore[reportOptionalMemberAccess]
            grads[name].fill_(1e6)


def check_resume(make: Make) -> None:
    """Saved and restored half way, the run ends bit for bit where the uninterrupted one ends."""
    for dtype in (torch.float32, torch.bfloat16):
        whole = train_with(make(), dtype)
        params, optimizer = make_optimizer(dtype)
        attach(optimizer, make())
        take_steps(params, optimizer, gradients(dtype)[: STEPS // 2])
        saved = copy.deepcopy(optimizer.state_dict())
        values = {name: p.detach().clone() for name, p in params.items()}
        params, optimizer = make_optimizer(dtype)
        attach(optimizer, make())
        optimizer.load_state_dict(saved)
        for name, p in params.items():
            p.data.copy_(values[name])
        take_steps(params, optimizer, gradients(dtype)[STEPS // 2 :])
        for name, p in params.items():
            assert torch.equal(p, whole[name]), f"{name} ({dtype}) differs after saving and resuming"


def check_batched_seeds(make: Make) -> None:
    """vmapped over seeds it equals the seeds one by one: no reduction crosses the seed axis."""
    transform, seeds = make(), (0, 1, 2)
    singly = [run_pure(transform, gradients(seed=seed), seed=seed)[0] for seed in seeds]
    members = [parameters(seed=seed) for seed in seeds]
    params = {name: torch.stack([member[name] for member in members]) for name in SHAPES}
    state = torch.vmap(transform.init)(params)
    for step in range(STEPS):
        grads = {name: torch.stack([gradients(seed=seed)[step][name] for seed in seeds]) for name in SHAPES}
        out, state = torch.vmap(transform.update)(grads, state, params)
        for name in SHAPES:
            expected = torch.stack([single[step][name] for single in singly])
            assert_close(out[name], expected, 2e-6, f"step {step}, {name}", _SCALE[name])


def check_half_precision(make: Make) -> None:
    """bfloat16 gradients stay bfloat16 and close to the float32 result, in both faces."""
    wide, _ = run_pure(make(), [{n: t.float() for n, t in g.items()} for g in gradients(torch.bfloat16)])
    got, _ = run_pure(make(), gradients(torch.bfloat16), torch.bfloat16)
    params, optimizer = make_optimizer(torch.bfloat16, lr=0.0)
    attach(optimizer, make())
    for step, grads in enumerate(gradients(torch.bfloat16)):
        give(params, grads)
        optimizer.step()
        for name, p in params.items():
            for value in (got[step][name], p.grad):
                assert value is not None
                assert value.dtype is torch.bfloat16, f"{name} became {value.dtype}"
                assert_close(value.float(), wide[step][name], 2e-2, f"bfloat16, step {step}, {name}", _SCALE[name])


def check_missing_gradients(make: Make) -> None:
    """A parameter without a gradient in some steps stays without one and keeps its state; both faces go on alike."""
    transform, values = make(), parameters()
    state = transform.init(values)
    params, optimizer = make_optimizer(lr=0.0)
    attach(optimizer, make())
    for step, grads in enumerate(_without_vector(_INTERMITTENT)):
        before = _state_of_vector(state)
        out, state = transform.update(grads, state, values)
        optimizer.zero_grad(set_to_none=True)
        give(params, grads)
        optimizer.step()
        assert out.keys() == grads.keys(), f"step {step}: gradients of {sorted(grads)} became those of {sorted(out)}"
        for name in grads:
            assert_close(params[name].grad, out[name], 2e-6, f"step {step}, {name}", _SCALE[name])
        if "vector" not in grads:
            assert params["vector"].grad is None, "a missing gradient came into being"
            assert_same(before, _state_of_vector(state), "a missing gradient changed the state")


def check_frozen_parameters(make: Make) -> None:
    """A frozen parameter is left alone and gets no state; unfrozen later, both faces go on alike."""
    expected, _ = run_pure(make(), _without_vector(_LATE))
    params, optimizer = make_optimizer(lr=0.0)
    params["vector"].requires_grad_(False)
    attach(optimizer, make())
    for step, grads in enumerate(_without_vector(_LATE)):
        if step == len(_LATE):
            assert params["vector"].grad is None, "a frozen parameter has a gradient"
            assert not optimizer.state.get(params["vector"]), "a frozen parameter has state"
            params["vector"].requires_grad_(True)
        give(params, grads)
        optimizer.step()
        for name in grads:
            assert_close(params[name].grad, expected[step][name], 2e-6, f"step {step}, {name}", _SCALE[name])


def check_tensor_by_tensor(make: Make) -> None:
    """A tensor's results are those of it alone, whichever steps it or another has no gradient in."""
    for missing in (_INTERMITTENT, _LATE):
        steps = _without_vector(missing)
        together, _ = run_pure(make(), steps)
        for name in SHAPES:
            own = [step for step, grads in enumerate(steps) if name in grads]
            alone, _ = run_pure(make(), [{name: steps[step][name]} for step in own], names=(name,))
            for step, expected in zip(own, alone, strict=True):
                assert_close(together[step][name], expected[name], 2e-6, f"step {step}, {name}", _SCALE[name])


def check_degenerate_gradients(make: Make) -> None:
    """All-zero gradients stay finite, empty tensors pass through, in both faces."""
    transform = make()
    params = {"zero": torch.ones(3), "empty": torch.ones(0, 2)}
    parameters_ = {name: torch.nn.Parameter(p.clone()) for name, p in params.items()}
    optimizer = torch.optim.SGD(parameters_.values(), lr=0.1)
    attach(optimizer, make())
    state = transform.init(params)
    for _ in range(STEPS):
        grads = {name: torch.zeros_like(p) for name, p in params.items()}
        out, state = transform.update(grads, state, params)
        give(parameters_, grads)
        optimizer.step()
        for name, p in parameters_.items():
            for value in (out[name], p.grad):
                assert value is not None
                assert value.shape == params[name].shape, f"{name} changed its shape"
                assert not value.any(), f"a zero gradient became {value}"


def check_complex(make: Make) -> None:
    """Complex gradients are handled, or raise an error at once; nothing drops an imaginary part.

    A real gradient in complex dress gives the real result; one that is imaginary throughout, i times the real result;
    and both faces agree on a gradient that is neither.
    """
    real, _ = run_pure(make(), gradients())
    parts = zip(gradients(), gradients(seed=1), strict=True)
    general = [{name: torch.complex(g[name], h[name]) for name in SHAPES} for g, h in parts]
    try:
        make().update(general[0], make().init(parameters(torch.complex64)), parameters(torch.complex64))
    except Exception:  # what cannot be right is refused, in whatever words
        return
    for factor in (1.0, 1.0j):
        steps = [{name: factor * g.to(torch.complex64) for name, g in grads.items()} for grads in gradients()]
        for step, out in enumerate(run_pure(make(), steps, torch.complex64)[0]):
            for name in SHAPES:
                assert out[name].is_complex(), f"step {step}, {name}: complex became {out[name].dtype}"
                expected = factor * real[step][name].to(torch.complex64)
                _assert_close_complex(out[name], expected, f"step {step}, {name}, the real gradient times {factor}")
    expected, _ = run_pure(make(), general, torch.complex64)
    params, optimizer = make_optimizer(torch.complex64, lr=0.0)
    attach(optimizer, make())
    for step, grads in enumerate(general):
        give(params, grads)
        optimizer.step()
        for name, p in params.items():
            _assert_close_complex(p.grad, expected[step][name], f"complex, attached, step {step}, {name}")


def _assert_close_complex(got: Any, expected: Tensor, where: str) -> None:
    for part in ("real", "imag"):
        ours, theirs = getattr(got, part), getattr(expected, part)
        assert_close(ours, theirs, 2e-6, f"{where}, {part}", float(expected.abs().max()))


def _without_vector(missing: range) -> list[dict[str, Tensor]]:
    """The gradients, without that of ``vector`` in the steps ``missing``."""
    return [
        {name: t for name, t in g.items() if name != "vector" or step not in missing}
        for step, g in enumerate(gradients())
    ]


def _state_of_vector(state: Any) -> dict[str, Tensor]:
    return {path: torch.as_tensor(leaf) for path, name, leaf in leaves(state) if name == "vector"}


CHECKS: Mapping[str, Callable[[Make], None]] = {
    "form": check_form,
    "pure": check_pure,
    "acts": check_acts,
    "attached equals pure": check_attached_equals_pure,
    "no aliasing": check_no_aliasing,
    "resume": check_resume,
    "batched seeds": check_batched_seeds,
    "half precision": check_half_precision,
    "missing gradients": check_missing_gradients,
    "frozen parameters": check_frozen_parameters,
    "degenerate gradients": check_degenerate_gradients,
    "complex gradients": check_complex,
    "state shapes": check_state_shapes,
    "state layout": check_state_layout,
    "indexed state": check_indexed_state,
    "overwriting": check_overwriting,
    "pickle": check_pickle,
    "tensor by tensor": check_tensor_by_tensor,
}

PER_TENSOR_CHECKS = frozenset({"tensor by tensor"})  # what no transform that mixes tensors can pass
