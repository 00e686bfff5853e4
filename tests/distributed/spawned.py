"""What a spawned process does with the attached optimizer that it is sent."""

from by_hand import run

from grokkit.attach import attached


def go_on(rank, model, optimizer, results, steps):
    """Train on, and tell where that ended and how many steps its state counts."""
    ends = run(model, optimizer, steps)
    handle = attached(optimizer)
    results.put(([end.tolist() for end in ends], int(handle.state[1]), list(handle.parameters)))
