"""From a question to its runs: every method on every seed, everything else equal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, overload

from torch import nn

from grokkit.errors import InputError, about
from grokkit.models.matmul import Linear
from grokkit.train.config import MethodConfig, OwnOptimizerConfig, RunConfig, checked
from grokkit.train.doors import doors_of
from grokkit.train.identity import question_of
from grokkit.train.measured import has_flops
from grokkit.train.optimizers import build_optimizer
from grokkit.train.problem import Problem, build_problem, check_targets, set_apart, transfer_data
from grokkit.train.resolve import method_config
from grokkit.train.room import check_room, least, outlined
from grokkit.train.setup import build_apart


class Arm(NamedTuple):
    """A method of a study: how results call it, and what tells it from others however it is spelt."""

    label: str
    identity: str


class Runs(Sequence[RunConfig]):
    """A run of each arm on each seed, seed by seed, made when it is asked for: there may be very many.

    Args:
        arms: a run of each method, on whatever seed.
        seeds: the seeds.
    """

    def __init__(self, arms: Sequence[RunConfig], seeds: Sequence[int]) -> None:
        self.arms, self.seeds = tuple(arms), tuple(seeds)

    def __len__(self) -> int:
        return len(self.arms) * len(self.seeds)

    @overload
    def __getitem__(self, place: int) -> RunConfig: ...

    @overload
    def __getitem__(self, place: slice) -> list[RunConfig]: ...

    def __getitem__(self, place: int | slice) -> RunConfig | list[RunConfig]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        at = range(len(self))[place]  # which refuses a place beyond the end
        return self.arms[at % len(self.arms)].model_copy(update={"seed": self.seeds[at // len(self.arms)]})

    @cached_property
    def ids(self) -> list[str]:
        """Their ids, in their order."""
        of_arms = [arm.run_ids(self.seeds) for arm in self.arms]
        return [run_id for of_seed in zip(*of_arms, strict=True) for run_id in of_seed]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and (self.arms, self.seeds) == (other.arms, other.seeds)

    def relabelled(self, name: Callable[[str], str]) -> Runs:
        """The same under other labels of their methods."""
        arms = []
        for arm in self.arms:
            method = arm.method.model_copy(update={"label": name(arm.method.label)})
            arms.append(arm.model_copy(update={"method": method}))
        return Runs(arms, self.seeds)


def ids_of(runs: Sequence[RunConfig]) -> list[str]:
    """The ids of ``runs``, in their order."""
    return runs.ids if isinstance(runs, Runs) else [run.run_id() for run in runs]


@dataclass(frozen=True)
class Plan:
    """What one command asks for; :func:`grokkit.study.extend.extended` makes it part of what its folder holds.

    Attributes:
        runs: in the order to take them.
        question: what all runs of the study have in common; it is in ``study``, too.
        study: study.json, as far as this command alone says it.
        baseline, primary: the arms that it names for these; None where it names none.
        size: bytes of memory that a run of the largest arm needs at the least.
        has_flops: whether a step of the network costs any FLOPs, as they are counted.
    """

    runs: Runs
    question: dict[str, Any]
    study: dict[str, Any]
    baseline: Arm | None = None
    primary: Arm | None = None
    size: int = 0
    has_flops: bool = True


def make_plan(
    *,
    methods: Sequence[str],
    seeds: int | Sequence[int],
    baseline: str | None = None,
    command: str = "",
    claim: str | None = None,
    primary: str | None = None,
    **settings: Any,
) -> Plan:
    """Plan every method on every seed.

    Runs go seed by seed, so that a study stopped early holds whole pairs.

    Args:
        methods: as typed, e.g. ``"grokfast-ema(alpha=0.9)"``.
        seeds: the seeds, or how many: 0 to ``seeds`` − 1.
        baseline: the method every ratio refers to; None for what the folder says, or else ``adamw`` if it is there,
            or else the first.
        command: the command line, for the record.
        claim: the cost to claim in; None for what the folder says, or FLOPs.
        primary: the method to test first and alone; None for what the folder says, or none.
        settings: the fields of :class:`RunConfig` that all runs share.

    Raises:
        InputError: for anything that could not run: it is found here, not in the middle of a study.
    """
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    spec = settings["task"].name
    usual = settings["task"].card.optimizer
    with about("--methods"):
        configs = _methods(methods, spec, usual)
        arms = [checked(RunConfig, "compare", method=config, seed=numbers[0], **settings) for config in configs]
    runs = Runs(arms, numbers)
    first = runs[0]
    problem = build_problem(first)
    size = _largest(arms, problem)
    with about("--model"):
        model = build_apart(first.model, problem.task, first.seed)
        _check_precision(first, model)
    with about("--methods"):
        for config in configs:
            _check_start(config, problem, model, first.seed)
        named_arms = _arms(arms)
    question = question_of(first.model_dump())
    study = {
        "title": problem.task.name,
        **question,
        "methods": [arm.label for arm in named_arms],
        "seeds": numbers,
        "run_ids": runs.ids,
        "methods_detail": {
            arm.label: _detail(config) | {"identity": arm.identity}
            for arm, config in zip(named_arms, configs, strict=True)
        },
        "claim": claim,
        "command": command,
    }

    def named(text: str | None, option: str) -> Arm | None:
        if text is None:
            return None
        with about(option):
            return _arm(first.model_copy(update={"method": method_config(text, spec, usual)}))

    return Plan(
        runs,
        question,
        study,
        baseline=named(baseline, "--baseline"),
        primary=named(primary, "--primary"),
        size=size,
        has_flops=has_flops(model, problem.task, problem.inner),
    )


def _largest(arms: Sequence[RunConfig], problem: Problem) -> int:
    """Bytes that a run of the largest of ``arms`` needs at the least; 0 where a network's size is known only once it is
    made. One that this machine has no room for is refused before it is made."""
    with about("--model"):
        outline = outlined(arms[0], problem.task)
    sizes = [0 if outline is None else least(run, problem.task, outline, len(problem.inner)) for run in arms]
    for run, size in zip(arms, sizes, strict=True):
        check_room(run, problem.task, size)
    return max(sizes)


def _check_precision(run: RunConfig, model: nn.Module) -> None:
    """Refuse a precision that acts on products of ours only, where ``model`` has none."""
    is_told = run.model.card.is_ours or any(isinstance(module, Linear) for module in model.modules())
    if run.precision != "float32" and not is_told:
        raise InputError(
            f"{run.model.card.in_words} has no layer of grokkit's, which alone go by --precision {run.precision}; "
            "leave it out, and use torch.autocast in forward"
        )


def _check_start(method: MethodConfig, problem: Problem, model: nn.Module, seed: int) -> None:
    """Refuse a method that could not start on ``problem`` with ``model``."""
    check_targets(method, problem.task)
    set_apart(method, problem.split.train, seed)
    doors_of(method).check(model, partial(transfer_data, problem))
    if isinstance(method.optimizer, OwnOptimizerConfig):
        build_optimizer(method.optimizer, model)


def _arm(run: RunConfig) -> Arm:
    """The arm that a run is of; it is told from others by the hash that its run on seed 0 has."""
    return Arm(run.method.label, run.model_copy(update={"seed": 0}).hash())


def _arms(runs: Sequence[RunConfig]) -> list[Arm]:
    arms: dict[str, Arm] = {}
    for arm in map(_arm, runs):
        if (same := arms.get(arm.identity)) is not None:
            also = "" if same.label == arm.label else f": {same.label!r} is the same"
            raise InputError(f"method {arm.label!r} is given twice{also}; give it once, or with other settings")
        arms[arm.identity] = arm
    return list(arms.values())


def _methods(texts: Sequence[str], task: str, usual: Mapping[str, Any]) -> list[MethodConfig]:
    """Of two files of the same name the second is called by the digest of its code as well."""
    configs: dict[str, MethodConfig] = {}
    typed: dict[str, str] = {}
    for text in texts:
        config = method_config(text, task, usual)
        same = configs.get(config.label)
        if same is not None and (config.parts, config.optimizer) != (same.parts, same.optimizer):
            codes = "+".join(filter(None, config.codes))
            config = config.model_copy(update={"label": f"{config.label}@{codes}"})
        if config.label in configs:
            other = typed[config.label]
            problem = "given twice" if other == text else f"the same as {other!r}"
            raise InputError(f"method {text!r} is {problem}; give it once, or with other settings")
        configs[config.label], typed[config.label] = config, text
    return list(configs.values())


def _detail(config: MethodConfig) -> dict[str, Any]:
    cards = config.cards
    own = {key: value for part in config.parts for key, value in part.settings.items()}
    optimizer = config.optimizer.model_dump()
    if isinstance(config.optimizer, OwnOptimizerConfig):
        optimizer = {"optimizer": config.optimizer.name, **config.optimizer.settings}
        optimizer |= {"lr_warmup": config.optimizer.lr_warmup, "max_grad_norm": config.optimizer.max_grad_norm}
    if brought := [card.name for card in cards if card.optimizer is not None]:
        # Its settings are among the method's own; of the optimizer's there are those left that the loop acts by.
        optimizer = {"optimizer": brought[0], **{key: optimizer[key] for key in ("lr_warmup", "max_grad_norm")}}
    # A label has the part in front whose optimizer it is; the others state theirs for when they are alone.
    first = re.split(r"[(+@]", config.label)[0]
    ignored = [part.name for part, card in zip(config.parts, cards, strict=True) if card.base and part.name != first]
    return {
        "title": config.name,
        "summary": " ".join(card.summary for card in cards),
        "optimizer": optimizer,
        "optimizers_ignored": ignored,
        "settings": {**own, "held_out": config.held_out},
    }
