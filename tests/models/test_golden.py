"""The decoder and the training step reproduce trajectories recorded from an independent implementation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from grokkit import attach, grokfast_ema, grokfast_ma
from grokkit.models import Decoder

FILTERS = {
    "decoder_trajectory_ema": lambda: grokfast_ema(alpha=0.98, lamb=2.0),
    "decoder_trajectory_ma": lambda: grokfast_ma(window_size=20, lamb=5.0),
}


def decoder_from(arrays):
    model = Decoder(vocabulary=25, positions=5, depth=2, width=32, heads=4)
    state = {
        name.removeprefix("init."): torch.tensor(arrays[name]) for name in arrays.files if name.startswith("init.")
    }
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("name", FILTERS)
def test_training_follows_the_recorded_trajectory(golden, name):
    arrays = golden(name)
    model = decoder_from(arrays)
    held_out = torch.tensor(arrays["val_tokens"])[:, :4]
    with torch.no_grad():
        np.testing.assert_allclose(model(held_out).numpy(), arrays["val_logits_init"], rtol=1e-4, atol=1e-5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.005)
    attach(optimizer, FILTERS[name]())
    losses, norms = [], []
    for update, batch in enumerate(torch.tensor(arrays["batches"])):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, update / 10)
        loss = F.cross_entropy(model(batch[:, :4]), batch[:, 4])
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])))
        losses.append(loss.item())
        optimizer.step()
    np.testing.assert_allclose(losses[:100], arrays["losses"][:100], rtol=1e-4)
    np.testing.assert_allclose(norms[:100], arrays["grad_norms"][:100], rtol=1e-3)
    assert losses[100] < 0.9 * losses[0], "the run must have learned something"
