"""FSDP2: sharded weights, gradients and filter state; a checkpoint of two processes, gone on with by one.

python examples/fsdp.py      (two processes on this machine; with torchrun, call train() from your own script)
"""

import os
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard

import grokkit

PROCESSES = 2


def build(shard):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))
    if shard:
        for layer in (model[0], model[2], model):
            fully_shard(layer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    # A norm over each whole tensor, whatever part of it is here, then a filter of its entries:
    grokkit.attach(optimizer, grokkit.chain(grokkit.grad_norm(1.0), grokkit.grokfast_ema(alpha=0.9, lamb=1.0)))
    return model, optimizer


def steps(model, optimizer, number, rank=0, of=1):
    inputs = torch.randn(512, 16, generator=torch.Generator().manual_seed(1))
    targets = inputs[:, :1] * inputs[:, 1:2]
    for _ in range(number):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs[rank::of]), targets[rank::of])
        loss.backward()
        optimizer.step()
    return loss.item()


def train(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    model, optimizer = build(shard=True)
    loss = steps(model, optimizer, 150, rank, PROCESSES)
    slow = optimizer.state[model[0].weight]["grokkit/1/slow"]
    print(f"process {rank}: loss {loss:.3f}; holds {tuple(slow.to_local().shape)} of {tuple(slow.shape)}")
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=f"{folder}/checkpoint")
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
        model, optimizer = build(shard=False)
        weights, state = get_state_dict(model, optimizer)
        saved = {"model": weights, "optimizer": state}
        dcp.load(saved, checkpoint_id=f"{folder}/checkpoint", no_dist=True)
        set_state_dict(model, optimizer, model_state_dict=saved["model"], optim_state_dict=saved["optimizer"])
    loss = steps(model, optimizer, 150)
    counted = int(optimizer.state[model[0].weight]["grokkit/1/step"][0])  # a count lies there once for each row
    print(f"one process, gone on: loss {loss:.3f}; the filter has seen {counted} gradients")
    assert counted == 300
    assert loss < 0.5
