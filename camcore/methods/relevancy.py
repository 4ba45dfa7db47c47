"""Methods that follow attention through all layers.

A is a layer's softmaxed attention, ``(B, heads, queries, keys)``, of every token: class and
register tokens are among them. R says how much each token is made of each other one, and starts
as the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.methods.arrays import floating, shaped
from camcore.methods.table import register
from camcore.postprocess import relu

Query: TypeAlias = "int | Literal['mean'] | None"

_HEADS: Mapping[str, Callable[..., Array]] = {"mean": np.mean, "max": np.max, "min": np.min}


@register(
    "relevancy",
    "Relevancy",
    ("attentions", "attentions_gradients"),
    "1",
    "Chefer et al., ICCV 2021",
    level="attention",
    joins="chain",
    fusion="sum",
)
def relevancy(
    attentions: Sequence[Array],
    attentions_gradients: Sequence[Array],
    *,
    query: Query = None,
    first: int = 0,
) -> Array:
    """Compute relevancy: R ← R + mean_h relu(∂y/∂A_h ⊙ A_h) R, layer by layer.

    Attention from tokens of one kind to those of another, as from a detector's queries to the
    image, follows the paper's rules for two modalities: with s the queries and q the keys,
    R_sq ← R_sq + R̄_ssᵀ Ā R̄_qq and R_ss ← R_ss + Ā R_qs, where R̄ has the rows of R − 1 scaled to
    sum to 1, and 1 added. Kinds are told apart by how many tokens they have.

    Parameters
    ----------
    attentions : sequence of (B, heads, queries, keys) array
        Of each layer, in the order in which they run. The keys of the first are the tokens of the
        image.
    attentions_gradients : sequence of (B, heads, queries, keys) array
        The score's gradients there.
    query : int or "mean", optional
        Whose row of R is read, or the mean of all rows. Left out, the mean of the rows in the last
        layer whose attention the score depends on: a class token's where the head reads that one,
        a word's where the score is that of a word, all where they are averaged.
    first : int
        How many layers are passed over; negative, that all but so many are. The authors take the
        last alone, -1, of CLIP.

    Returns
    -------
    (B, layers, keys) array
        What each layer adds to the row, nowhere negative; 0 of a layer that is passed over. The
        row is their sum, and 1 for the query itself.

    Raises
    ------
    InputError
        The arrays have not these axes, or there is no such query or layer.
    MethodError
        No layer relates the last layer's queries to the first layer's keys.

    References
    ----------
    Chefer et al., "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers", ICCV 2021, arXiv:2103.15679, eqs. 5 to 11.
    """
    weights = _attentions(attentions, "attentions")
    gradients = _attentions(attentions_gradients, "attentions_gradients")
    shapes = [array.shape for array in weights], [array.shape for array in gradients]
    if shapes[0] != shapes[1]:
        raise InputError(f"Attention {shapes[0]} and its gradients {shapes[1]} differ in shape.")
    start = _start(first, len(weights))
    read = _read(gradients[-1], query)[:, None]
    queries, keys = weights[-1].shape[2], weights[start].shape[3]
    _check_chain([array.shape[2:] for array in weights[start:]])
    related, rows = _Relevancies(), list[Array]()
    for attention, gradient in zip(weights[start:], gradients[start:], strict=True):
        fused = relu(attention * gradient).mean(axis=1)
        rows = rows or [(read @ related.between(queries, keys, fused))[:, 0]]
        related.through(fused)
        rows.append((read @ related.between(queries, keys, fused))[:, 0])
    return _differences(rows, start)


@register(
    "rollout",
    "Attention rollout",
    ("attentions", "pooling"),
    "1",
    "Abnar and Zuidema, ACL 2020",
    level="attention",
    joins="chain",
    fusion="sum",
)
def rollout(
    attentions: Sequence[Array],
    pooling: Array | None = None,
    *,
    query: Query = None,
    first: int = 0,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
) -> Array:
    """Compute attention rollout: R ← Ā R with Ā the rows of mean_h A_h + 1, scaled to sum to 1.

    It looks at attention alone, and is the same for every class. The `vit-explain` program, from
    which `heads` and `discard` come, scales columns by the sums of rows, which is the same only as
    long as nothing is discarded.

    Parameters
    ----------
    attentions : sequence of (B, heads, tokens, tokens) array
        Of each layer, in the order in which they run. The last may have other queries, such as
        those of a pooling layer.
    pooling : (queries,) array, optional
        How much the model's head reads of each token, where `query` does not say which one is
        looked at; left out, the first alone, as of a class token.
    query : int or "mean", optional
        Whose row of R is read, or the mean of all rows.
    first : int
        How many layers are passed over; negative, that all but so many are.
    heads : {"mean", "max", "min"}
        How the heads' attention becomes one.
    discard : float
        Share of all pairs of tokens, those of least attention, whose attention counts 0 in each
        layer; that of the first token to itself is kept.

    Returns
    -------
    (B, layers, keys) array
        How each layer changes the row; 0 of a layer that is passed over. The row is their sum,
        and its own sum is 1.

    Raises
    ------
    InputError
        The arrays have not these axes, or an option has no such value.
    MethodError
        A layer before the last relates other tokens.

    References
    ----------
    Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, arXiv:2005.00928,
    sec. 3 and the appendix.
    """
    if heads not in _HEADS:
        raise InputError(f"heads={heads!r}; expected one of {', '.join(_HEADS)}.")
    if not 0 <= discard < 1:
        raise InputError(f"discard={discard!r}; expected a share of pairs, from 0 to below 1.")
    weights = _attentions(attentions, "attentions")
    start, tokens = _start(first, len(weights)), weights[-1].shape[-1]
    for layer, attention in enumerate(weights):
        last = layer == len(weights) - 1
        if attention.shape[-1] != tokens or (attention.shape[2] != tokens and not last):
            raise MethodError(
                f"Attention rollout follows the same tokens through all layers, and layer {layer} "
                f"attends from {attention.shape[2]} to {attention.shape[3]} where the last attends "
                f"to {tokens}. Choose layers that do, by layer=[...], or method='relevancy'."
            )
    queries = weights[-1].shape[2]
    if pooling is None or query is not None:
        pooling = _chosen(queries, 0 if query is None else query)
    read = shaped(pooling, (queries,), "pooling").astype(weights[0].dtype, copy=False)
    rows = [np.zeros((len(weights[0]), tokens), weights[0].dtype)]
    rolled = np.eye(tokens, dtype=weights[0].dtype)
    for attention in weights[start:]:
        fused = _mixed(_discarded(_HEADS[heads](attention, axis=1), discard))
        rolled = fused @ rolled
        rows.append(read @ rolled if rolled.shape[-2] == queries else rows[0])
    return _differences(rows, start)


class _Relevancies:
    """R between tokens of all kinds, a kind being a number of tokens."""

    def __init__(self) -> None:
        self._between: dict[tuple[int, int], Array] = {}

    def through(self, attention: Array) -> None:
        """Go through a layer's fused attention, ``(B, queries, keys)``."""
        queries, keys = attention.shape[1:]
        own = self.between(queries, queries, attention)
        if queries == keys:
            for pair, found in list(self._between.items()):
                if pair[0] == queries:
                    self._between[pair] = found + attention @ found
            return
        others = self.between(keys, keys, attention)
        turned = _scaled(own).swapaxes(1, 2) @ attention @ _scaled(others)
        back = self._between.get((keys, queries))
        self._between[queries, keys] = self._between.get((queries, keys), 0) + turned
        if back is not None:
            self._between[queries, queries] = own + attention @ back

    def between(self, queries: int, keys: int, like: Array) -> Array:
        """Get R, which starts as the identity within a kind."""
        if queries != keys:
            zeros = np.zeros((len(like), queries, keys), like.dtype)
            return self._between.get((queries, keys), zeros)
        start = np.broadcast_to(np.eye(keys, dtype=like.dtype), (len(like), keys, keys))
        return self._between.setdefault((keys, keys), start)


