"""What a method's start has found so far, in a file beside the run's checkpoint: weak models can take minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from grokkit.randomness import GlobalState, global_state, set_global_state
from grokkit.tensor_files import Unusable, load_tensors, save_tensors
from grokkit.train.checkpoint import part


def start_files(checkpoint: Path, run: str) -> list[Path]:
    """The files of this kind beside ``checkpoint`` that are of the run with this hash."""
    return list(checkpoint.parent.glob(f"start-{run}-*.safetensors"))


class HalfwayFile:
    """A :class:`grokkit.methods.contract.Halfway` in a file.

    Args:
        checkpoint: of the run; the file lies beside it.
        run: the hash of the run's configuration.
        place: which of the method's starts it is.
        seconds: between two times of keeping.
        tell: called with what there is to say, to follow the run's name.
    """

    def __init__(self, checkpoint: Path, run: str, place: int, seconds: float, tell: Callable[[str], None]) -> None:
        self._path, self._own = checkpoint.with_name(f"start-{run}-{place}.safetensors"), [run, place]
        self._seconds, self._tell = seconds, tell
        self._kept_at = time.monotonic()
        self._begun, self._earlier = time.perf_counter(), 0.0

    def taken(self) -> float:
        """Seconds since this was made, and those that the start had taken when it kept what it goes on from."""
        return self._earlier + time.perf_counter() - self._begun

    def found(self) -> tuple[Mapping[str, Tensor], Any] | None:
        try:
            loaded = load_tensors(self._path)
            if loaded is None:
                return None
            tensors, about = loaded
            if about.get("of") != self._own:
                raise Unusable("is of another run")
        except Unusable as error:
            self._tell(f"what its start had kept {error}; the start begins anew")
            return None
        set_global_state(GlobalState(part(tensors, "generators/"), about["generators"]))
        self._earlier = about.get("seconds", 0.0)  # a file of an earlier version does not say
        self._tell("goes on in what its method does before the first step")
        return part(tensors, "start/"), about["others"]

    def due(self) -> bool:
        return time.monotonic() - self._kept_at >= self._seconds

    def keep(self, tensors: Mapping[str, Tensor], others: Any) -> None:
        generators = global_state()
        every = {f"start/{name}": tensor for name, tensor in tensors.items()}
        every |= {f"generators/{name}": tensor for name, tensor in generators.tensors.items()}
        about = {"of": self._own, "seconds": self.taken(), "others": others, "generators": generators.others}
        save_tensors(self._path, every, about)
        self._kept_at = time.monotonic()
