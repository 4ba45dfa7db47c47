"""ImageNet's class names, offline."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


@cache
def imagenet_classes() -> tuple[str, ...] | None:
    """Names of the 1,000 classes by index, or None where no installed package has them.

    Notes
    -----
    They are those in torchvision's ``models/_meta.py``. That one file is read on its
    own: importing torchvision takes seconds, and after TensorFlow it can end the
    process, since it loads Triton, whose LLVM clashes with TensorFlow's.
    """
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "models" / "_meta.py"
    spec = spec_from_file_location("_camcore_imagenet", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    names = getattr(module, "_IMAGENET_CATEGORIES", None)
    return None if names is None else tuple(names)
