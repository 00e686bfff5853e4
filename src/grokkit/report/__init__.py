"""What people look at: the table in the terminal, the page, the pictures. Never needs torch."""

from grokkit.report.figure import Figure, Html, Panel, Row, Sizes, View, of_every_run, table_names, with_lines
from grokkit.report.figures import all_figures
from grokkit.report.table import leaderboard_table
from grokkit.report.write import write_report

__all__ = [
    "Figure",
    "Html",
    "Panel",
    "Row",
    "Sizes",
    "View",
    "all_figures",
    "leaderboard_table",
    "of_every_run",
    "table_names",
    "with_lines",
    "write_report",
]
