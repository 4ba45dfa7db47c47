"""JAX on the processor, with its libraries."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def jax(require):
    """JAX, or a skip."""
    for package in ("flax", "equinox", "haiku"):
        require(package)
    return require("jax")


@pytest.fixture
def backend(jax):
    from camcore_jax import backend

    return backend


@pytest.fixture
def double(jax):
    """Let JAX compute in double precision."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
