"""Optimizers that save and load in ways of their own, and saved state that cannot be read."""

import copy

import pytest
import torch
from by_hand import loss, make, network, run, same
from torch import nn

from grokkit import InputError, NeuralGrok, attach, grad_norm, grokfast_ema, grokfast_ma, masked, neuralgrok, recipe
from grokkit.attach import attached

HALF, WHOLE = 4, 8


class Casting(torch.optim.AdamW):
    """Loads itself, and casts, as quantized optimizers do: none of PyTorch's hooks is called."""

    def load_state_dict(self, state_dict):
        params = [p for group in self.param_groups for p in group["params"]]
        for index, entry in state_dict["state"].items():
            if isinstance(index, int):
                self.state[params[index]] = {
                    key: leaf.to(params[index].dtype) if leaf.is_floating_point() and leaf.ndim else leaf
                    for key, leaf in entry.items()
                }


class Choosing(torch.optim.AdamW):
    """Loads what it knows and drops the rest."""

    def load_state_dict(self, state_dict):
        params = [p for group in self.param_groups for p in group["params"]]
        for p, entry in zip(params, state_dict["state"].values(), strict=True):
            self.state[p] = {key: entry[key].clone() for key in ("step", "exp_avg", "exp_avg_sq")}


class Comparing(torch.optim.AdamW):
    """Compares what it has loaded with what it was given, key by key."""

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for p, entry in zip(self.param_groups[0]["params"], state_dict["state"].values(), strict=True):
            assert self.state[p].keys() == entry.keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cls", [Casting, Choosing, Comparing])
def test_a_class_that_loads_itself_resumes_bit_for_bit(cls, dtype):
    model, optimizer = make(cls, {"lr": 0.05}, dtype)
    attach(optimizer, grokfast_ema(alpha=0.8))
    run(model, optimizer, range(HALF))
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    whole = run(model, optimizer, range(HALF, WHOLE))
    twin, other = make(cls, {"lr": 0.05}, dtype)
    handle = attach(other, grokfast_ema(alpha=0.8))
    twin.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    assert same(run(twin, other, range(HALF, WHOLE)), whole)
    assert set(handle.state.step.values()) == {WHOLE}
    handle.detach()
    assert "load_state_dict" not in vars(other)


