"""Name a model's layers, find them by name, and tell where their kind has the channel axis."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, jit, nn
from torch.nn.modules import batchnorm, conv, pooling
from torch.nn.modules.lazy import LazyModuleMixin

from camcore.adapter import Channels, Layer, LayerName
from camcore.errors import LayerError
from camcore.layers.names import unknown_layer

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
class LayerCall:
    """One call of a layer in a pass.

    Parameters
    ----------
    module : nn.Module or None
        The layer; None for the model's own input.
    name : LayerName
        Which of its calls is meant, and which part of what it does or leaf of what it returns.
    """

    module: nn.Module | None
    name: LayerName


def unwrap(model: nn.Module) -> nn.Module:
    """Take the eager, single-device module out of ``torch.compile`` and data-parallel wrappers."""
    model = without_compile(model)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrap(model.module)
    return model


def is_compiled(module: nn.Module) -> bool:
    """Tell whether the module is what ``torch.compile(module)`` returns."""
    return "_orig_mod" in module._modules


def without_compile(module: nn.Module) -> nn.Module:
    """Take the module out of ``torch.compile``, if it is inside."""
    return without_compile(module.get_submodule("_orig_mod")) if is_compiled(module) else module


def is_keras(module: nn.Module) -> bool:
    """Tell whether the module is a Keras layer or model on the torch backend."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(module, keras.layers.Layer)


def is_built(model: nn.Module) -> bool:
    """Tell whether all weights exist, which lazy layers make in the first pass."""
    return not any(
        isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()
        for module in model.modules()
    )


def quantised(model: nn.Module) -> list[str]:
    """Name the layers that compute with whole numbers, and have no gradient."""
    return [
        name
        for name, module in named_modules(model).items()
        if "quantized" in type(module).__module__.split(".")
    ]


def named_modules(root: nn.Module) -> dict[str, nn.Module]:
    """Name every module by its first path, in the model's order; the root's path is ``""``."""
    named: dict[str, nn.Module] = {}
    _name(root, "", named, set())
    return named


def _name(module: nn.Module, name: str, named: dict[str, nn.Module], seen: set[nn.Module]) -> None:
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
        _name(child, name + step if name else step[1:], named, seen)


def _children(module: Any) -> Iterator[tuple[str, nn.Module]]:
    if is_keras(module):
        # Keras keeps its layers in a list of its own, which PyTorch does not see.
        for layer in module._flatten_layers(include_self=False, recursive=False):
            yield f"/{layer.name}", layer
    for name, child in module._modules.items():
        if child is not None and name != "_torch_params":
            yield f".{name}", child


def hookable(root: nn.Module) -> dict[str, nn.Module]:
    """Name every module below the root that fires hooks; TorchScript does not."""
    return {
        name: module
        for name, module in named_modules(root).items()
        if name and not isinstance(module, jit.ScriptModule)
    }


def layers(root: nn.Module) -> list[Layer]:
    """List every layer below the root."""
    return [Layer(name, type(module).__name__, module) for name, module in hookable(root).items()]


def unseen(root: nn.Module) -> LayerError:
    """Make the error for a model none of whose layers runs where it can be seen."""
    scripts = [n for n, m in named_modules(root).items() if isinstance(m, jit.ScriptModule)]
    held = [f"model.{name} ({type(child).__name__})" for name, child in root.named_children()]
    if isinstance(root, fx.GraphModule):
        advice = (
            "It is a flat graph, as program.module() makes it. Explain the exported program "
            "itself, or torch.export.unflatten(program)."
        )
    elif scripts:
        advice = (
            f"What it runs is TorchScript ({', '.join(scripts)}), which cannot be hooked. Put the "
            "nn.Module in its place that it was scripted or traced from."
        )
    elif held:
        advice = (
            f"It runs copies of its modules, or none of them. Explain the one that computes: "
            f"{' or '.join(held)}."
        )
    else:
        advice = (
            "It makes its modules while it runs, or holds them where PyTorch does not see them. "
            "Run it once if its first call makes them, or hold them as attributes."
        )
    return LayerError(f"No layer of the {type(root).__name__} runs where it can be seen. {advice}")


def find(root: nn.Module, name: str) -> LayerCall:
    """Find the call of a layer that a name such as ``layer4.2.relu#0`` or ``stage4@2`` means.

    Raises
    ------
    LayerError
        The model has no such layer.
    """
    asked = LayerName.parse(name)
    if asked.is_input:
        return LayerCall(None, asked)
    module = _directly(root, asked.path)
    if module is None:
        known = hookable(root)
        asked = LayerName.among(name, known)
        module = known.get(asked.path)
    if module is not None:
        return LayerCall(module, asked)
    if asked.path and asked.path in named_modules(root):
        raise LayerError(
            f"Layer {asked.path!r} is TorchScript, which cannot be hooked. Choose another."
        )
    raise unknown_layer(str(replace(asked, call=None)), hookable(root))


def _directly(root: nn.Module, path: str) -> nn.Module | None:
    """Follow a path step by step, if all on the way are plain modules."""
    module: nn.Module | None = root
    for step in path.split("."):
        if module is None or is_keras(module) or is_compiled(module):
            return None
        module = module._modules.get(step)
    hooked = module is not None and not is_compiled(module)
    return module if hooked and not isinstance(module, jit.ScriptModule) else None


def channels(module: nn.Module, rank: int) -> Channels | None:
    """Tell where the module's kind has the channel axis of an output of `rank` axes."""
    if isinstance(module, CHANNELS_FIRST):
        return "first"
    if isinstance(module, nn.Linear):
        return "last" if rank > 3 else None  # tokens are told by their number
    return _of_data_format(getattr(module, "data_format", None)) if is_keras(module) else None


def input_channels(root: nn.Module) -> Channels:
    """Tell where the model takes the channel axis of an image."""
    if not is_keras(root):
        return "first"
    formats = (getattr(module, "data_format", None) for module in named_modules(root).values())
    configured = sys.modules["keras"].config.image_data_format()
    return _of_data_format(next(filter(None, formats), configured)) or "last"


def _of_data_format(data_format: Any) -> Channels | None:
    known: dict[Any, Channels] = {"channels_first": "first", "channels_last": "last"}
    return known.get(data_format)
