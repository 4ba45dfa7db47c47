"""What may be imported from where, what the package shows, and that it is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import camcore

CORE = Path(camcore.__file__).parent
BACKENDS = CORE.parent / "backends"
FRAMEWORKS = {"torch", "torchvision", "timm", "tensorflow", "keras", "tf_keras", "jax"}
EXTRAS = {
    "cv2",
    "matplotlib",
    "PIL",
    "scipy",
    "skimage",
    "sklearn",
    "tqdm",
    "typer",
    "rich",
    "jinja2",
    "nibabel",
    "pydicom",
    "monai",
}
# Rooms of their own, behind an extra.
APART = {"app", "cli", "viz"}


def modules(folder, apart=frozenset()):
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if path.relative_to(folder).parts[0] not in apart
    ]


def imported(path, *, at_import):
    """Root names that a module imports; `at_import` leaves out what functions import."""
    found = set()
    waiting = list(ast.parse(path.read_text("utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
        deferred = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_import and (deferred or typing_only)):
            waiting += ast.iter_child_nodes(node)
    return {name if name.startswith(".") else name.partition(".")[0] for name in found}


@pytest.mark.parametrize(
    ("then", "packages"),
    [
        ("pass", set()),
        ("[getattr(camcore, name) for name in camcore.__all__ if name != 'viz']", {"numpy"}),
    ],
)
def test_importing_camcore_loads_nothing_and_its_names_load_numpy_alone(then, packages):
    code = (
        f"import sys; before = set(sys.modules); import camcore; {then}; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = {name for name in run.stdout.split() if name not in sys.stdlib_module_names}
    assert {name for name in outside if not name.startswith("_")} == {"camcore"} | packages


def test_names_mean_the_same_whichever_module_was_imported_first():
    code = "import camcore.explainer, camcore.comparison, camcore as c; print(c.explain, c.compare)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("<function explain ")
    assert "<function compare " in run.stdout


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_no_module_of_the_core_imports_a_framework_or_an_adapter(path):
    names = imported(path, at_import=False)
    assert names & FRAMEWORKS == set()
    assert {name for name in names if name.startswith(("camcore_", "."))} == set()


@pytest.mark.parametrize("path", modules(CORE, APART), ids=lambda path: str(path.relative_to(CORE)))
def test_optional_packages_are_imported_where_they_are_used(path):
    assert imported(path, at_import=True) & EXTRAS == set()


@pytest.mark.parametrize("package", sorted(p.name for p in BACKENDS.glob("camcore_*")))
def test_adapters_import_their_own_framework_and_never_one_another(package):
    others = {p.name for p in BACKENDS.glob("camcore_*")} - {package}
    foreign = {
        "camcore_torch": {"tensorflow", "keras", "tf_keras"},
        "camcore_tensorflow": {"torch", "torchvision", "timm"},
    }
    for path in modules(BACKENDS / package):
        names = imported(path, at_import=False)
        assert names & (others | foreign.get(package, set())) == set(), path


def test_public_names_are_those_of_the_docstring():
    table = re.findall(r"^`(?:camcore\.)?(\w+)`", camcore.__doc__, re.M)
    assert len(table) == 35
    assert sorted(table) == camcore.__all__
    for name in table:
        thing = camcore.__getattr__(name)  # also where an import has set it
        assert thing.__name__ == (f"camcore.{name}" if isinstance(thing, ModuleType) else name)
    with pytest.raises(AttributeError, match="no attribute 'evidence_of'"):
        camcore.__getattr__("evidence_of")


def test_every_extra_that_a_missing_package_is_answered_with_can_be_installed():
    settings = (CORE.parent / "pyproject.toml").read_text("utf-8")
    extras = settings.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = {
        node.args[0].value
        for path in [*CORE.rglob("*.py"), *BACKENDS.rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "needs"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"viz", "report", "video", "demo"} <= named
    assert named <= {*re.findall(r"^([\w-]+) = \[", extras, re.M)}


def test_every_error_is_a_camcore_error():
    for name, kind in vars(camcore.errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception) and not name.endswith("Warning"):
            assert issubclass(kind, camcore.errors.CamcoreError)


def public(owner, prefix="camcore"):
    """Public functions, classes and methods that people reach through ``import camcore``."""
    names = getattr(owner, "__all__", None) or [n for n in vars(owner) if not n.startswith("_")]
    for name in names:
        thing, path = getattr(owner, name), f"{prefix}.{name}"
        if isinstance(thing, ModuleType):
            if owner is camcore:
                yield from public(thing, path)
        elif getattr(thing, "__module__", "").startswith(owner.__name__):
            yield path, thing
            if inspect.isclass(thing):
                for key, part in vars(thing).items():
                    if isinstance(part, FunctionType) and part.__name__ == key and key[0] != "_":
                        yield f"{path}.{key}", part


PUBLIC = dict(public(camcore))


@pytest.mark.parametrize("path", PUBLIC)
def test_public_things_are_documented(path):
    assert inspect.getdoc(PUBLIC[path]), f"{path} has no docstring"


def in_full(path):
    """Functions, and methods of the classes that the package itself shows."""
    return inspect.isfunction(PUBLIC[path]) and (
        path.rpartition(".")[0] not in PUBLIC or path.count(".") == 2
    )


@pytest.mark.parametrize("path", list(filter(in_full, PUBLIC)))
def test_public_functions_say_what_they_take_and_return(path):
    text = inspect.getdoc(PUBLIC[path])
    signature = inspect.signature(PUBLIC[path])
    names = [name for name in signature.parameters if name != "self"]
    sections = dict(re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.M | re.S))
    listed = re.findall(r"^(\S.*?)(?: : .*)?$", sections.get("Parameters", ""), re.M)
    documented = [name.strip("*") for line in listed for name in line.split(", ")]
    assert documented == names
    if names and signature.return_annotation not in (None, "None"):
        assert sections.get("Returns") or sections.get("Yields"), (
            f"{path} does not say what it returns"
        )


def test_every_exported_name_is_there():
    """A name in ``__all__`` that is not defined fails only for ``import *``."""
    names = ["camcore", *(f"camcore.{path.parent.name}" for path in CORE.glob("*/__init__.py"))]
    packages = [importlib.import_module(name) for name in names]
    listed = {(package, name) for package in packages for name in getattr(package, "__all__", ())}
    assert {(camcore, "explain"), (camcore.targets, "LogProbability")} <= listed
    assert [name for package, name in listed if not hasattr(package, name)] == []
