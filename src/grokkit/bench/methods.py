"""What a method adds to a training step, and what the same takes when written plainly.

In our own training, Grokfast's decoder on a·b mod 97, and in the optimizer's step of a model of 100 million parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from grokkit.attach import attach
from grokkit.bench.plain.filters import PlainEma, PlainMa
from grokkit.bench.plain.neuralgrok import PlainAmplifier, PlainNeuralGrok, cross_entropy
from grokkit.bench.row import ON_GPU, row
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import OurStep, plain_decoder_step, random_batches
from grokkit.bench.timing import Duel, Side, timed
from grokkit.methods.gradnorm import grad_norm
from grokkit.methods.grokfast import grokfast_ema, grokfast_ma
from grokkit.methods.neuralgrok import neuralgrok
from grokkit.methods.neuralgrok.amplifier import Amplifier
from grokkit.methods.neuralgrok.curve import evaluate_, tabulate
from grokkit.rng import stream
from grokkit.train.config import RunConfig
from grokkit.train.problem import build_problem
from grokkit.train.resolve import method_config
from grokkit.transform import GradientTransform

_STEPS = 8  # a round; NeuralGrok takes an outer step at two of them
_FILL = 100  # steps until the window of the moving average is full
_ENTRIES = 420_000  # of the gradient that the amplifier is timed on, about as many as the decoder has parameters
_LARGE = 100_000_000  # parameters of the large model
_LARGE_LAYERS = 12  # so many equal parts, each two matrices and two vectors, as a Transformer's layers are


def filter_overhead(transform: GradientTransform) -> Duel:
    """Our step without the filter, and with it: the ratio is what it costs, the note what it keeps."""
    batches = random_batches(GROKFAST)
    bare, filtered = OurStep(GROKFAST, batches), _attached(transform)
    _fill(bare, filtered)
    kept = copies(filtered.optimizer)
    return Duel(timed(bare, _STEPS), timed(filtered, _STEPS), note=lambda: f"keeps {kept:.2f} copies of the weights")


def filter_forms(plain: Callable[[torch.nn.Module], Callable[[], None]], transform: GradientTransform) -> Duel:
    """Our step with the plainly written filter, and with ours."""
    theirs, ours = OurStep(GROKFAST, random_batches(GROKFAST)), _attached(transform)
    gradient_filter = plain(theirs.model)
    theirs.optimizer.register_step_pre_hook(lambda *_: gradient_filter())
    _fill(theirs, ours)
    return Duel(timed(theirs, _STEPS), timed(ours, _STEPS))


def _attached(transform: GradientTransform) -> OurStep:
    step = OurStep(GROKFAST, random_batches(GROKFAST))
    attach(step.optimizer, transform)
    return step


def _fill(*steps: OurStep) -> None:
    for _ in range(_FILL):
        for step in steps:
            step()


def copies(optimizer: torch.optim.Optimizer) -> float:
    """Bytes of the filter's state over bytes of the parameters."""
    kept = sum(
        value.nbytes
        for entry in optimizer.state.values()
        for key, value in entry.items()
        if key.startswith("grokkit") and torch.is_tensor(value)
    )
    return kept / sum(p.nbytes for group in optimizer.param_groups for p in group["params"])


# A hundred rounds: the filters take a few per cent, under a noise of ten.
row(
    "grokfast-ema-overhead",
    "our decoder's step without and with the EMA filter",
    lambda: filter_overhead(grokfast_ema()),
    target=1.03,
    rounds=100,
    seconds=42,
)
row(
    "grokfast-ma-overhead",
    "our decoder's step without and with the MA filter, w = 100",
    lambda: filter_overhead(grokfast_ma(window_size=100)),
    target=1.08,
    rounds=100,
    seconds=42,
)
row(
    "grokfast-ema-form",
    "our decoder's step with the EMA filter, plainly written and ours",
    lambda: filter_forms(PlainEma, grokfast_ema()),
    rounds=15,
    seconds=11,
)
row(
    "grokfast-ma-form",
    "our decoder's step with the MA filter, a deque summed each step and ours",
    lambda: filter_forms(PlainMa, grokfast_ma(window_size=100)),
    rounds=15,
    seconds=13,
)


def amplifier_forward() -> Duel:
    """The amplifier's value at every entry of a gradient, by the network and by its pieces, found anew each time."""
    gradient = 1e-3 * torch.randn(_ENTRIES, generator=stream(0, "gradient"))
    network = PlainAmplifier((512, 512)).network
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    amplifier = Amplifier(
        tuple(layer.weight.detach().double() for layer in linear),
        tuple(layer.bias.detach().double() for layer in linear),
    )

    def dense() -> torch.Tensor:
        with torch.no_grad():
            return network(gradient.unsqueeze(1))

    def ours() -> torch.Tensor:
        values = gradient.clone()
        low, high = values.aminmax()
        evaluate_(tabulate(amplifier, low.double(), high.double()), values)
        return values

    theirs, mine = dense().squeeze(1).double(), ours().double()
    error = float(((mine - mine[0]) - (theirs - theirs[0])).abs().max())  # but for a constant, which cancels
    return Duel(timed(dense), timed(ours, 10), note=lambda: f"equal to {error:.0e}")


