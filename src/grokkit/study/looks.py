"""What a study's folder remembers of its claims: in which cost, which arm first, all its arms, and every look at it.

A claim means what it says only if it was decided before the runs in what cost and on which arm it is made, if all arms
that were tried count, and if looking again after more seeds counts as another chance to be deceived; see
:mod:`grokkit.analyse.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from grokkit.errors import InputError

DEFAULT_CLAIM = "flops"


def continued(before: Mapping[str, Any] | None, now: Mapping[str, Any], *, has_runs: bool) -> dict[str, Any]:
    """``now``, a study as planned, with what the folder remembers from ``before``, its study.json.

    ``claim`` and ``primary`` may be None in ``now``, for what the folder says, or else the default. ``has_runs``:
    whether a run of the folder is finished.

    Raises:
        InputError: if another claim or primary arm is asked for once there are runs.
    """
    before = before or {}
    study = dict(now)
    for name, default in (("claim", DEFAULT_CLAIM), ("primary", None)):
        settled = before.get(name) or default
        if study[name] is None:
            study[name] = settled
        elif study[name] != settled and has_runs:
            said = f"was to be made with --{name} {settled}" if settled else f"had no --{name}"
            raise InputError(
                f"--{name} {study[name]} comes too late: this study {said}, and has finished runs; "
                "leave it out, or start anew in another --out"
            )
    family = [*(before.get("family") or before.get("methods") or ()), *now["methods"]]
    return study | {"family": list(dict.fromkeys(family)), "looks": list(before.get("looks") or ())}


def looked(study: Mapping[str, Any], runs: pl.DataFrame) -> dict[str, Any]:
    """``study`` with a look at ``runs`` added, unless the last one was at the same seeds."""
    seeds = sorted(set(runs["seed"].to_list()))
    looks = list(study.get("looks") or ())
    if looks and looks[-1]["seeds"] == seeds:
        return dict(study)
    return {**study, "looks": [*looks, {"seeds": seeds, "date": datetime.now(UTC).date().isoformat()}]}
