"""Watch a model, so that whatever is written to it during an explanation is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unwritten(model: Any) -> Iterator[None]:
    """Fail where anything is written to a model within."""
    ways = {"named_modules": _torch, "_flatten_layers": _keras}
    way = next((way for own, way in ways.items() if hasattr(model, own)), _other)
    with way(model):
        yield


@contextmanager
def _torch(model: Any) -> Iterator[None]:
    from torch import nn
    from torch.nn.modules.module import register_module_forward_hook

    modules = list(model.modules())
    own = {id(module) for module in modules}
    before, written, ran = state(modules), [], []
    setting, deleting = nn.Module.__setattr__, nn.Module.__delattr__

    def watched_set(module: Any, name: str, value: Any) -> None:
        if id(module) in own:
            written.append(f"{type(module).__name__}.{name} = {value!r:.60}")
        setting(module, name, value)

    def watched_delete(module: Any, name: str) -> None:
        if id(module) in own:
            written.append(f"del {type(module).__name__}.{name}")
        deleting(module, name)

    def finished(module: Any, args: Any, output: Any) -> None:
        if id(module) in own:
            ran.append(type(module).__name__)
        if type(module) is type(model):  # the shell of the whole model: in the midst of a pass
            assert state(modules) == before

    nn.Module.__setattr__, nn.Module.__delattr__ = watched_set, watched_delete
    handle = register_module_forward_hook(finished, always_call=True)
    try:
        yield
    finally:
        handle.remove()
        nn.Module.__setattr__, nn.Module.__delattr__ = setting, deleting
    assert not written
    assert not ran
    assert state(modules) == before


def state(modules: list[Any]) -> list[Any]:
    """List what hangs on PyTorch modules, by identity, and the versions of their tensors."""
    held: list[Any] = []
    for module in modules:
        held.append(module.training)
        held.append(_stores(vars(module)))
        for tensor in [*module._parameters.values(), *module._buffers.values()]:
            if tensor is not None and not tensor.is_inference():
                held.append((tensor._version, tensor.requires_grad, id(tensor.grad)))
    return held


def _stores(attributes: dict[str, Any]) -> list[Any]:
    return [
        (name, id(value) if isinstance(value, (dict, list)) else _identity(value), _inside(value))
        for name, value in list(attributes.items())
    ]


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return [(_identity(key), _identity(part)) for key, part in list(value.items())]
    if isinstance(value, (list, set)):
        return [_identity(part) for part in list(value)]
    return None


def _identity(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else id(value)


@contextmanager
def _keras(model: Any) -> Iterator[None]:
    layers = list(model._flatten_layers())
    before, values = [_stores(vars(layer)) for layer in layers], _values(model)
    yield
    assert [_stores(vars(layer)) for layer in layers] == before
    assert _values(model) == values


@contextmanager
def _other(model: Any) -> Iterator[None]:
    """Watch what hangs on an object, or the bytes of a file."""

    def held() -> Any:
        is_file = hasattr(model, "SerializeToString")
        return model.SerializeToString(deterministic=True) if is_file else _stores(vars(model))

    before = held()
    yield
    assert held() == before


def _values(model: Any) -> list[bytes]:
    return [variable.numpy().tobytes() for variable in model.variables]
