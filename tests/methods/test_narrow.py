"""What is reduced over a tensor of half precision is in float32: 8 bits hold no norm, and float16 ends early."""

import pytest
import torch

from grokkit import attach, cautious_decay, egd_columns, hyperball, masked, norm_clamp, norm_held, orthograd, row_clip

HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
def test_rows_whose_squares_leave_float16_keep_their_promised_norms(dtype):
    large = torch.full((2, 600), 3000.0, dtype=dtype)
    turned = egd_columns(0.01).update({"w": large}, (), {})[0]["w"]
    clip = row_clip(2.0)
    clipped = clip.update({"w": large}, clip.init({}))[0]["w"]
    for found, norm in ((turned, 1.0), (clipped, 2.0)):
        assert found.dtype is dtype
        torch.testing.assert_close(found.float().norm(dim=1), torch.full((2,), norm), rtol=0.01, atol=0)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("make", [norm_held, norm_clamp, lambda: hyperball(rate=0.1)])
def test_a_norm_beyond_float16_is_held(make, dtype):
    start = torch.full((300, 600), 200.0, dtype=dtype)
    assert start.float().norm() > 65504
    held = make()
    state = held.init({"w": start})
    moved = held.update({"w": start * 0.75 + 1}, state)[0]["w"]
    assert moved.dtype is dtype
    assert float(moved.float().norm() / start.float().norm()) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("make", [norm_held, norm_clamp])
def test_the_norm_of_bfloat16_weights_is_that_of_the_start_and_not_of_eight_bits(make):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64, bias=False) for _ in range(3))).bfloat16()

    def size():
        hidden = [model[1].weight] if make is norm_held else list(model.parameters())
        return float(torch.cat([p.detach().float().flatten() for p in hidden]).norm())

    optimizer, start = torch.optim.SGD(model.parameters(), lr=0.01), size()
    attach(optimizer, masked(make(), lambda _, p: p is model[1].weight) if make is norm_held else make())
    for _ in range(200):
        optimizer.zero_grad()
        (model(torch.randn(16, 64, dtype=torch.bfloat16)).square().mean() - 1).square().backward()
        optimizer.step()
    assert size() / start == pytest.approx(1.0, abs=5e-4)


def test_orthograd_keeps_the_norm_of_gradients_whose_squares_leave_float32():
    weights = {"w": torch.randn(8, 8, generator=torch.Generator().manual_seed(0))}
    for size in (1e-24, 1e25):
        g = size * torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
        t = orthograd()
        turned = t.update({"w": g}, t.init(weights), weights)[0]["w"]
        assert float(turned.double().norm() / g.double().norm()) == pytest.approx(1.0, rel=1e-5)
        along = (turned.double() * weights["w"].double()).sum() / turned.double().norm() / weights["w"].norm()
        assert abs(float(along)) < 1e-5


@pytest.mark.parametrize(("dtype", "weight", "step"), [(torch.float16, 2e-3, 1e-5), (torch.float32, 1e-25, 1e-27)])
def test_cautious_decay_sees_a_step_towards_zero_whose_product_is_too_small(dtype, weight, step):
    decay = cautious_decay(rate=0.5)
    before = torch.tensor([weight], dtype=dtype)
    after = before - step
    assert after < before
    decayed = decay.update({"w": after}, decay.init({"w": before}))[0]["w"]
    assert float(decayed) == pytest.approx(0.5 * float(after), rel=1e-2)
