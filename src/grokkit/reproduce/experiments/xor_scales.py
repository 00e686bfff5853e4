"""GrokTransfer's XOR clusters: is there an initial scale that gives the published curves, norm ratio and single step?

The paper states scales and a formula whose decay can be read in two ways (times the learning rate, ``wd=0.1`` here, or
not, ``wd=1``). Under each reading every scale of a grid is tried, with several seeds:

    curves    from scratch, by its factor on PyTorch's start: memorized by epoch 10, generalized at 60 to 100
    transfer  from a weak network, by the standard deviations of its two layers: a target is right on 99 % of the rows,
              those trained on and others, after a step
    ratio     of such a network where Figure 5 has it (p = 80,000, n = 1,000, ε = 1/80): r_W within a fourth of 2ε/√n

A scale holds where four fifths of its seeds do. The picture has the shares of seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import torch
from torch import Tensor

from grokkit.files import atomic_write
from grokkit.reproduce.experiments.xor_one_step import RIGHT, TEST_ROWS
from grokkit.reproduce.kept import Part
from grokkit.rng import stream
from grokkit.xor import TwoLayer, XorTask, accuracy, after_one_step, descend, norm_ratio, xor_task
from grokkit.xor.two_layer import Products, start_products

_MEMORIZED, _GENERALIZED, _EVERY = 0.95, 0.95, 5
_BY, _FROM, _UNTIL, _LONGEST = 10, 60, 100, 200  # epochs
_WIDTH = 2048  # from scratch, as in the paper
_NEAR = 0.25
_MOST = 0.8


class _Tried(NamedTuple):
    """One scale under one reading with one seed. ``scale``: of the start, or of a weak network's two layers."""

    what: str
    wd: float
    scale: str
    seed: int
    holds: bool


class _Weak(NamedTuple):
    """A weak network that is trained, and by which decay and from which scale."""

    wd: float
    scale: str
    network: TwoLayer


def run(
    seed: int,
    *,
    folder: Path,
    part: Part,
    p: int,
    n: int,
    epsilon: float,
    ratio_n: int,
    ratio_epsilon: float,
    start_scales: Sequence[float],
    stds: Sequence[float],
    output_stds: Sequence[float],
    decays: Sequence[float],
    networks: int,
    epochs: int = 1000,
) -> dict[str, float | None]:
    """1 or 0: some scale gives the curves, the transfer, the ratio; ``all``: under one reading a scale of the start
    gives the curves, and one of a weak network both others."""
    theorem = xor_task(p, rows=n + TEST_ROWS, epsilon=epsilon)
    scales = list(product(stds, output_stds))
    tried: list[_Tried] = []
    for network in range(seed * networks, (seed + 1) * networks):

        def all_scales(network: int = network) -> list[_Tried]:
            rows = torch.randperm(n + TEST_ROWS, generator=stream(network, "xor rows"))
            # All of its rows are trained on, so that each seed needs a pool of its own to have other data.
            figure = xor_task(p, rows=ratio_n, epsilon=ratio_epsilon, seed=network)
            theirs = _weak_networks(theorem, rows[:n], scales, decays, epochs, network)
            figures = _weak_networks(figure, torch.arange(ratio_n), scales, decays, epochs, network)
            return [
                *_from_scratch(theorem, rows, n, start_scales, decays, network),
                *_transfers(theorem, rows, n, theirs, network),
                *_ratios(figures, 2 * ratio_epsilon / ratio_n**0.5, network),
            ]

        tried += [_Tried(*found) for found in part(f"network{network}", all_scales)]
    atomic_write(folder / "tried.json", json.dumps([found._asdict() for found in tried]).encode())
    return _found(tried, decays, networks)


def picture(*, folder: Path, **_: Any) -> Any:
    tried = json.loads((folder / "tried.json").read_text(encoding="utf-8"))
    values = [{**found, "holds": float(found["holds"])} for found in tried]
    chart = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("scale:N", title=None, sort=None, axis=alt.Axis(labelAngle=-60)), y=alt.Y("wd:N", title="decay")
    )
    shares = chart.mark_rect().encode(
        color=alt.Color("mean(holds):Q", scale=alt.Scale(domain=[0, 1], scheme="blues"), title="share of seeds")
    )
    return alt.vconcat(
        *(
            shares.transform_filter(alt.datum.what == what).properties(title=title, height=60)
            for what, title in (
                ("curves", "the published curves from scratch, by the factor on PyTorch's start"),
                ("transfer", "a target is right after one step, by the deviations of the weak layers"),
                ("ratio", "r_W is 2ε/√n, by the deviations of the weak layers"),
            )
        )
    )


