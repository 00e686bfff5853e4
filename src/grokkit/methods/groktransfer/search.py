"""Which weak model? A ladder of small ones, cheapest first, each judged on the validation rows.

On a rung a few models that differ in their seed train in turns. The first to reach the accuracy ``stop`` is taken, and
nothing more is tried. A model that has made no progress for ``patience`` steps is given up; when all of a rung are, or
have had ``steps``, the next rung begins. If none reaches ``stop``, the best that was found is taken, and said to be no
more than that. Every attempt's cost counts.

With ``grow`` the models of a rung do not begin afresh: each is the best of the rung before, widened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from grokkit.errors import InputError, about
from grokkit.methods.contract import Halfway, TransferData
from grokkit.methods.groktransfer.weak import Trial, WeakModel, parse_weak
from grokkit.methods.settings import not_negative, number, positive, whole
from grokkit.models import FNN, LSTM
from grokkit.outside import FailedError, theirs
from grokkit.randomness import seeded_aside
from grokkit.threads import threads

LADDER = ("fnn(dim=8,width=32)", "fnn(dim=16,width=64)", "fnn(dim=32,width=128)", "decoder(width=32)")
"""``auto`` for expressions: each rung some twice as costly as the one before. A smaller first one, fnn(dim=4,width=16),
took longer to fail than this one takes to succeed (docs/groktransfer.md)."""

GROWING = ("fnn(dim=4,width=16)", "fnn(dim=8,width=32)", "fnn(dim=16,width=64)", "fnn(dim=32,width=128)")
"""``grow`` for expressions: each rung is the one before with twice the units."""

# For numbers through a linear embedding, as an FNN's; for numbers that go straight into the first layer; for texts.
_FEATURES = ("fnn(depth=3,dim=4,width=16)", "fnn(depth=3,dim=8,width=16)", "fnn(depth=3,dim=16,width=32)")
_MLPS = ("mlp(depth=3,width=16)", "mlp(depth=3,width=32)", "mlp(depth=3,width=64)")
_BAGS = ("bag(dim=8)", "bag(dim=32)")

_LOOK = 10  # steps between looks at the accuracies: a look costs a tenth of that
_PROGRESS = 0.02  # of accuracy, training or validation, that counts as progress


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to stop a weak model.

    Attributes:
        stop: validation accuracy at which it is good enough.
        steps: optimizer steps a model may take.
        patience: steps without progress after which it is given up.
        seeds: models that a rung tries, in turns.
        lr, wd: of its AdamW.
    """

    stop: float = 0.7
    steps: int = 2000
    patience: int = 300
    seeds: int = 2
    lr: float = 0.03
    wd: float = 1.0

    def __post_init__(self) -> None:
        with about("weak models"):
            numbers = {
                "stop": number("stop", self.stop, lambda v: 0.0 < v <= 1.0, "an accuracy in (0, 1]", Rule.stop),
                "steps": whole("steps", self.steps, 1, Rule.steps),
                "patience": whole("patience", self.patience, 1, Rule.patience),
                "seeds": whole("seeds", self.seeds, 1, Rule.seeds),
                "lr": positive("lr", self.lr, Rule.lr),
                "wd": not_negative("wd", self.wd, Rule.wd),
            }
        for name, value in numbers.items():
            object.__setattr__(self, name, value)  # as a Python number


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a weak model came to, and what it cost."""

    weak: str
    seed: int
    steps: int
    train_accuracy: float
    validation_accuracy: float
    seconds: float
    flops: int
    chosen: bool


@dataclass(frozen=True)
class WeakStage:
    """The embedding found, (V, d), whether its model reached ``stop``, every attempt in order, and what was spent
    besides them, by an embedding that no model learned."""

    embedding: Tensor
    reached: bool
    attempts: tuple[Attempt, ...]
    other_seconds: float = 0.0
    other_flops: int = 0

    @property
    def seconds(self) -> float:
        return self.other_seconds + sum(attempt.seconds for attempt in self.attempts)

    @property
    def flops(self) -> int:
        return self.other_flops + sum(attempt.flops for attempt in self.attempts)


def check_climb(lesson: TransferData, rungs: Sequence[WeakModel]) -> None:
    """Refuse a lesson that none of ``rungs`` could learn.

    Raises:
        InputError: there is no validation row, or a model does not read such inputs.
    """
    if not len(lesson.validation.targets):
        raise InputError(
            "weak models are stopped by their accuracy on validation rows, and there are none; "
            "set a part of the data aside, e.g. --validation-fraction 0.1"
        )
    for weak in rungs:
        weak.kind(lesson)


def try_out(lesson: TransferData, weak: WeakModel) -> None:
    """Take a step, so that a loss or a score which do not take what a weak model gives are known before anything runs.

    Raises:
        InputError: for such ones.
    """
    try:
        with theirs("the loss or the score, of what a weak model gives,"), seeded_aside(0, "weak model"), threads(1):
            Trial(weak, lesson, lr=Rule.lr, wd=Rule.wd, seed=0).advance(1)
    except FailedError as error:
        raise InputError(
            f"{error}; weak models give one tensor, (N, outputs): make loss and score of that, or leave groktransfer "
            "and its controls out"
        ) from error


def climb(
    lesson: TransferData, rungs: Sequence[WeakModel], rule: Rule, seed: int = 0, *, grow: bool = False
) -> WeakStage:
    """Try ``rungs`` in order by ``rule``; the models' seeds follow from ``seed``.

    With ``grow`` the models of a rung begin as the best of the rung before, widened (:func:`.growth.widen`).

    Where ``lesson`` says where to keep what is found so far, a search that was ended goes on from there.

    Raises:
        InputError: as :func:`check_climb` does, and if no model's training stayed finite.
    """
    check_climb(lesson, rungs)
    tried: list[Trial] = []
    kept = None if lesson.halfway is None else lesson.halfway.found()
    with threads(1):  # in models this small, more only wait for one another
        for weak in rungs:
            seeds = range(seed * rule.seeds, (seed + 1) * rule.seeds)
            trials = [Trial(weak, lesson, lr=rule.lr, wd=rule.wd, seed=own) for own in seeds]
            if grow and (grown := [trial for trial in tried if trial.is_finite]):
                best = max(grown, key=_validation_accuracy)
                for trial in trials:
                    trial.widen(best)
            running = {trial: _Progress() for trial in trials}
            if kept is not None:
                _restore(trials, running, *kept, before=len(tried))
            tried += trials
            found = _race(running, rule, partial(_keep_if_due, lesson.halfway, tried, running))
            if found is not None:
                return _stage(tried, found, reached=True)
    finite = [trial for trial in tried if trial.is_finite]
    if not finite:
        raise InputError(f"no weak model's training stayed finite at learning rate {rule.lr:g}; lower it")
    return _stage(tried, max(finite, key=_validation_accuracy), reached=False)


def _validation_accuracy(trial: Trial) -> float:
    return trial.validation_accuracy


def ladder_for(target: nn.Module, lesson: TransferData) -> tuple[str, ...]:
    """What ``auto`` tries: networks that begin as ``target`` does, so that the embedding means the same in both."""
    if isinstance(target, LSTM):
        return _BAGS
    if lesson.vocabulary is not None:
        return LADDER
    return _FEATURES if isinstance(target, FNN) else _MLPS


def rungs(weak: str, ladder: Sequence[str] = LADDER) -> tuple[WeakModel, ...]:
    """The whole ladder for ``auto``, one of growing models for ``grow``, else the one model named."""
    if weak == "grow":
        ladder = GROWING if tuple(ladder) == LADDER else tuple(ladder)
        if any(parse_weak(name).card.name != "fnn" for name in ladder):
            raise InputError("weak=grow is not possible here: it widens an fnn, as which this target does not begin")
        return tuple(parse_weak(name) for name in ladder)
    return tuple(parse_weak(name) for name in (ladder if weak == "auto" else (weak,)))


def full_rank(width: int, hidden: int, ladder: Sequence[str]) -> WeakModel:
    """The ladder's first model with an embedding as wide as the target's, and ``hidden`` units where it has any."""
    first = parse_weak(ladder[0])
    # The embedding of a network without one of its own, an mlp, is as wide as its layers.
    sizes = {"dim": width, "width": hidden} if "dim" in first.settings else {"width": width}
    changed = {name: sizes.get(name, value) for name, value in first.settings.items()}
    return replace(first, settings=changed)


def _race(running: dict[Trial, _Progress], rule: Rule, after_round: Callable[[], None]) -> Trial | None:
    """The first of ``running`` to reach the accuracy; None if none does, and then none is left there."""
    while running:
        for trial in list(running):
            trial.advance(min(_LOOK, rule.steps - trial.steps))
            if trial.is_finite and trial.validation_accuracy >= rule.stop:
                return trial
            waited = running[trial].waited(trial)
            if not trial.is_finite or waited >= rule.patience or trial.steps >= rule.steps:
                del running[trial]
        after_round()
    return None


class _Progress:
    """The best accuracies so far, and since when there are none better."""

    def __init__(self, best: tuple[float, float] = (0.0, 0.0), since: int = 0) -> None:
        self._best, self._since = best, since

    def state(self) -> tuple[tuple[float, float], int]:
        return self._best, self._since

    def waited(self, trial: Trial) -> int:
        now = trial.train_accuracy, trial.validation_accuracy
        if any(new >= old + _PROGRESS for new, old in zip(now, self._best, strict=True)):
            self._best = (max(now[0], self._best[0]), max(now[1], self._best[1]))
            self._since = trial.steps
        return trial.steps - self._since


def _keep_if_due(halfway: Halfway | None, tried: Sequence[Trial], running: Mapping[Trial, _Progress]) -> None:
    """Keep all models of all rungs so far: the best of those given up may be taken in the end."""
    if halfway is None or not halfway.due():
        return
    tensors = {
        f"{place}/{name}": tensor for place, trial in enumerate(tried) for name, tensor in trial.tensors().items()
    }
    places = {str(place): running[trial].state() for place, trial in enumerate(tried) if trial in running}
    halfway.keep(tensors, {"trials": [trial.counts() for trial in tried], "running": places})


def _restore(
    trials: Sequence[Trial], running: dict[Trial, _Progress], tensors: Mapping[str, Tensor], others: Any, *, before: int
) -> None:
    """Let a rung's ``trials`` be as they were kept, if they were there already; ``before`` were tried before them."""
    for place, trial in enumerate(trials, before):
        if place >= len(others["trials"]):
            return
        own = {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{place}/")}
        trial.restore(own, others["trials"][place])
        if str(place) in others["running"]:
            best, since = others["running"][str(place)]
            running[trial] = _Progress((best[0], best[1]), since)
        else:
            del running[trial]


def _stage(tried: Sequence[Trial], chosen: Trial, *, reached: bool) -> WeakStage:
    attempts = tuple(
        Attempt(
            weak=str(trial.weak),
            seed=trial.seed,
            steps=trial.steps,
            train_accuracy=trial.train_accuracy,
            validation_accuracy=trial.validation_accuracy,
            seconds=trial.seconds,
            flops=trial.flops,
            chosen=trial is chosen,
        )
        for trial in tried
    )
    return WeakStage(chosen.embedding(), reached, attempts)
