"""The model of a row of the table of architectures."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def model(row, request, require):
    """A row's model; a test module says with its own fixture `row` which rows."""
    request.getfixturevalue("torch" if row.framework == "torch" else "keras")
    for package in row.needs:
        require(package)
    return row.make()
