"""What the words of the page mean, for this study."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from grokkit.analyse.claims import level_of
from grokkit.analyse.format import COST_WORDS, whole
from grokkit.analyse.survival import Cost
from grokkit.analyse.target import target_of
from grokkit.report.html import terms_list
from grokkit.report.table import CLAIMED

_SECONDS = "Time spent in training steps, evaluations not counted. Holds for the machine below only."
_SECONDS_CLAIMED = (
    "In the leaderboard, what a claim is made of: what came before the first step, and the steps at the pace of their "
    "method, measured for all methods in turns on one core (pace.json). Under every run, the time its own training "
    "steps took, evaluations not counted. Holds for the machine below only."
)


def definitions(study: Mapping[str, Any], cost: Cost) -> str:
    """``cost``: the one that the study claims in."""
    aim, base = target_of(study), escape(study["baseline"])
    target, stays, stable = aim.at_least, "stays, generalized", "stable"
    stay, below = "stay", "below the target"
    if aim.stable_for:
        stays, stable = "stays", "stable, generalized"
        stay, below = "become stable", "before the first at the target that no dip had followed"
    budget = whole(study["budget"])
    terms = {
        "memorized": f"The first evaluation with train {target}.",
        "reaches": f"The first evaluation with held-out {target}. "
        "The small number says how much earlier it may have been: no evaluation or look at a few rows was nearer.",
        stays: "The first such evaluation of which the following ones, five unless said, are at the "
        "target too, all of them within the run. A window that the end of the run cuts short does not count.",
        stable: "The first such evaluation after which the run is never more than one point below the target, or "
        "above 1.1 times a target that is a loss, for as many steps as <code>--after</code> says, all within the run.",
        "dips": "How often the run falls more than one point below the target, or above 1.1 times a target that is a "
        "loss, after first reaching it, and how far below the target the deepest goes: in points of accuracy, or in "
        "the loss's unit. In the leaderboard the most and the deepest of a method's runs. "
        "First touch, stays, stable and dips stand side by side because they may rank methods differently.",
        "delay": "Steps from memorized to generalized.",
        "not reached": f"A run that did not {stay} at the target within its budget of {budget} steps counts as longer "
        f"than its last evaluation {below}. It is never dropped. A diverged "
        "run cannot come back, and counts as longer than the budget.",
        "given up": "A run that had taken so many times what its seed's baseline took, as <code>--give-up</code> says, "
        "and was ended there. It enters the paired ratio as longer than that. How often such a method arrives, and "
        "when in the median, is not known, and not shown.",
        "median": "Kaplan–Meier median over runs, which takes runs that did not get there into account, with a 95 % "
        "interval (log-log, inverted). “≥”: so few runs, or so late ones, set no upper limit.",
        "ratio": f"A method's cost over {base}'s for the same seed: same split, same start where shapes allow, same "
        "batches. With all times known, the geometric mean and the t interval on logarithms. A run that did not get "
        "there enters as longer than it was seen to be, in a model of normally distributed logarithms with one "
        "variance for both arms, and the interval is by profile likelihood. Below three pairs with both times there "
        "is none, only a bound (≥, ≤), and no bound where in some seed neither run got there. Intervals are 95 % each, "
        "not adjusted for the number of arms: one that excludes 1 may stand without a claim.",
        "claimed": f"{CLAIMED} marks what this study may claim. The p values of its ratios in {COST_WORDS[cost]}, or "
        "where fewer than three pairs are complete those of how often runs got there (Fisher's exact test), are "
        f"adjusted together by Holm's procedure, and claimed at {level_of(study):.3g}. The other costs stand beside "
        "and claim nothing.",
        "log-rank p": "How often times to target would differ this much if method and baseline were equally fast, not "
        "paired, runs that did not get there included. Where either has fewer than ten runs it is counted over "
        "the ways to label the runs, of which few runs have few: “least” is the smallest p that there could have been.",
        "best": "The best that a run's evaluations found, which flatters a little; in the leaderboard the median over "
        "runs, and the least and the greatest. Runs that stop at the target are not to be compared by it.",
        "seconds": _SECONDS_CLAIMED if cost == "seconds" else _SECONDS,
        "AWE, AGE": "Absolute weight entropy and absolute gradient entropy, −Σ|v| ln|v| over all weights, and over all "
        "entries of the gradient: the raw one, before any method touched it, and the one after, that the optimizer "
        "steps on.",
    }
    return terms_list(terms)
