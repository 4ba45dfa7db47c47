"""How many small mistakes in the code the tests see: a seeded sample of mutants, one at a time.

    python benchmarks/mutation.py --map
    python benchmarks/mutation.py --sample 300 --seed 1 [--only camcore/methods ...]
    python benchmarks/mutation.py --again [--only camcore/methods ...]

mutmut makes the mutants; this script draws some and says which tests are to see them: those that
mirror the file, then those that run the changed lines, as `--map` has seen with coverage.py; or,
where nothing has been seen, those of its package and the wider ones. A mutant is written into a
copy of the tree, and its tests run in a fork of a process that has imported the frameworks. Writes
the survivors, each with its place and its change, to results/mutation.md. Mutants that change
nothing anybody can see stand in mutation_equivalents.toml, with why, and are not drawn. `--again`
runs those once more that the page lists, and says what became of each.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import importlib
import itertools
import json
import math
import os
import platform
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

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
SEEN = ROOT / ".mutation"
"""Where `--map` writes which tests run which line, a file for each of these groups of tests."""
MAPPED = {
    "core": ("tests/core",),
    "adapters": ("tests/backends", "tests/agreement", "tests/threads"),
}
BUDGET = 60
"""Seconds that the tests of a changed line may take together, as they took under coverage.py."""
OUT_OF_TIME = -1
Stages: TypeAlias = list[list[str]]
# In this order: torchvision's LLVM ends a process that has TensorFlow's already. JAX is not among
# them: its threads do not survive a fork.
PRELOADED = (
    *("pytest", "hypothesis", "numpy", "cv2", "PIL.Image", "matplotlib.figure", "typer", "rich"),
    *("jinja2", "sklearn.datasets", "sklearn.decomposition", "skimage.metrics", "torchvision"),
    *("timm", "lightning", "tensorflow", "keras", "tf_keras"),
)
# Tests of the source's own text, which any change of it turns red.
ABOUT_TEXT = ("tests/core/test_house.py",)
# Tests of what a signal interrupts, which under coverage.py interrupts nothing else.
UNMAPPED = (
    "tests/core/_shared/test_interrupts.py",
    "tests/threads/test_interrupts_torch.py",
    "tests/threads/test_interrupts_tensorflow.py",
)
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


class Recorder:
    """A plugin of pytest that tells coverage.py which test runs, and times it."""

    def __init__(self, measured: Any) -> None:
        self.measured, self.took = measured, dict[str, float]()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Name the test, its parameters left out."""
        self.measured.switch_context(nodeid.partition("[")[0])

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add up the seconds of a test and its fixtures."""
        name = report.nodeid.partition("[")[0]
        self.took[name] = self.took.get(name, 0.0) + report.duration


def map_tests(group: str) -> None:
    """Run a group of tests under coverage.py, and write which of them run which line."""
    coverage, pytest = importlib.import_module("coverage"), importlib.import_module("pytest")
    folders = [str(ROOT / source) for source in SOURCES]
    measured = coverage.Coverage(data_file=None, source=folders, config_file=False)
    recorder = Recorder(measured)
    ignored = [f"--ignore={name}" for name in (*ABOUT_TEXT, *UNMAPPED)]
    measured.start()
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "-k", SLOW, *ignored, *MAPPED[group]], plugins=[recorder]
    )
    measured.stop()
    data = measured.get_data()
    lines = {
        str(Path(path).relative_to(ROOT)): {
            line: sorted(filter(None, tests))
            for line, tests in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }
    SEEN.mkdir(exist_ok=True)
    (SEEN / f"{group}.json").write_text(json.dumps({"took": recorder.took, "lines": lines}))


def seen() -> tuple[dict[str, float], dict[str, dict[int, list[str]]]]:
    """Read how long each test takes, and which tests run which line of which file."""
    took: dict[str, float] = {}
    lines: dict[str, dict[int, list[str]]] = {}
    for path in SEEN.glob("*.json"):
        part = json.loads(path.read_text())
        took |= part["took"]
        for file, found in part["lines"].items():
            for line, tests in found.items():
                lines.setdefault(file, {}).setdefault(int(line), []).extend(tests)
    return took, lines


def statement(path: str, line: int) -> tuple[range, range]:
    """Find the lines of the statement at a line, without what it holds, and of its function."""
    inner = function = range(line, line + 1)
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if not isinstance(node, ast.stmt):
            continue
        body = getattr(node, "body", None)
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if first <= line <= node.end_lineno:
                function = range(node.body[0].lineno, node.end_lineno + 1)
        elif first <= line < (body[0].lineno if body else node.end_lineno + 1):
            inner = range(first, body[0].lineno if body else node.end_lineno + 1)
    return inner, function


def tests_seen(
    mutant: Mutant, took: Mapping[str, float], lines: Mapping[int, list[str]]
) -> list[str]:
    """List tests that run the changed lines, or else their function or file, within the budget.

    Those come first that run the fewest lines of the file: they are about the change.
    """
    wide = Counter(test for tests in lines.values() for test in tests)
    for place in (*statement(mutant.path, mutant.line), lines):
        found = {test for line in place for test in lines.get(line, ())}
        if found:
            chosen, total = [], 0.0
            for test in sorted(found, key=lambda test: (wide[test], took.get(test, 0.0), test)):
                if (total := total + took.get(test, 0.0)) > BUDGET and chosen:
                    break
                chosen.append(test)
            return chosen
    return []


def tests_of(path: str) -> Stages:
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
    stages: Stages = []
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


def stages_of(mutant: Mutant, known: tuple[Mapping[str, float], Mapping[str, Any]]) -> Stages:
    """List the tests of a mutant, in stages from near to far."""
    took, lines = known
    stages = tests_of(mutant.path)
    if not lines:
        return stages
    return [*stages[:1], tests_seen(mutant, took, lines.get(mutant.path, {}))]


def outcome(mutant: Mutant, copy: Path, limit: float, known: Any) -> str:
    """Run a mutant's tests, near ones first, until one of them is red or takes too long."""
    place = copy / mutant.path
    original = place.read_text("utf-8")
    for cached in place.parent.glob(f"__pycache__/{place.stem}.*.pyc"):
        cached.unlink()
    place.write_text(mutant.code, "utf-8")
    try:
        for stage in filter(None, stages_of(mutant, known)):
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
    known = seen()
    with answers.open("w", buffering=1) as lines:
        for mutant in mutants:
            started = time.monotonic()
            found = outcome(mutant, copy, limit, known)
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
    parser.add_argument("--map", choices=[*MAPPED, "all"], nargs="?", const="all")
    parser.add_argument("--again", action="store_true")
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
    if options.map:
        for group in MAPPED if options.map == "all" else [options.map]:
            # A group is a process of its own: coverage.py measures one run of pytest.
            command = [sys.executable, "-c", f"import mutation; mutation.map_tests({group!r})"]
            places = [str(ROOT), str(ROOT / "backends"), str(Path(__file__).parent)]
            paths = os.pathsep.join(places)
            subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": paths})
        return
    files = sorted(
        str(path.relative_to(ROOT))
        for name in options.only
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    )
    for name in PRELOADED:
        importlib.import_module(name)
    # pytest collects garbage at its end, which would copy every page of the frameworks.
    gc.freeze()
    if options.again:
        page = again(options.output.read_text("utf-8"), files, options)
    else:
        page = sampled(files, options)
    options.output.write_text(page, "utf-8")
    print(page)


