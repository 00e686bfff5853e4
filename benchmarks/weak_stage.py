"""GrokTransfer's weak stage beside the training it spares, as the lab's workers run it: one thread, freed memory kept.

python benchmarks/weak_stage.py

The row ``weak-stage`` of ``grokkit bench`` is the same in a process like any other.
"""

import torch

from grokkit.bench.runs import weak_stage
from grokkit.bench.timing import alternate, compare
from grokkit.train.allocator import keep_freed_memory

torch.set_num_threads(1)
keep_freed_memory()
duel = weak_stage()
found = compare(alternate(duel, rounds=3, after_round=lambda done: print(f"{done} of 3", flush=True)))
print(f"from scratch {found.plain_ms / 1e3:.1f} s, weak stage {found.ours_ms / 1e3:.2f} s")
print(f"ratio {found.ratio:.3f} [{found.ratio_min:.3f}–{found.ratio_max:.3f}]; {duel.note()}")
