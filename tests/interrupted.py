"""Runs that end in the middle, and what must be equal where another one goes on from there."""

TIMES = {"train_seconds", "eval_seconds"}


class Interrupted(Exception):
    """Raised by a report, as a crash would be."""


def interrupt_after(stops):
    """A report that lets a run go on for so many stops."""
    seen = 0

    def report(_progress):
        nonlocal seen
        seen += 1
        if seen > stops:
            raise Interrupted

    return report


def interrupt_at(step):
    """A report that ends a run once it has taken ``step`` steps."""

    def report(progress):
        if progress["step"] >= step:
            raise Interrupted

    return report


def curves(run):
    """All but the times, which no two runs share."""
    return {name: values for name, values in run.curves.items() if name not in TIMES}
