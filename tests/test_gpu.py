"""On a CUDA device the attached methods do what they do on the CPU."""

import pytest
import torch

from grokkit import attach
from grokkit.methods import CARDS
from grokkit.testing.excitation import gradients, parameters

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.factory])
def test_attached_on_cuda_equals_cpu(name):
    card = CARDS[name]
    results = []
    for device in ("cpu", "cuda"):
        params = {n: torch.nn.Parameter(p.to(device)) for n, p in parameters().items()}
        optimizer = torch.optim.AdamW(params.values(), lr=1e-2)
        attach(optimizer, card.factory(**card.smallest))
        for grads in gradients():
            for n, p in params.items():
                p.grad = grads[n].to(device, copy=True)
            optimizer.step()
        results.append({n: (p.detach().cpu(), p.grad.cpu()) for n, p in params.items()})
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-7)
