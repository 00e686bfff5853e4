"""The amplifier as what it is, a piecewise-linear function, on the range of the gradients.

A ReLU network whose input is one number is linear between its switches, where one of its units turns on or off. These
are found layer by layer, exactly: between the switches of the layers before, a unit's pre-activation is linear; where
it changes its sign between two neighbouring points, the crossing follows from the values there. A gradient's range has
few, so evaluating hundreds of thousands of entries is a lookup, and its cost does not depend on the network's width.

Each piece is held by the network's values at two of its inner points, at 1/4 and 3/4: with t from 0 to 1 across it,

    f = f_low·(1.5 − 2t) + f_high·(2t − 0.5).

These two values are smooth functions of the weights, so the gradient with respect to the weights goes through them.

Shapes: N entries, E edges, P = E − 1 pieces, H width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.methods.neuralgrok.amplifier import Amplifier

_MARGIN = 1e-3  # The curve reaches beyond the gradients' range by this share of it: no entry lies on its outer edges.
_TINY = 1e-300  # And by this much more, so that the curve of gradients that are all zero is not empty.
_NARROW = 1e-13  # A piece narrower than this share of the range has a slope of rounding; its left neighbour takes it.
_FEW = 24  # Up to so many switches a pass over the entries for each is faster than a search for every entry.
_LITTLE = 16.0  # Up to so many times f's variation the switches' terms may add up to; _adds_up has the reason.
_ROUNDING = 1e-12  # The share of f by which it may jump between two pieces and still pass for continuous.
_COUNTED = 64  # FLOPs are counted for so many pieces; runs of the lab had 3 to 40.
CHUNK = 2**17  # Entries at once, so that temporaries are small and stay in the cache.
CHUNK_OF_A_GPU = 2**24  # There each operation on a chunk is a kernel to launch; temporaries are of 64 MB.


def chunks(x_N: Tensor) -> tuple[Tensor, ...]:
    """The entries in pieces, as many at once as suits the device."""
    return x_N.split(CHUNK if x_N.device.type == "cpu" else CHUNK_OF_A_GPU)


class Pieces(NamedTuple):
    """Piece p lies between the edges p and p + 1, which ascend; low and high are f at its 1/4 and 3/4. All float64."""

    edges_E: Tensor
    low_P: Tensor
    high_P: Tensor


def tabulate(amplifier: Amplifier, low: Tensor, high: Tensor, *, compact: bool = True) -> Pieces:
    """The pieces of ``amplifier`` from ``low`` to ``high``, 0-d and float64, and a little beyond.

    ``compact`` keeps only the pieces that there are. Without it no shape depends on a value, as vmap and a CUDA graph
    demand: there are as many pieces as there could be, (h₁+1)·(h₂+1)·… for hidden widths h, since every unit of a layer
    may cut every piece. The surplus ones have no width and lie at the last edge.
    """
    margin = _MARGIN * torch.maximum(low.abs(), high.abs()) + _TINY
    edges_E = torch.stack([low - margin, high + margin])
    for index in range(len(amplifier.weights) - 1):
        # Between two neighbouring edges each unit of the layers before is on or off throughout. So this layer's values
        # are linear there, and one that is -1 at the left edge and 3 at the right one crosses 0 at 1/4 of the way.
        values = amplifier.layer(edges_E, index)
        left_PH, right_PH = values[:-1], values[1:]
        crosses_PH = ((left_PH < 0) & (right_PH > 0)) | ((left_PH > 0) & (right_PH < 0))
        share_PH = left_PH / torch.where(crosses_PH, left_PH - right_PH, 1.0)
        at_PH = edges_E[:-1, None] + edges_E.diff()[:, None] * share_PH
        switches = at_PH[crosses_PH] if compact else torch.where(crosses_PH, at_PH, edges_E[-1]).flatten()
        edges_E = torch.cat([edges_E, switches]).sort().values
        if compact:
            is_wide_P = edges_E.diff() > _NARROW * (edges_E[-1] - edges_E[0])
            edges_E = edges_E[torch.cat([is_wide_P, is_wide_P.new_ones(1)])]  # wide ones' left edges, and the last
    values = amplifier(torch.cat(_inner_points(edges_E)))
    return Pieces(edges_E, *values.chunk(2))


def table_flops(hidden: tuple[int, ...]) -> int:
    """Floating-point operations in the matrix products of :func:`tabulate`, for a table of 64 pieces.

    How many pieces there are depends on the gradients. A run's cost should not, so more are counted than runs had. The
    entries are then looked up, which takes no product, however many they are.
    """
    widths = (1, *hidden, 1)
    layers = [i * o for i, o in pairwise(widths)]
    switches = sum(2 * (_COUNTED + 1) * sum(layers[: index + 1]) for index in range(len(hidden)))
    return switches + 2 * (2 * _COUNTED) * sum(layers)


def gradient_flops(hidden: tuple[int, ...]) -> int:
    """The same count for :func:`amplifier_gradient`, which makes a forward pass at two points a piece, and a backward
    pass that needs no gradient of the points.
    """
    widths = (1, *hidden, 1)
    layers = [i * o for i, o in pairwise(widths)]
    return 2 * (2 * _COUNTED) * (3 * sum(layers) - layers[0])


def evaluate(pieces: Pieces, x_N: Tensor) -> Tensor:
    """f at every entry, in float64."""
    values = []
    for x in chunks(x_N):
        at, piece = _locate(pieces.edges_E, x)
        low, high = pieces.low_P.index_select(0, piece), pieces.high_P.index_select(0, piece)
        values.append(low * (1.5 - 2.0 * at) + high * (2.0 * at - 0.5))
    return torch.cat(values)


def evaluate_(pieces: Pieces, x_N: Tensor) -> None:
    """Overwrite every entry x by f(x) less a constant, the same for all, in the entries' own precision.

    The softmax that follows does not see the constant.
    """
    width_P = pieces.edges_E.diff()
    slope_P = (pieces.high_P - pieces.low_P) / (0.5 * width_P)
    # On a GPU the passes for the switches take longer than the search, and their numbers would have to be waited for.
    if len(slope_P) <= _FEW + 1 and x_N.device.type == "cpu":
        switches = _Switches(pieces.edges_E[:-1].tolist(), [float(slope_P[0]), *slope_P.diff().tolist()])
        if _adds_up(pieces, switches):
            return _by_switches(switches, x_N)
    return _by_lookup(pieces, slope_P, x_N)


class _Switches(NamedTuple):
    """f less its value at the first start, as Σ bend·max(x − start, 0).

    With the edges 0, 1, 3 and the slopes 2 and 5, f rises by 2·x up to 1 and by 2·x + 3·(x − 1) beyond: the starts are
    0 and 1, the bends 2 and 3.
    """

    starts: list[float]
    bends: list[float]


def _by_switches(switches: _Switches, x_N: Tensor) -> None:
    """A pass over the entries for each switch. No entry lies below the first start, so its term needs no maximum."""
    starts, bends = switches
    for chunk in chunks(x_N):
        y = (chunk - starts[0]).mul_(bends[0])
        for start, bend in zip(starts[1:], bends[1:], strict=True):
            y.add_((chunk - start).clamp_(min=0.0), alpha=bend)
        chunk.copy_(y)


def _by_lookup(pieces: Pieces, slope_P: Tensor, x_N: Tensor) -> None:
    """A search for each entry's piece, and there the value in the middle plus slope times distance from the middle."""
    middle_P = pieces.edges_E[:-1] + 0.5 * pieces.edges_E.diff()
    value_P = 0.5 * (pieces.low_P + pieces.high_P)
    value_P = value_P - value_P.max()  # in float64: a large constant would round off f's variation below
    slope_P, middle_P, value_P = (tensor.to(x_N.dtype) for tensor in (slope_P, middle_P, value_P))
    inner = pieces.edges_E[1:-1].to(x_N.dtype)
    for chunk in chunks(x_N):
        piece = torch.bucketize(chunk, inner, out_int32=True)
        chunk.sub_(middle_P.index_select(0, piece)).mul_(slope_P.index_select(0, piece))
        chunk.add_(value_P.index_select(0, piece))