def _check_chain(sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse layers, each from so many queries to so many keys, that lead nowhere.

    Raises
    ------
    MethodError
        No later layer attends to a layer's queries, or none leads to the first layer's keys.
    """
    image, last = sizes[0][1], sizes[-1][0]
    joined = last == image or (last, image) in sizes
    for layer, (queries, _) in enumerate(sizes):
        later = {keys for q, keys in sizes[layer + 1 :] if q != keys}
        if not joined or queries not in {last, *later}:
            raise MethodError(
                f"Layer {layer} of the chain attends from {queries} tokens, and the last one, from "
                f"{last}, does not come to these, or not to the {image} that the first attends "
                "to. Choose layers of one chain, by layer=[...]."
            )


def _scaled(relevancy: Array) -> Array:
    """Scale the rows of R less the identity to sum to 1, and put the identity back."""
    identity = np.eye(relevancy.shape[-1], dtype=relevancy.dtype)
    gained = relevancy - identity
    sums = gained.sum(axis=-1, keepdims=True)
    scaled = np.divide(gained, sums, out=np.zeros_like(gained), where=sums > 0)
    result: Array = scaled + identity
    return result


def _mixed(attention: Array) -> Array:
    """Mix attention ``(B, queries, keys)`` with what passes it by, rows summing to 1."""
    if attention.shape[1] == attention.shape[2]:
        attention = attention + np.eye(attention.shape[2], dtype=attention.dtype)
    sums = attention.sum(axis=-1, keepdims=True)
    mixed: Array = np.divide(attention, sums, out=np.zeros_like(attention), where=sums > 0)
    return mixed


def _discarded(attention: Array, share: float) -> Array:
    """Set a share of the pairs of tokens, the least, to 0, but for the first with itself."""
    flat = attention.reshape(len(attention), -1)
    least = np.argsort(flat, axis=1, kind="stable")[:, : int(flat.shape[1] * share)]
    kept = np.copy(flat)
    np.put_along_axis(kept, least, 0, axis=1)
    kept[:, 0] = flat[:, 0]
    result: Array = kept.reshape(attention.shape)
    return result


def _attentions(given: Sequence[Array], name: str) -> list[Array]:
    """Check the axes of each layer's attention, and give all one floating dtype."""
    shapes = [np.shape(array) for array in given]
    if not shapes or any(len(shape) != 4 or shape[0] != shapes[0][0] for shape in shapes):
        raise InputError(
            f"{name} must be (batch, heads, queries, keys) for each layer, of one batch; got "
            f"{shapes}."
        )
    arrays = [floating(array, name) for array in given]
    dtype = np.result_type(*arrays)
    return [array.astype(dtype, copy=False) for array in arrays]


def _start(first: int, layers: int) -> int:
    """Read the number of the first layer that counts."""
    if not -layers <= first < layers:
        raise InputError(f"first={first}; expected a layer of {layers}, from {-layers} on.")
    return first % layers


def _chosen(queries: int, query: Query) -> Array:
    """Weigh one query, or all alike."""
    if query == "mean":
        return np.full(queries, 1 / queries)
    if not isinstance(query, int | np.integer) or not -queries <= query < queries:
        raise InputError(f"query={query!r}; expected one of {queries}, or 'mean'.")
    one: Array = np.eye(queries)[query]
    return one


def _read(gradients: Array, query: Query) -> Array:
    """Weigh the queries ``(B, queries)``: one, or those on which the score depends."""
    if query is not None:
        chosen = _chosen(gradients.shape[2], query)
        return np.broadcast_to(chosen, (len(gradients), len(chosen))).astype(gradients.dtype)
    seen = np.any(gradients != 0, axis=(1, 3))
    seen |= ~seen.any(axis=1, keepdims=True)
    weights: Array = seen.astype(gradients.dtype) / seen.sum(axis=1, keepdims=True)
    return weights


def _differences(rows: Sequence[Array], start: int) -> Array:
    """Tell what each layer adds to rows ``(B, keys)``, the first of them before any layer."""
    steps: Array = np.diff(np.stack(rows, axis=1), axis=1)
    passed = np.zeros((len(steps), start, steps.shape[2]), steps.dtype)
    added: Array = np.concatenate([passed, steps], axis=1)
    return added
