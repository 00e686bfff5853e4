"""What NeuralGrok costs: the amplifier alone, and a training step with it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grokkit.bench.measure import Duel, timed
from grokkit.bench.plain_forms import PlainAmplifier, PlainNeuralGrok, cross_entropy
from grokkit.bench.settings import GROKFAST
from grokkit.bench.steps import OurStep, plain_decoder_step, random_batches
from grokkit.methods.neuralgrok.amplifier import Amplifier
from grokkit.methods.neuralgrok.curve import evaluate_, tabulate
from grokkit.rng import stream
from grokkit.train.config import RunConfig
from grokkit.train.resolve import method_config
from grokkit.train.setup import build_problem

_ENTRIES = 420_000
_STEPS = 8  # a round: two of them with an outer step


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
