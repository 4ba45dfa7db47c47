"""PyTorch models as people put them together: nested, shared, wrapped, with nests in and out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from architectures.convolutional import torch_images, torchvision
from architectures.row import Architecture

KIND = "Shapes of models"


def backbone(nn: Any, channels: int = 6) -> Any:
    """Two convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, channels, 3, stride=2), nn.ReLU(inplace=True),
    )  # fmt: skip


def defined(build: Callable[..., None], forward: Callable[..., Any], base: Any = None) -> Any:
    """A module with these two methods, seeded, in inference mode."""
    import torch

    base = torch.nn.Module if base is None else base

    def init(self: Any) -> None:
        base.__init__(self)
        build(self, torch.nn)

    torch.manual_seed(0)
    return type("Net", (base,), {"__init__": init, "forward": forward})().eval()


def nested() -> Any:
    """A torchvision network within a network within a network."""

    def build(self: Any, nn: Any) -> None:
        self.model = nn.ModuleDict({"backbone": torchvision("resnet18"), "head": nn.Linear(10, 4)})

    return defined(build, lambda self, x: self.model["head"](self.model["backbone"](x)))


def siamese() -> Any:
    """One encoder for two images; the score is how like they are."""

    def build(self: Any, nn: Any) -> None:
        self.encoder = backbone(nn)

    def forward(self: Any, left: Any, right: Any) -> Any:
        import torch

        one, other = (self.encoder(image).mean((2, 3)) for image in (left, right))
        return torch.cosine_similarity(one, other)

    return defined(build, forward)


def shared() -> Any:
    """One convolution that runs three times."""

    def build(self: Any, nn: Any) -> None:
        self.stem, self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 4)

    def forward(self: Any, x: Any) -> Any:
        x = self.stem(x)
        for _ in range(3):
            x = self.conv(x).relu()
        return self.fc(x.mean((2, 3)))

    return defined(build, forward)


def image_and_table() -> Any:
    """An image and a row of a table, as arguments or as keyword arguments."""

    def build(self: Any, nn: Any) -> None:
        self.backbone, self.table = backbone(nn), nn.Linear(5, 6)
        self.fc = nn.Linear(6, 4)

    def forward(self: Any, image: Any, table: Any) -> Any:
        gate = self.table(table).sigmoid()
        return self.fc(self.backbone(image).mean((2, 3)) * gate)

    return defined(build, forward)


def image_and_table_inputs(batch: int, *, by_keyword: bool) -> Any:
    table = np.random.default_rng(1).normal(size=(batch, 5)).astype(np.float32)
    image = torch_images(batch, (32, 32))
    import torch

    pair = {"image": image, "table": torch.from_numpy(table)}
    return pair if by_keyword else tuple(pair.values())


def returning(nest: Callable[[Any, Any], Any]) -> Any:
    """A classifier that returns its features and logits in some nest."""

    def build(self: Any, nn: Any) -> None:
        self.backbone, self.fc = backbone(nn), nn.Linear(6, 4)

    def forward(self: Any, x: Any) -> Any:
        features = self.backbone(x)
        return nest(features, self.fc(features.mean((2, 3))))

    return defined(build, forward)


def huggingface() -> Any:
    """A Hugging Face ResNet that also returns its hidden states."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=4,
        output_hidden_states=True, layer_type="basic",
    )  # fmt: skip
    return ResNetForImageClassification(config).eval()


def lightning() -> Any:
    """A Lightning module around a torchvision network."""
    from pytorch_lightning import LightningModule

    def build(self: Any, nn: Any) -> None:
        self.save_hyperparameters({"rate": 1e-3})
        self.net = torchvision("resnet18")

    return defined(build, lambda self, x: self.net(x), LightningModule)


def wrapped(wrap: Callable[[Any, Any], Any]) -> Any:
    """A classifier in a wrapper of PyTorch's."""
    import torch

    return wrap(torch, returning(lambda features, logits: logits))


def functional() -> Any:
    """Every rectifier, pooling and dropout is a function."""

    def build(self: Any, nn: Any) -> None:
        self.one, self.two = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, 4)

    def forward(self: Any, x: Any) -> Any:
        from torch.nn import functional as F

        x = F.max_pool2d(F.relu(self.one(x)), 2)
        x = F.relu(self.two(x))
        x = F.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1), 0.5, self.training)
        return F.log_softmax(self.fc(x), dim=1)

    return defined(build, forward)


def without_parameters() -> Any:
    """Nothing to learn: what opponent colours there are, and where they change."""

    def build(self: Any, nn: Any) -> None:
        import torch

        self.register_buffer("opponents", torch.tensor([[1.0, -1, 0], [-0.5, -0.5, 1]]))
        self.edges, self.relu = nn.AvgPool2d(3, stride=2), nn.ReLU()

    def forward(self: Any, x: Any) -> Any:
        import torch

        x = torch.einsum("oc,bchw->bohw", self.opponents, x)
        return self.relu(self.edges(x)).square().mean((2, 3))

    return defined(build, forward)


