"""The next byte of film reviews: a language model of bytes.

    x = (b_0, …, b_{T−1}),  y = (b_1, …, b_T), int64, a target at every place

A row is T + 1 consecutive bytes of a review in UTF-8, with its marks such as ``<br />``; the next row of the review
begins where this one's targets end, so that every byte but a review's first is a target once. What is left of a review,
less than a row, is cut off. The loss is the mean over all places, in nats a byte; the first places of a row see little
of what comes before. Which bytes are likely is learned from nothing but the training rows.

The reviews are those of :mod:`grokkit.tasks.imdb`, found where that finds them; none is there twice. The task is a pool
of rows: reviews in a random order, always the same, until there are so many. Rows of one review are kept in one part.

It is for models that answer at every place and see none that follows it: the decoder. The target, 2 nats, is a little
less than the loss of counting three bytes at a time in the same training rows (docs/real-data.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from grokkit.arguments import Size
from grokkit.rng import stream
from grokkit.tasks.cache import cached
from grokkit.tasks.card import TaskCard
from grokkit.tasks.imdb import MORE, review_source
from grokkit.tasks.pool_options import check_rows
from grokkit.tasks.task import Task

BYTES = 256
_ROWS = 5000  # unless told


def next_byte_task(rows: int = _ROWS, *, length: Size = 64, data_dir: str | None = None) -> Task:
    """A pool of ``rows`` rows of ``length`` bytes, always the same for the same source.

    Args:
        rows: size of the pool. Default 5,000, of some 260 reviews.
        length: T. Default 64.
        data_dir: a folder ``aclImdb``; None for the package.

    Raises:
        InputError: more rows than there are, no package, no such folder, a damaged file.
    """
    source = review_source("bytes", data_dir)
    found = cached(
        f"bytes-{source.kind}-1",
        {"rows": rows, "length": length},
        source.paths,
        lambda: _cut([text for text, _ in source.read()], rows, length),
    )
    bytes_NS = found["rows"].long()
    return Task(
        name="bytes" + (f":{rows}" if rows != _ROWS else ""),
        inputs="sequences",
        inputs_NT=bytes_NS[:, :-1],
        targets_N=bytes_NS[:, 1:],
        vocabulary=BYTES,
        classes=BYTES,
        groups=found["reviews"],
        description=f"the next byte of film reviews, {rows} rows of {length}",
        more_rows=f"for more take a larger pool, e.g. bytes:50000; {MORE}",
    )


def _cut(texts: list[str], rows: int, length: int) -> dict[str, Tensor]:
    """``rows`` rows of ``length`` + 1 bytes, and the review that each is of."""
    reviews = [text.encode() for text in dict.fromkeys(texts)]
    counts = [max(0, len(review) - 1) // length for review in reviews]
    check_rows("bytes", rows, sum(counts), more=MORE)
    found: list[Tensor] = []
    of_review: list[int] = []
    for place in torch.randperm(len(reviews), generator=stream(0, "bytes reviews")).tolist():
        if len(of_review) >= rows:
            break
        if counts[place]:
            review = torch.frombuffer(bytearray(reviews[place]), dtype=torch.uint8)
            found.append(review.unfold(0, length + 1, length))
            of_review += [place] * counts[place]
    return {"rows": torch.cat(found)[:rows], "reviews": torch.tensor(of_review[:rows])}


CARD = TaskCard(
    name="bytes",
    build=next_byte_task,
    usage={
        "bytes": "the next byte of film reviews, a language model; 4,000 training rows of 64 unless told; pip install "
        "'grokkit[data]' or --data-dir"
    },
    example="bytes:50000",
    batch_size=32,
    train_size=4000,
    target_loss=2.0,
)