def _from_scratch(
    task: XorTask, rows: Tensor, n: int, scales: Sequence[float], decays: Sequence[float], seed: int
) -> Iterator[_Tried]:
    """Every scale and decay from one draw, since a start's products grow with its scale."""
    if not scales:
        return
    drawn = start_products(
        task.columns(),
        len(rows),
        neurons=_WIDTH,
        std=1 / (3 * task.dim) ** 0.5,  # PyTorch's
        generator=stream(seed, "xor scratch"),
    )
    for wd, scale in product(decays, scales):
        holds = _has_curves(TwoLayer(_scaled(drawn, scale), dim=task.dim), task, rows, n, wd)
        yield _Tried("curves", wd, f"{scale:g}", seed, holds)


def _scaled(drawn: Products, scale: float) -> Products:
    return Products(drawn.gram_PN, scale * drawn.start_PM, scale * drawn.norm)


def _has_curves(model: TwoLayer, task: XorTask, rows: Tensor, n: int, wd: float) -> bool:
    train, test = rows[:n], rows[n:]
    memorized = generalized = None
    for epoch in range(_EVERY, _LONGEST + 1, _EVERY):
        descend(model, task, train, epochs=_EVERY, wd=wd)
        if memorized is None and accuracy(model, task, train[:, None], train) >= _MEMORIZED:
            memorized = epoch
        if generalized is None and accuracy(model, task, test[:, None], test) >= _GENERALIZED:
            generalized = epoch
            break
        if memorized is None and epoch >= _BY:
            break
    return memorized is not None and generalized is not None and _FROM <= generalized <= _UNTIL


def _transfers(task: XorTask, rows: Tensor, n: int, networks: Iterable[_Weak], seed: int) -> Iterator[_Tried]:
    for wd, name, weak in networks:
        right = after_one_step(weak, task, rows[:n], rows[n:], seed=seed)
        yield _Tried("transfer", wd, name, seed, min(right) >= RIGHT)


def _ratios(networks: Iterable[_Weak], expected: float, seed: int) -> Iterator[_Tried]:
    for wd, name, weak in networks:
        yield _Tried("ratio", wd, name, seed, abs(norm_ratio(weak) / expected - 1) <= _NEAR)


def _weak_networks(
    task: XorTask,
    train: Tensor,
    scales: Iterable[tuple[float, float]],
    decays: Sequence[float],
    epochs: int,
    seed: int,
) -> Iterator[_Weak]:
    """Three trained neurons of every scale and decay, from one draw: a start's products grow with its scale."""
    generator = stream(seed, "weak xor")
    output_K = torch.randn(3, generator=generator)
    drawn = start_products(task.columns(), len(task.inputs_NT), neurons=3, std=1.0, generator=generator)
    for (std, output_std), wd in product(scales, decays):
        weak = TwoLayer(_scaled(drawn, std), dim=task.dim, output_M=output_std * output_K)
        descend(weak, task, train, epochs=epochs, wd=wd)
        yield _Weak(wd, f"{std:g}, {output_std:g}", weak)


def _found(tried: Sequence[_Tried], decays: Sequence[float], networks: int) -> dict[str, float | None]:
    def holding(what: str, wd: float) -> set[str]:
        held = [found.scale for found in tried if (found.what, found.wd) == (what, wd) and found.holds]
        return {scale for scale in held if held.count(scale) >= _MOST * networks}

    readings = [tuple(holding(what, wd) for what in ("curves", "transfer", "ratio")) for wd in decays]
    exist = {
        "curves": any(curves for curves, _, _ in readings),
        "transfer": any(transfer for _, transfer, _ in readings),
        "ratio": any(ratio for _, _, ratio in readings),
        "all": any(curves and transfer & ratio for curves, transfer, ratio in readings),
    }
    return {name: float(some) for name, some in exist.items()}
