"""GrokTransfer's Figure 12: a weak model's embedding of the numbers modulo P, when it is left.

``largest share``: of the squared norm without the mean, that of the strongest frequency; evenly spread over P // 2
frequencies it would be 2/(P − 1). The paper draws it by t-SNE, and so does the picture here, where scikit-learn is
installed, beside the plane of that frequency and the two principal components.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import altair as alt
import polars as pl
from torch import Tensor

from grokkit.methods.contract import Examples, TransferData
from grokkit.methods.groktransfer.search import Rule
from grokkit.methods.groktransfer.source import find_embedding
from grokkit.probe.fourier import circle, dominant_frequencies, natural_order, spectrum
from grokkit.probe.projection import pca
from grokkit.report.figures.embedding import numbers_chart
from grokkit.tasks import split
from grokkit.tasks.table import make_task


def run(seed: int, *, task: str, weak: str, stop: float, train_fraction: float) -> dict[str, float | None]:
    """``largest share``, its ``frequency``, and the weak model's validation accuracy, ``accuracy``."""
    numbers_PD, accuracy = _embedding(seed, task, weak, stop, train_fraction)
    found = spectrum(numbers_PD, order=_order(task))
    (frequency,) = dominant_frequencies(found)
    return {"largest share": max(found["share"]), "frequency": frequency, "accuracy": accuracy}


def _embedding(seed: int, name: str, weak: str, stop: float, train_fraction: float) -> tuple[Tensor, float]:
    task = make_task(name)
    assert task.modulus is not None
    rows = split(task, train_fraction=train_fraction, validation_fraction=0.1, seed=seed)
    train, validation = Examples(*task.batch(rows.train)), Examples(*task.batch(rows.validation))
    lesson = TransferData(
        train=train, validation=validation, vocabulary=task.vocabulary, outputs=task.classes, inputs=task.inputs
    )
    stage = find_embedding(weak, lesson, width=128, rule=Rule(stop=stop), seed=seed)
    chosen = next(attempt for attempt in stage.attempts if attempt.chosen)
    return stage.embedding[: task.modulus], chosen.validation_accuracy


def _order(task: str) -> Any:
    made = make_task(task)
    return natural_order(made.operators, made.modulus or 0)


def picture(*, task: str, weak: str, stop: float, train_fraction: float) -> Any:
    numbers_PD, _ = _embedding(0, task, weak, stop, train_fraction)
    ring = circle(numbers_PD, order=_order(task))
    frequency, count = ring["frequency"][0], len(ring["number"])
    turns = {number: place * frequency % count / count for place, number in enumerate(ring["number"])}
    scatters = {f"the plane of frequency {frequency}": ring, "two principal components": pca(numbers_PD)}
    if find_spec("sklearn") is not None:
        scatters["t-SNE"] = _neighbours(numbers_PD)
    return alt.hconcat(*(_scatter(table, turns, title) for title, table in scatters.items()))


def _neighbours(numbers_PD: Tensor) -> dict[str, list[Any]]:
    from sklearn.manifold import TSNE

    count = len(numbers_PD)
    placed = TSNE(perplexity=min(30.0, (count - 1) / 3), random_state=0).fit_transform(numbers_PD.double().numpy())
    return {"number": list(range(count)), "x": placed[:, 0].tolist(), "y": placed[:, 1].tolist()}


def _scatter(table: dict[str, list[Any]], turns: dict[int, float], title: str) -> Any:
    """Numbers in the colours of their places on the circle, which 0 has none of where numbers are multiplied."""
    turn = [turns.get(number) for number in table["number"]]
    columns = {**{name: table[name] for name in ("number", "x", "y")}, "turn": turn}
    return numbers_chart(pl.DataFrame(columns)).properties(width=300, height=300, title=title)
