"""The methods, as functions of arrays; usable with no framework installed.

``camcore.methods.gradcam(activations, gradients)`` takes ``(B, C, *S)`` arrays
and returns the signed map ``(B, *S)``. `TABLE` lists the methods, `find` finds one
by name, and `register` adds one.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from camcore.methods.table import TABLE as TABLE
from camcore.methods.table import Method as Method
from camcore.methods.table import find as find
from camcore.methods.table import register as register

if TYPE_CHECKING:
    from camcore.methods.activation import *
    from camcore.methods.attention import *
    from camcore.methods.attribution import *
    from camcore.methods.gradient import *
    from camcore.methods.groups import *
    from camcore.methods.integrated import *
    from camcore.methods.masking import *
    from camcore.methods.noise import *
    from camcore.methods.optimisation import *
    from camcore.methods.paths import *
    from camcore.methods.perturbation import *
    from camcore.methods.positions import *
    from camcore.methods.regions import *
    from camcore.methods.relevancy import *
    from camcore.methods.scales import *
    from camcore.methods.sensitivity import *
    from camcore.methods.spectral import *
    from camcore.methods.tokens import *
else:
    # A module registers its methods as it is imported; this is the order of the table.
    for _module in (
        "gradient",
        "noise",
        "attention",
        "relevancy",
        "tokens",
        "spectral",
        "activation",
        "masking",
        "groups",
        "optimisation",
        "scales",
        "perturbation",
        "integrated",
        "sensitivity",
        "positions",
        "attribution",
        "paths",
        "regions",
    ):
        import_module(f"{__name__}.{_module}")
    _functions = {row.function.__name__: row.function for row in TABLE}
    globals().update(_functions)
    __all__ = sorted(["TABLE", "Method", "find", "register", *_functions])
