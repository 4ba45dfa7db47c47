"""A small PyTorch model that commands and examples find as ``tiny_torch:FUNCTION``."""

from __future__ import annotations

import numpy as np

from camcore.zoo import LoadedModel


def preprocess(photo):
    """Channels first, in [-1, 1]."""
    return np.moveaxis(photo[None] / 127.5 - 1, -1, 1).astype(np.float32)


def training() -> LoadedModel:
    """In train mode, with batch normalisation and dropout: a pass that wrote would be seen."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(nn.Dropout(0.5), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )
    return LoadedModel(model.train(), preprocess, size=32, resize=32, pretrained=True)
