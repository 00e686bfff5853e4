"""Each pure optimizer is torch.optim's, alone and for several members at once."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from grokkit.optimizers.contract import Settings
from grokkit.registry import parts
from grokkit.rng import stream
from grokkit.train.config import OptimizerConfig
from grokkit.train.optimizers import build_optimizer

OPTIMIZERS = {name: part.value.pure for name, part in parts("optimizers").items() if part.origin == "grokkit"}
SHAPES = {"matrix": (4, 3), "vector": (5,), "scalar": ()}
STEPS = 40
MEMBERS = [(1e-2, 0.0, 0.9, 0.98), (3e-2, 1.0, 0.9, 0.999), (1e-3, 0.1, 0.0, 0.5), (1e-1, 0.01, 0.5, 0.9)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


def start(dtype, member=0):
    generator = stream(member, "params")
    return {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in SHAPES.items()}


def gradients(dtype, member=0):
    generator = stream(member, "gradients")
    scales = dict(zip(SHAPES, (1e-3, 1.0, 1e2), strict=True))
    return [
        {name: scales[name] * torch.randn(shape, generator=generator, dtype=dtype) for name, shape in SHAPES.items()}
        for _ in range(STEPS)
    ]


def by_torch(kind, values, dtype, member=0):
    """The parameters after every step under ``build_optimizer``'s optimizer."""
    model = nn.ParameterDict(start(dtype, member))
    lr, wd, beta1, beta2 = values
    config = OptimizerConfig(optimizer=kind, lr=lr, wd=wd, beta1=beta1, beta2=beta2)
    optimizer, path = build_optimizer(config, model), []
    for grads in gradients(dtype, member):
        for name, p in model.items():
            p.grad = grads[name].clone()
        optimizer.step()
        path.append({name: p.detach().clone() for name, p in model.items()})
    return path


def assert_same_path(ours, theirs, dtype):
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for name in SHAPES:
            torch.testing.assert_close(
                mine[name],
                other[name],
                rtol=TOLERANCE[dtype],
                atol=TOLERANCE[dtype],
                msg=lambda text, at=(step, name): f"{at}: {text}",
            )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("values", MEMBERS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_equals_torch_optim(kind, values, dtype):
    optimizer, params = OPTIMIZERS[kind], start(dtype)
    state, path = optimizer.init(params), []
    for grads in gradients(dtype):
        params, state = optimizer.update(params, grads, state, Settings(*values))
        path.append(params)
    assert_same_path(path, by_torch(kind, values, dtype), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_members_with_settings_of_their_own_equal_torch_optim_one_by_one(kind, dtype):
    optimizer = OPTIMIZERS[kind]
    settings = Settings(*torch.tensor(MEMBERS, dtype=torch.float64).unbind(1))
    params = stacked([start(dtype, member) for member in range(len(MEMBERS))])
    steps = [stacked(step) for step in zip(*(gradients(dtype, m) for m in range(len(MEMBERS))), strict=True)]
    state, path = torch.vmap(optimizer.init)(params), []
    for grads in steps:
        params, state = torch.vmap(optimizer.update)(params, grads, state, settings)
        path.append(params)
    assert all(p.dtype is dtype for p in params.values())
    for member, values in enumerate(MEMBERS):
        ours = [{name: p[member] for name, p in step.items()} for step in path]
        assert_same_path(ours, by_torch(kind, values, dtype, member), dtype)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_nothing_is_changed_in_place(kind):
    optimizer, params = OPTIMIZERS[kind], start(torch.float32)
    state, grads = optimizer.init(params), gradients(torch.float32)[0]
    before = {name: (p.clone(), grads[name].clone()) for name, p in params.items()}
    first = optimizer.update(params, grads, state, Settings(*MEMBERS[1]))[0]
    second = optimizer.update(params, grads, state, Settings(*MEMBERS[1]))[0]
    for name, (p, g) in before.items():
        assert torch.equal(params[name], p)
        assert torch.equal(grads[name], g)
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_parameters_of_two_types_are_each_stepped_on_in_their_own(kind):
    optimizer, types = OPTIMIZERS[kind], dict(zip(SHAPES, (torch.float32, torch.float64, torch.float32), strict=True))

    def as_typed(tensors):
        return {name: tensor.to(types[name]) for name, tensor in tensors.items()}

    params = as_typed(start(torch.float64))
    state, settings = optimizer.init(params), Settings(*MEMBERS[1])
    apart = {name: ({name: p}, optimizer.init({name: p})) for name, p in params.items()}
    for grads in map(as_typed, gradients(torch.float64)):
        params, state = optimizer.update(params, grads, state, settings)
        apart = {name: optimizer.update(p, grads, own, settings) for name, (p, own) in apart.items()}
    assert {name: p.dtype for name, p in params.items()} == types
    for name, (alone, _) in apart.items():
        torch.testing.assert_close(params[name], alone[name], rtol=TOLERANCE[types[name]], atol=TOLERANCE[types[name]])


class Counting(TorchDispatchMode):
    """Counts the operations that are no views."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not operation.is_view
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_of_many_parameters_is_no_more_operations_than_of_one(kind):
    optimizer, settings = OPTIMIZERS[kind], Settings(*torch.tensor(MEMBERS[0], dtype=torch.float64))

    def operations(parameters):
        params = {str(index): torch.ones(3, 2) for index in range(parameters)}
        state = optimizer.init(params)
        with Counting() as counting:
            optimizer.update(params, params, state, settings)
        return counting.count

    assert operations(30) == operations(1) > 0


def stacked(members):
    return {name: torch.stack([member[name] for member in members]) for name in SHAPES}


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_complex_parameters_are_stepped_on_though_there_is_no_kernel_for_them(kind):
    p = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    card = parts("optimizers")[kind].value
    optimizer = card.build([("w", p)], {"lr": 0.1, "wd": 0.0, "beta1": 0.0, "beta2": 0.9})
    p.grad = torch.full_like(p, 1j)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full_like(p, 1 - 0.1j), rtol=1e-5, atol=1e-6)
