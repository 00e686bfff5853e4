"""Is a problem of one's own fit to be compared on? ``grokkit check my_problem.py:problem``, and the same from Python.

Every check answers with one line, and says what to do where it fails. A comparison trusts that runs of one seed start
alike and see the same rows, that no test row is trained on, and that the network can learn at all: better to know
before a night of training than after it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from grokkit.errors import InputError, check_dense
from grokkit.flop_counter import counted_flops
from grokkit.models.flops import Told, says_flops
from grokkit.models.sharing import refuse_shared
from grokkit.outside import line_of
from grokkit.randomness import seeded_aside
from grokkit.registry import give
from grokkit.tasks.card import TaskCard
from grokkit.tasks.problem import OwnTask, Problem, feed_digest
from grokkit.tasks.task import Split, split
from grokkit.testing.costs import Cost
from grokkit.testing.runs import check_resuming, small_run
from grokkit.train.config import EvaluationConfig, OptimizerConfig, OwnOptimizerConfig, RunConfig
from grokkit.train.optimizers import as_evaluated, build_optimizer, switch
from grokkit.train.resolve import method_config, model_config
from grokkit.train.resolve_optimizer import check_usual, in_full, optimizer_config
from grokkit.train.setup import build_model

FEW_ROWS = 64
STEPS = 500
FITTED = 0.99
CLEAR = 0.1
"""So many training rows are trained on for so many steps, and fitted if this share is right, or a loss falls to a
tenth. If they are not, the loss must fall by this share of what it was, and so much further than without inputs."""

_TRIES = 5  # steps in which a gradient must reach a parameter: behind a head of zeros it is zero at the first
_RESUMED = 8  # steps of the run that is interrupted in its middle
_COMPARED_ROWS = 5_000  # of each part, whose contents are compared


class Finding(NamedTuple):
    """What a check found: ``line`` is for people, and ends on the remedy where it is not ``ok``."""

    name: str
    ok: bool
    line: str


def check_problem(problem: Problem, seed: int = 0) -> list[Finding]:
    """All findings on ``problem``; see the module's docstring. The global random generators are seeded for it, as they
    are for a run, and put back as they were."""
    with seeded_aside(seed, "check"):
        return _findings(problem, seed)


def _findings(problem: Problem, seed: int) -> list[Finding]:
    try:
        bench = _Bench(problem, seed)
        bench.one_step(bench.model())
    except InputError as error:
        return [Finding("one step", False, str(error))]
    except Exception as error:  # whatever somebody's code raises is the finding
        return [Finding("one step", False, f"a step of training fails: {line_of(error)}; mend that first")]
    checks: dict[str, Callable[[_Bench], str]] = {
        "optimizer": _optimizer,
        "finite": _finite,
        "mean": _mean,
        "deterministic": _deterministic,
        "score": _score,
        "parts": _parts,
        "gradients": _gradients,
        "resume": _resumes,
        "learns": _learns,
        "costs": _costs,
    }
    found = []
    for name, check in checks.items():
        try:
            found.append(Finding(name, True, check(bench)))
        except InputError as error:
            found.append(Finding(name, False, str(error)))
        except Exception as error:  # as above: a score, or the rows of another part, may be the first to fail
            found.append(Finding(name, False, f"{_DOES[name]} fails: {line_of(error)}; mend that first"))
    return found


_DOES = {
    "optimizer": "making the optimizer",
    "finite": "reading the rows, or the loss of an untrained model,",
    "mean": "the loss of the same rows twice",
    "deterministic": "making data and model anew, or a step,",
    "score": "the score, or forward in eval mode,",
    "parts": "reading the rows",
    "gradients": "a later step of training",
    "resume": "a run that is interrupted and resumed",
    "learns": "training, or evaluating,",
    "costs": "counting a step's floating-point operations",
}
"""What each check does with somebody's code, for the case that this fails."""


class _Bench:
    """The problem on one seed, with what the checks do to it."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.task: OwnTask = problem.task(seed)
        self.parts: Split = self.task.parts or split(self.task, train_fraction=0.5, validation_fraction=0.1, seed=seed)

    def model(self) -> nn.Module:
        return build_model(model_config("own"), self.task, self.seed)

    def batch(self, most: int | None = None) -> tuple[Any, Any]:
        size = self.problem.batch_size or self.task.rows_at_once
        return self.task.batch(self.parts.train[: size if most is None else most])

    def loss(self, model: nn.Module, batch: tuple[Any, Any]) -> Tensor:
        return self.task.loss(self.task.forward(model, batch[0]), batch[1])

    def one_step(self, model: nn.Module) -> dict[str, Tensor]:
        """A step of SGD under the seed's generators; the weights after it."""
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with seeded_aside(self.seed, "check"):
            self.loss(model.train(), self.batch()).backward()
        optimizer.step()
        return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _optimizer(bench: _Bench) -> str:
    if bench.problem.optimizer is None:
        return "methods are compared with the optimizer that their cards name"
    usual = {"optimizer": bench.problem.optimizer}
    check_usual("its optimizer", usual)
    method_config("adamw", "", usual)
    return f"methods are compared with {bench.problem.optimizer}"


