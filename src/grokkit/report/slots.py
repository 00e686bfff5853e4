"""The page's sections of figures: heading, note, and a slot for each chart, which the page's script fills by its name.

A section stands where one of its charts was drawn, or its table has a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from grokkit.analyse.target import Measure, target_of
from grokkit.report import examples, sections

_CLOCKS = {"step": "steps", "train_seconds": "seconds", "flops": "FLOPs"}

_LEARNING_NOTE = (
    "Bold: median over seeds. Thin: each seed. Dots: quick checks of a few rows, which scatter. A run that stopped "
    "after generalizing keeps its last value in the median. The fine line is the target."
)
_COST_NOTE = (
    "Mean over the runs that reached the target, up to there. Paler: over those that did not, all that they spent. "
    "Weak models are what a method trains before its first step, every attempt counted."
)
_ATTEMPTS_NOTE = (
    "In the order tried, cheapest first, until one generalizes a little. All are part of the run's seconds and FLOPs, "
    "none of its steps."
)
_AMPLIFIER_NOTE = (
    "Each entry g of a gradient tensor is weighted by exp f(g), normalized over the tensor; f is the amplifier. "
    "At 0.69 a weight is twice a zero entry's. First seed."
)
_EMBEDDING_NOTE = (
    "First seed. A frequency's share is that of the squared norm, less the mean, which its cosine and sine carry over "
    "the numbers in cyclic order: as they count, or for products as powers of a primitive root. A number has the same "
    "colour in both pictures of the final embedding, its place on the circle of the largest frequency."
)
_KERNEL_NOTE = (
    "1 − cosine of the angle between the empirical neural tangent kernel, of the summed outputs, and that of the "
    "evaluation before. 0: features stand still. The more steps between two evaluations, the larger. Bold: median over "
    "seeds, a run that stopped keeping its last value. Thin: each seed."
)

_DIGITS_NOTE = (
    "Of the test part, by the model as it was in the end, first seed: what a digit is → what it was taken for, the "
    "surest mistakes first."
)
_REVIEWS_NOTE = (
    "Of the test part, by the model as it was in the end, first seed: those whose label it held for least likely. The "
    "model read only the words of its vocabulary, and no more than the first of them. Open one to read its beginning."
)
_PREDICTIONS_NOTE = (
    "Up to 500 rows of the test part, by the model as it was in the end, first seed. On the line, prediction and truth "
    "are equal; a dot at the edge lies beyond it."
)


def figure_sections(study: Mapping[str, Any], drawn: Collection[str], tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """The sections, as HTML, of the charts ``drawn`` (their names in :func:`grokkit.report.charts.page_charts`)."""
    methods = list(study["methods"])
    key = sections.key(methods)
    attempts, target = tables["attempts"], target_of(study)
    return [
        section("Learning curves", _LEARNING_NOTE, _learning(key, target.measure)),
        section("When runs generalize", "", key + _times(target.short)),
        *([section("What it costs", _COST_NOTE, _costs(target.short))] if "cost:seconds" in drawn else []),
        *(
            [section("Weak models tried", _ATTEMPTS_NOTE, _weak_models(attempts, methods, drawn))]
            if not attempts.is_empty()
            else []
        ),
        section("Weights and gradients", "Against steps. Bold: median over seeds. Thin: each seed.", key + _norms()),
        *_amplifier(methods, drawn),
        *_embedding(methods, drawn),
        *_kernel(methods, drawn, tables["ntk"]),
        *_examples(methods, drawn, tables),
    ]


def section(title: str, note: str, content: str) -> str:
    """A section of the page with its heading."""
    anchor = title.lower().replace(" ", "-")
    notes = f'<p class="note">{note}</p>' if note else ""
    return f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{title}</h2>\n{notes}{content}\n</section>'


def _learning(key: str, measure: Measure) -> str:
    radios = "".join(
        f'<label><input type="radio" name="clock" value="{value}"{" checked" if value == "step" else ""}>'
        f"<span>{words}</span></label>"
        for value, words in _CLOCKS.items()
    )
    held_out, train = (
        _figure(name, f"{part} {measure}", "", f"{part} {measure} of each method over training.", clocked=True)
        for name, part in (("test", "Held-out"), ("train", "Train"))
    )
    return (
        f'<fieldset><legend>against</legend>{radios}</fieldset>{key}<div class="pair">{held_out}{train}</div>'
        "<noscript><p>The charts need JavaScript; verdict and tables do not.</p></noscript>"
    )


def _times(target: str) -> str:
    fraction = _figure(
        "fraction",
        "Fraction of runs generalized",
        f"Kaplan–Meier. An upright stroke: runs that ended without reaching {target}.",
        "Fraction of runs that have generalized, by method, over steps.",
    )
    times = _figure(
        "times",
        f"Steps to {target}, by seed",
        "One mark a run; a line joins the runs of a seed; a bar is the median. An open triangle stands at the budget "
        "of a run that did not get there.",
        f"Steps to {target} of every run, paired by seed. The table of runs has the numbers.",
    )
    return f'<div class="pair">{fraction}{times}</div>'


def _norms() -> str:
    weights = [
        ("weight_norm", "Weight norm", "ℓ₂ norm over all weights"),
        ("weight_entropy", "Weight entropy", "AWE, −Σ|w| ln|w|"),
    ]
    gradients = [
        ("gradient_entropy", "Gradient entropy", "AGE of the raw gradient, −Σ|g| ln|g|"),
        ("filtered_gradient_entropy", "Entropy after the method", "AGE of the gradient that the optimizer steps on"),
        ("gradient_angle", "Angle between the two", "over the whole model; 0° without a method"),
    ]
    pair, triple = (
        "".join(_figure(name, title, note, f"{title} of each method over steps.") for name, title, note in figures)
        for figures in (weights, gradients)
    )
    return f'<div class="pair">{pair}</div><div class="triple">{triple}</div>'


def _costs(target: str) -> str:
    figures = [
        ("cost:seconds", f"Seconds to {target}", "of training, on one machine"),
        ("cost:flops", f"FLOPs to {target}", "of matrix products, whatever the machine"),
    ]
    return f'<div class="pair">{"".join(_figure(*figure, f"{figure[1]}, by method.") for figure in figures)}</div>'


def _weak_models(attempts: pl.DataFrame, methods: Sequence[str], drawn: Collection[str]) -> str:
    """What they gave the target, if there are enough to compare, and a table of all that were tried."""
    table = sections.attempts_table(attempts, methods)
    if "quality:steps" not in drawn:
        return table
    figures = [
        ("quality:steps", "Weak accuracy and steps", "one mark a run; an open triangle did not reach the target"),
        ("quality:seconds", "Weak accuracy and seconds", "what the weak models took is part of them"),
    ]
    pair = "".join(_figure(*figure, f"{figure[1]} to the target.") for figure in figures)
    return f'{sections.key(methods, set(attempts["method"]))}<div class="pair">{pair}</div>{table}'


def _amplifier(methods: Sequence[str], drawn: Collection[str]) -> list[str]:
    """What learned amplifiers do."""
    with_one = [method for method in methods if f"amplifier:{method}" in drawn]
    if not with_one:
        return []
    curves = "".join(
        _figure(
            f"amplifier:{escape(method)}",
            escape(method),
            "f(g) − f(0) in nats, over the range of that step's gradients",
            f"Amplifier of {escape(method)} at several steps of training.",
        )
        for method in with_one
    )
    divergences = "".join(
        _figure(f"divergence:{name}", f"Unequal weights, {which}", note, f"{note}: {which}, of each method over steps.")
        for name, which, note in (
            ("median", "median tensor", "KL of the weights of a tensor's entries from uniform, in nats"),
            ("largest", "most unequal tensor", "KL of the weights of a tensor's entries from uniform, in nats"),
        )
    )
    key = sections.key(methods, with_one)
    content = f'<div class="pair">{curves}</div>{key}<div class="pair">{divergences}</div>'
    return [section("The learned amplifier", _AMPLIFIER_NOTE, content)]


def _embedding(methods: Sequence[str], drawn: Collection[str]) -> list[str]:
    """What embeddings hold: for each method a row of pictures."""
    kinds = {
        "spectrum": ("Spectrum over training", "frequency; on the left edge, before the first step"),
        "circle": ("Circle of the largest frequency", "the line joins numbers that should be neighbours"),
        "pca": ("Principal components", "the plane of the largest variance"),
    }
    rows = []
    for method in methods:
        figures = "".join(
            _figure(escape(f"{kind}:{method}"), title, note, f"{title} of the embedding of {escape(method)}.")
            for kind, (title, note) in kinds.items()
            if f"{kind}:{method}" in drawn
        )
        if figures:
            rows.append(f'<h3>{escape(method)}</h3><div class="triple">{figures}</div>')
    return [section("The embedding", _EMBEDDING_NOTE, "".join(rows))] if rows else []


def _kernel(methods: Sequence[str], drawn: Collection[str], table: pl.DataFrame) -> list[str]:
    """How far the tangent kernel moves."""
    if "kernel" not in drawn:
        return []
    figure = _figure("kernel", "Change of the kernel", "since the evaluation before", "Kernel distance over steps.")
    return [section("The tangent kernel", _KERNEL_NOTE, sections.key(methods, set(table["method"])) + figure)]


def _examples(methods: Sequence[str], drawn: Collection[str], tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """Single rows of the test part, where people would rather look at them."""
    found = []
    if not tables["digits"].is_empty():
        found.append(section("Misread digits", _DIGITS_NOTE, examples.digits(tables["digits"], methods)))
    if not tables["reviews"].is_empty():
        found.append(section("Most surprising reviews", _REVIEWS_NOTE, examples.reviews(tables["reviews"], methods)))
    figures = "".join(
        _figure(
            escape(f"predictions:{method}"), escape(method), "", f"Predicted against true values, {escape(method)}."
        )
        for method in methods
        if f"predictions:{method}" in drawn
    )
    if figures:
        found.append(section("Predicted and true", _PREDICTIONS_NOTE, f'<div class="triple">{figures}</div>'))
    return found


def _figure(name: str, title: str, note: str, description: str, *, clocked: bool = False) -> str:
    flag = " data-clocked" if clocked else ""
    small = f"<small>{note}</small>" if note else ""
    return (
        f"<figure><figcaption>{title}{small}</figcaption>"
        f'<div class="chart" data-chart="{name}"{flag} role="img" aria-label="{description}"></div></figure>'
    )
