"""Write the pages of the site that are made of what the package holds, as mkdocs begins.

The cards of methods, the table of which to take, the reference of the public names, the command
line, notebooks, and the benchmarks' results. The site is built of a copy of this folder to which
they are added, so that none is kept and none can be out of date.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import tomllib
import typer
import yaml
from latex2mathml.converter import convert
from links import MOVED
from nbconvert import MarkdownExporter

import camcore
from camcore.methods.cards import CARDS, QUESTIONS, cost, formula, needed
from camcore.methods.table import TABLE, Method

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PAGES: Final = ROOT / "build" / "pages"
LATEX: Final = tomllib.loads((HERE / "formulas.toml").read_text("utf-8"))

_LEVELS: Final = {"layer": "at a layer", "input": "at the input"}


def write(name: str, text: str | bytes) -> None:
    """Write a file of the site."""
    path = PAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))


def card(method: Method) -> str:
    """Write the page of a method."""
    about = CARDS[method.name]
    apart = (ROOT / "docs" / "apart.md").read_text("utf-8")
    lines = [f"# {method.label}", "", about.use, ""]
    lines += [convert(LATEX[method.name], display="block"), ""]
    lines += [f"In words: {formula(method)}.", ""]
    if (ROOT / "docs" / "pictures" / "methods" / f"{method.name}.jpg").is_file():
        picture = f"../pictures/methods/{method.name}.jpg"
        lines += [
            f"![{method.label} of a cat, a cup of coffee and a rocket]({picture})",
            "",
            "EfficientNet-Lite0 with its ImageNet weights, for the predicted class of each.",
            "",
        ]
    lines += [
        "```python",
        f'camcore.explain(model, images, method="{method.name}")',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| **costs** | {cost(method)} |",
        f"| **needs** | {', '.join(needed(method)) or 'nothing'} |",
        f"| **gives** | maps {_LEVELS.get(method.level, f'of {method.level}')} |",
        f"| **as a function** | [`camcore.methods.{method.function.__name__}`]"
        f"(../api/camcore.methods.md#camcore.methods.{method.function.__name__}) |",
    ]
    if options := ", ".join(f"`{name}`" for name in method.takes()):
        lines.append(f"| **options** | {options} |")
    lines.append("")
    if re.search(rf"^## {re.escape(method.label)}$", apart, re.M):
        anchor = re.sub(r"[^a-z0-9 -]", "", method.label.lower()).replace(" ", "-")
        lines += [
            f"Paper, authors' code and libraries part here, by how much: "
            f"[{method.label}](../apart.md#{anchor}).",
            "",
        ]
    if about.reference is None:
        lines += ["No paper is about it."]
    else:
        lines += [f"## Paper\n\n{method.paper}", "", "```bibtex", about.reference.bibtex, "```"]
    return "\n".join([*lines, ""])


def which() -> str:
    """Write the page that helps to choose a method."""
    of = {method.name: method for method in TABLE}
    lines = [
        "# Which method?",
        "",
        "Begin with **Grad-CAM**, and **HiResCAM** where its places matter: both cost one forward "
        "pass and one backward, and both work for any score. Where no gradient can be had, take "
        "**Recipro-CAM** or **Score-CAM**; where a whole object counts rather than its most "
        "telling part, **Poly-CAM** or **Grad-CAM++**. Then ask of the maps themselves, with "
        "[metrics and controls](../evaluation.md), rather than choose the map that looks best: "
        "[one that looks right may know nothing of the model](../sanity.md).",
        "",
        "[Architectures](../architectures.md) says which of them explain which networks.",
    ]
    for question, names in QUESTIONS.items():
        lines += ["", f"## {question}", "", "| method | costs | when |", "|---|---|---|"]
        for name in names:
            method = of[name]
            lines.append(f"| [{method.label}]({name}.md) | {cost(method)} | {CARDS[name].use} |")
    return "\n".join([*lines, ""])


def public() -> list[str]:
    """List the public modules, as the package's own docstring does."""
    return re.findall(r"^`(camcore\.\w+)`", camcore.__doc__ or "", re.M)


