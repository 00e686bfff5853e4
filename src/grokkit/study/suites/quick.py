"""The suite to try the command with: minutes in all, and too few tasks for an interval."""

from __future__ import annotations

from grokkit.study.suites.card import SuiteCard

QUICK = SuiteCard(
    name="quick",
    summary="two small tuning tasks and two held-out ones; minutes on two cores, and too few tasks for a claim",
    tuning=["parity:20,2", "add:23"],
    held_out=["parity:24,3", "mul:23"],
)
