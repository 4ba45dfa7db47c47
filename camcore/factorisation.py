"""Factorise a layer's features into concepts: what they are, where, and which class they favour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.explainer import Explainer
from camcore.layers.layout import Layout
from camcore.layers.names import LayerLike
from camcore.postprocess import normalise
from camcore.resize import resize


@dataclass(frozen=True, eq=False)
class Factorisation:
    """Concepts that a layer sees in a batch.

    Parameters
    ----------
    maps : (B, K, *S) float32 array
        Where each concept is, at the input's size, from 0 to 1 where it is strongest.
    raw : (B, K, *S) array
        The same as the factorisation gives it: not negative, at the layer's size.
    concepts : (K, C) array
        The direction of each concept in the layer's channels.
    scores : (K, classes) array or None
        The model's outputs for a layer that holds one concept everywhere, as strong as it
        is anywhere in the batch; None where outputs are no class scores.
    layer : str
        The layer that was factorised.
    """

    maps: Array
    raw: Array
    concepts: Array
    scores: Array | None
    layer: str


def factorise(
    model: object,
    inputs: Any,
    concepts: int = 5,
    layer: LayerLike | Sequence[LayerLike] | None = None,
    *,
    layout: Layout | None = None,
    output: str | None = None,
    seed: int = 0,
) -> Factorisation:
    """Factorise a layer's activations into concepts, A ≈ W·H with nothing negative.

    This is deep feature factorisation. The rows of A are the positions of all samples, so
    a concept is the same one in every image of the batch. Activations with negative values
    are shifted by their minimum.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
        Left exactly as it is.
    inputs : array, tensor, or nest of these
        What the model takes.
    concepts : int
        How many concepts, K.
    layer : str or layer object, optional
        The last layer with spatial extent unless given.
    layout : Layout, optional
        How the layer's output is laid out, where its shape leaves that open.
    output : str, optional
        Which leaf of the model's outputs scores the concepts, where they are a tuple
        or dict.
    seed : int
        Seed of the factorisation's random start.

    Returns
    -------
    Factorisation

    Raises
    ------
    MethodError
        `concepts` is out of range, or several layers were given.
    TargetError
        The model has several outputs, and none was chosen.
    MissingExtraError
        scikit-learn is not installed.

    References
    ----------
    Collins et al., "Deep Feature Factorization For Concept Discovery", ECCV 2018,
    sec. 3; the concepts' class scores as in pytorch-grad-cam.
    """
    with needs("dff", "deep feature factorisation"):
        from sklearn.decomposition import NMF
    explainer = Explainer(model, layer=layer, method="activations", layout=layout, output=output)
    names = explainer.layers(inputs)
    if len(names) != 1:
        raise MethodError(
            f"The layers {', '.join(names)} cannot be factorised at once; give one layer."
        )
    evidence = explainer.evidence(inputs)
    activations = evidence.activations
    batch, channels, *size = activations.shape
    positions = np.moveaxis(activations, 1, -1).reshape(-1, channels)
    limit = min(positions.shape)
    if not isinstance(concepts, (int, np.integer)) or not 1 <= concepts <= limit:
        raise MethodError(
            f"concepts={concepts!r} is out of range; the layer {names[0]!r} allows 1 to {limit} "
            f"({channels} channels, {len(positions)} positions)."
        )
    shift = min(float(positions.min()), 0.0)
    nmf = NMF(concepts, init="nndsvda", random_state=seed, max_iter=500, tol=1e-4)
    factors = nmf.fit_transform(positions - shift)
    raw = np.moveaxis(factors.reshape(batch, *size, concepts), -1, 1)
    flat = raw.reshape(batch * concepts, *size)
    shown = evidence.size if evidence.over_input else tuple(size)
    maps = normalise(resize(flat, shown, leading=1))
    strengths = factors.max(axis=0)[:, None] * nmf.components_ + shift
    uniform = np.broadcast_to(
        strengths.reshape(concepts, channels, *[1] * len(size)), (concepts, channels, *size)
    )
    return Factorisation(
        maps=maps.reshape(batch, concepts, *shown).astype(np.float32),
        raw=raw,
        concepts=nmf.components_,
        scores=evidence.outputs_of(uniform.astype(activations.dtype)),
        layer=names[0],
    )
