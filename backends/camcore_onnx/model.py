"""A file that was read: its graph, its layers, and what was made ready to run of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import onnx

from camcore._shared.programs import Opening, Programs, Shapes
from camcore.adapter import Channels, LayerName
from camcore.errors import BackendError, InputError
from camcore.layers.names import unknown_layer

from . import inputs as inputs_of
from . import layers as layers_of
from .graph import Graph
from .inputs import Given, fixed_batch
from .layers import Named
from .sessions import Runtime, Session
from .sizes import Sizes, measure

T = TypeVar("T")

_BYTES = 2**31
"""About how much memory what is compiled for a file may take, for all it is asked."""


class Model:
    """An ONNX model, read once.

    Parameters
    ----------
    proto : onnx.ModelProto
        The model, which nobody else writes to.
    runtime : Runtime
        Where it is run.
    """

    def __init__(self, proto: onnx.ModelProto, runtime: Runtime) -> None:
        self.graph = Graph(proto)
        self.runtime = runtime
        # Each has up to four sessions, which hold the weights twice: as given, and packed.
        self._programs = Programs(max(3, min(64, _BYTES // (8 * proto.ByteSize() + 1))))
        if not self.graph.inputs or not self.graph.outputs:
            raise InputError("The ONNX model has no inputs or no outputs, so nothing runs in it.")
        if sparse := proto.graph.sparse_initializer:
            raise BackendError(
                f"The ONNX model has sparse weights ({sparse[0].values.name!r}). Store them as "
                "dense initializers."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without what was made ready to run."""
        return _read, (self.graph.proto.SerializeToString(), self.runtime)

    @cached_property
    def _everything(self) -> Session:
        """A session that returns every tensor."""
        graph = self.graph
        inner = [name for node in graph.nodes for name in node.output if name]
        return self.runtime.session(graph.asking(inner), plain=True)

    @cached_property
    def floating(self) -> set[str]:
        """The floating tensors."""
        floating = {"tensor(float)", "tensor(float16)", "tensor(double)", "tensor(bfloat16)"}
        return {name for name, kind in self._everything.kinds.items() if kind in floating}

    @cached_property
    def layers(self) -> Mapping[str, Named]:
        """The layers by name."""
        return {one.name: one for one in layers_of.layers(self.graph, self.floating)}

    @cached_property
    def channels(self) -> Mapping[str, Channels]:
        """Where tensors have their channels, as far as operators say."""
        return layers_of.channels(self.graph)

    @cached_property
    def input_channels(self) -> Channels:
        """Where images have their channels."""
        return inputs_of.input_channels(self.graph)

    def tensor(self, name: str, given: Given) -> str:
        """Find the tensor that a layer's name means.

        Raises
        ------
        LayerError
            There is no such layer, or the layer no such part or call.
        """
        parsed = LayerName.among(name, self.layers)
        if parsed.is_input:
            parsed.index(1)
            return given.image(parsed)
        if parsed.is_attention and parsed.path in self.layers:
            found = [t for t, owner in self.attention.items() if owner == parsed.path]
            return found[parsed.index(len(found))]
        if parsed.path not in self.layers or parsed.part:
            raise unknown_layer(name, self.layers)
        parsed.index(1)
        return self.layers[parsed.path].tensor

    @cached_property
    def attention(self) -> Mapping[str, str]:
        """The softmaxes that weigh something in a product, and the layers that compute them."""
        graph, named = self.graph, list(self.layers.values())
        found = {}
        for node in graph.nodes:
            if node.op_type == "Softmax" and self._weighs(node.output[0]):
                owner = layers_of.owner(graph, named, node)
                if owner is not None:
                    found[node.output[0]] = owner
        return found

    def _weighs(self, tensor: str) -> bool:
        passive = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
        return any(
            user.op_type in ("MatMul", "Einsum")
            or (user.op_type in passive and self._weighs(user.output[0]))
            for user in self.graph.users[tensor]
        )

    def sizes(self, given: Given) -> Sizes:
        """Measure all tensors on one sample like those given, and on two."""

        def make() -> Sizes:
            declared = fixed_batch(self.graph)
            one = given.rows(0, 1, declared or 1)
            return measure(self._everything, self.graph, one, declared)

        return self.fetch("sizes", given.shapes(1), make)

    def fetch(
        self, question: Hashable, shapes: Sequence[Sequence[int]], make: Callable[[], T]
    ) -> T:
        """Take what answers a question at some sizes, made where it is asked for the first time."""
        own: Shapes = tuple(map(tuple, shapes))

        def attempt(opened: Shapes, opening: Opening | None) -> T | None:
            return make() if opening is None else None

        found: T = self._programs.fetch(question, own, attempt)
        return found


def _read(data: bytes, runtime: Runtime) -> Model:
    return Model(onnx.load_from_string(data), runtime)
