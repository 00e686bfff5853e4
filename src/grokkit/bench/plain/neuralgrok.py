"""NeuralGrok as one writes it: every gradient entry through the network, a copy of the model for every outer step."""

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F


class PlainAmplifier(torch.nn.Module):
    """p = softmax of a ReLU network over the entries; g' = c·(p∘g)/‖p∘g‖₂."""

    def __init__(self, hidden=(128, 128), c=1.0):
        super().__init__()
        widths = [1, *hidden]
        layers = [part for a, b in pairwise(widths) for part in (torch.nn.Linear(a, b), torch.nn.ReLU())]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 1))
        self.c = c

    def forward(self, g):
        flat = g.reshape(-1, 1)
        weighted = torch.softmax(self.network(flat), 0) * flat
        return (self.c * weighted / weighted.norm()).reshape(g.shape)


class PlainNeuralGrok:
    """Call it between ``backward()`` and ``step()``; ``loss(model, rows)`` is the model's loss on these rows."""

    def __init__(self, model, loss, outer_rows, hidden=(128, 128), every=4, inner_lr=1e-3, lr=1e-4, weight_decay=1e-3):
        self.model, self.loss, self.outer_rows = model, loss, outer_rows
        self.every, self.inner_lr = every, inner_lr
        self.amplifier = PlainAmplifier(hidden)
        self.optimizer = torch.optim.Adam(
            self.amplifier.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay
        )
        self.steps = 0

    def __call__(self, rows):
        if self.every and self.steps % self.every == 0:
            self.outer_step(rows)
        self.steps += 1
        with torch.no_grad():
            for p in self.model.parameters():
                p.grad = self.amplifier(p.grad)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)

    def outer_step(self, rows):
        ahead = copy.deepcopy(self.model)
        ahead.zero_grad()
        self.loss(ahead, rows).backward()
        moved = {name: p.detach() - self.inner_lr * self.amplifier(p.grad) for name, p in ahead.named_parameters()}
        self.optimizer.zero_grad()
        self.loss(lambda tokens: torch.func.functional_call(ahead, moved, (tokens,)), self.outer_rows).backward()
        self.optimizer.step()


def cross_entropy(columns, answers):
    """The loss of a decoder over columns of tokens at its last position."""
    return lambda model, rows: F.cross_entropy(model(columns[:, rows])[-1], answers[rows])
