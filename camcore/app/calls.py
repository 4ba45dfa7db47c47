"""The calls that make what is on the page, in Python and on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from camcore.app.session import MAX_DIM, SAMPLES, OnBench, PageRequest


def python_call(
    asked: PageRequest,
    one: OnBench,
    *,
    methods: Sequence[str] = (),
    other: OnBench | None = None,
    layer: str | None = None,
) -> str:
    """Write the Python that makes the explanation on the page.

    Parameters
    ----------
    asked : PageRequest
        What is on the page.
    one : OnBench
        The model.
    methods : sequence of str
        Methods side by side, where there are some.
    other : OnBench, optional
        A second model that is held against it.
    layer : str, optional
        Its layer; its default unless given.

    Returns
    -------
    str
    """
    lines, told = _head(asked, one), _told(asked, one)
    if methods:
        told["method"] = repr(list(methods))
    lines.append(f"result = camcore.explain(model, photo{_said(told)})")
    if methods:
        lines.append("pictures = {name: one.overlay() for name, one in result.items()}")
        return "\n".join(lines)
    if other is not None:
        told.pop("layer", None)
        if (at := other.layer(layer)) is not None:
            told["layer"] = repr(at)
        if asked.target is None:
            aim = "result.classes.tolist()"
            told["target"] = aim if asked.against is None else _contrast(asked, aim)
        return "\n".join(
            [
                *lines,
                f"other = camcore.explain({_loaded(other)}, photo{_said(told)})",
                "print(camcore.compare(result, other))",
            ]
        )
    if asked.signed:
        lines.append("signed = result.raw[result.layers[0]]")
    lines.append("picture = result.overlay()")
    if asked.threshold is not None:
        lines.append(f"boxes = result.boxes({asked.threshold:g}, 'all')")
    return "\n".join(lines)


def evaluate_call(asked: PageRequest, one: OnBench, steps: int) -> str:
    """Write the Python that makes the curves on the page."""
    told = {"methods": repr([asked.method]), **_told(asked, one)}
    told.pop("method", None)
    return "\n".join(
        [
            *_head(asked, one),
            f"found = camcore.evaluate(model, [photo]{_said(told)},",
            f'    metrics=["deletion", "insertion"], controls=False, steps={steps}, keep=1)',
            "curves = found.curves",
        ]
    )


def shell_call(asked: PageRequest, one: OnBench) -> str:
    """Write the command that makes the explanation on the page; why there is none, as a comment."""
    if one.spec is None:
        return _HANDED_OVER
    if asked.against is not None:
        return _NO_CONTRAST
    words = ["camcore", "explain", _file(asked), "--model", one.spec, *_loading(one)]
    told = {"target": asked.target, **_changed(asked, one)}
    for name, value in told.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return _written(asked) + shlex.join(words)


def compare_shell_call(
    asked: PageRequest,
    models: Sequence[OnBench],
    methods: Sequence[str],
    layers: Sequence[str | None] = (),
) -> str:
    """Write the command that holds models, or methods, against each other.

    Parameters
    ----------
    asked : PageRequest
        What is on the page.
    models : sequence of OnBench
        One, or two.
    methods : sequence of str
        At least one.
    layers : sequence of str or None
        A layer of each model; its default where it is None, or where there are none.

    Returns
    -------
    str
    """
    if any(one.spec is None for one in models):
        return _HANDED_OVER
    if asked.against is not None:
        return _NO_CONTRAST
    words = ["camcore", "compare", _file(asked)]
    for one in models:
        words += ["--model", str(one.spec)]
    words += _loading(models[0])
    if any(layers):
        # Those that are the model's own are named too, as each is of the model in its place.
        for one, layer in zip(models, layers, strict=True):
            words += ["--layer", layer or one.layers[one.default].name]
    for method in methods:
        words += ["--method", method]
    if asked.recipe != "paper":
        words += ["--recipe", asked.recipe]
    if asked.target is not None:
        words += ["--target", str(asked.target)]
    return _written(asked) + shlex.join(words)


def evaluate_shell_call(asked: PageRequest, one: OnBench, steps: int) -> str:
    """Write the command that traces deletion and insertion."""
    if one.spec is None:
        return _HANDED_OVER
    if asked.against is not None:
        return _NO_CONTRAST
    words = ["camcore", "evaluate", _file(asked), "--model", one.spec, *_loading(one)]
    for name, value in {"target": asked.target, **_changed(asked, one)}.items():
        if value is not None and name != "method":
            words += [f"--{name}", str(value)]
    words += ["--method", asked.method, "--metric", "deletion", "--metric", "insertion"]
    words += ["--no-controls", "--steps", str(steps)]
    return _written(asked) + shlex.join(words)


def layers_call(asked: PageRequest, one: OnBench, layers: Sequence[str]) -> str:
    """Write the Python that makes the map of each layer."""
    head = _head(asked, one)
    told = _told(asked, one)
    told.pop("layer", None)
    return "\n".join(
        [
            *head,
            "pictures = {",
            f"    layer: camcore.explain(model, photo, layer=layer{_said(told)}).overlay()",
            f"    for layer in {list(layers)!r}",
            "}",
        ]
    )


def hide_call(asked: PageRequest, one: OnBench) -> str:
    """Write the Python that hides patches, and scores the photograph with and without them."""
    head = _head(asked, one)
    whole = f"Photo.of({_photo(asked)})" if asked.photo in SAMPLES else _photo(asked)
    told = _told(asked, one)
    said = _said(told)
    after = dict(told)
    if asked.target is None:
        aim = "before.classes.tolist()"
        after["target"] = aim if asked.against is None else _contrast(asked, aim)
    imports = [line for line in head[:-1] if line and not line.startswith("model = ")]
    if asked.photo in SAMPLES:
        imports.append("from camcore.photos import Photo")
    return "\n".join(
        [
            *imports,
            "import numpy as np",
            "",
            head[-2],
            f"whole = {whole}",
            "pixels = whole.pixels.copy()",
            f"for left, top, right, bottom in {list(asked.hidden)!r}:",
            "    pixels[top:bottom, left:right] = np.rint(whole.pixels.mean(axis=(0, 1)))",
            f"before = camcore.explain(model, whole{said})",
            f"after = camcore.explain(model, Photo(pixels, whole.value_range){_said(after)})",
            "change = after.scores - before.scores",
        ]
    )


NO_SHELL_PATCHES = "# The command line hides nothing: in Python alone."
_NO_CONTRAST = "# The command line tells no class from another: in Python alone."
_HANDED_OVER = "# The model was handed over as an object: in Python alone."


def _loading(one: OnBench) -> list[str]:
    """Write the options that a model was loaded with."""
    words = []
    for name, value in one.options.items():
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    return words


def _head(asked: PageRequest, one: OnBench) -> list[str]:
    """Write the lines before the explanation: the last two make the model and the photograph."""
    lines = ["import camcore"]
    sample = asked.photo in SAMPLES
    lines.append("from skimage import data" if sample else "from camcore.photos import Photo")
    if asked.against is not None:
        lines.append("from camcore.targets import Contrast")
    return [*lines, "", f"model = {_loaded(one)}", f"photo = {_photo(asked)}"]


def _told(asked: PageRequest, one: OnBench) -> dict[str, str]:
    """Collect the options of `camcore.explain` as they are written."""
    told: dict[str, str] = {}
    if asked.against is not None:
        told["target"] = _contrast(asked, repr(asked.target))
    elif asked.target is not None:
        told["target"] = repr(asked.target)
    told |= {name: repr(value) for name, value in _changed(asked, one).items()}
    return told | {name: name for name in one.about}


def _contrast(asked: PageRequest, index: str) -> str:
    return f"Contrast({index}, against={asked.against})"


def _said(told: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in told.items())


def _changed(asked: PageRequest, one: OnBench) -> Mapping[str, Any]:
    """Collect the options that differ from the library's defaults."""
    told = {"layer": one.layer(asked.layer)}
    told["method"] = None if asked.method == "gradcam" else asked.method
    told["recipe"] = None if asked.recipe == "paper" else asked.recipe
    return {name: value for name, value in told.items() if value is not None}


def _loaded(one: OnBench) -> str:
    if one.spec is None:
        return "...  # the model that was handed over"
    given = "".join(f", {name}={value!r}" for name, value in one.options.items())
    return f"camcore.load_model({one.spec!r}{given})"


def _photo(asked: PageRequest) -> str:
    if asked.photo in SAMPLES:
        return f"data.{asked.photo}()"
    return f"Photo.read({asked.photo!r}, max_dim={MAX_DIM})"


def _file(asked: PageRequest) -> str:
    return f"{asked.photo}.png" if asked.photo in SAMPLES else asked.photo


def _written(asked: PageRequest) -> str:
    """Write the command that makes the file of a sample; none for a photograph of one's own."""
    if asked.photo not in SAMPLES:
        return ""
    code = f"from skimage import data, io; io.imsave({_file(asked)!r}, data.{asked.photo}())"
    return f"{shlex.join(['python', '-c', code])}\n"
