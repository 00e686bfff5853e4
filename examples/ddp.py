"""DistributedDataParallel: every process attaches the same transform and filters the same all-reduced gradient.

python examples/ddp.py      (two processes on this machine; with torchrun, call train() from your own script)
"""

import os
import sys
import tempfile

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import grokkit

PROCESSES = 2


def train(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    torch.manual_seed(0)
    inputs = torch.randn(512, 16)
    targets = inputs[:, :1] * inputs[:, 1:2]
    mine = slice(rank * 256, rank * 256 + 256)

    model = torch.nn.Sequential(torch.nn.Linear(16, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    grokkit.attach(optimizer, grokkit.grokfast_ema(alpha=0.9, lamb=1.0))  # the one line

    for _ in range(200):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs[mine]), targets[mine])
        loss.backward()
        optimizer.step()

    total = torch.stack([p.detach().double().sum() for p in model.parameters()]).sum()
    others = [torch.zeros_like(total) for _ in range(PROCESSES)]
    dist.all_gather(others, total)
    print(f"process {rank}: loss {loss.item():.3f}")
    assert all(torch.equal(other, total) for other in others)
    assert loss.item() < 0.5
    dist.barrier()  # nobody leaves while another is still at it
    dist.destroy_process_group()


def process(rank, folder):
    """A process ends here at once: gloo's threads outlive the group, and one of them that frees a tensor while the
    interpreter closes would abort it."""
    train(rank, folder)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(process, args=(folder,), nprocs=PROCESSES)
