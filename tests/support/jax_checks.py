"""What every kind of model on JAX is held to: plain `jax.grad`, and PyTorch's maps."""

from __future__ import annotations

import numpy as np
from jax_nets import IMAGES, function, torch_model, weights

import camcore
from camcore.adapter import INPUT

ABOUT_INPUT = ["integratedgradients", "guidedbackprop"]
METHODS = [
    *("gradcam", "layercam", "eigencam", "ablationcam", "scorecam", "guidedgradcam"),
    *("shapleycam", "fullgrad", *ABOUT_INPUT),
]


def close(one, other, tolerance):
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    largest = np.abs(other).max()
    assert largest > 0
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * largest)


def of_class(index):
    """A seed: the score of one class."""

    def seed(leaves):
        return {"": np.eye(5, dtype=leaves[""].dtype)[[index] * len(leaves[""])]}

    return seed


def channels_last(array, case):
    """Bring what a layer returns into the layout of the plain network."""
    if not case.channels_first:
        return array
    if array.ndim == 3:
        return array.reshape(len(array), 8, 8, 8)
    return np.moveaxis(array, 1, -1)


def by_hand(name, dtype):
    """What `jax.grad` gives at a layer of the network in plain JAX, and a Hessian product there."""
    import jax
    import jax.numpy as jnp

    kept = {}

    def score(added, images):
        def mark(x, marked):
            if marked != name:
                return x
            kept["shape"] = x.shape
            return x + added

        return jnp.log(function(mark)(weights(dtype), images))

    images = jnp.asarray(IMAGES, dtype)
    score(0.0, images)
    zero = jnp.zeros(kept["shape"], dtype)

    def gap(added):
        found = score(added, images)
        return (found[:, 2] - found[:, 3]).sum()

    return jax.grad(gap)(zero)


def check_gradients(adapter, case, dtype, tolerance):
    """At the input of the untouched model, and at layers of the network in plain JAX."""
    import jax
    import jax.numpy as jnp

    def probabilities(images):
        return case.plain(images)[:, 2].sum()

    plain = jax.grad(probabilities)(jnp.asarray(case.images))
    trace = adapter.run(case.images, [INPUT], [of_class(2)], logits=False)
    close(trace.layers[INPUT].gradients[0], plain, tolerance)
    close(trace.outputs[""], case.plain(case.images), tolerance)
    assert trace.applied == {"": "softmax"}

    names = [name for group in case.layers.values() for name in group]
    trace = adapter.run(case.images, names, [of_class(2), of_class(3)])
    assert trace.activation == {"": "softmax"}
    for marked, group in case.layers.items():
        gaps = (np.subtract(*trace.layers[name].gradients) for name in group)
        found = sum(channels_last(gap, case) for gap in gaps)
        assert found.dtype == dtype
        close(found, by_hand(marked, dtype), tolerance)


def check_maps(model, case, methods, tolerance, dtype):
    """The same maps as PyTorch's adapter makes of the network with the same weights."""
    import torch

    from camcore_torch import backend

    other, first = backend.adapt(torch_model(dtype)), np.moveaxis(IMAGES, -1, 1).astype(dtype)
    for method in methods:
        where = None if method in ABOUT_INPUT else "block"
        ours = camcore.explain(model, case.images, layer=where, method=method, target=0)
        theirs = camcore.explain(other, torch.tensor(first), layer=where, method=method, target=0)
        close(ours.maps, theirs.maps, tolerance)
        for one, other_one in zip(ours.raw.values(), theirs.raw.values(), strict=True):
            close(one, other_one, tolerance)
        close(ours.scores, theirs.scores, tolerance)
