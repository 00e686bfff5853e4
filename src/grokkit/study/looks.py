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


def settled(before: Mapping[str, Any] | None, now: Mapping[str, Any], *, has_runs: bool) -> dict[str, Any]:
    """``now``, a study as asked for, with what the folder remembers from ``before``, its study.json.

    ``claim``, ``primary`` and ``baseline`` may be None in ``now``, for what the folder says, or else the default.
    ``has_runs``: whether a run of the folder is finished.

    Raises:
        InputError: if another claim, primary arm or baseline is asked for once there are runs, or if the primary arm is
            the baseline.
    """
    known = before or {}
    study = dict(now)
    tuned = [label for label, found in (now.get("tuned") or {}).items() if found["method"] == "adamw"]
    usual = next(iter(tuned), "adamw" if "adamw" in now["methods"] else now["methods"][0])
    for name, default in (("claim", DEFAULT_CLAIM), ("primary", None), ("baseline", usual)):
        was = known.get(name) or default
        if study[name] is None:
            study[name] = was
        elif study[name] != was and has_runs and before is not None:
            said = f"was to be made with --{name} {was}" if was else f"had no --{name}"
            raise InputError(
                f"--{name} {study[name]} comes too late: this study {said}, and has finished runs; "
                "leave it out, or start anew in another --out"
            )
    if study["primary"] == study["baseline"]:
        raise InputError(
            f"--primary {study['primary']} is the baseline; name the method that is to be compared with it first"
        )
    family = [*(known.get("family") or known.get("methods") or ()), *now["methods"]]
    return study | {"family": list(dict.fromkeys(family)), "looks": list(known.get("looks") or ())}


def looked(study: Mapping[str, Any], runs: pl.DataFrame) -> dict[str, Any]:
    """``study`` with a look at ``runs`` added, unless the last one saw the same seeds of the arms that it saw.

    New arms alone are no new look: they join the family. More seeds of an arm are one, whatever seeds others have.
    """
    seen: dict[str, list[int]] = {}
    for method, seed in sorted(set(runs.select("method", "seed").iter_rows())):
        seen.setdefault(method, []).append(seed)
    seeds = sorted({seed for numbers in seen.values() for seed in numbers})
    looks = [dict(look) for look in study.get("looks") or ()]
    last = looks[-1] if looks else None
    if last is None or _has_more_seeds(seen, last):
        looks.append({"seeds": seeds, "date": datetime.now(UTC).date().isoformat(), "arms": seen})
    elif "arms" in last:
        last["arms"] = {**seen, **last["arms"]}
    return {**study, "looks": looks}


def _has_more_seeds(seen: Mapping[str, list[int]], look: Mapping[str, Any]) -> bool:
    """Whether an arm that ``look`` saw has seeds now that it had not. Looks of format 1 do not say which arms had
    which of their seeds: all of them, then."""
    old: list[int] = look["seeds"]
    arms: Mapping[str, list[int]] = look.get("arms") or dict.fromkeys(seen, old)
    return any(set(numbers) - set(arms[method]) for method, numbers in seen.items() if method in arms)
