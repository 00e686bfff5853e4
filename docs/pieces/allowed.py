"""What pages may say outside generated pieces though it looks like a measured number, and why."""

NOT_MEASURED = {
    "docs/library.md",  # how to use the library
    "docs/results-format.md",  # what files hold
    "docs/migration.md",  # calls of other packages and ours
}
"""Pages that carry no results: they are not searched."""

SETTINGS = (
    r"\b(?:95|85) %",  # the targets of our studies, and the level of every interval
    r"\b(?:half|a quarter|15 %|20 %|25 %) of (?:the|its) (?:table|rows)\b",  # the training part
    r"\b(?:at most|within|budget|after|of|every) \d[\d,]* steps\b",  # a budget, or when a method acts
)
"""Patterns of settings, in any page."""

ALLOWED: dict[str, dict[str, str]] = {
    "README.md": {
        "products go to the faster of PyTorch's": "what the code does",
        "the baseline to beat": "what the arm is for",
        "one of 11 other columns": "what QM9 holds",
        "eight times as large": "the initial weights of the task",
    },
}
"""Page → text → why it may stand there: a setting or a definition."""