def neuralgrok_overhead(method: str) -> Duel:
    """Our decoder's step under the paper's Adam, without and with the method."""
    bare, amplified = _step("adam-l2"), _step(method)
    return Duel(timed(bare, _STEPS), timed(amplified, _STEPS))


def neuralgrok_forms() -> Duel:
    """A whole step of NeuralGrok, T = 4, written plainly and ours."""
    config = _config("neuralgrok")
    batches, problem = random_batches(config), build_problem(config)
    theirs = plain_decoder_step(config, batches)
    loss = cross_entropy(problem.task.inputs_NT.T.contiguous(), problem.task.targets_N)
    method = PlainNeuralGrok(theirs.model, loss, problem.outer)
    theirs.before_step = method
    return Duel(timed(theirs, 4), timed(OurStep(config, batches), _STEPS), warmup=1)


def _step(method: str) -> Callable[[], None]:
    config = _config(method)
    return OurStep(config, random_batches(config))


def _config(method: str) -> RunConfig:
    return GROKFAST.model_copy(update={"method": method_config(method)})


def muon_step() -> Duel:
    """Our decoder's step under AdamW, and under Muon."""
    return Duel(timed(_step("adamw"), _STEPS), timed(_step("muon"), _STEPS))


row(
    "muon-step",
    "our decoder's step under AdamW and under Muon, five iterations on every hidden matrix",
    muon_step,
    target=1.2,
    rounds=20,
    seconds=10,
)
row(
    "neuralgrok-amplifier",
    "NeuralGrok's amplifier, 1→512→512→1, at 420,000 entries",
    amplifier_forward,
    target=0.02,
    rounds=5,
    seconds=15,
)
row(
    "neuralgrok-inner",
    "our decoder's step without and with NeuralGrok's amplifier",
    lambda: neuralgrok_overhead("neuralgrok-random"),
    target=1.4,
    rounds=40,
    seconds=16,
)
row(
    "neuralgrok-full",
    "the same with an outer step at every fourth",
    lambda: neuralgrok_overhead("neuralgrok"),
    target=1.9,
    rounds=40,
    seconds=18,
)
row(
    "neuralgrok-forms",
    "a step of NeuralGrok, outer steps included, written plainly and ours",
    neuralgrok_forms,
    rounds=4,
    seconds=20,
)


def step_overhead(transform: GradientTransform, device: str = "cpu", parameters: int | None = None) -> Duel:
    """``AdamW(fused=True).step()`` alone and one read and write of the gradients; with the transform attached.

    The plain side's time is that of both: to read and write the gradients once, g ← 1·g, is the least that a filter
    does. A filter that keeps an average reads and writes that as well. The note tells which share of the plain side the
    pass over the gradients takes, and how many times as large as the parameters the kept state is.
    """
    bare, filtered = (_optimizer(device, parameters or _LARGE) for _ in range(2))
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
    width = int((parameters / _LARGE_LAYERS / 2) ** 0.5)
    shapes = [shape for _ in range(_LARGE_LAYERS) for shape in ((width, width), (width,)) * 2]
    params = [torch.nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
    for number, p in enumerate(params):
        p.grad = torch.randn(p.shape, generator=stream(number, "gradient")).to(device)
    return torch.optim.AdamW(params, lr=1e-4, fused=True)


def _share(floor: Side, plain: Side) -> str:
    """How much of the plain side is the read and write of the gradients: the least of five rounds of each."""
    least = [min(side(number) for number in range(5)) for side in (floor, plain)]
    return f"a read and write of the gradients is {least[0] / least[1]:.2f} of plain"


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _large_rows(id: str, transform: Callable[[], GradientTransform], what: str, **more: Any) -> None:
    about = f"AdamW's fused step of 100 million parameters and a pass over the gradients; with {what}"
    row(id, about, lambda: step_overhead(transform(), "cpu"), rounds=15, seconds=30, **more)
    row(f"{id}-gpu", about, lambda: step_overhead(transform(), "cuda"), rounds=15, seconds=30, **more, **ON_GPU)


def _half_ma() -> GradientTransform:
    return grokfast_ma(window_size=10, window_dtype=torch.bfloat16)


_large_rows("overhead-ema", grokfast_ema, "the EMA filter", target=1.28)
_large_rows("overhead-ma", lambda: grokfast_ma(window_size=10), "the MA filter, w = 10")
_large_rows("overhead-ma-bf16", _half_ma, "the MA filter, w = 10, its window in bfloat16")
_large_rows("overhead-grad-norm", grad_norm, "rescaling")
_large_rows("overhead-neuralgrok", neuralgrok, "NeuralGrok's amplifier")
