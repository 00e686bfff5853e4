"""The figures: for each, a function that returns its numbers as a frame, and one that draws them."""

from grokkit.report.figures.amplifier import amplifier_chart, amplifier_data, divergence_data
from grokkit.report.figures.curves import (
    curve_chart,
    learning_chart,
    median_curve_data,
    seed_curves_data,
)
from grokkit.report.figures.fraction import fraction_chart, fraction_data
from grokkit.report.figures.times import times_chart, times_data, times_height

__all__ = [
    "amplifier_chart",
    "amplifier_data",
    "curve_chart",
    "divergence_data",
    "fraction_chart",
    "fraction_data",
    "learning_chart",
    "median_curve_data",
    "seed_curves_data",
    "times_chart",
    "times_data",
    "times_height",
]
