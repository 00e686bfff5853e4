"""What people look at: the table in the terminal, the page, the pictures. Never needs torch."""

from grokkit.report.page import build_page
from grokkit.report.schemas import TABLES
from grokkit.report.table import leaderboard_table
from grokkit.report.write import write_report

__all__ = ["TABLES", "build_page", "leaderboard_table", "write_report"]
