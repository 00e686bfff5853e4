"""The columns of what is measured while a run is trained."""

CURVES = (
    "step",
    "certain_step",
    "train_seconds",
    "eval_seconds",
    "flops",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "weight_norm",
    "weight_entropy",
    "gradient_norm",
    "gradient_entropy",
    "filtered_gradient_norm",
    "filtered_gradient_entropy",
    "gradient_cosine",
)
"""Columns of the curves, one row an evaluation; docs/results-format.md says what each is."""

QUICK_CHECKS = ("step", "rows", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
"""Columns of the table of the same name, one row a quick check."""
