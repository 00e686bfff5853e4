"""Is what a part says that it costs at least half of what PyTorch's counter sees?

Claims are made in FLOPs, and what a part declares is charged to its runs unseen. The counter sees less than a formula
may rightly say, since tables and shared prefixes save products, and what is computed only now and then is declared in
the mean. So only a cost that is far too low is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from grokkit.flop_counter import counted_flops
from grokkit.randomness import seeded_aside
from grokkit.train.config import RunConfig
from grokkit.train.loop import begin_alone

STEPS = 10  # what a method does in one step of so many is seen


class Cost(NamedTuple):
    """Floating-point operations in matrix products."""

    counted: int
    declared: int

    def is_hidden(self, beside: int = 0) -> bool:
        """Whether more than twice as many were counted as were declared, and more than a twentieth of ``beside``."""
        return self.counted > 2 * self.declared and 20 * self.counted > beside

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.counted - other.counted, self.declared - other.declared)


def cost_of_steps(config: RunConfig) -> Cost:
    """Of the first :data:`STEPS` steps of a run: those of model, method and optimizer."""
    with seeded_aside(0, "check"):
        engine = begin_alone(config)
        (member,) = engine.members
        before = member.progress.flops
        with counted_flops() as counter:
            engine.train_to(STEPS)
    return Cost(counter.get_total_flops(), member.progress.flops - before)
