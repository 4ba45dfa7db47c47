"""Networks of Flax for the identities; see the module of networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from agreement_networks import CLASSES, TARGET, Subject, batch, drawn, golden_weights
from flax import nnx

ROLES = {"kernel": "kernel", "scale": "gamma", "var": "moving_variance"}


class Apply(nnx.Module):
    """A function as a layer with a name."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *given: Any) -> Any:
        return self.function(*given)


class Chain(nnx.Module):
    """Layers one after the other, by their names; `over` runs all but the last two again."""

    def __init__(self, repeats: int = 1, **layers: Any) -> None:
        self.names, self.repeats = tuple(layers), repeats
        for name, layer in layers.items():
            setattr(self, name, layer)

    def __call__(self, x: Any, since: str | None = None) -> Any:
        names = self.names[:-2] * self.repeats + self.names[-2:]
        start = 0 if since is None else names.index(since) + 1
        for name in names[start:]:
            x = getattr(self, name)(x)
        return x


class Residual(nnx.Module):
    """Two blocks, whose inputs are added to what they make of them."""

    def __init__(self) -> None:
        self.stem, self.stem_norm, self.stem_relu = conv(3, 8, 7, 2), norm(8), relu()
        self.pool = pool()
        for name, given, channels, stride in (("block1", 8, 12, 1), ("block2", 12, 16, 2)):
            parts = {
                "a": conv(given, channels, 3, stride),
                "a_norm": norm(channels),
                "a_relu": relu(),
                "b": conv(channels, channels, 3),
                "b_norm": norm(channels),
                "beside": conv(given, channels, 1, stride),
                "beside_norm": norm(channels),
                "add": Apply(jnp.add),
            }
            for part, layer in parts.items():
                setattr(self, f"{name}_{part}", layer)
            setattr(self, name, relu())
        self.fc = nnx.Linear(16, CLASSES, param_dtype=float, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        x = self.pool(self.stem_relu(self.stem_norm(self.stem(x))))
        for name in ("block1", "block2"):

            def part(of: str, *given: Any, name: str = name) -> Any:
                return getattr(self, f"{name}_{of}")(*given)

            y = part("b_norm", part("b", part("a_relu", part("a_norm", part("a", x)))))
            x = getattr(self, name)(part("add", part("beside_norm", part("beside", x)), y))
        return self.fc(x.mean((1, 2)))


def conv(given: int, channels: int, kernel: int, stride: int = 1, bias: bool = False) -> Any:
    return nnx.Conv(
        given,
        channels,
        (kernel, kernel),
        stride,
        use_bias=bias,
        param_dtype=float,
        rngs=nnx.Rngs(0),
    )


def norm(channels: int) -> Any:
    return nnx.BatchNorm(channels, use_running_average=True, param_dtype=float, rngs=nnx.Rngs(0))


def relu() -> Any:
    return Apply(nnx.relu)


def pool() -> Any:
    return Apply(lambda x: nnx.max_pool(x, (3, 3), (2, 2), "SAME"))


def mean() -> Any:
    return Apply(lambda x: x.mean((1, 2)))


def flat() -> Any:
    return Apply(lambda x: x.reshape(len(x), -1))


def linear(given: int) -> Any:
    return nnx.Linear(given, CLASSES, param_dtype=float, rngs=nnx.Rngs(0))


def subject(model: Any, early: str, last: str, affine: str) -> Subject:
    rng, images = np.random.default_rng(1), np.moveaxis(batch(64), 1, -1)
    for path, variable in sorted(nnx.to_flat_state(nnx.state(model)), key=lambda one: str(one[0])):
        shape = tuple(variable.shape)
        value = drawn(rng, ROLES.get(path[-1], "beta"), shape, int(np.prod(shape[:-1])))
        variable.set_value(jnp.asarray(value))  # running statistics are made in float32

    def forward(images: np.ndarray) -> np.ndarray:
        return np.asarray(model(jnp.asarray(images)))

    model.fc.kernel[...] = model.fc.kernel[...] / forward(images).std()
    head = (np.asarray(model.fc.kernel[...]).T, np.asarray(model.fc.bias[...]))
    return Subject(model, images, forward, head, early, last, affine)


def pooled() -> Subject:
    layers = {
        **{"conv1": conv(3, 8, 5, 4), "norm1": norm(8), "relu1": relu()},
        **{"conv2": conv(8, 10, 3, 4), "norm2": norm(10), "relu2": relu()},
        **{"conv3": conv(10, 12, 3, 2), "norm3": norm(12), "relu3": relu()},
    }
    return subject(Chain(**layers, pool=mean(), fc=linear(12)), "relu2", "relu3", "relu3")


def flattened() -> Subject:
    layers = {
        **{"conv1": conv(3, 8, 5, 4, True), "relu1": relu(), "conv2": conv(8, 10, 3, 2, True)},
        **{"relu2": relu(), "conv3": conv(10, 12, 3, 2, True), "relu3": relu(), "pool": pool()},
    }
    return subject(Chain(**layers, flat=flat(), fc=linear(48)), "conv2", "relu3", "pool")


def smooth() -> Subject:
    layers = {
        **{"conv1": conv(3, 8, 5, 4, True), "act1": Apply(nnx.gelu)},
        **{"conv2": conv(8, 10, 3, 2, True), "act2": Apply(nnx.silu)},
    }
    made = subject(Chain(**layers, pool=mean(), fc=linear(10)), "conv1", "act2", "act2")

    def curved(activations: np.ndarray) -> np.ndarray:
        def score(at: Any) -> Any:
            logits = made.model(at, since="conv1")
            return logits[jnp.arange(len(TARGET)), jnp.asarray(TARGET)].sum()

        at = jnp.asarray(activations)
        return np.asarray(jax.jvp(jax.grad(score), (at,), (at,))[1])

    return replace(made, curved=curved)


def residual() -> Subject:
    return subject(Residual(), "block1", "block2", "block2")


def shared() -> Subject:
    layers = {"conv": conv(3, 3, 3, 1, True), "norm": norm(3), "relu": relu()}
    return subject(Chain(2, **layers, pool=mean(), fc=linear(3)), "conv", "relu", "relu")


def golden() -> tuple[Any, np.ndarray, list[str]]:
    """Captum's golden example: a model, its input and its two layers."""
    bias, rows = golden_weights()
    dense = nnx.Linear(8, 4, param_dtype=float, rngs=nnx.Rngs(0))
    first = nnx.Conv(1, 2, (3, 3), padding="VALID", param_dtype=float, rngs=nnx.Rngs(0))
    first.kernel[...], first.bias[...] = jnp.ones((3, 3, 1, 2)), jnp.asarray(bias)
    # Channels are last when it is flattened.
    rows = np.moveaxis(rows.reshape(4, 2, 2, 2), 1, -1).reshape(4, 8)
    dense.kernel[...], dense.bias[...] = jnp.asarray(rows.T), jnp.zeros(4)
    model = Chain(conv=first, relu=relu(), flat=flat(), dense=dense, last=relu())
    return model, np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1), ["conv", "relu"]
