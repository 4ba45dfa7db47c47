"""What docs/everyday.md does, beside what other libraries need for it.

Each of everyday_pytorch_grad_cam.py, everyday_captum.py and everyday_tf_explain.py has a function
for each section that the library can do. It is given a network and the path of a photograph,
ends in what it made, and may leave where.png. What photographs need before a network sees them
is written as these libraries' own examples write it. Its lines are counted but for the first,
its imports and its last, which returns what tests look at.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping

import everyday_captum
import everyday_pytorch_grad_cam
import everyday_tf_explain

OURS: Mapping[str, str] = {
    "overlay": "A photograph to an overlay",
    "named": "A class by its name",
    "layer": "A layer, by its name or by itself",
    "layers": "Several layers together",
    "methods": "Several methods side by side",
    "smooth": "Smoother maps",
    "concepts": "The concepts of a layer",
    "good": "Whether the map is any good",
    "pixels": "Attributions at the pixels",
    "five": "The five highest classes, a map for each",
    "box": "A box from the map",
    "signed": "What speaks for a class, and what against",
    "keep": "Keep a result",
    "loader": "A loader",
    "report": "A report",
    "own_names": "Names of one's own",
    "transformers": "A model of transformers",
    "yolo": "A YOLO",
    "volume": "A volume",
    "video": "A video",
}
"""The section of docs/everyday.md that does what functions of that name do."""

LIBRARIES = {
    "pytorch-grad-cam": everyday_pytorch_grad_cam,
    "captum": everyday_captum,
    "tf-explain": everyday_tf_explain,
}

FUNCTIONS: Mapping[tuple[str, str], Callable[..., tuple[object, ...]]] = {
    (library, name): getattr(module, name)
    for library, module in LIBRARIES.items()
    for name in OURS
    if name not in module.NOT_OFFERED
}

BEFORE = {
    "transformers": ("vit = ", "classify = "),
    "volume": ("network = ", "volumes = "),
    "video": ("write_video(",),
}
"""How lines of the page begin that make what a section is about."""


def lines_of(code: str) -> int:
    """Count the lines of some code, imports, returned values and empty ones aside."""
    left_out = {
        line
        for node in ast.walk(ast.parse(code))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(code.splitlines(), 1)
    return sum(bool(line.strip()) and number not in left_out for number, line in lines)


def of_page(page: str, name: str) -> str:
    """Find the code of a section, without what makes the things it is about."""
    block = page.split(f"## {OURS[name]}\n")[1].split("```python\n")[1].split("```")[0]
    made = BEFORE.get(name, ())
    return "".join(line for line in block.splitlines(True) if not line.startswith(made or ("\0",)))


def of_library(library: str, name: str) -> str:
    """Find the code of a function, without the line that names it and what it returns."""
    lines = inspect.getsource(FUNCTIONS[library, name]).splitlines()[1:]
    assert lines[-1].startswith("    return ")
    return inspect.cleandoc("\n".join(lines[:-1]))


def table(page: str) -> str:
    """Count what each takes: of ours as the page has it, of theirs as it stands."""
    rows = [f"| | camcore | {' | '.join(LIBRARIES)} |", "|---|---|" + "---|" * len(LIBRARIES)]
    for name, title in OURS.items():
        counts = [str(lines_of(of_page(page, name)))]
        for library, module in LIBRARIES.items():
            is_offered = name not in module.NOT_OFFERED
            counts.append(str(lines_of(of_library(library, name))) if is_offered else "not offered")
        rows.append(f"| {title} | {' | '.join(counts)} |")
    return "\n".join(rows)