def checkpointed(run: Callable[..., Any]) -> Any:
    """Two stretches of layers that are computed again in the backward pass."""

    def build(self: Any, nn: Any) -> None:
        self.stem, self.first = nn.Conv2d(3, 3, 3), backbone(nn)
        self.second, self.fc = nn.Conv2d(6, 6, 3), nn.Linear(6, 4)

    def forward(self: Any, x: Any) -> Any:
        x = run(self.first, self.stem(x))
        x = run(lambda y: self.second(y).tanh(), x)
        return self.fc(x.mean((2, 3)))

    return defined(build, forward)


def dynamically_quantised() -> Any:
    """Linear layers as PyTorch's dynamic quantisation replaces them."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch moves it to another package
        return torch.ao.quantization.quantize_dynamic(
            returning(lambda _, logits: logits), {torch.nn.Linear}
        )


def statically_quantised() -> Any:
    """Everything as whole numbers, between a quantising and a dequantising layer."""
    import torch

    quantization = torch.ao.quantization

    def build(self: Any, nn: Any) -> None:
        self.into, self.out = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self: Any, x: Any) -> Any:
        x = self.relu(self.conv(self.into(x)))
        return self.out(self.fc(self.pool(x).flatten(1)))

    net = defined(build, forward)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
        prepared = quantization.prepare(net)
        prepared(torch_images(2, (32, 32)))
        return quantization.convert(prepared)


def row(name: str, make: Callable[[], Any], layer: str, **other: Any) -> Architecture:
    expected = {
        "inputs": partial(torch_images, size=(32, 32)),
        "score": lambda outputs: outputs[:, 3],
        "target": 3,
        "kind": KIND,
    }
    return Architecture(name, "torch", make, layer=layer, **(expected | other))


def pair(batch: int) -> Any:
    """Two images for each sample."""
    images = torch_images(2 * batch, (32, 32))
    return images[::2], images[1::2]


_CALLS = {"score": lambda outputs: outputs, "target": 0, "inputs": pair}


ARCHITECTURES = [
    row("nested backbone", nested, "model.backbone.layer4",
        inputs=partial(torch_images, size=(64, 64))),
    row("Siamese, the second image", siamese, "encoder", **_CALLS),
    row("Siamese, the first image", siamese, "encoder#0", options={"layer": "encoder#0"},
        **_CALLS),
    row("shared layer, its last call", shared, "conv@activated"),
    row("shared layer, its first call", shared, "conv#0", options={"layer": "conv#0"}),
    row("shared layer, its second call", shared, "conv#-2", options={"layer": "conv#-2"}),
    *(
        row(f"image and table as {how}", image_and_table,
            "backbone", inputs=partial(image_and_table_inputs, by_keyword=by_keyword))
        for how, by_keyword in {"arguments": False, "keyword arguments": True}.items()
    ),
    row("dict of outputs", partial(returning, lambda f, y: {"features": f, "logits": y}),
        "backbone", score=lambda outputs: outputs["logits"][:, 3]),
    row("dict of outputs, one chosen",
        partial(returning, lambda f, y: {"aux": y.square(), "main": {"scores": 2 * y}}),
        "backbone", score=lambda outputs: outputs["main"]["scores"][:, 3],
        options={"output": "main.scores"}),
    row("tuple of outputs, one chosen", partial(returning, lambda f, y: (f, (y, None))),
        "backbone", score=lambda outputs: outputs[1][0][:, 3], options={"output": "1.0"}),
    row("Hugging Face output with hidden states", huggingface, "resnet.encoder.stages.1",
        inputs=partial(torch_images, size=(64, 64)), score=lambda outputs: outputs.logits[:, 3],
        needs=("transformers",)),
    row("Lightning module", lightning, "net.layer4", needs=("pytorch_lightning",),
        inputs=partial(torch_images, size=(64, 64))),
    row("nn.DataParallel", partial(wrapped, lambda torch, net: torch.nn.DataParallel(net)),
        "backbone"),
    row("torch.compile'd module",
        partial(wrapped, lambda torch, net: torch.compile(net, backend="eager")), "backbone"),
    row("torch.fx graph", partial(wrapped, lambda torch, net: torch.fx.symbolic_trace(net)),
        "backbone.4"),
    row("functional rectifiers", functional, "two@activated", options={"score": "output"}),
    row("no parameters", without_parameters, "relu",
        score=lambda outputs: outputs[:, 1], target=1),
]  # fmt: skip
