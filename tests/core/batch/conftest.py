"""A model small enough to load at once."""

from __future__ import annotations

import pytest


@pytest.fixture
def tiny(require):
    require("PIL")
    return require("tiny_models")
