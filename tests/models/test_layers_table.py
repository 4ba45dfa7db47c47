"""The page of layers that are explained where none is named, and a sample of its models."""

from __future__ import annotations

import importlib

import layers_table as table
import pytest

STALE = f"docs/layers.md is out of date; write it with: {table.COMMAND}"

SAMPLE = (
    "torchvision densenet121",
    "torchvision lraspp_mobilenet_v3_large",
    "torchvision mnasnet0_5",
    "torchvision squeezenet1_1",
    "timm cait_xxs24_224",
    "timm coat_tiny",
    "timm crossvit_tiny_240",
    "timm efficientvit_m0",
    "timm levit_128s",
    "timm starnet_s050",
    "timm test_coatnet",
    "timm test_vit",
    "timm xcit_nano_12_p8_224",
    "Keras MobileNet",
)
"""Quick ones, of every kind: class tokens, heads of scores, functional rectifiers."""


@pytest.mark.parametrize("name", SAMPLE)
def test_layer_and_map_are_those_of_the_page(name, require):
    package = name.split()[0].lower()
    require(package)
    importlib.import_module(package)
    found = table.found(name)
    assert found.wrong == ""
    assert table.line(name, found) == table.lines()[name], STALE


def test_page_has_a_line_for_each_model():
    written = table.lines()
    assert set(written) == set(table.NAMES), STALE
    assert len(written) >= 150
    assert table.page(written) == table.PAGE.read_text("utf-8"), STALE
