"""The suite to try the command with: minutes in all, and too few tasks for an interval.

All four grok with small feed-forward networks, in one to four seconds a run.
"""

from __future__ import annotations

from grokkit.study.suites.card import SuiteCard

QUICK = SuiteCard(
    name="quick",
    summary="two small tuning tasks and two held-out ones; minutes on two cores, and too few tasks for a claim",
    budget=1500,
    tuning=[
        {"task": "parity:20,3", "model": "fnn(width=64)", "train_size": 600, "label": "(20,3)-parity"},
        {"task": "add:29", "model": "fnn(width=128)", "label": "a+b mod 29"},
    ],
    held_out=[
        {"task": "parity:30,3", "model": "fnn(width=128)", "train_size": 1000, "label": "(30,3)-parity"},
        {"task": "mul:31", "model": "fnn(width=128)", "train_fraction": 0.6, "label": "a·b mod 31, 60 %"},
    ],
)
