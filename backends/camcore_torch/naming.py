"""Modules and their names, and what their kind tells about the channel axis."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import jit, nn
from torch.nn.modules import batchnorm, conv, pooling
from torch.nn.modules.lazy import LazyModuleMixin

from camcore.adapter import ATTENTION, Channels, Layer
from camcore.errors import LayerError

CHANNELS_FIRST = (
    conv._ConvNd,
    batchnorm._NormBase,
    nn.GroupNorm,
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
    pooling._AdaptiveAvgPoolNd,
)


@dataclass(frozen=True)
class Call:
    """One call of a layer in a pass; `index` counts as in a Python sequence, -1 is the last.

    With `attention` it is what the layer attends to that is meant, not what it returns.
    """

    module: nn.Module
    index: int = -1
    attention: bool = False


def unwrap(model: nn.Module) -> nn.Module:
    """The eager, single-device module inside ``torch.compile`` and data-parallel wrappers."""
    model = without_compile(model)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrap(model.module)
    return model


def is_compiled(module: nn.Module) -> bool:
    """Whether the module is what ``torch.compile(module)`` returns."""
    return "_orig_mod" in module._modules


def without_compile(module: nn.Module) -> nn.Module:
    """The module that was given to ``torch.compile``, or the module itself."""
    return without_compile(module.get_submodule("_orig_mod")) if is_compiled(module) else module


def is_keras(module: nn.Module) -> bool:
    """Whether the module is a Keras layer or model on the torch backend."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(module, keras.layers.Layer)


def is_built(model: nn.Module) -> bool:
    """Whether all weights exist, which lazy layers make in the first pass."""
    return not any(
        isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()
        for module in model.modules()
    )


def quantised(model: nn.Module) -> list[str]:
    """Names of the layers that compute with whole numbers, and have no gradient."""
    return [
        name
        for name, module in named_modules(model).items()
        if "quantized" in type(module).__module__.split(".")
    ]


def named_modules(root: nn.Module) -> dict[str, nn.Module]:
    """Every module by its first path, in the model's order; the root's path is ``""``."""
    named: dict[str, nn.Module] = {}
    seen: set[nn.Module] = set()

    def visit(module: nn.Module, name: str) -> None:
        module = without_compile(module)
        if module in seen:
            return
        seen.add(module)
        first, copies = name, 0
        while name in named:  # Keras does not ask for unique names
            copies += 1
            name = f"{first}_{copies}"
        named[name] = module
        for step, child in _children(module):
            visit(child, name + step if name else step[1:])

    visit(root, "")
    return named


def modules(root: nn.Module) -> list[nn.Module]:
    """Every module that `named_modules` finds, in no order, for those in a hurry."""
    found: set[nn.Module] = set()
    todo: list[nn.Module | None] = [root]
    while todo:
        module = todo.pop()
        if module is None or module in found:
            continue
        if "_orig_mod" in module._modules or is_keras(module):
            module = without_compile(module)
            todo += [child for _, child in _children(module)]
        else:
            todo += module._modules.values()
        found.add(module)
    return list(found)


def _children(module: Any) -> Iterator[tuple[str, nn.Module]]:
    if is_keras(module):
        # Keras keeps its layers in a list of its own, which PyTorch does not see.
        for layer in module._flatten_layers(include_self=False, recursive=False):
            yield f"/{layer.name}", layer
    for name, child in module._modules.items():
        if child is not None and name != "_torch_params":
            yield f".{name}", child


def hookable(root: nn.Module) -> dict[str, nn.Module]:
    """Every module below the root that fires hooks, by name; TorchScript does not."""
    return {
        name: module
        for name, module in named_modules(root).items()
        if name and not isinstance(module, jit.ScriptModule)
    }


def layers(root: nn.Module) -> list[Layer]:
    """Every layer below the root."""
    return [Layer(name, type(module).__name__, module) for name, module in hookable(root).items()]


def find(root: nn.Module, name: str) -> Call:
    """The call of a layer that a name such as ``layer4.2.relu#0`` means.

    Raises
    ------
    LayerError
        The model has no such layer.
    """
    whole, mark, index = name.partition("#")
    path = whole.removesuffix(ATTENTION)
    named = _directly(root, path) or hookable(root)
    if path in named and re.fullmatch(r"(#-?\d+)?", mark + index):
        return Call(named[path], int(index) if mark else -1, path != whole)
    if path in named:
        raise LayerError(
            f"{name!r}: after '#' comes the number of the call, as in {whole + '#0'!r}."
        )
    if path and path in named_modules(root):
        raise LayerError(f"Layer {path!r} is TorchScript, which cannot be hooked.")
    near = difflib.get_close_matches(path, named, n=3)
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "See layers()."
    raise LayerError(f"The model has no layer {path!r}. {hint}")


def _directly(root: nn.Module, path: str) -> dict[str, nn.Module]:
    """The module at a path, by its name, if all on the way are plain modules."""
    module: nn.Module | None = root
    for step in path.split("."):
        if module is None or is_keras(module) or is_compiled(module):
            return {}
        module = module._modules.get(step)
    plain = module is not None and not is_compiled(module)
    return {path: module} if module and plain and not isinstance(module, jit.ScriptModule) else {}


def channels(module: nn.Module) -> Channels | None:
    """Where the module's kind says the channel axis of its output is."""
    if isinstance(module, CHANNELS_FIRST):
        return "first"
    return _of_data_format(getattr(module, "data_format", None)) if is_keras(module) else None


def input_channels(root: nn.Module) -> Channels:
    """Where the model takes the channel axis of an image."""
    if not is_keras(root):
        return "first"
    formats = (getattr(module, "data_format", None) for module in named_modules(root).values())
    configured = sys.modules["keras"].config.image_data_format()
    return _of_data_format(next(filter(None, formats), configured)) or "last"


def _of_data_format(data_format: Any) -> Channels | None:
    known: dict[Any, Channels] = {"channels_first": "first", "channels_last": "last"}
    return known.get(data_format)
