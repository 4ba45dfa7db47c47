"""Deep feature factorisation: which concepts a layer sees, where, and what they vote for."""

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
from camcore.resize import Interpolation, resize
from camcore.targets import Scored, Target


@dataclass(frozen=True, eq=False)
class Factorisation:
    """Concepts of a batch.

    Parameters
    ----------
    maps : (B, K, *S) float32 array
        Where each concept is, in [0, 1], at the input's size, strongest at 1.
    raw : (B, K, *S) array
        The same as factors, at the layer's size, not negative.
    concepts : (K, C) array
        The direction of each concept in the layer's channels.
    scores : (K, classes) array or None
        The model's outputs were the layer to show that concept everywhere, at the
        strength it has where it is strongest; None where outputs are no class scores.
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
    """Deep feature factorisation: A ≈ W·H by non-negative matrix factorisation.

    The rows of A are the positions of all samples, so a concept is the same one in
    every image of the batch. Activations with negative values are shifted by their
    minimum.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
        Left exactly as it is.
    inputs : array, tensor, or nest of these
        What the model takes.
    concepts : int
        K.
    layer : str or layer object, optional
        Left out, the last layer with spatial extent.
    layout : Layout, optional
        How the layer's output is laid out, where its shape does not tell.
    output : str, optional
        Which leaf of the model's outputs scores the concepts, where they are a tuple
        or dict.
    seed : int
        Of the factorisation's start.

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
        raise MethodError(f"One layer is factorised at a time; got {', '.join(names)}.")
    evidence = explainer.evidence(inputs, _Nothing())
    activations = evidence.activations
    batch, channels, *size = activations.shape
    most = min(batch * int(np.prod(size)), channels)
    if not 1 <= concepts <= most:
        raise MethodError(
            f"concepts={concepts}; the layer {names[0]!r} allows 1 to {most} "
            f"({channels} channels, {batch * int(np.prod(size))} positions)."
        )
    positions = np.moveaxis(activations, 1, -1).reshape(-1, channels)
    shift = min(float(positions.min()), 0.0)
    nmf = NMF(concepts, init="nndsvda", random_state=seed, max_iter=500, tol=1e-4)
    factors = nmf.fit_transform(positions - shift)
    raw = np.moveaxis(factors.reshape(batch, *size, concepts), -1, 1)
    flat = raw.reshape(batch * concepts, *size)
    maps = normalise(resize(flat, evidence.size, Interpolation()))
    strengths = factors.max(axis=0)[:, None] * nmf.components_ + shift
    uniform = np.broadcast_to(
        strengths.reshape(concepts, channels, *[1] * len(size)), (concepts, channels, *size)
    )
    return Factorisation(
        maps=maps.reshape(batch, concepts, *evidence.size).astype(np.float32),
        raw=raw,
        concepts=nmf.components_,
        scores=evidence.outputs_of(uniform.astype(activations.dtype)),
        layer=names[0],
    )


class _Nothing(Target):
    """No score is explained, so outputs of any shape will do."""

    def __call__(self, outputs: Array) -> Scored:
        return Scored(np.zeros(len(outputs), outputs.dtype), np.zeros_like(outputs))
