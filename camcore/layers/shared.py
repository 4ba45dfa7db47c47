"""Find which of a model's arrays have a row for each sample, and which all samples share.

Two towers compare every image of a batch with the same texts. As many texts as images look like
one for each image, and only what the model makes of one image and all texts tells them apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from camcore.adapter import Adapter, Array, Leaves, replays
from camcore.inputs import Inputs
from camcore.layers import seen


def shared(adapter: Adapter, inputs: Inputs, outputs: Leaves, *, logits: bool) -> frozenset[str]:
    """Find the arrays as long as the batch that all samples share nevertheless.

    Parameters
    ----------
    adapter : Adapter
        The model; asked for one forward pass where there are such arrays, rarely for two.
    inputs : Inputs
        What it was run on, traced.
    outputs : mapping of str to array
        What it returned for them, as far as it counts.
    logits : bool
        Whether that was before a final activation.

    Returns
    -------
    frozenset of str
        Their paths. Empty too where no reading gives the first sample's own outputs again.
    """
    images = inputs.arrays[inputs.image_path()][:1]
    others = inputs.by_sample - {inputs.image_path()}

    def repeats(reading: Inputs) -> bool:
        twice = reading.with_images(np.repeat(images, 2, axis=0), 0).native
        try:
            found = adapter.run(twice, logits=logits).outputs
        except Exception:  # the framework's own, of arrays that do not fit
            return False
        return all(path in found and _same(found[path], leaf) for path, leaf in outputs.items())

    together = replace(inputs, shared=others)
    return others if others and not repeats(inputs) and repeats(together) else frozenset()


def _same(found: Array, plain: Array) -> bool:
    """Tell whether an output is the first sample's twice over, or all that it was."""
    if found.dtype.kind != "f" or not plain.ndim:
        return True
    twice = replays({"": found}, {"": plain[:1]}, float(np.finfo(found.dtype).eps))
    return twice or seen.same(found, plain)
