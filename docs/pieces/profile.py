"""Where a step's time goes: the table of docs/results/step-profile.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grokkit.analyse.format import number

Profile = Mapping[str, Any]

_OTHERS = 4  # operators named beside the products
_SMALLEST = 0.015  # of a step's time: what takes less is not named


def profile_table(profile: Profile) -> str:
    """A row for each step that was profiled."""
    lines = [
        "| a step of | ms | GFLOP | in products | these at the machine's rate | what else takes most |",
        "|---|---|---|---|---|---|",
    ]
    for case, found in profile["cases"].items():
        named = [(name, share) for name, share in found["others"].items() if share >= _SMALLEST][:_OTHERS]
        others = ", ".join(f"`{name}` {_percent(share)}" for name, share in named)
        cells = [
            case,
            number(found["milliseconds"]),
            number(found["gflop"]),
            _percent(found["products"]),
            _percent(found["at_machine_rate"]),
            others,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def profile_where(profile: Profile) -> str:
    """The processor, PyTorch, and the machine's rate."""
    threads = "one thread reaches" if profile["threads"] == 1 else f"{profile['threads']} threads reach"
    rate = f"{number(profile['gflops'])} GFLOP/s"
    return f"{profile['processor']}, PyTorch {profile['torch']}, where {threads} {rate}"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
