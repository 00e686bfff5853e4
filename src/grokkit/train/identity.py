"""The identity of a run that is there as data, such as a record's: no part of it, and not PyTorch, is imported."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from grokkit.arguments import shortest
from grokkit.files import content_of
from grokkit.train.events import EVENTS_VERSION

IDENTITY_VERSION = 2
"""Raised when the same configuration gets another identity: folders of an earlier one can be read, and not extended."""

INFINITE = ("Infinity", "-Infinity")
"""The texts that stand for infinite numbers in a record, and in an identity."""

LEFT_OUT = {"judged_on": "test", "event": "stays"}
"""What no identity and no question says: settings as every run had them before there was a choice."""


def question_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs of a study have in common, in the form that their identity has: all but method and seed.

    ``config`` is that of a run as data, such as a record's; no part of it is imported.
    """
    method = {**config["method"], "init_scale": None}  # which would be in the model
    settings = identity_of({**config, "method": method})
    del settings["method"], settings["seed"]
    # The model stands first, because a message names the first difference, and a task's layout may follow its model.
    return {"identity": IDENTITY_VERSION, "model": settings.pop("model"), **settings}


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """:meth:`RunConfig.identity` of a configuration that is there as data, such as a record's; no part of it is
    imported."""
    settings = _in_one_form(config) | {"events": EVENTS_VERSION}
    method, model, task = settings["method"], settings["model"], settings["task"]
    if method["init_scale"] is not None:
        model["settings"]["init_scale"] = method["init_scale"]
    del method["label"], method["init_scale"]
    own = [method["optimizer"]] if "name" in method["optimizer"] else []  # of ours there is only what it is called
    for part in (*method["parts"], model, task, *own):
        del part["text"]
        part["settings"] = {key: content_of(value) for key, value in part["settings"].items()}
    if not task["data"]:  # ours, whose settings say all
        del task["data"]
    if task["train_size"] is not None:
        del task["train_fraction"]
    for name, usual in LEFT_OUT.items():
        if settings.get(name) == usual:
            del settings[name]
    return settings


def hash_of(config: Mapping[str, Any]) -> str:
    """:meth:`RunConfig.hash` of a configuration that is there as data."""
    return digest(json.dumps(identity_of(config), sort_keys=True))


def digest(text: str) -> str:
    """Twelve hexadecimal digits that stand for ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_one_form(value: Any) -> Any:
    """``value`` with every whole number as an integer, and tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _in_one_form(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_one_form(item) for item in value]
    return as_text(shortest(value))


def as_text(value: Any) -> Any:
    """``value``, or what stands for it if it is an infinite number, or of those within it."""
    if isinstance(value, list | tuple):
        return [as_text(item) for item in value]
    return INFINITE[value < 0] if isinstance(value, float) and math.isinf(value) else value


def as_number(value: Any) -> Any:
    """The other way round."""
    if isinstance(value, list | tuple):
        return type(value)(as_number(item) for item in value)
    return float(value) if value in INFINITE else value
