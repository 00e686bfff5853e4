"""NeuralGrok in a training loop of one's own: one object, one call a step.

python examples/neuralgrok.py
"""

import torch

import grokkit

torch.manual_seed(0)
inputs = torch.randn(512, 8)
targets = inputs[:, :1] * inputs[:, 1:2]
inner, outer = torch.randperm(512).split([502, 10])  # one row in fifty teaches the amplifier
model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
ng = grokkit.NeuralGrok(model, optimizer, hidden=(32, 32), every=4)


def loss(rows):
    return torch.nn.functional.mse_loss(model(inputs[rows]), targets[rows])


before = loss(outer).item()
for _ in range(400):
    optimizer.zero_grad()
    loss(inner).backward()
    ng.outer_step(outer_loss=lambda: loss(outer))  # acts when one is due, at every fourth
    optimizer.step()  # steps on the transformed gradient
print(f"loss on the outer data: {before:.3f} before, {loss(outer).item():.3f} after 400 steps")
ng.amplifier.save("amplifier.npz")
assert loss(outer).item() < 0.5 * before
