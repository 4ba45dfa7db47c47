"""Imports within the core point one way, and never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import camcore

CORE = Path(camcore.__file__).parent

# From the ground up: a room imports from the rows above its own row, and from itself.
ROWS = [
    {"errors"},
    {"_shared"},
    {"adapter"},
    {"nest", "registry", "resize", "postprocess", "input_layout"},
    {"medical"},
    {"inputs", "mistakes", "photos", "augment", "targets"},
    {"zoo", "layers", "methods", "outputs"},
    {"recipes", "evidence"},
    {"viz", "chain", "blocks"},
    {"metrics"},
    {"explanation", "means_table"},
    {"explainer", "comparison", "evaluated"},
    {"evaluation", "evaluated_json", "factorisation", "training", "tiles", "testing"},
    {"batch"},
    {"report", "studies"},
    {"app"},
    {"camcore"},
    {"cli"},
    {"__main__"},
    # Former places, which only other people's code imports.
    {"candidates", "imagenet", "images", "preprocessing", "progress", "trace"},
]
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}

# Imports that close a circle, to be mended; this set should be empty.
TO_MEND: set[tuple[str, str]] = set()

# What hands over to what is built on it, by the package's public name: a result's method, and the
# function that explains for another library's metrics.
HANDED_OVER = {("camcore.explanation", "camcore"), ("camcore.metrics.bridge", "camcore")}


def module_name(path):
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(CORE.rglob("*.py"))}


TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def exported(name):
    """Names that a module has from elsewhere, such as those a package re-exports; no modules."""
    froms = (node for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom))
    return {
        alias.asname or alias.name
        for node in froms
        for alias in node.names
        if f"{node.module}.{alias.name}" not in MODULES
    }


def imported(name):
    """Modules of the core that a module imports, at its top, in functions or for typing alone."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                member = f"{base}.{alias.name}"
                # A name that the package re-exports is an import of the package.
                is_module = member in MODULES and (base == name or alias.name not in exported(base))
                found.add(member if is_module else base)
    return (found & set(MODULES)) - {name}


IMPORTS = {name: imported(name) for name in MODULES}


def room(module):
    """The package or module directly below ``camcore``; that itself is a room too."""
    return module.split(".")[1] if "." in module else module


def circles(imports):
    """Modules that reach themselves, circle by circle."""
    reached = {name: set(targets) for name, targets in imports.items()}
    for middle in reached:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    within = [name for name in reached if name in reached[name]]
    return {frozenset(m for m in reached[n] if n in reached[m]) for n in within}


def without(imports, edges):
    return {name: {t for t in found if (name, t) not in edges} for name, found in imports.items()}


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {frozenset("bc")}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert imported("camcore.explanation") >= {"camcore.viz", "camcore.viz.explanation"}
    assert imported("camcore") >= {"camcore.viz", "camcore.explainer"}


def test_no_import_circle():
    assert not circles(without(IMPORTS, TO_MEND | HANDED_OVER))
    mended = {(name, target) for name, target in TO_MEND if target not in IMPORTS[name]}
    assert not mended, "take these off TO_MEND"


def test_what_is_handed_over_is_imported_when_it_is_called():
    for name, target in HANDED_OVER:
        first = {node.module for node in TREES[name].body if isinstance(node, ast.ImportFrom)}
        assert target in IMPORTS[name]
        assert target not in first


def test_imports_point_one_way():
    wrong = [
        f"{name} imports {target}"
        for name, targets in without(IMPORTS, TO_MEND | HANDED_OVER).items()
        for target in sorted(targets)
        if room(name) != room(target) and RANK[room(name)] <= RANK[room(target)]
    ]
    assert not wrong


@pytest.mark.parametrize("found", sorted({room(name) for name in MODULES}))
def test_every_room_has_a_rank(found):
    assert sum(found in row for row in ROWS) == 1


VERBS = {
    *("__init__", "adapter", "attention", "backend", "backward", "capture", "forward", "guided"),
    *("graph", "inputs", "layers", "logits", "preserve", "resume", "survey", "weights", "zoo"),
}
OWN = {
    "camcore_torch": {
        *(
            "checkpoints",
            "fast",
            "joins",
            "lightning",
            "modes",
            "rectified",
            "shells",
            "small_cnn",
            "sparse_linear",
            "traits",
            "wrapped",
            "zoo_states",
            "zoo_transformers",
            "zoo_ultralytics",
        ),
    },
    "camcore_tensorflow": {
        *(
            "between",
            "compile",
            "frozen",
            "saved",
            "saved_weights",
            "sizes",
            "small_cnn",
            "training",
        ),
        "zoo_efficientnet_lite",
    },
}


@pytest.mark.parametrize("package", OWN)
def test_each_adapter_has_a_file_for_each_verb_and_names_its_own(package):
    files = {path.stem for path in (CORE.parent / "backends" / package).glob("*.py")}
    assert files == VERBS | OWN[package]
