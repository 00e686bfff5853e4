"""Mixed precision and gradient accumulation: the loop stays as it was, and nothing is to be called between.

python examples/amp.py
"""

import torch

import grokkit

torch.manual_seed(0)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = torch.float16 if DEVICE == "cuda" else torch.bfloat16
inputs = torch.randn(512, 16, device=DEVICE)
targets = inputs[:, :1] * inputs[:, 1:2]
model = torch.nn.Sequential(torch.nn.Linear(16, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1)).to(DEVICE)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
scaler = torch.amp.GradScaler(DEVICE)
handle = grokkit.attach(optimizer, grokkit.grokfast_ema(alpha=0.9, lamb=1.0))  # the one line

for step in range(300):
    optimizer.zero_grad()
    for rows in torch.randperm(512, device=DEVICE).chunk(4):  # four micro-batches, one step
        with torch.autocast(DEVICE, HALF):
            loss = torch.nn.functional.mse_loss(model(inputs[rows]), targets[rows])
        scaler.scale(loss / 4 * (float("inf") if step == 100 else 1.0)).backward()  # an overflow, once
    scaler.unscale_(optimizer)  # only because we clip
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)  # filters the accumulated, unscaled, clipped gradient; not after an overflow
    scaler.update()

filtered = set(handle.state.step.values())
print(f"loss {loss.item():.3f} after 300 steps; gradients filtered: {filtered}, one was skipped")
assert filtered == {299}
assert loss.item() < 0.5
