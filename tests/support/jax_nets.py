"""One small network in every library that the JAX adapter knows, and in PyTorch.

A convolution; one with batch normalisation in a function of its own, compiled or checkpointed;
three linear layers in a loop; a head. `WEIGHTS` are channels-last, `reference` is the network in
plain JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEPS = 3


def make_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": (3, 3, 3, 6),
        "conv1_bias": (6,),
        "conv2": (3, 3, 6, 8),
        "conv2_bias": (8,),
        "scale": (8,),
        "bias": (8,),
        "mean": (8,),
        "steps": (STEPS, 8, 8),
        "steps_bias": (STEPS, 8),
        "fc": (8, 5),
        "fc_bias": (5,),
    }
    made = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    for name, array in made.items():
        # So small that no hyperbolic tangent is flat there.
        array *= 0.2 if "bias" in name else np.prod(shapes[name][:-1][-3:]) ** -0.5
    return {**made, "variance": rng.uniform(0.5, 2, 8)}


WEIGHTS = make_weights()
IMAGES = np.random.default_rng(1).normal(size=(2, 16, 16, 3))


class Case(NamedTuple):
    """A model, inputs for it, and how its layers and its arrays are called."""

    model: Any
    images: np.ndarray
    layers: dict[str, tuple[str, ...]]
    plain: Callable[[Any], Any]
    """The untouched model, run as its library runs it in inference."""

    channels_first: bool = False


def named(norm: str, steps: list[str]) -> dict[str, tuple[str, ...]]:
    return {"conv1": ("conv1",), "norm": (norm,), "block": ("block",), "step": tuple(steps)}


def weights(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    return {name: array.astype(dtype) for name, array in WEIGHTS.items()}


def pool(x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def convolve(x: Any, kernel: Any, bias: Any) -> Any:
    import jax

    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers) + bias


def normalise(x: Any, w: Any) -> Any:
    return (x - w["mean"]) / (w["variance"] + 1e-5) ** 0.5 * w["scale"] + w["bias"]


def function(mark: Callable[[Any, str], Any] = lambda x, name: x) -> Callable[[Any, Any], Any]:
    """The network in plain JAX, with marks, or whatever is put in their place."""
    import jax
    import jax.numpy as jnp

    def network(w, x):
        x = mark(convolve(x, w["conv1"], w["conv1_bias"]), "conv1")
        x = pool(jax.nn.relu(x))

        @jax.jit
        @jax.checkpoint
        def block(x):
            x = mark(normalise(convolve(x, w["conv2"], w["conv2_bias"]), w), "norm")
            return mark(jnp.maximum(x, 0), "block")

        def step(x, held):
            return jnp.tanh(mark(x @ held[0] + held[1], "step")), None

        x, _ = jax.lax.scan(step, block(x), (w["steps"], w["steps_bias"]))
        return jax.nn.softmax(x.mean((1, 2)) @ w["fc"] + w["fc_bias"])

    return network


def function_case(dtype: Any = np.float32) -> Case:
    from camcore_jax import Function, mark

    w, images = weights(dtype), IMAGES.astype(dtype)
    plain = function()
    names = named("norm", [f"step#{i}" for i in range(STEPS)])
    return Case(Function(function(mark), w, images), images, names, lambda x: plain(w, x))


def nnx_case(dtype: Any = np.float32) -> Case:
    import jax.numpy as jnp
    from flax import nnx

    how = {"rngs": nnx.Rngs(0), "param_dtype": dtype, "dtype": dtype}

    class Block(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(6, 8, (3, 3), **how)
            self.norm = nnx.BatchNorm(8, **how)

        def __call__(self, x):
            return nnx.relu(self.norm(self.conv(x)))

    class Step(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(8, 8, **{**how, "rngs": rngs})

        def __call__(self, x):
            return jnp.tanh(self.linear(x))

    class Network(nnx.Module):
        def __init__(self):
            self.conv1 = nnx.Conv(3, 6, (3, 3), **how)
            self.block = Block()
            make = nnx.vmap(lambda rngs: Step(rngs), in_axes=0, out_axes=0)
            self.step = nnx.split_rngs(splits=STEPS)(make)(nnx.Rngs(0))
            self.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
            self.fc = nnx.Linear(8, 5, **how)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
            x = nnx.remat(lambda block, x: block(x))(self.block, x)
            run = nnx.scan(lambda step, x: step(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
            x = run(self.step, x)
            return nnx.softmax(self.fc(self.drop(x.mean((1, 2)))))

    model, w = Network(), weights(dtype)
    for layer, kernel in ((model.conv1, "conv1"), (model.block.conv, "conv2"), (model.fc, "fc")):
        layer.kernel.set_value(jnp.asarray(w[kernel]))
        layer.bias.set_value(jnp.asarray(w[f"{kernel}_bias"]))
    model.step.linear.kernel.set_value(jnp.asarray(w["steps"]))
    model.step.linear.bias.set_value(jnp.asarray(w["steps_bias"]))
    norm = {"scale": "scale", "bias": "bias", "mean": "mean", "var": "variance"}
    for name, ours in norm.items():
        getattr(model.block.norm, name).set_value(jnp.asarray(w[ours]))

    def plain(x):
        copy = nnx.clone(model)
        copy.eval()
        return copy(x)

    names = named("block.norm", [f"step.linear#{i}" for i in range(STEPS)])
    return Case(model, IMAGES.astype(dtype), names, plain)


def linen_case(dtype: Any = np.float32) -> Case:
    import jax.numpy as jnp
    from flax import linen as nn

    how = {"param_dtype": dtype, "dtype": dtype}

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(8, (3, 3), name="conv", **how)(x)
            return nn.relu(nn.BatchNorm(use_running_average=True, name="norm", **how)(x))

    class Step(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return jnp.tanh(nn.Dense(8, name="linear", **how)(x)), None

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x, train=True):
            x = nn.max_pool(nn.relu(nn.Conv(6, (3, 3), name="conv1", **how)(x)), (2, 2), (2, 2))
            x = nn.jit(nn.remat(Block))(name="block")(x)
            many = nn.scan(
                nn.remat(Step), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )
            x, _ = many(name="step")(x, None)
            x = nn.Dropout(0.5, deterministic=not train)(x.mean((1, 2)))
            return nn.softmax(nn.Dense(5, name="fc", **how)(x))

    w, network = weights(dtype), Network()
    variables = {
        "params": {
            "conv1": {"kernel": w["conv1"], "bias": w["conv1_bias"]},
            "block": {
                "conv": {"kernel": w["conv2"], "bias": w["conv2_bias"]},
                "norm": {"scale": w["scale"], "bias": w["bias"]},
            },
            "step": {"linear": {"kernel": w["steps"], "bias": w["steps_bias"]}},
            "fc": {"kernel": w["fc"], "bias": w["fc_bias"]},
        },
        "batch_stats": {"block": {"norm": {"mean": w["mean"], "var": w["variance"]}}},
    }
    names = named("block/norm", [f"step/linear#{i}" for i in range(STEPS)])
    bound = network.bind(variables)
    return Case(
        bound, IMAGES.astype(dtype), names, lambda x: network.apply(variables, x, train=False)
    )


def equinox_case(dtype: Any = np.float32) -> Case:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    key, w = jax.random.key(0), weights(dtype)

    class Norm(eqx.Module):
        held: dict

        def __call__(self, x):
            return jnp.moveaxis(normalise(jnp.moveaxis(x, 0, -1), self.held), -1, 0)

    class Block(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: Norm

        def __call__(self, x):
            return jax.nn.relu(self.norm(self.conv(x)))

    class Network(eqx.Module):
        conv1: eqx.nn.Conv2d
        pool: eqx.nn.MaxPool2d
        block: Block
        step: eqx.nn.Linear
        drop: eqx.nn.Dropout
        fc: eqx.nn.Linear

        def __call__(self, x):
            x = self.pool(jax.nn.relu(self.conv1(x)))
            x = eqx.filter_jit(eqx.filter_checkpoint(self.block))(x)
            arrays, rest = eqx.partition(self.step, eqx.is_array)

            def step(x, held):
                linear = eqx.combine(held, rest)
                rows = jax.vmap(linear)(x.reshape(8, -1).T)
                return jnp.tanh(rows.T.reshape(x.shape)), None

            x, _ = jax.lax.scan(step, x, arrays)
            return jax.nn.softmax(self.fc(self.drop(x.mean((1, 2)))))

    def conv(kernel, into, out):
        layer = eqx.nn.Conv2d(into, out, 3, padding=1, key=key)
        new = w[kernel].transpose(3, 2, 0, 1), w[f"{kernel}_bias"][:, None, None]
        return eqx.tree_at(lambda m: (m.weight, m.bias), layer, tuple(map(jnp.asarray, new)))

    def linear(kernel, into, out):
        new = np.swapaxes(w[kernel], -1, -2), w[f"{kernel}_bias"]
        layer = eqx.nn.Linear(into, out, key=key)
        return eqx.tree_at(lambda m: (m.weight, m.bias), layer, tuple(map(jnp.asarray, new)))

    norm = Norm({name: jnp.asarray(w[name]) for name in ("scale", "bias", "mean", "variance")})
    model = Network(
        conv("conv1", 3, 6),
        eqx.nn.MaxPool2d(2, 2),
        Block(conv("conv2", 6, 8), norm),
        linear("steps", 8, 8),
        eqx.nn.Dropout(0.5),
        linear("fc", 8, 5),
    )
    names = named("block.norm", [f"step#{i}" for i in range(STEPS)])
    images = np.ascontiguousarray(IMAGES.astype(dtype).transpose(0, 3, 1, 2))
    inference = eqx.nn.inference_mode(model)
    return Case(model, images, names, jax.vmap(inference), channels_first=True)


def haiku_case(dtype: Any = np.float32) -> Case:
    import haiku as hk
    import jax
    import jax.numpy as jnp

    from camcore_jax import Haiku

    class Block(hk.Module):
        def __call__(self, x, is_training):
            x = hk.Conv2D(8, 3, name="conv")(x)
            norm = hk.BatchNorm(True, True, 0.9, name="norm")
            return jax.nn.relu(norm(x, is_training))

    def network(x, is_training):
        x = pool(jax.nn.relu(hk.Conv2D(6, 3, name="conv1")(x)))
        block = Block(name="block")
        x = hk.remat(lambda x: block(x, is_training))(x)
        for i in range(STEPS):
            x = jnp.tanh(hk.Linear(8, name=f"step{i}")(x))
        return jax.nn.softmax(hk.Linear(5, name="fc")(x.mean((1, 2))))

    transformed, w = hk.transform_with_state(network), weights(dtype)
    channels = (1, 1, 1, 8)
    parameters = {
        "conv1": {"w": w["conv1"], "b": w["conv1_bias"]},
        "block/conv": {"w": w["conv2"], "b": w["conv2_bias"]},
        "block/norm": {
            "scale": w["scale"].reshape(channels),
            "offset": w["bias"].reshape(channels),
        },
        "fc": {"w": w["fc"], "b": w["fc_bias"]},
    }
    for i in range(STEPS):
        parameters[f"step{i}"] = {"w": w["steps"][i], "b": w["steps_bias"][i]}
    state = {}
    for average, name in (("mean", "mean"), ("var", "variance")):
        ours = w[name].reshape(channels)
        held = {"average": ours, "hidden": ours, "counter": np.int32(1)}
        state[f"block/norm/~/{average}_ema"] = held
    names = named("block/norm", [f"step{i}" for i in range(STEPS)])
    model = Haiku(transformed, parameters, state, {"is_training": False})

    def plain(x):
        return transformed.apply(parameters, state, None, x, is_training=False)[0]

    return Case(model, IMAGES.astype(dtype), names, plain)


def keras_case() -> Case:
    import keras

    w, layers = weights(), keras.layers
    block = keras.Sequential(
        [
            keras.Input((8, 8, 6)),
            layers.Conv2D(8, 3, padding="same", name="conv"),
            layers.BatchNormalization(epsilon=1e-5, name="norm"),
            layers.ReLU(name="relu"),
        ],
        name="block",
    )
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(6, 3, padding="same", name="conv1"),
            layers.ReLU(name="relu1"),
            layers.MaxPooling2D(name="pool"),
            block,
            *(layers.Dense(8, activation="tanh", name=f"step{i}") for i in range(STEPS)),
            layers.GlobalAveragePooling2D(name="gap"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(5, activation="softmax", name="fc"),
        ]
    )
    model.get_layer("conv1").set_weights([w["conv1"], w["conv1_bias"]])
    block.get_layer("conv").set_weights([w["conv2"], w["conv2_bias"]])
    held = [w[name] for name in ("scale", "bias", "mean", "variance")]
    block.get_layer("norm").set_weights(held)
    for i in range(STEPS):
        model.get_layer(f"step{i}").set_weights([w["steps"][i], w["steps_bias"][i]])
    model.get_layer("fc").set_weights([w["fc"], w["fc_bias"]])
    names = named("block/norm", [f"step{i}@linear" for i in range(STEPS)])

    def plain(x):
        return model(x, training=False)

    return Case(model, IMAGES.astype(np.float32), names, plain)


CASES: dict[str, Callable[..., Case]] = {
    "function": function_case,
    "nnx": nnx_case,
    "linen": linen_case,
    "equinox": equinox_case,
    "haiku": haiku_case,
}


def torch_model(dtype: Any = np.float32) -> Any:
    """The network in PyTorch, channels first."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.relu1 = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
            self.pool = nn.MaxPool2d(2)
            parts = nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
            self.block = nn.Sequential(*parts)
            self.steps = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(STEPS))
            self.fc, self.softmax = nn.Linear(8, 5), nn.Softmax(1)

        def forward(self, x):
            x = self.block(self.pool(self.relu1(self.conv1(x))))
            for step in self.steps:
                x = step(x).tanh()
            return self.softmax(self.fc(x.mean((2, 3))))

    model, w = Network(), weights(np.float64)

    def fill(layer, kernel, bias):
        rank = layer.weight.ndim
        turned = kernel.T if rank == 2 else kernel.transpose(3, 2, 0, 1)
        layer.weight.copy_(torch.tensor(turned))
        layer.bias.copy_(torch.tensor(bias))

    model.double()
    with torch.no_grad():
        fill(model.conv1, w["conv1"], w["conv1_bias"])
        fill(model.block[0], w["conv2"], w["conv2_bias"])
        for i, step in enumerate(model.steps):
            fill(step, w["steps"][i][None, None], w["steps_bias"][i])
        fill(model.fc, w["fc"], w["fc_bias"])
        norm = model.block[1]
        norm.weight.copy_(torch.tensor(w["scale"]))
        norm.bias.copy_(torch.tensor(w["bias"]))
        norm.running_mean.copy_(torch.tensor(w["mean"]))
        norm.running_var.copy_(torch.tensor(w["variance"]))
    return model.to(torch.float64 if dtype == np.float64 else torch.float32).eval()
