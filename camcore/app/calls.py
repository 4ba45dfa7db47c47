"""The calls that make what is on the page, in Python and on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from camcore.app.session import MAX_DIM, SAMPLES, Asked, OnBench


def python_call(
    asked: Asked, one: OnBench, *, methods: Sequence[str] = (), other: OnBench | None = None
) -> str:
    """Write the Python that makes the explanation on the page.

    Parameters
    ----------
    asked : Asked
        What is on the page.
    one : OnBench
        The model.
    methods : sequence of str
        Methods side by side, where there are some.
    other : OnBench, optional
        A second model that is held against it.

    Returns
    -------
    str
    """
    lines = ["import camcore"]
    if asked.photo in SAMPLES:
        lines.append("from skimage import data")
    if asked.against is not None:
        lines.append("from camcore.targets import Contrast")
    if asked.photo not in SAMPLES:
        lines.append("from camcore.photos import Photo")
    lines += ["", f"model = {_loaded(one)}", f"photo = {_photo(asked)}"]
    told: dict[str, str] = {}
    if asked.target is not None:
        told["target"] = repr(asked.target)
    if asked.against is not None:
        told["target"] = f"Contrast({asked.target}, against={asked.against})"
    told |= {name: repr(value) for name, value in _changed(asked, one).items()}
    if methods:
        told["method"] = repr(list(methods))
    told |= {name: name for name in one.about}
    said = "".join(f", {name}={value}" for name, value in told.items())
    lines.append(f"result = camcore.explain(model, photo{said})")
    if methods:
        lines.append("pictures = {name: one.overlay() for name, one in result.items()}")
        return "\n".join(lines)
    if other is not None:
        theirs = {**told, **({"target": _same(asked)} if asked.against is None else {})}
        theirs.pop("layer", None)
        said = "".join(f", {name}={value}" for name, value in theirs.items())
        lines += [
            f"other = camcore.explain({_loaded(other)}, photo{said})",
            "print(camcore.compare(result, other))",
        ]
        return "\n".join(lines)
    if asked.signed:
        lines.append("signed = result.raw[result.layers[0]]")
    lines.append("picture = result.overlay()")
    if asked.threshold is not None:
        lines.append(f"boxes = result.boxes({asked.threshold:g}, 'all')")
    return "\n".join(lines)


def evaluate_call(asked: Asked, one: OnBench, steps: int) -> str:
    """Write the Python that makes the curves on the page."""
    head = python_call(asked, one).splitlines()
    head = head[: next(i for i, line in enumerate(head) if line.startswith("result = "))]
    target = "None" if asked.target is None else repr(asked.target)
    if asked.against is not None:
        target = f"Contrast({asked.target}, against={asked.against})"
    told = {**_changed(asked, one), "methods": [asked.method]}
    told.pop("method", None)
    said = "".join(f", {name}={value!r}" for name, value in told.items())
    said += "".join(f", {name}={name}" for name in one.about)
    return "\n".join(
        [
            *head,
            f"found = camcore.evaluate(model, [photo], {target}{said},",
            f'    metrics=["deletion", "insertion"], controls=False, steps={steps}, keep=1)',
            "found.figure()",
        ]
    )


def shell_call(asked: Asked, one: OnBench) -> str:
    """Write the command that makes the explanation on the page; why there is none, as a comment."""
    if one.spec is None:
        return "# The model was handed over as an object: in Python alone."
    if asked.against is not None:
        return "# The command line tells no class from another: in Python alone."
    words = ["camcore", "explain", _file(asked), "--model", one.spec]
    for name, value in one.options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    told = {"target": asked.target, **_changed(asked, one)}
    for name, value in told.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return _written(asked) + shlex.join(words)


def compare_shell_call(asked: Asked, one: OnBench, other: OnBench) -> str:
    """Write the command that compares two models as the page does."""
    if one.spec is None or other.spec is None:
        return "# A model was handed over as an object: in Python alone."
    words = ["camcore", "compare", _file(asked), "--model", one.spec, "--model", other.spec]
    changed = _changed(asked, one)
    for name in ("method", "recipe"):
        if name in changed:
            words += [f"--{name}", str(changed[name])]
    if asked.target is not None:
        words += ["--target", str(asked.target)]
    return _written(asked) + shlex.join(words)


def _changed(asked: Asked, one: OnBench) -> Mapping[str, Any]:
    """Collect the options that differ from the library's defaults."""
    told = {"layer": one.layer(asked.layer)}
    told["method"] = None if asked.method == "gradcam" else asked.method
    told["recipe"] = None if asked.recipe == "paper" else asked.recipe
    return {name: value for name, value in told.items() if value is not None}


def _same(asked: Asked) -> str:
    return "result.classes" if asked.target is None else repr(asked.target)


def _loaded(one: OnBench) -> str:
    if one.spec is None:
        return "...  # the model that was handed over"
    given = "".join(f", {name}={value!r}" for name, value in one.options.items())
    return f"camcore.load_model({one.spec!r}{given})"


def _photo(asked: Asked) -> str:
    if asked.photo in SAMPLES:
        return f"data.{asked.photo}()"
    return f"Photo.read({asked.photo!r}, max_dim={MAX_DIM})"


def _file(asked: Asked) -> str:
    return f"{asked.photo}.png" if asked.photo in SAMPLES else asked.photo


def _written(asked: Asked) -> str:
    """Write the command that makes the file of a sample; none for a photograph of one's own."""
    if asked.photo not in SAMPLES:
        return ""
    code = f"from skimage import data, io; io.imsave({_file(asked)!r}, data.{asked.photo}())"
    return f"{shlex.join(['python', '-c', code])}\n"
