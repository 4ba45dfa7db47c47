"""How many small mistakes in the code the tests see: a seeded sample of mutants, one at a time.

    python benchmarks/mutation.py --sample 300 --seed 1 [--only camcore/methods ...]

mutmut makes the mutants; this script draws some and says which tests are to see them: those that
mirror the file, then those of its package, then the wider ones. A mutant is written into a copy of
the tree, and its tests run in a fork of a process that has imported the frameworks already. Writes
the survivors, each with its place and its change, to results/mutation.md. Mutants that change
nothing anybody can see stand in mutation_equivalents.toml, with why, and are not drawn.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import itertools
import math
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import libcst as cst
import libcst.matchers as m
import tomllib
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "camcore",
    *(f"backends/camcore_{name}" for name in ("torch", "tensorflow", "jax", "onnx")),
)
EQUIVALENTS = Path(__file__).with_name("mutation_equivalents.toml")
OUT_OF_TIME = -1
# In this order: torchvision's LLVM ends a process that has TensorFlow's already. JAX is not among
# them: its threads do not survive a fork.
PRELOADED = (
    *("pytest", "hypothesis", "numpy", "cv2", "PIL.Image", "matplotlib.figure", "typer", "rich"),
    *("jinja2", "sklearn.datasets", "sklearn.decomposition", "skimage.metrics", "torchvision"),
    *("timm", "lightning", "tensorflow", "keras", "tf_keras"),
)
# Tests of the source's own text, which any change of it turns red.
ABOUT_TEXT = ("tests/core/test_house.py",)
# What takes the better part of a minute and sees little that the rest does not.
SLOW = "not (readme or browser or five_hundred or one_network_in_both or real_weights)"
# The wider tests of a file, by the longest beginning of its path.
WIDER = {
    "camcore": (
        "tests/core",
        *(f"--ignore=tests/core/{room}" for room in ("cli", "report", "viz")),
    ),
    "camcore/cli": ("tests/core/cli", "tests/core/batch", "tests/core/test_imports.py"),
    "camcore/batch": (
        "tests/core/cli/test_folder.py",
        "tests/core/cli/test_explain.py",
        "tests/core/test_imports.py",
    ),
    "camcore/viz": (
        "tests/core/viz",
        "tests/core/report/test_report.py",
        "tests/core/test_imports.py",
    ),
    "camcore/layers": (
        "tests/core/layers",
        "tests/core/methods",
        "tests/core/test_explainer.py",
        "tests/backends/test_attention.py",
    ),
    "camcore/testing": ("tests/backends/test_contract.py",),
    "backends/camcore_torch/lightning.py": ("tests/core/test_training.py",),
    "backends/camcore_tensorflow/training.py": ("tests/core/test_training.py",),
    "backends/camcore_torch": ("tests/backends/torch", "tests/threads/test_torch.py"),
    "backends/camcore_tensorflow": (
        "tests/backends/tensorflow",
        "tests/threads/test_tensorflow.py",
    ),
    "backends/camcore_jax": ("tests/backends/jax", "tests/backends/test_contract.py"),
    "backends/camcore_onnx": ("tests/backends/onnx", "tests/backends/test_contract.py"),
}
MIRRORS = {
    "camcore": "tests/core",
    "backends/camcore_torch": "tests/backends/torch",
    "backends/camcore_tensorflow": "tests/backends/tensorflow",
    "backends/camcore_jax": "tests/backends/jax",
    "backends/camcore_onnx": "tests/backends/onnx",
}
TYPING = m.OneOf(*map(m.Name, ("Callable", "Literal", "Mapping", "Sequence", "Union", "tuple")))
NOT_BEHAVIOUR = m.OneOf(
    m.Raise(),
    m.Expr(value=m.SimpleString() | m.ConcatenatedString()),
    m.Call(func=m.Attribute(attr=m.Name("warn"))),
    m.Call(func=m.Name(m.MatchIfTrue(lambda name: name.endswith(("Error", "Warning"))))),
    m.Call(func=m.OneOf(m.Name("TypeVar"), m.Name("cast"))),
    m.Assign(value=m.Call(func=m.Name("TypeVar")) | m.Subscript(value=TYPING)),
    m.If(test=m.Name("TYPE_CHECKING")),
    m.FunctionDef(decorators=[m.Decorator(m.Name("overload"))]),
    m.Decorator(),
    m.Annotation(),
    m.Arg(keyword=m.Name("strict")),
)


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one file."""

    path: str
    line: int
    before: str
    after: str
    code: str = field(repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it, whatever moves around it."""
        return self.path, self.before, self.after


class Behaviour(MutationVisitor):
    """Every mutation mutmut knows, decorated functions included, but for words and types."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        counted = isinstance(node, cst.Call) and m.matches(
            node.func, m.Name("len") | m.Name("isinstance")
        )
        return counted or m.matches(node, NOT_BEHAVIOUR)


