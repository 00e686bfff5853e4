"""The symmetric group as rows of tokens: one permutation after another, ``a ∘ b =``.

Tokens 0…n!−1 are the permutations of n things in lexicographic order, n! is ``=`` and n!+1 is ``∘``. The target is the
permutation that does a first and then b: it takes i to b(a(i)). Rows run in lexicographic order of (a, b). The order
matters, a ∘ b ≠ b ∘ a for most, which no modular arithmetic has; S₅ has no quotient but its sign either.
"""

from __future__ import annotations

from itertools import permutations

import torch

from grokkit.errors import InputError
from grokkit.tasks.card import TaskCard
from grokkit.tasks.task import Task

_MOST = 6  # of 7 things the table has 25 million rows


def symmetric_task(n: int = 5) -> Task:
    """The whole table of composition in the symmetric group of ``n`` things, (n!)² rows.

    Raises:
        InputError: unless 3 ≤ n ≤ 6.

    >>> task = symmetric_task(5)
    >>> tuple(task.inputs_NT.shape), task.vocabulary, task.inputs_NT[121].tolist(), int(task.targets_N[121])
    ((14400, 4), 122, [1, 121, 1, 120], 0)
    """
    if not 3 <= n <= _MOST:
        raise InputError(f"the permutations of {n} things are not possible: 3 to {_MOST}; s5 has those of 5")
    images_GI = torch.tensor(list(permutations(range(n))))  # row a holds a(0), a(1), …
    count = len(images_GI)
    a_N, b_N = torch.cartesian_prod(torch.arange(count), torch.arange(count)).unbind(1)
    both_NI = images_GI[b_N].gather(1, images_GI[a_N])
    digits_I = n ** torch.arange(n)
    order = torch.zeros(n**n, dtype=torch.int64)  # the number of the permutation whose images are these digits
    order[images_GI @ digits_I] = torch.arange(count)
    signs = {"=": torch.full_like(a_N, count), "∘": torch.full_like(a_N, count + 1)}
    return Task(
        name=f"s{n}",
        inputs="expressions",
        inputs_NT=torch.stack([a_N, signs["∘"], b_N, signs["="]], 1),
        targets_N=order[both_NI @ digits_I],
        vocabulary=count + len(signs),
        classes=count + len(signs),
        description=f"one permutation of {n} things after another, {len(a_N)} rows, tokens: a ∘ b =",
    )


CARD = TaskCard(
    name="s5",
    build=symmetric_task,
    usage={"s5": "one permutation of five things after another, 120 tokens; s5(n=4) of four"},
    example="s5",
    smallest="s5(n=4)",
)
