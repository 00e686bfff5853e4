"""From finished runs to numbers and one honest sentence. Never needs torch."""

from grokkit.analyse.claims import Claim, claims
from grokkit.analyse.leaderboard import leaderboard
from grokkit.analyse.logrank import LogRank, logrank
from grokkit.analyse.paired import PairedRatio, Time, paired_ratio
from grokkit.analyse.survival import Median, Times, fraction_reached, given_up, median_time, times_to_target
from grokkit.analyse.verdict import verdict

__all__ = [
    "Claim",
    "LogRank",
    "Median",
    "PairedRatio",
    "Time",
    "Times",
    "claims",
    "fraction_reached",
    "given_up",
    "leaderboard",
    "logrank",
    "median_time",
    "paired_ratio",
    "times_to_target",
    "verdict",
]
