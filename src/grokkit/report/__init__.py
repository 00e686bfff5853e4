"""What people look at: the table in the terminal, the page, the pictures. Never needs torch."""

from grokkit.report.figure import Figure, Html, Panel, Row, Sizes, View, table_names
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
    "table_names",
    "write_report",
]
