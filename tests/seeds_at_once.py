"""A model batched over seeds by ``torch.func`` against each of them by itself."""

import contextlib

import torch
from torch.func import functional_call, grad, stack_module_state


def close(got, expected, what):
    """To 1e-5 of the largest entry, which is not 0."""
    size = float(expected.detach().abs().max())
    assert size > 0, what
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * size, msg=lambda text: f"{what}: {text}")


@contextlib.contextmanager
def no_slow_path():
    """Where ``vmap`` would go through the members one by one it raises."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        torch._C._functorch._set_vmap_fallback_enabled(True)


def assert_gradients_equal_one_by_one(models, inputs):
    """``inputs``: of every model its own, along the first axis."""
    params, _ = stack_module_state(models)
    with no_slow_path():
        found = torch.func.vmap(grad(lambda p, x: functional_call(models[0], p, (x,)).square().sum()))(params, inputs)
    for place, model in enumerate(models):
        alone = torch.autograd.grad(model(inputs[place]).square().sum(), list(model.parameters()))
        for (name, _), expected in zip(model.named_parameters(), alone, strict=True):
            close(found[name][place], expected, name)
