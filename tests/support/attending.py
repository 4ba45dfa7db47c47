"""A small network of attention, and LeGrad's score of a layer by the authors' code, in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np


def attending(torch: Any, pooled: bool, blocks: int = 2, token: bool = False) -> Any:
    """Make a network of blocks of attention, its weights drawn.

    Parameters
    ----------
    torch : module
        PyTorch.
    pooled : bool
        Whether tokens are pooled by their mean, or the first is read.
    blocks : int
        How many there are.
    token : bool
        Whether a class token is put before the patches.
    """

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = torch.nn.Linear(6, 18), torch.nn.Linear(6, 6)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 3).permute(2, 0, 3, 1, 4)
            self.seen = torch.softmax(q @ k.transpose(-2, -1) / 3**0.5, -1)
            return x + self.out((self.seen @ v).transpose(1, 2).reshape(x.shape))

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Conv2d(3, 6, 4, stride=4)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(blocks))
            self.norm, self.head = torch.nn.LayerNorm(6), torch.nn.Linear(6, 5)
            if token:
                self.token = torch.nn.Parameter(torch.randn(1, 1, 6))

        def forward(self, x: Any) -> Any:
            x = self.embed(x).flatten(2).transpose(1, 2)
            if token:
                x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
            self.given = []
            for block in self.blocks:
                x = block(x)
                self.given.append(x)
            return self.head(self.norm(x.mean(1) if pooled else x[:, 0]))

    torch.manual_seed(0)
    return Network().double().eval()


def legrad_by_layer(torch: Any, model: Any, images: np.ndarray, chosen: int) -> list[np.ndarray]:
    """Compute each block's map, ``(B, 4, 4)``, of the score that its own tokens' mean gives."""
    model(torch.from_numpy(images))
    maps = []
    for tokens, block in zip(model.given, model.blocks, strict=True):
        score = model.head(model.norm(tokens.mean(1)))[:, chosen].sum()
        (slope,) = torch.autograd.grad(score, block.seen, retain_graph=True)
        maps.append(slope.clamp(min=0).mean((1, 2))[:, -16:].reshape(-1, 4, 4).numpy())
    return maps
