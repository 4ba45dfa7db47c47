"""JAX: whose models are whose, and what is said of those that are nobody's."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from jax_nets import CASES

import camcore
from camcore import registry
from camcore.errors import BackendError, InputError


@pytest.fixture
def registered(jax, monkeypatch):
    """Register the adapters as the distribution does."""
    values = {f: f"camcore_{f}:backend" for f in ("torch", "tensorflow", "jax")}
    points = {f: EntryPoint(f, value, registry.GROUP) for f, value in values.items()}
    monkeypatch.setattr(registry, "_entry_points", lambda: points)
    registry._load.cache_clear()
    yield
    registry._load.cache_clear()


@pytest.mark.filterwarnings("ignore:Layer 'step")
@pytest.mark.parametrize("kind", CASES)
def test_a_model_is_explained_as_it_is(registered, kind):
    case = CASES[kind]()
    assert type(registry.adapter(case.model)).__name__ == "JaxAdapter"
    result = camcore.explain(case.model, case.images, layer="block")
    assert result.maps.shape == (2, 16, 16)
    assert result.maps.max() == 1
    assert registry.backend("jax").owns(case.model)
    chosen = camcore.explain(case.model, case.images)
    assert np.isfinite(chosen.maps).all()


def test_what_holds_no_layers_is_told_from_what_does(registered, jax):
    import haiku as hk
    from flax import linen

    compiled = jax.jit(lambda x: x)
    with pytest.raises(
        BackendError, match=r"camcore_jax\.Function\(function, parameters, inputs\)"
    ):
        registry.adapter(compiled)
    for transform, given in (
        (hk.transform, r"Haiku\(transformed, parameters\)"),
        (hk.transform_with_state, r"Haiku\(transformed, parameters, state\)"),
    ):
        with pytest.raises(BackendError, match=given):
            registry.adapter(transform(lambda x: x))
    with pytest.raises(BackendError, match="bind it"):
        registry.adapter(linen.Dense(3))
    with pytest.raises(BackendError, match="JAX runs models in inference only"):
        registry.adapter(CASES["nnx"]().model, mode="train")
    with pytest.raises(BackendError, match="JAX has no faster way"):
        registry.adapter(CASES["nnx"]().model, fast=True)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("nnx", (None, None, None, 3)), ("equinox", (None, 3, None, None)), ("function", None)],
)
def test_the_first_convolution_says_what_images_are_taken(jax, kind, shape):
    from camcore_jax import backend

    assert backend.adapt(CASES[kind]().model).input_shape == shape


def test_a_batch_with_its_channels_elsewhere_is_answered(jax):
    case = CASES["nnx"]()
    with pytest.raises(InputError, match="channels first, and the model takes them last"):
        camcore.explain(case.model, np.moveaxis(case.images, -1, 1))
    with pytest.raises(InputError, match=r"no batch axis: give images\[None\]"):
        camcore.Explainer(case.model).layers(case.images[0, :, :15])
