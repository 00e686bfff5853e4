"""One training step: forward, loss, zero_grad, backward, optimizer step. Both sides see the same batches.

A batch of the decoder is another random one at every step, since what ours saves depends on the rows in it. Beside
it, the evaluation of the held-out half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor

from grokkit.bench.plain import loop
from grokkit.bench.plain.decoder import PlainDecoder
from grokkit.bench.plain.fnn import PlainFnn
from grokkit.bench.row import row
from grokkit.bench.settings import FNN, GROKFAST, OPERANDS_5, WEAK_FNN
from grokkit.bench.timing import Duel, timed
from grokkit.models.matmul import Precision, precision
from grokkit.rng import stream
from grokkit.tasks import Task
from grokkit.train.config import RunConfig
from grokkit.train.denormals import denormals_are_zero
from grokkit.train.loop import begin_alone
from grokkit.train.problem import build_problem
from grokkit.train.setup import build_model, build_task

_BATCHES = 64  # then they come again
_DECAYED = 1e-38  # of initial weights, so that none is above 1.2e-38 any more


class OurStep:
    """A step as the lab takes it: the engine of a run alone, on these batches in turn."""

    def __init__(self, config: RunConfig, batches: Iterable[Tensor]) -> None:
        self.engine = begin_alone(config)
        self.model, self.optimizer = self.engine.model, self.engine.optimizer
        self.task = self.engine.members[0].problem.task
        self._precision: Precision = config.precision
        self._batches = cycle(batches)

    def __call__(self) -> None:
        with precision(self._precision), denormals_are_zero():
            self.engine.take_step(next(self._batches))


class PlainStep:
    """A step as one writes it, with PyTorch's default kernels; ``logits`` gives the answers of these rows.

    ``before_step(rows)`` may be set: what comes between ``backward()`` and ``step()``.
    """

    def __init__(
        self,
        config: RunConfig,
        batches: Iterable[Tensor],
        model: torch.nn.Module,
        logits: Callable[[Tensor], Tensor],
        targets_N: Tensor,
    ) -> None:
        settings = config.method.ours
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        betas = settings.beta1, settings.beta2
        self.logits = logits
        self.optimizer = kind(model.parameters(), settings.lr, betas=betas, weight_decay=settings.wd)
        self.model, self.before_step = model, lambda rows: None
        self._batches, self._targets_N = cycle(batches), targets_N

    def __call__(self) -> None:
        rows = next(self._batches)
        loss = F.cross_entropy(self.logits(rows), self._targets_N[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.before_step(rows)
        self.optimizer.step()


def plain_decoder_step(config: RunConfig, batches: Iterable[Tensor], device: str = "cpu") -> PlainStep:
    task = build_task(config.task)
    model, columns_TN = plain_decoder(config, task).to(device), task.inputs_NT.T.contiguous().to(device)
    there = [rows.to(device) for rows in batches]
    return PlainStep(config, there, model, lambda rows: model(columns_TN[:, rows])[-1], task.targets_N.to(device))


def plain_fnn_step(config: RunConfig, batches: Iterable[Tensor]) -> PlainStep:
    task = build_task(config.task)
    model, inputs_NT = plain_fnn(config, task), task.inputs_NT
    return PlainStep(config, batches, model, lambda rows: model(inputs_NT[rows]), task.targets_N)


def random_batches(config: RunConfig) -> list[Tensor]:
    """Batches of exactly the batch size, each drawn afresh from all training rows; or the one full batch."""
    rows = build_problem(config).split.train
    if config.batch_size is None:
        return [rows]
    generator = stream(config.seed, "batches")
    return [rows[torch.randperm(len(rows), generator=generator)[: config.batch_size]] for _ in range(_BATCHES)]


def plain_decoder(config: RunConfig, task: Task) -> torch.nn.Module:
    """The plain decoder with the initial weights of the lab's."""
    shape = {name: config.model.settings[name] for name in ("depth", "width", "heads")}
    model = PlainDecoder(task.vocabulary, task.inputs_NT.shape[1] + 1, **shape)
    model.load_state_dict(build_model(config.model, task, config.seed).state_dict())
    return model


