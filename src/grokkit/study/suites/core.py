"""The suite for a claim: settings from two tasks, judged on others that differ in operation, size, share and kind."""

from __future__ import annotations

from grokkit.study.suites.card import SuiteCard

CORE = SuiteCard(
    name="core",
    summary="modular arithmetic, a permutation group and sparse parity; hours on two cores for each method",
    tuning=[
        {"task": "mul:97", "label": "a·b mod 97"},
        {"task": "add:97", "label": "a+b mod 97"},
    ],
    held_out=[
        {"task": "sub:97", "label": "a−b mod 97"},
        {"task": "add:113", "train_fraction": 0.25, "label": "a+b mod 113, 25 %"},
        {"task": "mul:97", "train_fraction": 0.3, "label": "a·b mod 97, 30 %"},
        {"task": "div:97", "train_fraction": 0.4, "label": "a/b mod 97, 40 %"},
        {"task": "parity:40,3", "train_size": 1000, "label": "(40,3)-parity, 1,000 rows"},
        {"task": "s5", "label": "S5, half"},
    ],
)
