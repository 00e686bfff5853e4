"""Run a function in several real processes that make up one gloo group, and collect what each returns."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

TESTS = Path(__file__).parents[1]
_LIMIT = 240  # seconds for a group of processes; a slow machine needs about twenty


def together(module: str, function: str, *arguments, processes: int = 2) -> list:
    """``module.function(*arguments)`` in each process of a group; their results, by rank.

    The processes meet in a file, so no port has to be free. Whatever happens, all have ended afterwards.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as files:
        torch.save(arguments, f"{folder}/arguments")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        command = [sys.executable, __file__, module, function, folder, str(processes)]
        logs = [files.enter_context(open(f"{folder}/log{rank}", "w+")) for rank in range(processes)]
        running = [
            subprocess.Popen([*command, str(rank)], env=environment, stdout=log, stderr=log)
            for rank, log in enumerate(logs)
        ]
        try:
            for process in running:
                process.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{function} did not end in {_LIMIT} s\n{_said(logs)}") from None
        finally:
            for process in running:
                process.kill()
                process.wait()
        assert not any(process.returncode for process in running), _said(logs)
        return [torch.load(f"{folder}/result{rank}", weights_only=False) for rank in range(processes)]


def _said(logs) -> str:
    texts = []
    for rank, log in enumerate(logs):
        log.seek(0)
        texts.append(f"--- process {rank}:\n{log.read()[-4000:]}")
    return "\n".join(texts)


def _main(module: str, function: str, folder: str, processes: int, rank: int) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(TESTS))
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=processes,
        timeout=datetime.timedelta(seconds=_LIMIT / 2),
    )
    work = getattr(importlib.import_module(module), function)
    torch.save(work(*torch.load(f"{folder}/arguments", weights_only=False)), f"{folder}/result{rank}")
    dist.barrier()
    dist.destroy_process_group()
    # DDP and FSDP2 keep gloo's threads beyond the group. One that frees a tensor while the interpreter closes would
    # abort the process, so this one ends without that.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]))