def _finite(bench: _Bench) -> str:
    for name in ("train", "validation", "test"):
        for row in getattr(bench.parts, name)[:_COMPARED_ROWS].tolist():
            if not _is_finite(bench.task.source.data[row]):
                where = f"row {row}, of the {name} part,"
                raise InputError(f"{where} holds a number that is not finite; fill such rows, or leave them out")
    with torch.no_grad():
        loss = bench.loss(bench.model(), bench.batch()).item()
    if not math.isfinite(loss):
        raise InputError(f"the loss of an untrained model is {loss}; look for a logarithm of 0 or a division by it")
    return f"rows and the loss of an untrained model are finite{_only_some(bench)}"


@torch.no_grad()
def _mean(bench: _Bench) -> str:
    """A mean over rows is the same of all rows twice, and a sum is twice as much."""
    model, rows = bench.model().eval(), bench.parts.train[:FEW_ROWS]
    once, twice = (bench.loss(model, bench.task.batch(own)).item() for own in (rows, torch.cat([rows, rows])))
    if 0 < abs(once) < math.inf and math.isclose(twice, 2 * once, rel_tol=0.05):
        raise InputError(
            f"the loss of the same rows twice is {twice:.3g}, and of them once {once:.3g}, so it is a sum over rows; "
            'take their mean, reduction="mean", or a batch of fewer rows counts for less'
        )
    return "the loss does not grow with the number of rows"


def _is_finite(item: Any) -> bool:
    """Whether every number of a row is, in tensors, arrays, tuples, lists and mappings."""
    if isinstance(item, Mapping):
        return all(map(_is_finite, item.values()))
    if isinstance(item, tuple | list):
        return all(map(_is_finite, item))
    if isinstance(item, np.ndarray | np.generic) and item.dtype.kind in "fc":
        return bool(np.isfinite(item).all())
    if isinstance(item, Tensor):
        return bool(torch.isfinite(item).all())
    return not isinstance(item, float) or math.isfinite(item)


def _deterministic(bench: _Bench) -> str:
    models = bench.model(), bench.model()
    refuse_shared(*models, "the network of your problem")
    first, second = (model.state_dict() for model in models)
    if different := [name for name in first if not torch.equal(first[name], second[name])]:
        raise InputError(
            f"{different[0]} starts with other values the second time under one seed; draw initial weights from "
            "PyTorch's global generator only, which is seeded for you"
        )
    digests = {_digest_of_part(bench.problem.task(bench.seed), bench.parts.train[:FEW_ROWS]) for _ in range(2)}
    if len(digests) > 1 and not bench.task.draws_at_random():
        raise InputError(
            "the data of one seed are others the second time; draw them from a generator that the seed makes, "
            "torch.Generator().manual_seed(seed)"
        )
    first, second = (bench.one_step(bench.model()) for _ in range(2))
    if different := [name for name in first if not torch.equal(first[name], second[name])]:
        raise InputError(
            f"the same step gives other values of {different[0]} the second time; use PyTorch's, NumPy's or Python's "
            "global generators for what is random, and torch.use_deterministic_algorithms for kernels that are not"
        )
    return "the same seed gives the same data, initial weights and step"


def _score(bench: _Bench) -> str:
    if not bench.task.has_accuracy:
        return _loss_target(bench)
    with torch.no_grad():
        inputs, targets = bench.batch()
        rows = len(bench.parts.train[: bench.problem.batch_size or bench.task.rows_at_once])
        correct = bench.task.correct(bench.task.forward(bench.model().eval(), inputs), targets)
    if len(correct) != rows:
        raise InputError(
            f"score gives {len(correct)} entries for {rows} rows; it must give a bool tensor, one entry a row"
        )
    target = bench.problem.target or RunConfig.model_fields["target"].default
    if (share := _constant(bench)) >= target:
        raise InputError(
            f"one answer for all rows is right on {share:.1%} of the test rows, and the target is {target:.0%}; set a "
            "larger target, or take rows of which no class is that common"
        )
    return "score says of every row whether it is right"


