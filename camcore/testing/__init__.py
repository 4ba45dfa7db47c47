"""Check an adapter by numbers, and try camcore without a framework.

`check_adapter` holds an adapter to the contract, promise by promise. `NumpyAdapter` is a
chain of a few layers with hand-written derivatives, in any spatial rank.
"""

from camcore.testing.contract import PROMISES, check_adapter
from camcore.testing.network import (
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    NumpyAdapter,
    Op,
    ReLU,
    random_network,
)
from camcore.testing.subject import Subject

__all__ = [
    "PROMISES",
    "Conv",
    "Dense",
    "Flatten",
    "GlobalAveragePool",
    "NumpyAdapter",
    "Op",
    "ReLU",
    "Subject",
    "check_adapter",
    "random_network",
]
