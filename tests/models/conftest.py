"""The model of a row of the table of architectures."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def packages(row, request, require):
    """What a row's model needs; a test, or its module's own fixture, says which `row`."""
    if row.framework in ("torch", "keras"):
        request.getfixturevalue(row.framework)
    for package in row.needs:
        require(package)


@pytest.fixture(scope="module")
def model(row, packages):
    """A row's model."""
    return row.make()