def plain_fnn(config: RunConfig, task: Task) -> torch.nn.Module:
    """The plain feed-forward network with the initial weights of the lab's."""
    shape = {name: config.model.settings[name] for name in ("depth", "dim", "width")}
    model = PlainFnn(task.vocabulary, task.inputs_NT.shape[1], task.classes, **shape)
    model.load_state_dict(build_model(config.model, task, config.seed).state_dict())
    return model


def decoder_step(config: RunConfig, times: int) -> Duel:
    """A decoder's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(plain_decoder_step(config, batches), times), timed(OurStep(config, batches), times))


def fnn_step(config: RunConfig, times: int) -> Duel:
    """A feed-forward network's step, ``times`` of them a round."""
    batches = random_batches(config)
    return Duel(timed(plain_fnn_step(config, batches), times), timed(OurStep(config, batches), times))


def decayed_step(config: RunConfig) -> Duel:
    """A decoder's step where large decay has taken the weights below the least number that is no denormal one."""
    batches = random_batches(config)
    plain, ours = plain_decoder_step(config, batches), OurStep(config, batches)
    for side in (plain, ours):
        with torch.no_grad():
            for p in side.model.parameters():
                p.mul_(_DECAYED)
        for group in side.optimizer.param_groups:
            group["lr"] = 0.0  # they stay there
    return Duel(timed(plain), timed(ours), warmup=1)


def decoder_evaluation(config: RunConfig) -> Duel:
    """Loss and accuracy of every held-out row.

    Plain: under ``no_grad``, 512 rows at a time. Ours: in inference mode, in the lab's chunks.
    """
    problem = build_problem(config)
    task, rows = problem.task, problem.split.test
    theirs, ours = plain_decoder(config, task), begin_alone(config)
    columns_TN = task.inputs_NT.T.contiguous()

    def plain() -> None:
        loop.evaluate(theirs, columns_TN, task.targets_N, rows, batch_size=512)

    return Duel(timed(plain), timed(partial(ours.score, [0], "test")))


_FULL = GROKFAST.model_copy(update={"batch_size": None})
_BF16 = _FULL.model_copy(update={"precision": "bf16"})

row(
    "decoder-step-b512",
    "a training step of Grokfast's decoder, batch 512",
    lambda: decoder_step(GROKFAST, times=4),
    target=0.25,
    rounds=20,
    seconds=6,
)
row(
    "decoder-step-full",
    "the same with all training rows as the batch",
    lambda: decoder_step(_FULL, times=1),
    target=0.18,
    rounds=15,
    seconds=12,
)
row(
    "decoder-step-full-bf16",
    "the same with ours in bf16, an option: not the same function",
    lambda: decoder_step(_BF16, times=1),
    target=0.15,
    rounds=15,
    seconds=12,
)
row(
    "decayed-step",
    "a training step of it, batch 512, where large decay has taken the weights to nothing",
    lambda: decayed_step(GROKFAST),
    threads=1,  # as a run has; the other threads of a process treat such numbers as before
    rounds=20,
    seconds=12,
)
row(
    "decoder-eval",
    "evaluating the held-out half with it",
    lambda: decoder_evaluation(GROKFAST),
    target=0.2,
    rounds=20,
    seconds=5,
)
row(
    "fnn-step",
    "a full-batch training step of GrokTransfer's 3-layer FNN",
    lambda: fnn_step(FNN, times=3),
    target=0.6,
    rounds=20,
    seconds=7,
)
row(
    "weak-fnn-step",
    "a full-batch training step of GrokTransfer's weak FNN",
    lambda: fnn_step(WEAK_FNN, times=50),
    target=0.35,
    rounds=20,
    seconds=3,
)
row(
    "operands-5",
    "a training step of four layers on a*c + b*d - e mod 7, batch 512",
    lambda: decoder_step(OPERANDS_5, times=1),
    target=0.5,
    rounds=15,
    seconds=7,
)