def is_prose(node: cst.CSTNode) -> bool:
    """Tell whether a node is text with a space, which people read and programs do not."""
    if isinstance(node, cst.Arg):
        # zip's strict= asserts what holds anyway.
        return m.matches(node, m.Arg(keyword=m.Name("strict"))) or is_prose(node.value)
    if isinstance(node, cst.FormattedString):
        return any(
            isinstance(part, cst.FormattedStringText) and " " in part.value for part in node.parts
        )
    if isinstance(node, cst.ConcatenatedString):
        return True
    return isinstance(node, (cst.SimpleString, cst.FormattedStringText)) and " " in node.value


def only_words(mutation: Mutation) -> bool:
    """Tell whether a mutation changes or drops a text for people and nothing else."""
    before, after = mutation.original_node, mutation.mutated_node
    if isinstance(before, cst.Call) and isinstance(after, cst.Call):
        gone = [arg for arg in before.args if not any(arg is kept for kept in after.args)]
        return bool(gone) and all(map(is_prose, gone))
    return is_prose(before)


def mutations_of(path: str) -> tuple[cst.Module, list[Mutation]]:
    """Find every mutation of a file."""
    visitor = Behaviour(mutation_operators, IgnoredCode(set(), set(), set()))
    module = MetadataWrapper(cst.parse_module((ROOT / path).read_text("utf-8"))).visit(visitor)
    return module, [mutation for mutation in visitor.mutations if not only_words(mutation)]


def applied(path: str, module: cst.Module, mutation: Mutation) -> Mutant:
    """Apply a mutation to the module it was found in."""
    code = deep_replace(module, mutation.original_node, mutation.mutated_node).code
    sides = module.code.split("\n"), code.split("\n")
    hunk, *lines = list(difflib.unified_diff(*sides, n=0))[2:]
    place = int(hunk.split()[1][1:].split(",")[0])
    before, after = (" ".join(line[1:].strip() for line in lines if line[0] == s) for s in "-+")
    return Mutant(path, place, before, after, code)


def drawn(files: Sequence[str], sample: int, seed: int) -> tuple[list[Mutant], int]:
    """Draw a sample over all mutants of the files; returns it and the number of all."""
    table = tomllib.loads(EQUIVALENTS.read_text("utf-8"))["equivalent"]
    known = {(row["path"], row["before"], row["after"]) for row in table}
    modules = {path: mutations_of(path) for path in files}
    every = [(path, index) for path in files for index in range(len(modules[path][1]))]
    random.Random(seed).shuffle(every)
    mutants = (applied(path, modules[path][0], modules[path][1][index]) for path, index in every)
    counted = (mutant for mutant in mutants if mutant.key not in known)
    return list(itertools.islice(counted, sample)), len(every)


def tests_of(path: str) -> list[list[str]]:
    """List the tests of a file, in stages from near to far."""
    source = next(source for source in SOURCES if path.startswith(source + "/"))
    inner = Path(path).relative_to(source)
    folder = Path(MIRRORS[source], inner.parent)
    near = folder / f"test_{inner.stem.strip('_')}.py"
    # The test of a package that is one idea, and what a package exports.
    idea = folder.with_name(f"test_{folder.name}.py"), folder / f"test_{folder.name}.py"
    exports = ["tests/core/test_imports.py"] if inner.name == "__init__.py" else []
    package = [folder] if inner.parent.name else []
    wider = WIDER[max((start for start in WIDER if path.startswith(start)), key=len)]
    stages: list[list[str]] = []
    for stage in ([near, *idea], exports, package, wider):
        names = [str(s) for s in stage if str(s).startswith("--") or (ROOT / s).exists()]
        if names and names not in stages:
            stages.append(names)
    return stages


