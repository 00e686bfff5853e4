"""What pages may say outside generated pieces though it looks like a measured number, and why."""

NOT_MEASURED = {
    "docs/methods.md",  # what methods are
    "docs/library.md",  # how to use the library
    "docs/results-format.md",  # what files hold
    "docs/migration.md",  # calls of other packages and ours
    "docs/verdict.md",  # how verdicts are made
    "docs/extending.md",  # recipes for parts
    "docs/your-problem.md",  # how to bring a problem
    "docs/reliability.md",  # what was tried to break the lab: its counts are pieces
    "docs/tune.md",  # how to search
    "docs/suite.md",  # how to use suites
    "docs/machines.md",  # how to use other machines
    "docs/commands.md",  # the commands
    "docs/start.md",  # the first steps
    "docs/glossary.md",  # words
    "docs/promise.md",  # what stays as it is
    "docs/reproduced.md",  # what papers state and what we measured: pieces
    "docs/reproduced-grokfast.md",
    "docs/reproduced-neuralgrok.md",
    "docs/reproduced-groktransfer.md",
}
"""Pages that carry no results: they are not searched."""

SETTINGS = (
    r"\b(?:95|85) %",  # the targets of our studies, and the level of every interval
    r"\b(?:half|a quarter|15 %|20 %|25 %) of (?:the|its) (?:table|rows)\b",  # the training part
    r"\b(?:at most|within|budget|after|of|every|and) \d[\d,]* steps\b",  # a budget, or when a method acts
    r"\btimes (?:of|as|the|that|its) (?:large|PyTorch's)\b|\b(?:eight|8) times as large\b",  # a task's initial weights
)
"""Patterns of settings, in any page."""

ALLOWED: dict[str, dict[str, str]] = {
    "docs/findings.md": {"products go to the faster of PyTorch's": "what the code does"},
    "docs/questions.md": {"(1+λ) times as large": "arithmetic"},
    "docs/design.md": {
        "With 60 % of a·b mod 97": "arithmetic: 0.6 · 97² rows in batches of 512",
        "training, 10 %,": "the share of evaluations, a setting",
        "every 3 % of the steps taken": "the grid of evaluations, a setting",
        "Half of the share": "how that share is spent, a setting",
        "which are faster": "why PyTorch wrote its fused kernels",
    },
    "docs/groktransfer.md": {
        "reach 70 % on": "the default threshold of weak models",
        "default is 70 %": "the same",
        "With 15 % (": "the training part",
        "three never exceed\n75 %": "a theorem, held by a test",
    },
    "docs/performance.md": {
        "take 10 % of": "the share of evaluations, a setting",
        "half of that": "how that share is spent, a setting",
    },
    "docs/real-data.md": {
        "half of them positive": "what the package holds",
        "tenth of the training only": "the share of evaluations, a setting",
        "200 times its weight decay": "two settings of the papers, 2 and 0.01",
    },
    "docs/which-method.md": {
        "adds λ times the slow gradient": "the definition of a filter",
        "(1+λ) times as large": "the same",
        "70 % on validation rows": "the default threshold of weak models",
    },
}
"""Page → text → why it may stand there: a setting or a definition."""