@pytest.mark.parametrize("cls", [Casting, Choosing, Comparing])
def test_a_class_that_loads_itself_resumes_with_its_amplifier(cls):
    model, optimizer = make(cls, {"lr": 0.05})
    ng = NeuralGrok(model, optimizer, hidden=(4,), every=1, lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        loss(model, step).backward()
        ng.outer_step(outer_loss=lambda: loss(model, 99))
        optimizer.step()
    twin, other = make(cls, {"lr": 0.05})
    resumed = NeuralGrok(twin, other, hidden=(4,), every=1, lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    found, expected = resumed.amplifier.named(), ng.amplifier.named()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert resumed.handle.state.updates == 2


class SavingItself(torch.optim.SGD):
    def state_dict(self):
        return {"state": {}, "param_groups": []}


def test_a_class_that_saves_itself_is_refused_if_there_is_anything_to_save():
    model = network()
    optimizer = SavingItself(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"SavingItself has a state_dict\(\) of its own, .* super\(\)\.state_dict\(\)"):
        attach(optimizer, grokfast_ema())
    attach(optimizer, grad_norm()).detach()
    attach(Counted(model.parameters(), lr=0.1), grokfast_ema())


class Counted(torch.optim.SGD):
    """Adds something to what PyTorch saves."""

    def state_dict(self):
        return {**super().state_dict(), "more": 1}


class Uninitialized(torch.optim.Optimizer):
    def __init__(self, params):
        self.param_groups, self.state = [{"params": list(params)}], {}


def test_an_optimizer_without_pytorch_s_hooks_is_refused():
    with pytest.raises(InputError, match=r"Uninitialized did not call torch\.optim\.Optimizer\.__init__\(\)"):
        attach(Uninitialized(network().parameters()), grokfast_ema())


def trained(transform):
    p = nn.Parameter(torch.linspace(-1.0, 1.0, 3))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, transform)
    step(p, optimizer, 10.0)
    return p, optimizer


def step(p, optimizer, gradient=1.0):
    p.grad = torch.zeros_like(p) + gradient
    optimizer.step()
    return p.grad


def ema():
    return grokfast_ema(alpha=0.9, lamb=1.0)


GARBAGE = ["abc", None, [1.0, 2.0, 3.0], {}]
NO_COUNTS = [torch.tensor([0.5] * 3), torch.tensor([torch.nan] * 3), torch.tensor([torch.inf] * 3), True]


@pytest.mark.parametrize("how", ["in the state", "attach-load", "load-attach"])
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *(("grokkit/slow", value, "'slow' should be a float32 tensor of shape") for value in GARBAGE),
        *(("grokkit/step", value, "'step' should be a whole number") for value in [*GARBAGE, *NO_COUNTS]),
    ],
)
def test_what_is_no_state_is_refused_in_one_line(key, value, message, how):
    p, optimizer = trained(ema())
    if how == "in the state":
        optimizer.state[p][key] = value
    else:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["state"][0][key] = value
        attached(optimizer).detach()
        if how == "attach-load":
            attach(optimizer, ema())
        optimizer.load_state_dict(saved)
        if how == "load-attach":
            attach(optimizer, ema())
    with pytest.raises(InputError, match=message) as caught:
        step(p, optimizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", [5, "abc", [1]])
def test_an_entry_that_is_no_dict_is_refused(entry):
    p, optimizer = trained(ema())
    optimizer.state[p] = entry
    with pytest.raises(InputError, match="optimizer.state of group 0 parameter 0 should be a dict, got"):
        step(p, optimizer)


def test_a_complex_average_of_real_gradients_is_refused():
    p, optimizer = trained(ema())
    optimizer.state[p]["grokkit/slow"] = torch.zeros(3) + 1j
    with pytest.raises(InputError, match="'slow' should be a float32 tensor of shape .*, but is a complex64 tensor"):
        step(p, optimizer)


def test_a_checkpoint_with_more_than_the_transform_keeps_is_refused():
    p, optimizer = trained(ema())
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0]["grokkit/other"] = torch.zeros(3)
    optimizer.load_state_dict(saved)
    with pytest.raises(InputError, match="holds .*grokkit/other"):
        step(p, optimizer)


BYTES = {
    "cut": lambda leaf: leaf[..., :5],
    "fractions": lambda leaf: leaf.float() + 0.5,
    "too large": lambda leaf: leaf.float() + 1000,
    "a number": lambda leaf: torch.tensor(3.0),
    "other sizes": lambda leaf: leaf[:2],
    "nothing": lambda leaf: None,
    "text": lambda leaf: "abc",
}


@pytest.mark.parametrize("first", [True, False], ids=["attach-load", "load-attach"])
@pytest.mark.parametrize("change", BYTES)
def test_bytes_that_are_none_are_refused(change, first):
    p, optimizer = trained(neuralgrok(hidden=(4,)))
    saved = copy.deepcopy(optimizer.state_dict())
    key = "grokkit:amplifier/weights/0"
    saved["state"][0][key] = BYTES[change](saved["state"][0][key])
    attached(optimizer).detach()

    def resume():
        if first:
            attach(optimizer, neuralgrok(hidden=(4,)))
        optimizer.load_state_dict(saved)
        if not first:
            attach(optimizer, neuralgrok(hidden=(4,)))
        step(p, optimizer)

    with pytest.raises(InputError, match="the saved '(grokkit:)?amplifier/weights/0'"):
        resume()


@pytest.mark.parametrize("value", [5, "abc", [1], {"grokkit/step": torch.tensor(3)}])
def test_what_is_shared_and_cannot_be_is_refused(value):
    p, optimizer = trained(neuralgrok(hidden=(4,)))
    optimizer.state["grokkit"] = value
    with pytest.raises(InputError, match=r"should be a dict, got|holds \['grokkit/step'\], but this transform keeps"):
        step(p, optimizer)


