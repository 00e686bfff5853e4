"""From a question to its runs: every method on every seed, everything else equal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grokkit.errors import InputError, unknown
from grokkit.train.config import IDENTITY_VERSION, MethodConfig, RunConfig, checked
from grokkit.train.doors import doors_of
from grokkit.train.problem import build_problem, set_apart
from grokkit.train.resolve import method_config
from grokkit.train.setup import build_model


@dataclass(frozen=True)
class Plan:
    """The runs of a study, in the order to take them, and its study.json."""

    runs: tuple[RunConfig, ...]
    study: dict[str, Any]


def make_plan(
    *,
    methods: Sequence[str],
    seeds: int,
    baseline: str | None,
    command: str,
    claim: str | None = None,
    primary: str | None = None,
    **settings: Any,
) -> Plan:
    """Plan every method on seeds 0 to ``seeds`` − 1.

    Runs go seed by seed, so that a study stopped early holds whole pairs.

    Args:
        methods: as typed, e.g. ``"grokfast-ema(alpha=0.9)"``.
        seeds: how many, at least 1.
        baseline: the method every ratio refers to; None for ``adamw`` if it is there, else the first.
        command: the command line, for the record.
        claim: the cost to claim in; None for what the folder says, or FLOPs.
        primary: the method to test first and alone; None for what the folder says, or none.
        settings: the fields of :class:`RunConfig` that all runs share.

    Raises:
        InputError: for anything that could not run: it is found here, not in the middle of a study.
    """
    if seeds < 1:
        raise InputError(f"--seeds {seeds} is not possible: at least 1; 5 or more make an interval worth reading")
    spec = settings["task"].name
    configs = _methods(methods, spec)
    plan = tuple(
        checked(RunConfig, "compare", method=method, seed=seed, **settings)
        for seed in range(seeds)
        for method in configs.values()
    )
    _refuse_twins(dict(zip(methods, plan, strict=False)))
    first = plan[0]
    problem = build_problem(first)
    model = build_model(first.model, problem.task, first.seed)
    for config in configs.values():
        set_apart(config, problem.split.train, first.seed)
        doors_of(config).check(model)
    labels = list(configs)
    reference = labels[0] if baseline is None else _label(baseline, "baseline", configs, spec)
    if baseline is None and "adamw" in configs:
        reference = "adamw"
    first_tested = None if primary is None else _label(primary, "primary", configs, spec)
    if first_tested == reference:
        raise InputError(f"--primary {primary} is the baseline; name the method that is to be compared with it first")
    study = {
        "title": problem.task.name,
        "task": first.task.model_dump(),
        "model": first.model.model_dump(),
        "methods": labels,
        "baseline": reference,
        "claim": claim,
        "primary": first_tested,
        "seeds": list(range(seeds)),
        "budget": first.budget,
        "target": first.target,
        "target_loss": first.target_loss,
        "run_ids": [run.run_id() for run in plan],
        "methods_detail": {label: _detail(config) for label, config in configs.items()},
        "command": command,
        "identity": IDENTITY_VERSION,
    }
    return Plan(plan, study)


def _methods(texts: Sequence[str], task: str) -> dict[str, MethodConfig]:
    """By label. Of two files of the same name the second is called by the digest of its code as well."""
    configs: dict[str, MethodConfig] = {}
    typed: dict[str, str] = {}
    for text in texts:
        config = method_config(text, task)
        if config.label in configs and config.parts != configs[config.label].parts:
            codes = "+".join(part.code for part in config.parts if part.code)
            config = config.model_copy(update={"label": f"{config.label}@{codes}"})
        if config.label in configs:
            other = typed[config.label]
            problem = "given twice" if other == text else f"the same as {other!r}"
            raise InputError(f"method {text!r} is {problem}; give it once, or with other settings")
        configs[config.label], typed[config.label] = config, text
    return configs


def _refuse_twins(runs: Mapping[str, RunConfig]) -> None:
    """Refuse two spellings of one configuration; ``runs`` are those of the first seed, by what was typed."""
    seen: dict[str, str] = {}
    for text, run in runs.items():
        other = seen.setdefault(run.hash(), text)
        if other != text:
            raise InputError(f"method {text!r} is the same as {other!r}; give it once, or with other settings")


def _label(asked: str, option: str, configs: dict[str, MethodConfig], task: str) -> str:
    label = method_config(asked, task).label
    if label not in configs:
        raise unknown(option, label, configs)
    return label


def _detail(config: MethodConfig) -> dict[str, Any]:
    cards = config.cards
    own = {key: value for part in config.parts for key, value in part.settings.items()}
    optimizer = config.optimizer.model_dump()
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
