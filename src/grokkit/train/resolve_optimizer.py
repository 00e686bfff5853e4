"""The optimizer of a method or of a task, as it is typed, becomes its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.arguments import settings_of, shortest
from grokkit.call_syntax import Given, parse_call, show_call
from grokkit.errors import InputError, unknown
from grokkit.optimizers import contract as optimizers
from grokkit.registry import find, parts
from grokkit.train.config import OptimizerConfig, OwnOptimizerConfig, checked

OF_LOOP = ("lr_warmup", "max_grad_norm")  # settings that the loop acts by, whatever the optimizer


def optimizer_config(
    what: str, usual: Mapping[str, Any], given: Mapping[str, Any]
) -> OptimizerConfig | OwnOptimizerConfig:
    """The optimizer of ``what``; ``optimizer`` may be a call, ``pkg:SOAP(lr=1)``.

    Args:
        what: for errors.
        usual: settings where none is given. An optimizer of somebody's own has its own defaults, and takes of these
            only what the loop acts by.
        given: what was written. Such an optimizer takes those of ``lr``, ``wd``, ``beta1``, ``beta2`` that it has.

    Raises:
        InputError: for an unknown optimizer or setting, a value outside its range, or one that is given twice.
    """
    values = {**usual, **given}
    if "optimizer" not in values:
        return checked(OptimizerConfig, what, **values)
    name, inside = parse_call(str(values["optimizer"]))
    part = find("optimizers", name)
    card = optimizers.card_of(part)
    if "optimizer" in given and (twice := sorted(inside.keys() & given.keys() - {"optimizer"})):
        raise InputError(f"{twice[0]} is given twice, with {what} and with {name}; give it once")
    if card.pure is not None:
        known = [key for key in OptimizerConfig.model_fields if key != "optimizer"]
        if strange := [key for key in inside if key not in known]:
            raise unknown(f"setting of {name}", strange[0], known)
        return checked(OptimizerConfig, what, **{**usual, **inside, **given, "optimizer": part.name})
    its_own = settings_of(card.make) if inside else {}
    of_loop = {key: inside.pop(key) for key in OF_LOOP if key in inside and key not in its_own}
    written = {key: value for key, value in given.items() if key not in ("optimizer", *OF_LOOP)}
    return checked(
        OwnOptimizerConfig,
        what,
        name=part.name,
        settings=card.settings(Given({**inside, **written}, inside.texts)),
        code=part.code,
        text=part.text,
        **{key: value for key, value in {**usual, **of_loop, **given}.items() if key in OF_LOOP},
    )


def check_usual(what: str, usual: Mapping[str, Any]) -> None:
    """Refuse the settings of an optimizer that methods could not be compared with on a task."""
    config = optimizer_config(what, {}, usual)
    outside = [key for key in usual if key not in ("optimizer", *OF_LOOP)]
    if isinstance(config, OwnOptimizerConfig) and outside:
        raise InputError(f"{what}: write {outside[0]} into the parentheses of {config.name}, whose setting it is")


def in_full(usual: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task's optimizer with all its settings by name, so that it is the same for every method: what is not written is
    the baseline's of its name, or else the optimizer's own default. One of somebody's own stays as it is written."""
    if "optimizer" not in usual:
        return usual
    name, inside = parse_call(str(usual["optimizer"]))
    if optimizers.card_of(find("optimizers", name)).pure is None:
        return usual
    defaults = {key: field.default for key, field in OptimizerConfig.model_fields.items() if not field.is_required()}
    baseline = parts("methods").get(name)
    return {**defaults, **(baseline.value.base if baseline else {}), **usual, **inside, "optimizer": name}


def changes(
    optimizer: OptimizerConfig | OwnOptimizerConfig, usual: OptimizerConfig | OwnOptimizerConfig
) -> dict[str, Any]:
    """The settings that make ``optimizer`` of the ``usual`` one."""
    before = usual.model_dump()
    if isinstance(optimizer, OptimizerConfig):
        return {key: value for key, value in optimizer.model_dump().items() if value != before.get(key, before)}
    changed = {key: getattr(optimizer, key) for key in OF_LOOP if getattr(optimizer, key) != before[key]}
    if optimizer.model_copy(update={key: before[key] for key in OF_LOOP}) == usual:
        return changed
    shown = optimizer.card.shown({key: shortest(value) for key, value in optimizer.settings.items()})
    return {"optimizer": show_call(optimizer.name, shown), **changed}
