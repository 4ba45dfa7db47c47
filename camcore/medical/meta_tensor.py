"""MONAI's MetaTensors: their affines, and maps brought back through MONAI's transforms.

MONAI is not imported until its own transforms are undone; a MetaTensor is known by its affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.medical.space import Affine, affine_of, check_affines
from camcore.medical.volume import Volume
from camcore.nest import flatten, shape_of


class VolumeMaps(Protocol):
    """What maps of volumes say of themselves."""

    @property
    def maps(self) -> Array:
        """The shown maps, ``(B, *S)``."""


def affines_of(inputs: Any, path: str | None, maps: Array) -> Affine | None:
    """Take the affines that a batch of volumes brings with it, one for each map.

    Parameters
    ----------
    inputs : object
        What a model takes, or a nest of these.
    path : str or None
        Path of the one that the maps lie over; None for the first of their size.
    maps : (B, *S) array

    Returns
    -------
    (B, 4, 4) array or None
        None where it has none, or is no volume.
    """
    size = maps.shape[1:]
    if len(size) != 3:
        return None
    for place, leaf in flatten(inputs):
        fits = path in (None, place) and size in (shape_of(leaf)[-3:], shape_of(leaf)[1:4])
        affines = affine_of(leaf) if fits else None
        if affines is not None:
            return check_affines(affines, len(maps))
    return None


def undo_transforms(
    explanation: VolumeMaps, transforms: Any, data: Any, key: str = "image"
) -> list[Volume]:
    """Bring maps back to the grid that volumes had before MONAI's transforms.

    ``transforms.inverse`` undoes what moved voxels (`Spacing`, `Orientation`, crops, pads,
    flips, `Resize`); what changed values is left alone.

    Parameters
    ----------
    explanation : Explanation
        Maps of what the transforms made.
    transforms : monai.transforms.Compose, or another that has ``inverse``
        What was done to the volumes.
    data : MetaTensor, dict, or a list of these
        What the transforms returned, ``(C, *S)``, for each sample; or a batch of a MONAI
        `DataLoader`. Left as it is.
    key : str
        What the volumes are called, where data are dicts.

    Returns
    -------
    list of B Volume
        Each map on its volume's own grid, with its affine, an identity where none is known; 0
        where the model was shown nothing, as outside of a crop.

    Raises
    ------
    InputError
        There are more or fewer data than maps, of another size, or they have no affine.
    """
    named = isinstance(data[0] if isinstance(data, Sequence) else data, Mapping)
    samples = _samples(data, key, len(explanation.maps))
    return [
        _undone(heat, transforms, sample, key if named else None)
        for heat, sample in zip(explanation.maps, samples, strict=True)
    ]


def _samples(data: Any, key: str, count: int) -> list[Any]:
    """List the MetaTensor ``(C, *S)`` of each sample."""
    parts = list(data) if isinstance(data, Sequence) else [data]
    if missing := [part for part in parts if isinstance(part, Mapping) and key not in part]:
        raise InputError(
            f"There is no {key!r} among {list(missing[0])}. Say what the volumes are called, key=."
        )
    tensors = [part[key] if isinstance(part, Mapping) else part for part in parts]
    if bare := [one for one in tensors if not hasattr(one, "applied_operations")]:
        raise InputError(
            f"A {type(bare[0]).__name__} does not know what was done to it. Give what the "
            "transforms returned, a MetaTensor, or a dict of some."
        )
    samples = [one for each in tensors for one in (each if each.ndim == 5 else [each])]
    if len(samples) != count:
        raise InputError(f"{len(samples)} volumes were given for {count} maps. Give one for each.")
    return samples


def _undone(heat: Array, transforms: Any, like: Any, key: str | None) -> Volume:
    """Undo what was done to a sample, on its map."""
    if tuple(like.shape[1:]) != heat.shape:
        raise InputError(
            f"A map of {heat.shape} is not of a volume of {tuple(like.shape[1:])}. Give what was "
            "explained, in the same order."
        )
    operations = deepcopy(like.applied_operations)
    tensor = type(like)(heat[None].copy(), meta=deepcopy(like.meta), applied_operations=operations)
    if key is None:
        back = transforms.inverse(tensor)
    else:
        from monai.transforms.utils import allow_missing_keys_mode

        with allow_missing_keys_mode(transforms):
            back = transforms.inverse({key: tensor})[key]
    array = np.asarray(back)[0].astype(np.float32, copy=False)
    known = affine_of(back)
    return Volume(array, np.asarray(back.affine) if known is None else known)