@torch.no_grad()
def _loss_target(bench: _Bench) -> str:
    target, rows = bench.problem.target or 0.0, bench.parts.test[:FEW_ROWS]
    loss = bench.loss(bench.model().eval(), bench.task.batch(rows)).item()
    if loss <= target:
        raise InputError(
            f"the loss of an untrained model is {loss:.3g} on test rows, at the target of {target:.3g} already; set a "
            "smaller target, or add a constant to a loss that may fall below 0"
        )
    return f"there is no score, and so the target is a loss of {target}"


def _constant(bench: _Bench) -> float:
    """On how many of the test rows the commonest class is right; 0 where targets are no classes of one answer each."""
    _, targets = bench.task.batch(bench.parts.test[:_COMPARED_ROWS])
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point() or targets.min() < 0:
        return 0.0
    classes = int(targets.max()) + 1
    always = torch.nn.functional.one_hot(targets.long().mode().values, max(classes, bench.task.classes)).float()
    try:
        return float(bench.task.correct(always.expand(len(targets), -1), targets).double().mean())
    except Exception:  # a score of outputs of another form
        return 0.0


def _parts(bench: _Bench) -> str:
    if bench.task.draws_at_random():
        return "rows are drawn at random each time, so that their contents cannot be compared; parts have other numbers"
    parts = {name: _rows(bench.task, getattr(bench.parts, name)) for name in ("train", "validation", "test")}
    for name in ("validation", "test"):
        if shared := len(parts["train"] & parts[name]):
            raise InputError(
                f"training rows as well: {shared:,} of the {name} rows; drop the doubles, or give Splits that keep "
                "them in one part"
            )
    return f"no row of the validation or the test part is a training row{_only_some(bench)}"


def _only_some(bench: _Bench) -> str:
    """What is to be said where a part has more rows than are looked at."""
    is_more = any(len(getattr(bench.parts, name)) > _COMPARED_ROWS for name in ("train", "validation", "test"))
    return f", as far as {_COMPARED_ROWS:,} rows of each part show" if is_more else ""


def _gradients(bench: _Bench) -> str:
    model = bench.model().train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    waiting = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for _ in range(_TRIES):
        optimizer.zero_grad()
        bench.loss(model, bench.batch()).backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        for name, grad in grads.items():
            if grad is not None:
                check_dense(name, grad)
        waiting -= {name for name, grad in grads.items() if grad is not None and bool(grad.ne(0).any())}
        optimizer.step()
    if waiting:
        names = ", ".join(sorted(waiting)[:3])
        raise InputError(
            f"no gradient reaches {names}{', ...' if len(waiting) > 3 else ''}; use it in forward, or freeze it with "
            "requires_grad_(False)"
        )
    return "gradients reach every parameter"


def _resumes(bench: _Bench) -> str:
    """A run of a few steps, saved in the middle, made anew and gone on with, is what it is in one piece."""
    if notes := bench.task.notes():
        return f"resuming is {notes['resuming']}"
    card = TaskCard(name="checked", build=lambda: bench.problem)  # without the digest of data that others look at
    method, own = method_config("adamw"), bench.problem.optimizer
    config = small_run(
        method if own is None else method.model_copy(update={"optimizer": _own_optimizer(own)}),
        give("tasks", "here:checked", card, code=""),
        "own",
        seed=bench.seed,
        budget=_RESUMED,
        batch_size=bench.problem.batch_size,
        target_loss=None if bench.task.has_accuracy else bench.problem.target,
        evaluation=EvaluationConfig(every=2, train_rows=FEW_ROWS),
    )
    try:
        check_resuming(config, "a run")
    except AssertionError as error:
        raise InputError(
            f"{error}; a checkpoint holds the network's state_dict(), the optimizer's and the global generators: keep "
            "in buffers what the network or the loss counts, and let a row depend on its number and on what is drawn"
        ) from error
    return "a run goes on from a checkpoint bit for bit"


def _learns(bench: _Bench) -> str:
    """The loss of a few rows falls clearly, and further than it does for a network that cannot tell rows apart.

    Not every network fits rows within so few steps at its own learning rate, so that is no fault.
    """
    batch = bench.batch(FEW_ROWS)
    seen = _train(bench, batch)
    if seen.first <= 0 and not bench.task.has_accuracy:
        raise InputError(
            f"the loss of an untrained model is {seen.first:.3g}, and it is learned when it falls to a tenth; add a "
            "constant to a loss that may fall below 0, as a density's negative log likelihood may, and to its target"
        )
    if seen.fitted_at is not None:
        return f"{FEW_ROWS} rows are fitted within {seen.fitted_at} steps"
    fall = (
        f"the loss of {FEW_ROWS} rows falls from {seen.first:.3g} to {seen.best:.3g} within {STEPS} steps of {seen.by}"
    )
    clear = CLEAR * abs(seen.first)
    is_lower = seen.first - seen.best >= clear
    is_no_worse = not bench.task.has_accuracy or seen.right >= max(seen.right_first, 1 / FEW_ROWS)  # by a wrong sign
    if is_lower and is_no_worse and (blind := _blind(bench, batch)) - seen.best >= clear:
        return f"{fall}, and to {blind:.3g} where every row has the inputs of the first"
    got = f", {seen.right:.0%} of them are right" if bench.task.has_accuracy else ""
    than = "no further than without seeing their inputs" if is_no_worse else "fewer than before"
    raise InputError(
        f"{fall}{got}, {than}; look for a scale, a sign or an axis that is wrong "
        "in model, loss or score, a model too small to learn rows by heart, or a learning rate that is too small"
    )


