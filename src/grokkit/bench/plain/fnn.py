"""A feed-forward network on token embeddings as one writes it: look up, lay side by side, multiply."""

from torch import nn


class PlainFnn(nn.Module):
    def __init__(self, vocabulary, tokens, classes, depth=3, dim=128, width=512):
        super().__init__()
        sizes = [tokens * dim, *[width] * (depth - 1), classes]
        self.token_embeddings = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(nn.Linear(sizes[i], sizes[i + 1], bias=False) for i in range(depth))

    def forward(self, tokens):
        x = self.token_embeddings(tokens).flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)
