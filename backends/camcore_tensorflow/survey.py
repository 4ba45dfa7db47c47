"""Which layers run and what they return, traced and seldom computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import tensorflow as tf

from camcore._shared.programs import Shapes
from camcore.adapter import Layer, LayerRecord
from camcore.layers.ends import Ends, ends
from camcore.nest import flatten
from camcore.outputs import score_paths

from . import graph
from .attention import LayerSpans
from .capture import floating_tensors
from .compile import compiled
from .inputs import Signature
from .layers import channels, input_channels, walk
from .preserve import apart, patch_call
from .weights import linear_layers

Seen: TypeAlias = dict[int, tuple[LayerRecord, list[tf.Tensor]]]


class Survey:
    """One sample followed through a model.

    Parameters
    ----------
    model : keras.Model
        The model, built; not kept.
    signature : Signature
        That of the sample.
    """

    def __init__(self, model: Any, signature: Signature) -> None:
        layers = dict(walk(model))
        paths = {id(layer): path for path, layer in layers.items()}
        seen: Seen = {}
        kinds = linear_layers(model)
        about: dict[str, tuple[bool, bool, bool]] = {}

        joined: list[tuple[str, int]] = []

        def body(*sample: tf.Tensor) -> list[list[tf.Tensor]]:
            seen.clear()
            joined.clear()
            spans, first = LayerSpans(), dict[Any, str]()
            last, linear = dict[int, list[tf.Tensor]](), dict[Any, Any]()

            def around(layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
                output = spans.call(layer, call, *args, **kwargs)
                if floating := floating_tensors(output):
                    named = Layer(paths[id(layer)], type(layer).__name__, None)
                    before, _ = seen.pop(id(layer), (LayerRecord(named, (), None, 0), []))
                    maker = first.setdefault(floating[0].ref(), named.name)
                    record = replace(
                        before,
                        calls=before.calls + 1,
                        several=len(floating) > 1,
                        repeats=None if maker == named.name else maker,
                    )
                    seen[id(layer)] = record, floating[:1]
                    last[id(layer)] = floating
                    if kind := kinds.get(id(layer)):
                        linear.update((tensor.ref(), kind) for tensor in floating)
                return output

            with apart(model) as patch:
                for layer in layers.values():
                    patch_call(patch, layer, around)
                given = signature.call(model, sample)
            outputs = {path: leaf for path, leaf in flatten(given) if tf.is_tensor(leaf)}
            attending = {id(on[0]): tensor for on, tensor in spans.attention() if on}
            for key in attending.keys() & seen.keys():
                seen[key][1].append(attending[key])
            scores = score_paths({path: tensor.shape.rank for path, tensor in outputs.items()})
            found = ends(
                [outputs[path] for path in sorted(scores)],
                graph.step,
                lambda tensor: linear.get(tensor.ref(), ""),
            )
            about.update(places(seen, last, found))
            parts: list[list[tf.Tensor]] = []
            for layer, axis, tensors in spans.joins():
                joined.append((paths[id(layer)], axis))
                parts.append(tensors)
            every[:] = [*(tensors for _, tensors in seen.values()), *parts]
            return [list(map(tf.shape, tensors)) for tensors in every]

        every: list[list[tf.Tensor]] = []
        self._function = compiled(body, signature.specs)
        self._shapes = [[tensor.shape for tensor in tensors] for tensors in every]
        self._joined = tuple(joined)
        self._images, self._known = input_channels(model), dict[Shapes, list[LayerRecord]]()
        self._formats = {p: getattr(layer, "data_format", None) for p, layer in layers.items()}
        self._records = [
            replace(record, is_output=is_output, rectified=rectified, feeds=feeds)
            for record, _ in seen.values()
            for is_output, rectified, feeds in [about[record.layer.name]]
        ]

    def __call__(self, tensors: Sequence[tf.Tensor]) -> list[LayerRecord]:
        """List every layer that returned a floating tensor, by when its last call finished.

        Parameters
        ----------
        tensors : sequence of tensor
            The sample, a batch of one; only read where a shape depends on it or on its size.
        """
        sizes = tuple(tuple(tensor.shape) for tensor in tensors)
        if sizes not in self._known:
            shapes: Any = self._shapes
            if not all(shape.is_fully_defined() for each in shapes for shape in each):
                shapes = self._function(*tensors)
            joins = self._joins(shapes[len(self._records) :])
            pairs = zip(self._records, shapes, strict=False)
            self._known[sizes] = [self._record(record, each, joins) for record, each in pairs]
        return self._known[sizes]

    def _joins(self, shapes: Sequence[Any]) -> Mapping[str, list[tuple[int, ...]]]:
        """List the lengths that were put together, by the layer that finished next."""
        found = defaultdict(list)
        for (name, axis), parts in zip(self._joined, shapes, strict=True):
            found[name].append(tuple(int(part[axis]) for part in parts))
        return found

    def _record(
        self, record: LayerRecord, shapes: Any, joins: Mapping[str, list[tuple[int, ...]]]
    ) -> LayerRecord:
        name = record.layer.name
        shape, attention = [tuple(map(int, size)) for size in [*shapes, ()][:2]]
        layout = channels(self._formats[name], len(shape), self._images)
        return replace(
            record,
            shape=shape,
            channels=layout,
            attention=attention or None,
            joins=tuple(joins.get(name, ())),
        )


def places(
    seen: Seen, last: Mapping[int, Sequence[tf.Tensor]], found: Ends
) -> dict[str, tuple[bool, bool, bool]]:
    """Tell for each layer whether it is the output, is rectified, and feeds an output."""
    shown = {tensor.ref() for tensor in found.shown}
    returned: dict[Any, list[str]] = {}
    for record, (tensor, *_) in seen.values():
        returned.setdefault(tensor.ref(), []).append(record.layer.name)
    made = graph.rectified(returned)
    layers = {id(tensor) for tensors in last.values() for tensor in tensors}
    parts = [
        [inside for part in output if (inside := graph.made_of(part) & layers)]
        for output in found.parts
    ]

    def feeds(key: int) -> bool:
        own = set(map(id, last[key]))
        return any(all(own & inside for inside in output) for output in parts)

    def is_rectified(name: str) -> bool:
        by_function = made.get(name)
        return by_function is not None and by_function.ref() not in {*returned, *shown}

    return {
        record.layer.name: (tensor.ref() in shown, is_rectified(record.layer.name), feeds(key))
        for key, (record, (tensor, *_)) in seen.items()
    }
