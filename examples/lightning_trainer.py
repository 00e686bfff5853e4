"""Lightning's Trainer, automatic optimization: NeuralGrok's amplifier learns on data set apart; saved and resumed.

pip install 'grokkit[lightning]'; python examples/lightning_trainer.py
"""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from grokkit.integrations.lightning import NeuralGrokCallback

torch.manual_seed(0)
inputs = torch.randn(1024, 16)
data = TensorDataset(inputs, inputs[:, :1] * inputs[:, 1:2])
inner, outer = torch.utils.data.random_split(data, [1004, 20])  # one row in fifty teaches the amplifier


class Product(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 128), torch.nn.ReLU(), torch.nn.Linear(128, 1))

    def loss(self, batch):
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def training_step(self, batch, index):
        return self.loss(batch)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def fit(epochs, checkpoint=None):
    lightning.seed_everything(0, verbose=False)
    module = Product()
    learned = NeuralGrokCallback(DataLoader(outer, batch_size=20), loss=Product.loss, hidden=(32, 32))  # the one line
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[learned],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(inner, batch_size=128), ckpt_path=checkpoint)
    return trainer, module, learned


half, _, _ = fit(20)
half.save_checkpoint("half.ckpt")
_, resumed, _ = fit(40, "half.ckpt")
_, whole, learned = fit(40)
loss = whole.loss(inner[:]).item()
print(f"loss {loss:.3f} after 40 epochs, {learned.neuralgrok.handle.state.updates} outer steps")
assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))
print("interrupted after 20 and resumed: the same weights, bit for bit")
assert loss < 0.5
