"""What a network of somebody's own costs: its products counted by hand, whatever kernel PyTorch would take for them."""

from dataclasses import replace

import pytest
import torch
from spirals import problem
from torch import nn
from torch.nn import functional

from grokkit.errors import InputError
from grokkit.flop_counter import counted_flops
from grokkit.train.measured import counted, has_flops

B, T, D, H, HEADS, INNER = 8, 6, 16, 32, 4, 24


class Attention(nn.Module):
    """Heads by PyTorch's function, between a product in and a product out."""

    def __init__(self, *, causal):
        super().__init__()
        self.inside, self.out, self.causal = nn.Linear(D, 3 * D), nn.Linear(D, D), causal

    def forward(self, x_BTD):
        q, k, v = self.inside(x_BTD).view(B, T, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(B, T, D))


class Itself(nn.Module):
    """MultiheadAttention of a sequence to itself, without the weights, which takes the fused kernel."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(D, HEADS, batch_first=True)

    def forward(self, x_BTD):
        return self.attention(x_BTD, x_BTD, x_BTD, need_weights=False)[0]


class Frozen(nn.Module):
    """An encoder that is kept as it is, in eval mode, and a head that is trained."""

    def __init__(self):
        super().__init__()
        self.encoder = encoder(0.1).requires_grad_(False)
        self.head = nn.Linear(D, 1)

    def train(self, mode=True):
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x_BTD):
        return self.head(self.encoder(x_BTD))


def encoder(dropout):
    return nn.TransformerEncoderLayer(D, HEADS, INNER, dropout=dropout, batch_first=True)


def recurrent(gates, inputs=D):
    """Forward, and backward: the same again for the weights, and for the hidden state at all steps but the first.
    (The inputs need no gradient.)"""
    forward = 2 * B * T * gates * H * (inputs + H)
    return forward, forward + 2 * B * (T - 1) * gates * H * H


SCORES = 2 * (2 * B * T * T * D)  # q·k and weights·v, of all heads together
PROJECTIONS = 2 * B * T * D * 3 * D, 2 * B * T * D * D
FEED_FORWARD = 2 * (2 * B * T * D * INNER)
# Backward each product is taken twice; the first one once, because the inputs need no gradient.
ATTENTION = SCORES + sum(PROJECTIONS), 2 * SCORES + PROJECTIONS[0] + 2 * PROJECTIONS[1]
ENCODER = ATTENTION[0] + FEED_FORWARD, ATTENTION[1] + 2 * FEED_FORWARD
HEAD = 2 * B * T * D

NETWORKS = {
    "LSTM": (lambda: nn.LSTM(D, H, batch_first=True), recurrent(4)),
    "GRU": (lambda: nn.GRU(D, H, batch_first=True), recurrent(3)),
    "RNN": (lambda: nn.RNN(D, H, batch_first=True), recurrent(1)),
    "attention": (lambda: Attention(causal=False), ATTENTION),
    "causal attention": (lambda: Attention(causal=True), ATTENTION),
    "MultiheadAttention": (Itself, ATTENTION),
    "encoder layer": (lambda: encoder(0.0), ENCODER),
    "encoder layer with dropout": (lambda: encoder(0.1), ENCODER),
    "frozen encoder layer": (Frozen, (ENCODER[0] + HEAD, HEAD)),
    "linear": (lambda: nn.Linear(D, H), (2 * B * T * D * H, 2 * B * T * D * H)),
    "convolution": (lambda: nn.Conv1d(T, 5, 3), (2 * B * T * 5 * 3 * (D - 2), 2 * B * T * 5 * 3 * (D - 2))),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("network", NETWORKS)
def test_products_are_counted_whatever_kernel_pytorch_would_take(network, dtype):
    make, expected = NETWORKS[network]
    model = make().to(dtype).train()
    x_BTD = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0)).to(dtype)
    with counted_flops() as step:
        with counted_flops() as forward:
            found = model(x_BTD)
        outputs = found[0] if isinstance(found, tuple) else found
        outputs.float().square().sum().backward()
    assert (forward.get_total_flops(), step.get_total_flops() - forward.get_total_flops()) == expected


def test_pytorch_s_settings_are_as_they_were_afterwards():
    def settings():
        attention = torch.backends.cuda
        return (
            torch.backends.mkldnn.enabled,
            torch.backends.mha.get_fastpath_enabled(),
            attention.flash_sdp_enabled(),
            attention.mem_efficient_sdp_enabled(),
            attention.math_sdp_enabled(),
        )

    before = settings()
    with counted_flops():
        assert settings() != before
    assert settings() == before
    with pytest.raises(RuntimeError, match="planted"), counted_flops():
        raise RuntimeError("planted")
    assert settings() == before


class Entrywise(nn.Module):
    """A network without a product of matrices."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))

    def forward(self, points):
        return (points[:, None, :] * self.weight).sum(-1)


class Broken(nn.Module):
    def forward(self, points):
        raise RuntimeError("planted")


def telling(**formulas):
    """A network with formulas of its own."""
    model = nn.Linear(2, 2)
    for name, formula in formulas.items():
        setattr(model, name, formula)
    return model


def test_a_network_is_charged_what_it_says_and_measured_if_it_does_not_say_all():
    task, rows = problem().task(0), torch.arange(40)
    one = telling(forward_flops=lambda batch, tokens: batch, step_flops=lambda batch, tokens: 3 * batch)
    told, found = counted(one, task, rows), counted(telling(step_flops=lambda batch, tokens: 3 * batch), task, rows)
    assert (told.forward_flops(5, 2), told.step_flops(5, 2)) == (5, 15)
    assert (found.forward_flops(5, 2), found.step_flops(5, 2)) == (5 * 8, 5 * 16)


@pytest.mark.parametrize(("cost", "shown"), [(lambda batch: 2.5 * batch, r"100\.0"), (lambda batch: -1, "-1")])
def test_what_is_no_cost_is_refused_before_the_first_step(cost, shown):
    one = telling(forward_flops=lambda batch, tokens: 1, step_flops=lambda batch, tokens: cost(batch))
    for ask in (counted, has_flops):
        with pytest.raises(InputError, match=f"the step_flops of the network are {shown}; they must be a whole"):
            ask(one, problem().task(0), torch.arange(40))


@pytest.mark.parametrize(("network", "expected"), [(Entrywise, False), (lambda: nn.Linear(2, 2), True), (Broken, True)])
def test_a_network_without_a_product_is_known_before_anything_runs(network, expected):
    """One that fails is not: its runs say what fails."""
    task = replace(problem(), model=network).task(0)
    model = network()
    assert has_flops(model, task, torch.arange(40)) is expected
