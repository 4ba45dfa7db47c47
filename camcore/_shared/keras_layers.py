"""Walk the layers of a Keras model, which adapters of several frameworks explain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def walk(model: Any, metric: type) -> Iterator[tuple[str, Any]]:
    """Yield every layer below a Keras model, parents first, with its path ``outer/inner``.

    Parameters
    ----------
    model : keras.Model
        Of any backend, or of ``tf_keras``.
    metric : type
        Its Keras' class of metrics, which are no layers.

    Yields
    ------
    (str, keras.layers.Layer)
        Each layer once. Where two of one parent share a name, the later ones end in ``_1``,
        ``_2``.
    """
    taken: set[str] = set()
    seen: set[int] = set()

    def below(parent: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            if id(layer) in seen or isinstance(layer, metric):
                continue
            seen.add(id(layer))
            path, copies = prefix + layer.name, 0
            while path in taken:
                copies += 1
                path = f"{prefix}{layer.name}_{copies}"
            taken.add(path)
            yield path, layer
            yield from below(layer, path + "/")

    return below(model, "")
