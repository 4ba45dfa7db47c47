"""Layers are found by what people call them."""

from __future__ import annotations

import pytest

from camcore.adapter import Layer
from camcore.errors import LayerError
from camcore.layers.names import resolve

NATIVE = [object() for _ in range(7)]
LAYERS = [
    Layer(name, kind, native)
    for name, kind, native in zip(
        ["stem.conv", "stem", "layer4.0.conv2", "layer4.1.conv2", "layer4.1", "layer4", "head/fc"],
        ["Conv2d", "Sequential", "Conv2d", "Conv2d", "BasicBlock", "Sequential", "Linear"],
        NATIVE,
        strict=True,
    )
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("layer4.1.conv2", ("layer4.1.conv2",)),
        ("layer4", ("layer4",)),
        ("conv", ("stem.conv",)),
        ("fc", ("head/fc",)),
        (NATIVE[4], ("layer4.1",)),
        (["layer4", NATIVE[0], "fc"], ("layer4", "stem.conv", "head/fc")),
        (("stem", "layer4"), ("stem", "layer4")),
        ("layer4#1", ("layer4#1",)),
        ("conv#-2", ("stem.conv#-2",)),
        (["layer4#0", "layer4#1"], ("layer4#0", "layer4#1")),
        ("@input", ("@input",)),
    ],
)
def test_layers_are_resolved_to_their_full_names(wanted, names):
    assert resolve(wanted, LAYERS) == names


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("conv2", "'conv2' names 2 layers: 'layer4.0.conv2', 'layer4.1.conv2'. Give the whole"),
        ("layer5", "no layer 'layer5'. Did you mean 'layer4', 'layer4.1'"),
        ("stem.conv1", "no layer 'stem.conv1'. Did you mean 'stem.conv'"),
        ("zzz", "no layer 'zzz'. There are 'stem.conv', 'stem', .*'layer4' and 1 more"),
        ("", "no layer ''. There are"),
        ("layer4#", "'layer4#': after '#' comes the number of the call, as in 'layer4#0'"),
        ("layer4#last", "as in 'layer4#0'"),
        (object(), "The object given as a layer is not part of the model"),
        (3, "The int given as a layer is not part of the model"),
        ([], "An empty list of layers"),
        (["layer4", NATIVE[5]], "The same layer is asked for twice: layer4, layer4"),
    ],
)
def test_resolve_answers_unknown_layers_with_help(wanted, message):
    with pytest.raises(LayerError, match=message):
        resolve(wanted, LAYERS)
