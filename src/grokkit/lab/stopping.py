"""What Ctrl-C leaves, in one line: runs that are done, and how far the others are kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from grokkit.printed import one_line
from grokkit.study.groups import group_checkpoints
from grokkit.study.plan import ids_of
from grokkit.study.store import Store
from grokkit.train.checkpoint import steps_saved
from grokkit.train.config import RunConfig
from grokkit.train.limit import Limit

_MOST_NAMED = 4


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, another Ctrl-C does nothing: somebody impatient presses it twice."""
    if threading.current_thread() is not threading.main_thread():  # which alone is ever interrupted
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def what_is_kept(runs: Sequence[RunConfig], store: Store, limits: Mapping[str, Limit] = MappingProxyType({})) -> str:
    """Of ``runs``: how many are done, at which step others are kept, and how to go on.

    One that was given up is done only if it is given up under its limit in ``limits`` too; else it is being continued.

    E.g. "2 of 4 runs are done and kept in out/x, and adamw, seed 0 at step 450 of 3,000; the same command goes on from
    there".
    """
    ids = ids_of(runs)
    done = store.finished(ids)
    done -= store.to_continue(done, limits)
    left = [run for run_id, run in zip(ids, runs, strict=True) if run_id not in done]
    steps: dict[str, int] = {}
    for path in reversed(group_checkpoints(store)):
        steps |= steps_saved(path)
    for run in left:
        steps |= steps_saved(store.checkpoint_path(run.run_id()))
    saved = [(run, steps[run.hash()]) for run in left if steps.get(run.hash())]
    named = [_named(run, step) for run, step in saved[:_MOST_NAMED]]
    if len(saved) > _MOST_NAMED:
        named.append(f"{len(saved) - _MOST_NAMED} more on their way")
    halfway = f", and {'; '.join(named)}" if named else ""
    return (
        f"{len(done)} of {len(runs)} runs are done and kept in {one_line(store.folder)}{halfway}; "
        "the same command goes on from there"
    )


def _named(run: RunConfig, step: int) -> str:
    return f"{run.method.label}, seed {run.seed} at step {step:,} of {run.budget:,}"
