"""PyTorch: which layer returns the scores, however they are shown again, and how often one ran."""

from __future__ import annotations

import importlib
import os

import numpy as np
import pytest

from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Net(nn.Module):
    """A convolution that scores classes at each place, and what is done with its output."""

    def __init__(self, end):
        super().__init__()
        self.stem, self.head, self.end = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), end

    def forward(self, x):
        return self.end(self.head(self.stem(x).relu()))


SHOWN_AGAIN = {
    "as it is": lambda z: z,
    "itself again": lambda z: z.contiguous(),
    "softmax": lambda z: z.softmax(1),
    "softmax, by keyword": lambda z: torch.softmax(input=z, dim=1),
    "sigmoid": torch.sigmoid,
    "enlarged": lambda z: F.interpolate(z, scale_factor=2),
    "enlarged, by keyword": lambda z: F.interpolate(input=z, scale_factor=2),
    "both": lambda z: F.interpolate(F.softmax(input=z, dim=1), scale_factor=2),
}
COMPUTED = {"doubled": lambda z: 2 * z, "added": lambda z: z + z.mean()}


@pytest.mark.parametrize("end", [*SHOWN_AGAIN, *COMPUTED])
def test_the_layer_whose_output_is_shown_again_is_the_output(end):
    net = Net((SHOWN_AGAIN | COMPUTED)[end])
    records = adapt(net).survey(torch.zeros(2, 3, 8, 8))
    assert [(r.layer.name, r.shape, r.channels) for r in records] == [
        ("stem", (1, 4, 6, 6), "first"),
        ("head", (1, 5, 6, 6), "first"),
    ]
    assert [r.is_output for r in records] == [False, end in SHOWN_AGAIN]


TURNED = {
    "H": lambda z: z.H,
    "T": lambda z: z.T,
    "mH": lambda z: z.mH,
    "mT": lambda z: z.mT,
}


@pytest.mark.parametrize("name", TURNED)
def test_a_layer_whose_scores_are_turned_is_the_output(name):
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x):
            return TURNED[name](self.head(self.stem(x).mean((2, 3))))

    records = adapt(Turned()).survey(torch.zeros(2, 3, 8, 8))
    assert [(r.layer.name, r.is_output) for r in records] == [("stem", False), ("head", True)]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same, self.other = nn.Conv1d(2, 2, 3), nn.Identity()

    def forward(self, x):
        return self.other(self.same(self.same(x)))


def test_calls_are_counted_and_a_layer_that_returns_its_input_repeats_the_one_before():
    records = adapt(Twice()).survey(np.zeros((3, 2, 9), np.float32))
    found = [(r.layer.name, r.shape, r.calls, r.repeats, r.several) for r in records]
    assert found == [("same", (1, 2, 5), 2, None, False), ("other", (1, 2, 5), 1, "same", False)]
