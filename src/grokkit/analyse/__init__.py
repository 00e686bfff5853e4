"""From finished runs to numbers and one honest sentence. Never needs torch."""

from grokkit.analyse.leaderboard import leaderboard
from grokkit.analyse.paired import PairedRatio, paired_ratio
from grokkit.analyse.survival import Median, Times, fraction_reached, logrank_p, median_time, times_to_target
from grokkit.analyse.verdict import verdict

__all__ = [
    "Median",
    "PairedRatio",
    "Times",
    "fraction_reached",
    "leaderboard",
    "logrank_p",
    "median_time",
    "paired_ratio",
    "times_to_target",
    "verdict",
]
