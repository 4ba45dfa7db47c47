"""The layers that Poly-CAM goes through, of networks that people have."""

from __future__ import annotations

import pytest

from camcore import Explainer

LAST_OF_EACH_SIZE = {
    "resnet18": ("relu", "layer1", "layer2", "layer3", "layer4"),
    # In the first block of a stage a branch of the smaller size passes by.
    "resnet50": ("relu", "layer1", "layer2", "layer3", "layer4"),
    "vgg11": ("features.1", "features.4", "features.9", "features.14", "features.19"),
    "mobilenet_v2": ("features.1", "features.3", "features.6", "features.13", "features"),
    "swin_t": ("features.1", "features.3", "features.5", "norm"),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1",),
}


@pytest.mark.parametrize("name", LAST_OF_EACH_SIZE)
def test_the_last_layer_of_each_size_is_looked_at(name, require):
    torch, torchvision = require("torch"), require("torchvision")
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    model = model.to_empty(device="cpu").eval()
    for values in model.state_dict().values():
        values.fill_(0.01)
    explainer = Explainer(model, method="polycam")
    assert explainer.layers(torch.zeros(1, 3, 224, 224)) == LAST_OF_EACH_SIZE[name]