def sampled(files: Sequence[str], options: argparse.Namespace) -> str:
    """Draw and run a sample, and write its page."""
    mutants, every = drawn(files, options.sample, options.seed)
    print(f"seed {options.seed}: {len(mutants)} of {every} mutants", flush=True)
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
    return page


_LISTED = re.compile(r"^    (\S+):(\d+)(?:, (.+))?\n    - (.*)\n    \+ (.*)\n", re.M)
"""A survivor on the page: file, line, what became of it, and its change."""


def again(page: str, files: Sequence[str], options: argparse.Namespace) -> str:
    """Run the survivors that a page lists, as far as they are of these files, and write it anew."""
    table = tomllib.loads(EQUIVALENTS.read_text("utf-8"))["equivalent"]
    same = {(row["path"], row["before"], row["after"]) for row in table}
    listed = [Listed(*row.groups()) for row in _LISTED.finditer(page)]
    todo = {one.key for one in listed if one.path in files} - same
    mutants = []
    for path in sorted({path for path, _, _ in todo}):
        module, mutations = mutations_of(path)
        of_file = {key[1:] for key in todo if key[0] == path}
        every = (applied(path, module, mutation) for mutation in mutations)
        mutants += {mutant.key: mutant for mutant in every if mutant.key[1:] in of_file}.values()
    found = outcomes(mutants, options.workers, options.limit, options.green)
    became = {
        m.key: "" if how == "survived" else "killed since"
        for m, how in zip(mutants, found, strict=True)
    }
    became |= dict.fromkeys(todo - became.keys(), "gone since")
    became |= dict.fromkeys(same, "which changes nothing")
    rows = [one._replace(became=became.get(one.key, one.became)) for one in listed]
    killed, drawn_then = map(int, re.search(r"(\d+) of (\d+) killed", page).groups())
    counts = Counter(one.became for one in rows)
    killed += counts["killed since"]
    counted = drawn_then - counts["which changes nothing"] - counts["gone since"]
    head = page.split("\n\n")[:2]
    since = f"Tests that came since kill {counts['killed since']} of those that follow, "
    since += f"{counts['which changes nothing']} change nothing (mutation_equivalents.toml says "
    since += f"why), {counts['gone since']} are gone with their code: {killed} of {counted} killed "
    since += f"({killed / counted:.1%})."
    lines = [
        f"    {one.path}:{one.line}{', ' + one.became if one.became else ''}\n"
        f"    - {one.before}\n    + {one.after}"
        for one in sorted(rows, key=lambda one: one.became or "")
    ]
    return "\n\n".join([*(text.strip("\n") for text in head), since, *lines]) + "\n"


class Listed(NamedTuple):
    """A survivor that a page lists."""

    path: str
    line: str
    became: str | None
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it, as a `Mutant`'s."""
        return self.path, self.before, self.after


if __name__ == "__main__":
    main()
