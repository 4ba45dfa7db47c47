"""Find the block of a transformer that an attention belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from camcore.adapter import LayerRecord

_ATTENDS = re.compile(r"attention|attn|mha", re.IGNORECASE)


def of_attention(records: Sequence[LayerRecord]) -> dict[str, str | None]:
    """Name, for each layer that attends, the layer that returns its block's tokens.

    It is the outermost layer around the attention that holds no other. Where none holds it alone,
    as in models whose layers are all beside each other, it is the last addition before the next
    attention, which closes the block.

    Parameters
    ----------
    records : sequence of LayerRecord
        A survey.

    Returns
    -------
    dict of str to (str or None)
        In the order of the survey; None where no such layer is seen.
    """
    places = [i for i, record in enumerate(records) if record.attends]
    attending = [records[i].layer.name for i in places]
    known = {record.layer.name: record for record in records}
    found: dict[str, str | None] = {}
    for i, stop in zip(places, [*places[1:], len(records)], strict=False):
        own = records[i]
        name = own.layer.name
        around = [name[: step.start()] for step in re.finditer(r"[./]", name)] + [name]
        alone = [
            one
            for one in around
            if one in known and not any(_inside(a, one) for a in attending if a != name)
        ]
        bare = alone == [name] and _ATTENDS.search(f"{own.layer.kind} {re.split('[./]', name)[-1]}")
        if alone and not bare:
            found[name] = alone[0]
        else:
            sums = [r.layer.name for r in records[i + 1 : stop] if r.layer.kind == "Add"]
            found[name] = sums[-1] if sums else None
    return found


def pools(record: LayerRecord) -> bool:
    """Tell whether a layer attends from other places than to, as a pooler of tokens does."""
    return record.attention is not None and record.attention[-2] != record.attention[-1]


def _inside(name: str, layer: str) -> bool:
    return name == layer or name.startswith((f"{layer}.", f"{layer}/"))
