"""Marks: names on arrays that a trace of the model shows again.

A mark is an operation that gives back what it is given. It is there wherever the model's own
operations are, inside ``jit``, ``vmap`` and ``scan``, and it costs nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from camcore.nest import map_leaves

NAME = "_camcore_name"
"""The attribute that has a layer's name, on copies of layers."""

_classes: dict[Any, Any] = {}

mark_p = Primitive("camcore_mark")
mark_p.def_impl(lambda x, **_: x)
mark_p.def_abstract_eval(lambda x, **_: x)
mlir.register_lowering(mark_p, lambda _, x, **about: [x])


def _differentiated(primals: Any, tangents: Any, **about: Any) -> tuple[Any, Any]:
    return mark_p.bind(*primals, **about), *tangents


def _batched(arrays: Any, axes: Any, **about: Any) -> tuple[Any, int]:
    # Where `vmap` puts the batch is its own affair, and a layer's rows are its samples.
    return mark_p.bind(jnp.moveaxis(arrays[0], axes[0], 0), **about), 0


ad.primitive_jvps[mark_p] = _differentiated
batching.primitive_batchers[mark_p] = _batched


def mark(output: Any, name: str) -> Any:
    """Name what a part of a function returns, so that camcore knows it as a layer.

    Parameters
    ----------
    output : array or nest of arrays
        What the part returns.
    name : str
        The layer's name. Marks of one name are calls of one layer.

    Returns
    -------
    array or nest of arrays
        The same.
    """

    def marked(path: str, leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return mark_p.bind(leaf, name=name, leaf=path)

    return map_leaves(output, marked)


def run_layer(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a layer's function, and mark what it returns and which operations are its own."""
    with jax.named_scope("camcore:" + quote(name, safe="")):
        output = function(*args, **kwargs)
    return mark(output, name)


def marking_class(kind: Any, field: Any = None) -> Any:
    """Make a class whose objects mark what they return when called, by their own `NAME`.

    Parameters
    ----------
    kind : type
        The class of layers that it is derived from.
    field : dataclass field, optional
        Declares `NAME`, where that is needed for it to stay with copies.
    """
    if kind not in _classes:

        @functools.wraps(kind.__call__)
        def marked(self: Any, *args: Any, **kwargs: Any) -> Any:
            function = functools.partial(kind.__call__, self)
            return run_layer(vars(self)[NAME], function, *args, **kwargs)

        about = {"__call__": marked, "__module__": kind.__module__}
        if field is not None:
            about |= {NAME: field, "__annotations__": {NAME: str}}
        _classes[kind] = type(kind)(kind.__name__, (kind,), about)
    return _classes[kind]


def layers_around(eqn: Any) -> list[str]:
    """List the layers that an operation of a trace is part of, from the outermost inwards."""
    found = re.findall(r"camcore:([\w.~%-]+)", str(eqn.source_info.name_stack))
    return list(map(unquote, found))
