"""What was learnt of a model once: its survey, and what further passes told of its layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from camcore._shared.remembered import remembered
from camcore.adapter import Adapter, Array, LayerRecord, LayerTrace, Leaves
from camcore.errors import LayerError
from camcore.inputs import Inputs
from camcore.layers import blocks, layout, probe
from camcore.layers.fed import fed
from camcore.layers.layout import Layout
from camcore.layers.places import Places, settle
from camcore.layers.shared import shared

_Words: TypeAlias = tuple[bytes, ...]

_TRIED = 4
"""How many layers of as many tokens are asked in turn, until one depends on the input."""


@dataclass(eq=False)
class Known:
    """What is known of a model for one size of input.

    Parameters
    ----------
    chosen : dict of callable to tuple of str
        The layers that each rule chose.
    kept : dict of (str or None) to str
        For the output at each path, the layer at which a first pass had a gradient.
    axes : dict of str to (int or None)
        Which axis of a layer's output carries the batch, where its shape did not tell.
    tokens : dict of (int, tuple of bytes) to (Layout or None)
        Where the patches are among so many tokens, with such words among them; None where
        nothing tells.
    places : Places or None
        What a survey saw of maps and tokens; None before there was one.
    by_frame : dict of str to bool
        Whether a layer's rows, frames of several samples, are frame by frame.
    fed : dict of tuple of str to set of str
        Of layers that were asked about, those that depend on the input.
    shared : dict of tuple to frozenset of str
        For the shapes of all arrays and the paths of outputs, the arrays that all samples share.
    read : dict of tuple to (Q,) array
        For attention and paths of outputs, how much of each query these are made of.
    around : mapping of str to (str or None)
        For each layer that attends, the one that returns its block's tokens; None before a survey.
    poolers : frozenset of str
        Of these, the layers that attend from other places than to.
    """

    chosen: dict[Callable[..., Any], tuple[str, ...]] = field(default_factory=dict)
    kept: dict[str | None, str] = field(default_factory=dict)
    axes: dict[str, int | None] = field(default_factory=dict)
    tokens: dict[tuple[int, _Words], Layout | None] = field(default_factory=dict)
    places: Places | None = None
    by_frame: dict[str, bool] = field(default_factory=dict)
    fed: dict[tuple[str, ...], set[str]] = field(default_factory=dict)
    shared: dict[tuple[tuple[tuple[int, ...], ...], tuple[str, ...]], frozenset[str]] = field(
        default_factory=dict
    )
    read: dict[tuple[str, frozenset[str]], Array] = field(default_factory=dict)
    around: Mapping[str, str | None] | None = None
    poolers: frozenset[str] = frozenset()

    def survey(self, adapter: Adapter, inputs: Inputs) -> Sequence[LayerRecord]:
        """Survey the model."""
        records = adapter.survey(inputs.native)
        self.tokens.clear()
        self.places = Places.of(records, inputs.size, inputs.channels)
        return records

    def asking(self, adapter: Adapter, inputs: Inputs) -> Places:
        """Hand out what the survey saw, with leave to ask the model for the rest."""
        assert self.places is not None
        return replace(self.places, ask=lambda count: self._found(adapter, inputs, count))

    def batch_axis(self, adapter: Adapter, inputs: Inputs, layer: str, traced: LayerTrace) -> int:
        """Find the axis that carries the batch of what a layer returned.

        Its shape tells where no axis but the first is as long as the batch, or a map over the
        input remains of no other. Else a further pass does, once.

        Parameters
        ----------
        adapter : Adapter
            The model.
        inputs : Inputs
            What it was run on, traced.
        layer : str
            The layer's name.
        traced : LayerTrace
            What the layer did for these inputs.

        Raises
        ------
        LayerError
            A further pass does not tell either.
        """
        shape = traced.activations.shape
        if inputs.batch not in shape[1:] or traced.frames > 1 or not inputs.size:
            return 0
        if shape[0] == inputs.batch == 1:
            return 0
        is_map = len(shape) == len(inputs.size) + 2 > 3 and shape[0] == inputs.batch
        if is_map and (traced.channels or layout.map_axes(shape, inputs.batch, inputs.size) == [0]):
            return 0
        if layer not in self.axes:
            self.axes[layer] = probe.batch_axis(adapter, inputs, layer, traced.activations)
        axis = self.axes[layer]
        if axis is None:
            raise LayerError(
                f"Layer {layer!r} returns {shape} for a batch of {inputs.batch}, and nothing tells "
                "which axis carries the batch. Say it: layout=camcore.Layout('tokens', batch=n)."
            )
        return axis

    def patches(
        self, adapter: Adapter, inputs: Inputs, count: int, wanted: Layout | None
    ) -> Layout:
        """Find where the patches are among so many tokens.

        Parameters
        ----------
        adapter : Adapter
            The model.
        inputs : Inputs
            What it is run on.
        count : int
            Number of tokens.
        wanted : Layout or None
            What the user says of them.

        Raises
        ------
        LayerError
            What is said does not fit, or nothing tells which of several readings is right.
        """
        if wanted is not None and None not in (wanted.grid, wanted.prefix):
            return layout.on_said_grid(count, wanted)
        known = (count, _words(inputs)) in self.tokens
        if self.places is None or (not known and self.places.lack(count)):
            self.survey(adapter, inputs)
        found = self._found(adapter, inputs, count)
        assert self.places is not None
        if self.places.packs(count) and (wanted is None or wanted.grid is None):
            raise LayerError(
                f"The model has its {count} patches in rows without a batch axis, in an order of "
                "its own, such as by blocks of neighbours, so that they lie on no grid that can be "
                "seen. Choose a layer behind, where they are among the words."
            )
        return settle(self.places, count, wanted, found)

    def grids(self, adapter: Adapter, inputs: Inputs) -> list[tuple[int, ...]]:
        """List the sizes of the maps that the model makes of its input, the last first."""
        if self.places is None:
            self.survey(adapter, inputs)
        assert self.places is not None
        return [size for _, size in reversed(self.places.maps)]

    def read_off(self, adapter: Adapter, inputs: Inputs, count: int) -> Layout | None:
        """Find where the patches are among so many tokens, as far as a survey alone tells."""
        if (count, _words(inputs)) in self.tokens:
            return self.tokens[count, _words(inputs)]
        if self.places is None or self.places.lack(count):
            self.survey(adapter, inputs)
        assert self.places is not None
        return self.places.find(count)

    def likely(self, count: int, wanted: Layout | None) -> Layout:
        """Find where the patches are among so many tokens, as far as a survey tells."""
        assert self.places is not None
        return self.places.likely(count, wanted)

    def frames_first(
        self, adapter: Adapter, inputs: Inputs, layer: str, traced: LayerTrace
    ) -> bool:
        """Tell whether a layer's rows, frames of several samples, are frame by frame.

        Raises
        ------
        LayerError
            They are neither that nor sample by sample.
        """
        if layer not in self.by_frame:
            found = probe.frames_first(adapter, inputs, layer, traced.activations)
            if found is None:
                raise LayerError(
                    f"Layer {layer!r} returns {len(traced.activations)} rows for {inputs.batch} "
                    "samples, and nothing tells which are whose. Explain one sample at a time."
                )
            self.by_frame[layer] = found
        return self.by_frame[layer]

    def blocks(self, adapter: Adapter, inputs: Inputs) -> Mapping[str, str | None]:
        """Name, for each layer that attends, the one that returns its block's tokens.

        Of those that the picture feeds, where there are other inputs. A pooler behind all blocks
        is left out; see `pooler`.
        """
        known = self._attending(adapter, inputs)
        pooler = self.pooler(adapter, inputs)
        return {name: block for name, block in known.items() if name != pooler}

    def pooler(self, adapter: Adapter, inputs: Inputs) -> str | None:
        """Name the layer that pools the last block's tokens by attention, if there is one."""
        *before, last = self._attending(adapter, inputs) or [""]
        return last if before and last in self.poolers else None

    def _attending(self, adapter: Adapter, inputs: Inputs) -> Mapping[str, str | None]:
        if self.around is None:
            records = self.survey(adapter, inputs)
            self.around = blocks.of_attention(records)
            self.poolers = frozenset(r.layer.name for r in records if blocks.pools(r))
        if len(inputs.shapes) == 1 or (len(inputs.pictures) > 1 and inputs.chosen is None):
            return self.around
        # Others are such as the text tower of a model of pictures and words.
        fed = self.fed_by(adapter, inputs, [block or name for name, block in self.around.items()])
        return {name: block for name, block in self.around.items() if (block or name) in fed}

    def fed_by(self, adapter: Adapter, inputs: Inputs, layers: Sequence[str]) -> set[str]:
        """Find those of the layers that depend on the array that maps lie over."""
        key = tuple(layers)
        if key not in self.fed:
            self.fed[key] = fed(None, adapter, inputs, layers, inputs.image_path())
        return self.fed[key]

    def told_apart(
        self, adapter: Adapter, inputs: Inputs, outputs: Leaves, *, logits: bool
    ) -> Inputs:
        """Find which arrays all samples share, and say so in the inputs."""
        key = tuple(inputs.shapes.values()), tuple(outputs)
        if key not in self.shared:
            self.shared[key] = shared(adapter, inputs, outputs, logits=logits)
        return replace(inputs, shared=self.shared[key])

    def read_of(
        self, adapter: Adapter, inputs: Inputs, attention: str, outputs: frozenset[str]
    ) -> Array:
        """Find which queries of a layer's attention outputs depend on, by one pass for all.

        Parameters
        ----------
        adapter : Adapter
            The model.
        inputs : Inputs
            What it is run on.
        attention : str
            The layer's, with its ending.
        outputs : frozenset of str
            Their paths.

        Returns
        -------
        (Q,) array
            Equal weights that sum to 1, of these.
        """
        key = attention, outputs
        if key not in self.read:
            self.read[key] = probe.read_of(adapter, inputs, attention, outputs)
        return self.read[key]

    def _found(self, adapter: Adapter, inputs: Inputs, count: int) -> Layout | None:
        assert self.places is not None
        key = count, _words(inputs)
        if key in self.tokens:
            return self.tokens[key]
        found, changes = self.places.find(count), False
        if found is None and inputs.path is not None:
            # The first may be positions, which do not depend on the input.
            for layer in self.places.returning(count)[:_TRIED]:
                each = [probe.patches(adapter, one, layer, count) for one in _by_words(inputs)]
                changes = any(change for change, _ in each)
                found = each[0][1] if len({one for _, one in each}) == 1 else None
                if changes:
                    break
        if found is None and not changes:
            with suppress(LayerError):
                found = layout.by_shape(count, inputs.size)
        if found is not None and not self.places.fits(found.patches[0]):
            found = None
        self.tokens[key] = found
        return found


def _words(inputs: Inputs) -> _Words:
    """Tell one text from another that is as long, so that an image may stand elsewhere in it."""
    return tuple(given.tobytes() for given in _texts(inputs))


def _by_words(inputs: Inputs) -> list[Inputs]:
    """Cut out a sample of each text; all samples where they have one text or none."""
    rows = [tuple(given[i].tobytes() for given in _texts(inputs)) for i in range(inputs.batch)]
    if len(set(rows)) == 1:
        return [inputs]
    return [inputs.sample(rows.index(row)) for row in dict.fromkeys(rows)]


def _texts(inputs: Inputs) -> list[Array]:
    """List the arrays of ids, a row a sample; none before a pass has made arrays."""
    return [
        given
        for path, given in inputs.arrays.items()
        if path in inputs.by_sample and given.ndim == 2 and given.dtype.kind in "iu"
    ]


_known: WeakKeyDictionary[Any, dict[Hashable, Known]] = WeakKeyDictionary()
"""By model, and by the input, its size and its layout."""


def known_of(model: object, inputs: Inputs) -> Known:
    """Look up what is known of a model; it is forgotten when the model goes."""
    key = inputs.chosen, inputs.size, inputs.said
    return remembered(_known, model, {}).setdefault(key, Known())
