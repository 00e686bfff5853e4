"""What a transform adds to the optimizer's step of a large model, and to a pass over its gradients."""

from __future__ import annotations

import torch

from grokkit.attach import attach
from grokkit.bench.measure import Duel, Side, timed
from grokkit.bench.overhead import copies
from grokkit.rng import stream
from grokkit.transform import GradientTransform

PARAMETERS = 100_000_000
_LAYERS = 12  # so many equal parts, each two matrices and two vectors, as a Transformer's layers are


def step_overhead(transform: GradientTransform, device: str = "cpu", parameters: int | None = None) -> Duel:
    """``AdamW(fused=True).step()`` alone and one read and write of the gradients; with the transform attached.

    The plain side's time is that of both: g ← 1·g in place is the least that any filter has to move. One with an
    average of its own has to read and write that, too. The note tells how much of plain the pass over the gradients
    is, and how many times the parameters the kept state is.
    """
    bare, filtered = (_optimizer(device, parameters or PARAMETERS) for _ in range(2))
    attach(filtered, transform)
    for optimizer in (bare, filtered):
        for _ in range(3):
            optimizer.step()
    grads = [p.grad for group in bare.param_groups for p in group["params"]]

    def plain() -> None:
        torch._foreach_mul_(grads, 1.0)
        bare.step()
        _wait(device)

    def ours() -> None:
        filtered.step()
        _wait(device)

    def floor() -> None:
        torch._foreach_mul_(grads, 1.0)
        _wait(device)

    kept = copies(filtered)
    return Duel(
        timed(plain), timed(ours), note=lambda: f"{_share(timed(floor), timed(plain))}; keeps {kept:.2f} copies"
    )


def _optimizer(device: str, parameters: int) -> torch.optim.Optimizer:
    width = int((parameters / _LAYERS / 2) ** 0.5)
    shapes = [shape for _ in range(_LAYERS) for shape in ((width, width), (width,)) * 2]
    params = [torch.nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
    for number, p in enumerate(params):
        p.grad = torch.randn(p.shape, generator=stream(number, "gradient")).to(device)
    return torch.optim.AdamW(params, lr=1e-4, fused=True)


def _share(floor: Side, plain: Side, rounds: int = 5) -> str:
    """How much of the plain side is the read and write of the gradients: the least of some rounds of each."""
    least = [min(side(number) for number in range(rounds)) for side in (floor, plain)]
    return f"a read and write of the gradients is {least[0] / least[1]:.2f} of plain"


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