def pytest_status(copy: Path, tests: Sequence[str], limit: float, *options: str) -> int:
    """Run tests on a copy of the tree, in a fork; returns pytest's exit status.

    `limit` is in seconds of the processor, so that a busy machine kills nothing; what waits for
    ever is ended after ten times as long.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
        out = os.open(copy / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(copy)
        places = [str(copy), str(copy / "backends")]
        sys.path[:0] = places
        os.environ["PYTHONPATH"] = os.pathsep.join(places)
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        pytest = importlib.import_module("pytest")
        ignored = [f"--ignore={name}" for name in ABOUT_TEXT]
        shared = ["-q", "-p", "no:cacheprovider", "-k", SLOW]
        status = int(pytest.main([*shared, *ignored, *options, *tests]))
        sys.stdout.flush()
        os._exit(status)
    end = time.monotonic() + 10 * limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return OUT_OF_TIME if code == -signal.SIGXCPU else code
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return OUT_OF_TIME


def outcome(mutant: Mutant, copy: Path, limit: float) -> str:
    """Run a mutant's tests, near ones first, until one of them is red or takes too long."""
    place = copy / mutant.path
    original = place.read_text("utf-8")
    for cached in place.parent.glob(f"__pycache__/{place.stem}.*.pyc"):
        cached.unlink()
    place.write_text(mutant.code, "utf-8")
    try:
        for stage in tests_of(mutant.path):
            status = pytest_status(copy, stage, limit, "-x")
            if status not in (0, 5):  # 5: all of them are among the slow ones
                return "out of time" if status == OUT_OF_TIME else "killed"
        return "survived"
    finally:
        place.write_text(original, "utf-8")


def copied(to: Path) -> Path:
    """Copy the files that git knows of."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def work(mutants: Sequence[Mutant], copy: Path, limit: float, answers: Path) -> None:
    """Run mutants one by one, and write each outcome as a line."""
    # A mutant must never be met again as bytecode.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with answers.open("w", buffering=1) as lines:
        for mutant in mutants:
            started = time.monotonic()
            found = outcome(mutant, copy, limit)
            print(f"{found} {time.monotonic() - started:.0f} s {mutant}", flush=True)
            lines.write(found + "\n")


def outcomes(mutants: Sequence[Mutant], workers: int, limit: float, green: bool) -> list[str]:
    """Share the mutants among forked workers, each with a tree of its own."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder, "tree"))
        named = {name for mutant in mutants for stage in tests_of(mutant.path) for name in stage}
        tests = sorted(name for name in named if not name.startswith("--"))
        if pytest_status(tree, tests, 3600, *(["--collect-only"] if green else [])):
            print((tree / "pytest.log").read_text("utf-8"))
            raise SystemExit("Tests fail without a mutant. Mend them first.")
        children = []
        for index in range(workers):
            own, answers = Path(folder, f"tree{index}"), Path(folder, f"{index}.txt")
            shutil.copytree(tree, own)  # with the bytecode that the first run left
            if (child := os.fork()) == 0:
                work(mutants[index::workers], own, limit, answers)
                os._exit(0)
            children.append((child, answers))
        ends = [os.waitpid(child, 0)[1] for child, _ in children]
        if any(ends):
            raise SystemExit("A worker ended early; its last words stand above.")
        found = [""] * len(mutants)
        for index, (_, answers) in enumerate(children):
            found[index::workers] = answers.read_text("utf-8").splitlines()
        return found


def main() -> None:
    """Draw, run and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", nargs="*", default=SOURCES, help="files or folders")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--limit", type=float, default=600, help="processor seconds for a stage of tests"
    )
    parser.add_argument("--green", action="store_true", help="the tests were just seen green")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/mutation.md")
    options = parser.parse_args()
    files = sorted(
        str(path.relative_to(ROOT))
        for name in options.only
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    )
    mutants, every = drawn(files, options.sample, options.seed)
    print(f"seed {options.seed}: {len(mutants)} of {every} mutants", flush=True)
    for name in PRELOADED:
        importlib.import_module(name)
    # pytest collects garbage at its end, which would copy every page of the frameworks.
    gc.freeze()
    started = time.monotonic()
    found = outcomes(mutants, options.workers, options.limit, options.green)
    lived = sorted(mutant for mutant, how in zip(mutants, found, strict=True) if how == "survived")
    killed, late = len(mutants) - len(lived), found.count("out of time")
    call = f"python benchmarks/mutation.py --sample {options.sample} --seed {options.seed}"
    minutes = (time.monotonic() - started) / 60
    page = "# Mutants that the tests do not see\n\n"
    page += f"`{call}`: {killed} of {len(mutants)} killed ({killed / len(mutants):.1%}), {late} of "
    page += f"them by time; {every} can be made. {minutes:.0f} minutes, {options.workers} workers, "
    page += f"mutmut {version('mutmut')}, Python {platform.python_version()}.\n"
    for mutant in lived:
        page += f"\n    {mutant.path}:{mutant.line}\n    - {mutant.before}\n    + {mutant.after}\n"
    options.output.write_text(page, "utf-8")
    print(page)


if __name__ == "__main__":
    main()