def own(module: ModuleType) -> Iterator[str]:
    """Name what a module offers."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        ]
    yield from sorted(n for n in names if not isinstance(getattr(module, n), ModuleType))


def reference(module: ModuleType) -> str:
    """Write the reference of a module."""
    first, _, rest = (module.__doc__ or "").partition("\n")
    lines = [f"# {module.__name__}", "", first, ""]
    if module is not camcore:
        lines += [re.sub(r"`{2}", "`", rest).strip(), ""]
    for name in own(module):
        value = getattr(module, name)
        if callable(value) or isinstance(value, type):
            lines += [f"::: {module.__name__}.{name}", "    options: {heading_level: 2}", ""]
        else:
            lines += [f"## `{name}`", ""]
    return "\n".join(lines)


def command_line() -> str:
    """Write what every command says of itself."""
    from typer.cli import get_docs_for_click

    from camcore.cli.app import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="camcore")
    said = get_docs_for_click(obj=command, ctx=context, name="camcore", title="Command line")
    for name, one in command.commands.items():  # type: ignore[attr-defined]
        whole = one.get_short_help_str(limit=1000)
        said = re.sub(
            rf"^(\* `{name}`: ).*$", lambda found, w=whole: found[1] + w, said, flags=re.M
        )
    return said.replace("&#x27;", "'")


def notebook(path: Path) -> None:
    """Write a notebook with what its cells showed as a page, and its pictures beside."""
    text, found = MarkdownExporter().from_filename(str(path))
    for name, content in found["outputs"].items():
        text = text.replace(f"({name})", f"({path.stem}/{name})")
        write(f"tutorials/{path.stem}/{name}", content)
    write(f"tutorials/{path.stem}.md", text)


def contents() -> list[Any]:
    """Read the table of contents, and fill in what is there of each kind."""
    studies = titled(ROOT / "docs" / "studies", "studies")
    results = titled(ROOT / "benchmarks" / "results", "benchmarks")
    many: Mapping[str, list[Any]] = {
        "METHODS": [{method.label: f"methods/{method.name}.md"} for method in TABLE],
        "MODULES": [{name: f"api/{name}.md"} for name in public()],
        "STUDIES": studies,
        "RESULTS": results,
    }

    def filled(entries: list[Any]) -> list[Any]:
        found = []
        for entry in entries:
            if isinstance(entry, str):
                found += many.get(entry, [entry])
            else:
                ((key, value),) = entry.items()
                found.append({key: filled(value) if isinstance(value, list) else value})
        return found

    return filled(yaml.safe_load((HERE / "contents.yml").read_text("utf-8")))


def titled(folder: Path, place: str) -> list[Any]:
    """List the pages of a folder by their titles."""
    pages = sorted(folder.glob("*.md"))
    titles = [re.findall(r"^# (.+)$", page.read_text("utf-8"), re.M)[0] for page in pages]
    return [{t: f"{place}/{page.name}"} for t, page in zip(titles, pages, strict=True)]


def on_config(config: Any) -> Any:
    """Write every page, and build the site of these.

    Parameters
    ----------
    config : mkdocs.config.Config
        As ``mkdocs.yml`` says.

    Returns
    -------
    mkdocs.config.Config
    """
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("_site"))
    build()
    config.docs_dir, config.nav = str(PAGES), contents()
    return config


def build() -> None:
    """Write every page."""
    for method in TABLE:
        write(f"methods/{method.name}.md", card(method))
    write("methods/index.md", which())
    write("api/camcore.md", reference(camcore))
    for name in public():
        write(f"api/{name}.md", reference(importlib.import_module(name)))
    write("command_line.md", command_line())
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        notebook(path)
    for page in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        write(f"benchmarks/{page.name}", page.read_text("utf-8"))
    for picture in sorted((ROOT / "benchmarks" / "results").glob("*.png")):
        write(f"benchmarks/{picture.name}", picture.read_bytes())
    for source, place in MOVED.items():
        if not source.endswith(".md"):
            continue
        text = (ROOT / source).read_text("utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        write(place, re.sub(r"\]\(CHANGELOG.md", "](changelog.md", text))
