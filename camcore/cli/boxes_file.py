"""Read the boxes of photographs' objects from a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeAlias

import numpy as np

from camcore._shared.reading import reading
from camcore._shared.suggest import hint
from camcore.errors import InputError

Boxes: TypeAlias = list[list[float]]
"""Edges ``left, top, right, bottom`` of each object, in pixels."""

_EXPECTED = (
    'JSON of each photograph\'s name and its boxes, {"a.jpg": [[left, top, right, bottom]]}, or '
    "COCO's annotations"
)


def boxes_by_name(path: Path) -> Mapping[str, Boxes]:
    """Read the boxes of photographs by their names.

    Parameters
    ----------
    path : Path
        JSON: an object with the boxes of each photograph, ``[[left, top, right, bottom], ...]`` or
        one of these, by the name of its file; or COCO's, whose ``images`` have an ``id`` and a
        ``file_name`` and whose ``annotations`` an ``image_id`` and a ``bbox`` of left, top, width
        and height. Boxes of all categories are taken, but none around a crowd. All are in pixels
        of the photograph as it is shown, upright.

    Returns
    -------
    mapping of str to list of (4,) list of float

    Raises
    ------
    InputError
        The file cannot be read, or holds something else.
    """
    with reading(path, _EXPECTED):
        found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}. Expected {_EXPECTED}.")
    boxes = _of_coco(found, path) if {"images", "annotations"} <= set(found) else found
    return {str(PurePath(name)): _read(one, name, path) for name, one in boxes.items()}


def boxes_of_photos(names: Sequence[str], boxes: Mapping[str, Boxes], path: Path) -> list[Boxes]:
    """Find the boxes of each photograph.

    Parameters
    ----------
    names : sequence of str
        Of the photographs, with the folders that they lie in.
    boxes : mapping of str to list
        By the whole name, or by the file's own where no two photographs have that.
    path : Path
        Where the boxes are from, for errors.

    Returns
    -------
    list of list
        Of each photograph.

    Raises
    ------
    InputError
        There are none of a photograph.
    """
    alone = Counter(PurePath(name).name for name in names)
    found = []
    for name in names:
        short = PurePath(name).name
        key = name if name in boxes or alone[short] > 1 else short
        if key not in boxes:
            twice = f" {alone[short]} photographs are called {short}, so that each is looked for "
            twice = f"{twice}with its folder." if alone[short] > 1 else ""
            raise InputError(
                f"{path} has no boxes of {key}, but of {len(boxes)} others.{twice} "
                f"{hint(key, boxes)}"
            )
        found.append(boxes[key])
    return found


def _of_coco(found: Mapping[str, Any], path: Path) -> Mapping[str, Boxes]:
    """Collect the boxes of COCO's annotations by file name."""
    try:
        names = {image["id"]: image["file_name"] for image in found["images"]}
        boxes: dict[str, Boxes] = {name: [] for name in names.values()}
        for one in found["annotations"]:
            if one.get("iscrowd", 0):
                continue
            left, top, width, height = one["bbox"]
            boxes[names[one["image_id"]]].append([left, top, left + width, top + height])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} has images and annotations, but not as COCO's: {error!r}. Expected an id and "
            "a file_name of each image, and an image_id and a bbox of four numbers of each "
            "annotation."
        ) from error
    return boxes


def _read(given: Any, name: str, path: Path) -> Boxes:
    """Read a photograph's boxes as lists of four numbers; their places are not looked at."""
    boxes = [given] if isinstance(given, list) and given and _is_box(given) else given
    if not isinstance(boxes, list) or not all(map(_is_box, boxes)):
        raise InputError(
            f"{path} has something else than boxes of {name}: {given!r:.80}. Expected "
            "[[left, top, right, bottom], ...]."
        )
    return boxes


def _is_box(one: Any) -> bool:
    numbers = isinstance(one, list) and len(one) == 4
    return numbers and all(
        isinstance(edge, int | float) and not isinstance(edge, bool) and np.isfinite(edge)
        for edge in one
    )
