"""The tables of runs that the report can show, and their columns; docs/results-format.md says what they are."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

_RUN = {"run_id": pl.String(), "method": pl.String(), "seed": pl.Int64()}
_STEP, _NUMBER = {"step": pl.Int64()}, {"number": pl.Int64(), "x": pl.Float64(), "y": pl.Float64()}

TABLES: dict[str, pl.Schema] = {
    name: pl.Schema({**_RUN, **columns})
    for name, columns in {
        "amplifier": {**_STEP, "gradient": pl.Float64(), "log_weight": pl.Float64()},
        "softmax": {**_STEP, "tensor": pl.String(), "kl_from_uniform": pl.Float64()},
        "fourier": {**_STEP, "frequency": pl.Int64(), "share": pl.Float64()},
        "circle": {**_STEP, **_NUMBER, "frequency": pl.Int64()},
        "pca": {**_STEP, **_NUMBER, "explained_x": pl.Float64(), "explained_y": pl.Float64()},
        "ntk": {**_STEP, "kernel_distance": pl.Float64()},
        "quick_checks": {
            **_STEP,
            "rows": pl.Int64(),
            "train_loss": pl.Float64(),
            "train_accuracy": pl.Float64(),
            "test_loss": pl.Float64(),
            "test_accuracy": pl.Float64(),
        },
        "attempts": {
            "attempt": pl.Int64(),
            "weak": pl.String(),
            "seed_of_weak": pl.Int64(),
            "steps": pl.Int64(),
            "validation_accuracy": pl.Float64(),
            "seconds": pl.Float64(),
            "flops": pl.Float64(),
            "chosen": pl.Boolean(),
        },
        "digits": {"row": pl.Int64(), "label": pl.Int64(), "predicted": pl.Int64(), "pixels": pl.String()},
        "reviews": {"row": pl.Int64(), "label": pl.Int64(), "probability": pl.Float64(), "text": pl.String()},
        "predictions": {"target": pl.Float64(), "predicted": pl.Float64(), "unit": pl.String()},
    }.items()
}
"""Table → columns, those that tell a run first."""


def completed(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """All of :data:`TABLES`; one that is absent, or without a row, has its columns all the same."""
    return {
        name: tables[name] if name in tables and not tables[name].is_empty() else pl.DataFrame(schema=schema)
        for name, schema in TABLES.items()
    }
