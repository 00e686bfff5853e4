"""The Grokfast paper's decoder as its public script has it: every position of every row, nn.MultiheadAttention.

Tokens come time first, (T, B); logits are (T, B, V). Parameters carry the names of `grokkit.models.Decoder`.
"""

import torch
from torch import nn


class PlainBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        mask = torch.full((len(x), len(x)), float("-inf"), dtype=x.dtype, device=x.device).triu(1)
        x = self.ln_1(x)
        mixed, _ = self.attn(x, x, x, attn_mask=mask, need_weights=False)
        x = x + mixed
        return x + self.mlp(self.ln_2(x))


class PlainDecoder(nn.Module):
    def __init__(self, vocabulary, positions, depth=2, width=128, heads=4):
        super().__init__()
        self.token_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(PlainBlock(width, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        positions = torch.arange(len(tokens), device=tokens.device).unsqueeze(-1).expand_as(tokens)
        x = self.token_embeddings(tokens) + self.position_embeddings(positions)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln_f(x))
