"""The walk over a Keras model's layers: order, paths, and layers met twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from camcore._shared.keras_layers import walk


@dataclass(eq=False)
class Layer:
    name: str
    below: list[object] = field(default_factory=list)

    def _flatten_layers(self, *, include_self, recursive):
        assert not include_self
        assert not recursive
        return self.below


class Metric(Layer):
    pass


def test_layers_come_parents_first_by_paths_of_their_own():
    shared = Layer("conv")
    model = Layer(
        "model",
        [
            Layer("block", [shared, Layer("conv"), Layer("conv")]),
            Metric("accuracy"),
            shared,
            Layer("conv"),
            Layer("conv"),
        ],
    )
    found = list(walk(model, Metric))
    assert [path for path, _ in found] == [
        "block",
        "block/conv",
        "block/conv_1",
        "block/conv_2",
        "conv",
        "conv_1",
    ]
    assert dict(found)["block/conv"] is shared
    assert dict(found)["conv"] is model.below[3]
