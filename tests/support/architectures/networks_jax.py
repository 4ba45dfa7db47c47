"""Networks on JAX: one in each library, as `jax_nets` has them, and a transformer of Flax."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from jax_nets import CASES, torch_model

from architectures import by_hand
from architectures.convolutional import images
from architectures.row import Architecture

KIND = "JAX"
SIDE = 32
LAYERS = {
    "function": ("JAX function with marks", "step@activated", ()),
    "nnx": ("Flax NNX", "step", ("flax",)),
    "linen": ("Flax Linen", "step", ("flax",)),
    "equinox": ("Equinox", "step", ("equinox",)),
    "haiku": ("Haiku", "step2@activated", ("haiku",)),
}
"""Name, chosen layer and package of each."""


def network(library: str) -> Any:
    """The small network in one library."""
    return CASES[library]().model


def in_torch(inputs: np.ndarray, library: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients of the last step of the same network in PyTorch.

    A step is a linear layer and a hyperbolic tangent; Equinox's is the linear layer alone.
    """
    import torch

    model = torch_model()
    model.softmax = torch.nn.Identity()
    row = Architecture(
        name="torch",
        framework="torch",
        make=torch_model,
        inputs=images,
        layer="steps.2",
        score=lambda outputs: outputs[:, 3],
        target=3,
    )
    if library == "equinox":
        return by_hand.evidence(row, model, torch.from_numpy(inputs))
    first = np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    linear, gradients = by_hand.evidence(row, model, torch.from_numpy(first))
    return np.tanh(linear), gradients / (1 - np.tanh(linear) ** 2)


def vit() -> Any:
    """A vision transformer of Flax NNX: two blocks, a class token, sixteen patches."""
    import jax.numpy as jnp
    from flax import nnx

    rngs, width = nnx.Rngs(0), 16

    class Block(nnx.Module):
        def __init__(self) -> None:
            self.norm1, self.norm2 = (nnx.LayerNorm(width, rngs=rngs) for _ in range(2))
            self.attention = nnx.MultiHeadAttention(2, width, decode=False, rngs=rngs)
            self.mlp = nnx.Sequential(
                nnx.Linear(width, 2 * width, rngs=rngs),
                nnx.gelu,
                nnx.Linear(2 * width, width, rngs=rngs),
            )

        def after(self, x: Any, normed: Any) -> Any:
            x = x + self.attention(normed)
            return x + self.mlp(self.norm2(x))

        def __call__(self, x: Any) -> Any:
            return self.after(x, self.norm1(x))

    class ViT(nnx.Module):
        def __init__(self) -> None:
            self.patches = nnx.Conv(3, width, (8, 8), (8, 8), rngs=rngs)
            self.token = nnx.Param(nnx.initializers.normal()(rngs.params(), (1, 1, width)))
            self.places = nnx.Param(nnx.initializers.normal()(rngs.params(), (1, 17, width)))
            self.blocks = nnx.List([Block(), Block()])
            self.norm = nnx.LayerNorm(width, rngs=rngs)
            self.head = nnx.Linear(width, 10, rngs=rngs)

        def before(self, x: Any) -> Any:
            x = self.patches(x).reshape(len(x), -1, width)
            tokens = jnp.broadcast_to(self.token[...], (len(x), 1, width))
            return self.blocks[0](jnp.concatenate([tokens, x], 1) + self.places[...])

        def after(self, x: Any) -> Any:
            return self.head(self.norm(x)[:, 0])

        def __call__(self, x: Any) -> Any:
            return self.after(self.blocks[1](self.before(x)))

    return ViT()


def of_tokens(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients of the patches, where the last attention reads them."""
    import jax

    model = vit()
    before, last = model.before(inputs), model.blocks[1]
    normed = last.norm1(before)
    gradients = jax.grad(lambda at: model.after(last.after(before, at))[:, 3].sum())(normed)

    def spread(tokens: Any) -> np.ndarray:
        patches = np.asarray(tokens)[:, 1:]
        return np.moveaxis(patches.reshape(len(patches), 4, 4, -1), -1, 1)

    return spread(normed), spread(gradients)


ARCHITECTURES = [
    *(
        Architecture(
            name=f"{name}, three steps in a loop",
            framework="jax",
            make=partial(network, library),
            inputs=partial(
                images,
                size=(SIDE, SIDE),
                channels="first" if library == "equinox" else "last",
            ),
            layer=layer,
            score=lambda outputs: outputs[:, 3],
            target=3,
            plain=partial(in_torch, library=library),
            needs=("torch", "jax", *needs),
            kind=KIND,
        )
        for library, (name, layer, needs) in LAYERS.items()
    ),
    Architecture(
        name="Flax NNX ViT, a class token",
        framework="jax",
        make=vit,
        inputs=partial(images, size=(SIDE, SIDE), channels="last"),
        layer="blocks.1.norm1",
        score=lambda outputs: outputs[:, 3],
        target=3,
        plain=of_tokens,
        needs=("jax", "flax"),
        kind=KIND,
    ),
]
