"""Attach Grokfast to a training loop of one's own; save in the middle, and resume exactly.

python examples/attach.py
"""

import torch

import grokkit


def build():
    model = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    grokkit.attach(optimizer, grokkit.grokfast_ema(alpha=0.9, lamb=1.0))  # the one line
    return model, optimizer


def train(model, optimizer, steps):
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


model, optimizer = build()
train(model, optimizer, 100)
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
uninterrupted = train(model, optimizer, 100)

model, optimizer = build()
saved = torch.load("checkpoint.pt", weights_only=True)
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
resumed = train(model, optimizer, 100)

print(f"loss after 200 steps: {uninterrupted:.3g}; interrupted at 100 and resumed: {resumed:.3g}")
assert resumed == uninterrupted
