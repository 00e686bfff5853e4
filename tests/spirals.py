"""A problem as somebody would write it: a Dataset and a network of their own, with dropout and normalization."""

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from grokkit.lab import Problem


class Spirals(Dataset):
    """Points on two arms of a spiral; the class is the arm."""

    def __init__(self, rows=240):
        generator = torch.Generator().manual_seed(7)
        self.classes = torch.arange(rows) % 2
        angle = 2.5 * torch.rand(rows, generator=generator) + 0.5
        turned = angle + math.pi * self.classes
        points = torch.stack([angle * turned.cos(), angle * turned.sin()], dim=1)
        self.points = points + 0.02 * torch.randn(rows, 2, generator=generator)

    def __len__(self):
        return len(self.classes)

    def __getitem__(self, row):
        return self.points[row], self.classes[row]


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.norm = nn.Linear(2, width), nn.BatchNorm1d(width)
        self.dropout, self.second, self.head = nn.Dropout(0.1), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, points):
        hidden = self.dropout(functional.relu(self.norm(self.first(points))))
        return self.head(functional.relu(self.second(hidden)))


def right(outputs, targets):
    return outputs.argmax(-1) == targets


def problem(width=32):
    return Problem(
        name="spirals",
        data=Spirals(),
        model=lambda: Net(width),
        loss=functional.cross_entropy,
        score=right,
        batch_size=40,
        target=0.9,
        classes=2,
        optimizer="adamw(lr=0.01,wd=0.01)",
    )