@pytest.mark.parametrize("other", [ema, lambda: neuralgrok(hidden=(4, 4)), grad_norm])
def test_the_amplifier_of_another_transform_is_refused(other):
    p, optimizer = trained(neuralgrok(hidden=(4,)))
    saved = optimizer.state_dict()
    attached(optimizer).detach()
    attach(optimizer, other())
    optimizer.load_state_dict(saved)
    with pytest.raises(
        InputError, match="saved state of all parameters holds .*amplifier.*attach the transform it was"
    ):
        step(p, optimizer)


def first_version(saved):
    """As grokkit 0.1.0 saved it: counts as integers, and the window with its own dimension first."""
    for entry in saved["state"].values():
        for key, leaf in entry.items():
            if key.endswith("/step"):
                entry[key] = int(leaf)
    return saved


@pytest.mark.parametrize("first", [True, False], ids=["attach-load", "load-attach"])
def test_checkpoints_of_the_first_version_are_read(first):
    p, optimizer = trained(ema())
    saved = first_version(copy.deepcopy(optimizer.state_dict()))
    expected = step(p, optimizer)
    q = nn.Parameter(torch.zeros(3))
    other = torch.optim.SGD([q], lr=0.1)
    if first:
        attach(other, ema())
    other.load_state_dict(saved)
    if not first:
        attach(other, ema())
    assert torch.equal(step(q, other), expected)


def test_a_count_that_half_precision_has_rounded_is_refused():
    p = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([p], lr=0.1)
    attach(optimizer, grokfast_ma(window_size=1))
    for count, message in ((255, None), (301, "'step' is torch.bfloat16 here, but this transform keeps")):
        step(p, optimizer)
        optimizer.state[p]["grokkit/step"] = torch.full((3,), count, dtype=torch.bfloat16)
        optimizer.state[p]["grokkit/total"] = torch.zeros(3)
        if message is None:
            step(p, optimizer)
            assert optimizer.state[p]["grokkit/step"].tolist() == [256] * 3
        else:
            with pytest.raises(InputError, match=message):
                step(p, optimizer)


def _masked_by_name(prefix):
    model = nn.Linear(3, 3)
    names = [(prefix + name, p) for name, p in model.named_parameters()]
    optimizer = torch.optim.SGD(names, lr=0.1)
    attach(optimizer, masked(grokfast_ema(alpha=0.5, lamb=2.0), lambda name, _p: name == prefix + "weight"))
    return model, optimizer


def test_parameters_keep_their_names_whatever_a_checkpoint_calls_them():
    """A compiled model's are called otherwise, and the optimizer loads by position."""
    (saved_model, saved), (model, optimizer) = _masked_by_name("_orig_mod."), _masked_by_name("")
    saved_model(torch.ones(2, 3)).sum().backward()
    saved.step()
    optimizer.load_state_dict(saved.state_dict())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    model(torch.ones(2, 3)).sum().backward()
    raw = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    for p, gradient, factor in zip(model.parameters(), raw, (3, 1), strict=True):
        torch.testing.assert_close(p.grad, gradient * factor)  # the average of equal gradients is that gradient


class Compiled(nn.Module):
    """Calls its parameters as a compiled module does."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, x):
        return self._orig_mod(x)


def test_the_recipe_goes_on_from_a_compiled_model_s_checkpoint():
    def made(is_compiled):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        if is_compiled:
            model[2] = Compiled(model[2])
        return model, recipe(model).optimizer

    (saved_model, saved), (model, optimizer), (twin, straight) = made(True), made(False), made(False)
    for own, one in ((saved_model, saved), (twin, straight)):
        own(torch.ones(5, 8)).square().mean().backward()
        one.step()
        one.zero_grad()
    model.load_state_dict(twin.state_dict())
    optimizer.load_state_dict(saved.state_dict())
    for own, one in ((model, optimizer), (twin, straight)):
        own(torch.ones(5, 8)).square().mean().backward()
        one.step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))
