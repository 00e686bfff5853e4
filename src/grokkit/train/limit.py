"""When a run that lasts too long is given up."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """When to give a run up: once it has taken so many steps or FLOPs without being at the target. It is no part of the
    run's identity, and changes nothing of what comes before. A run that is found at the target there goes on."""

    cost: Literal["steps", "flops"]
    most: float