def _blind(bench: _Bench, batch: tuple[Any, Any]) -> float:
    """The least loss of a network that is given the inputs of the first row in the place of each. Where inputs and
    targets come in one batch, of which nothing can be replaced, it is the loss before the first step."""
    inputs, targets = batch
    if targets is inputs:
        return _train(bench, batch, steps=0).first
    rows = bench.parts.train[:1].repeat(len(bench.parts.train[:FEW_ROWS]))
    return _train(bench, (bench.task.batch(rows)[0], targets)).best


def _own_optimizer(text: str) -> OptimizerConfig | OwnOptimizerConfig:
    return optimizer_config("its optimizer", {}, in_full({"optimizer": text}))


class _Trained(NamedTuple):
    by: str  # the optimizer
    first: float  # loss
    best: float
    right_first: float  # the share of rows before the first step, and in the end
    right: float
    fitted_at: int | None


def _train(bench: _Bench, batch: tuple[Any, Any], steps: int = STEPS) -> _Trained:
    """A network trained on ``batch`` until it is fitted, by the optimizer that methods are compared with."""
    model, own = bench.model(), bench.problem.optimizer
    if own is None:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.0)
    else:
        optimizer = build_optimizer(_own_optimizer(own), model)
    switch(optimizer, "train")
    by = own or "AdamW at 0.003"
    right_first, first = _fitted(bench, model.eval(), batch, math.inf)
    right, best = right_first, first
    for step in range(steps):
        optimizer.zero_grad()
        bench.loss(model.train(), batch).backward()
        optimizer.step()
        if step % 20 == 19:
            with as_evaluated(optimizer):
                right, best = _fitted(bench, model.eval(), batch, best)
            if right >= FITTED or (not bench.task.has_accuracy and best <= first / 10):
                return _Trained(by, first, best, right_first, right, step + 1)
    return _Trained(by, first, best, right_first, right, None)


@torch.no_grad()
def _fitted(bench: _Bench, model: nn.Module, batch: tuple[Any, Any], best: float) -> tuple[float, float]:
    """The share of rows that are right, and the least loss until here."""
    outputs = bench.task.forward(model, batch[0])
    share = float(bench.task.correct(outputs, batch[1]).double().mean()) if bench.task.has_accuracy else 0.0
    return share, min(best, bench.task.loss(outputs, batch[1]).item())


def _costs(bench: _Bench) -> str:
    model = deepcopy(bench.model()).train()
    with counted_flops() as counter:
        bench.loss(model, bench.batch()).backward()
    if not (flops := counter.get_total_flops()):
        raise InputError(
            "PyTorch's counter sees no matrix product in a step; claim in steps or seconds (--claim steps), or "
            "register your kernel with torch.utils.flop_counter.register_flop_formula"
        )
    told = _told_costs(bench, model)
    if told is not None and Cost(flops, told).is_hidden():
        raise InputError(
            f"step_flops of the network gives {told:,}, and PyTorch's counter sees {flops:,} in the matrix products of "
            "a step; a run is charged for what it gives: mend the formula, or leave it out, and costs are measured"
        )
    return f"a step costs {flops:.3g} floating-point operations"


def _told_costs(bench: _Bench, model: nn.Module) -> int | None:
    """What a network with formulas of its own says of a step on the batch."""
    if not says_flops(model):
        return None
    rows = len(bench.parts.train[: bench.problem.batch_size or bench.task.rows_at_once])
    return Told(model).step_flops(rows, bench.task.inputs_NT.shape[1])


def _rows(task: OwnTask, numbers: Tensor) -> set[str]:
    return set(_digests(task, numbers[:_COMPARED_ROWS].tolist()))


def _digests(task: OwnTask, numbers: Sequence[int]) -> Iterator[str]:
    for number in numbers:
        found = hashlib.sha256()
        feed_digest(found, task.source.data[number])
        yield found.hexdigest()


def _digest_of_part(task: OwnTask, numbers: Tensor) -> str:
    return " ".join(_digests(task, numbers.tolist()))