# A sum of switches is continuous. The pieces need not be: where one has taken a narrow neighbour, f jumps by what it
# rose over that. So the jumps together may be no more than rounding, |jumps| <= 1e-12 * max|f|.
#
# A sum may cancel, too. The term of switch k lies between 0 and its share, |bend_k| * (last edge - start_k), so each of
# the n additions rounds by at most eps * (sum of the shares), and the result is off by n * eps * (sum of the shares) at
# most. What matters of f is its variation, max f - min f. With (sum of the shares) <= 16 * variation and n <= 25, the
# first slope and 24 switches, the error is at most 400 * eps of the variation, which is 2.4e-5 of it in float32.
def _adds_up(pieces: Pieces, switches: _Switches) -> bool:
    """Whether f is the sum of its switches' terms, to rounding."""
    lows, highs = pieces.low_P.tolist(), pieces.high_P.tolist()
    # The values at 1/4 and 3/4 of a piece, continued to its ends.
    ends = [(1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low) for low, high in zip(lows, highs, strict=True)]
    jumps = sum(abs(left[1] - right[0]) for left, right in pairwise(ends))
    last = float(pieces.edges_E[-1])
    shares = sum(abs(bend) * (last - start) for start, bend in zip(*switches, strict=True))
    least, most = min(lows + highs), max(lows + highs)
    return jumps <= _ROUNDING * max(-least, most) and shares <= _LITTLE * (most - least)


def pull_back(pieces: Pieces, x_N: Tensor, cotangents_N: Tensor) -> tuple[Tensor, Tensor]:
    """The cotangents of ``low_P`` and ``high_P``, summed up from those of f at the entries; float64."""
    low_P, high_P = torch.zeros_like(pieces.low_P), torch.zeros_like(pieces.high_P)
    for x, cotangents in zip(chunks(x_N), chunks(cotangents_N), strict=True):
        at, piece = _locate(pieces.edges_E, x.double())
        low_P = low_P.index_add(0, piece, cotangents * (1.5 - 2.0 * at))
        high_P = high_P.index_add(0, piece, cotangents * (2.0 * at - 0.5))
    return low_P, high_P


def amplifier_gradient(amplifier: Amplifier, edges_E: Tensor, low_P: Tensor, high_P: Tensor) -> Amplifier:
    """The gradient with respect to the weights, from ``low_P`` and ``high_P``, which :func:`pull_back` gives."""
    points = torch.cat(_inner_points(edges_E))
    return torch.func.vjp(lambda weights: weights(points), amplifier)[1](torch.cat([low_P, high_P]))[0]


def _inner_points(edges_E: Tensor) -> tuple[Tensor, Tensor]:
    left, width = edges_E[:-1], edges_E.diff()
    return left + 0.25 * width, left + 0.75 * width


def _locate(edges_E: Tensor, x_N: Tensor) -> tuple[Tensor, Tensor]:
    """Where in its piece each entry lies, from 0 to 1, and the piece's number."""
    piece_N = torch.bucketize(x_N, edges_E[1:-1].clone())  # under vmap a slice has gaps, of which bucketize warns
    return (x_N - edges_E[:-1].index_select(0, piece_N)) / edges_E.diff().index_select(0, piece_N), piece_N
