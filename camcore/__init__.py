"""Class activation maps that give the same numbers in every framework.

What is public is listed here; anything else may change.

==================  ========================================================================
`explain`           show where a model looks, in one call
`Explainer`         the same, settled once for many batches
`explain_tiles`     show where a model looks in a picture too large for it, tile by tile
`Explanation`       maps, raw maps, scores; overlays, figures, files
`load`              read an explanation that was saved
`load_model`        load a model by name, with what shows it photographs
`read_photo`        read a photograph as an array
`Preprocessing`     what is done to photographs before a model sees them
`imagenet_classes`  the names of ImageNet's 1,000 classes
`compare`           measure how far explanations are apart
`Comparison`        what `compare` returns
`evaluate`          measure how good methods' maps are, beside controls
`Evaluation`        what `evaluate` returns
`factorise`         find the concepts of a layer
`Factorisation`     what `factorise` returns
`Layout`            how a layer's arrays are laid out, where it must be said
`Recipe`            a published convention, or one of your own
`camcore.methods`   the methods, as functions of NumPy arrays
`camcore.recipes`   the conventions of papers and libraries, as data
`camcore.targets`   what is explained: classes, contrasts, masks, boxes, embeddings
`camcore.metrics`   whether a map is faithful, where it points, how far two maps are apart
`camcore.augment`   views of the input to average maps over
`camcore.viz`       pictures of maps
`camcore.report`    one HTML file of many explanations
`camcore.app`       a page on this machine to look at a model with one's eyes
`camcore.photos`    photographs read, cropped, preprocessed and written
`camcore.medical`   volumes read from NIfTI and DICOM, and MONAI's transforms undone
`camcore.batch`     folders of photographs, and videos, through one explainer
`camcore.training`  maps of the same images while a model is trained
`camcore.zoo`       models loaded by name
`camcore.layers`    which layers a model has, and which are worth looking at
`camcore.adapter`   the contract between the core and a framework
`camcore.registry`  which installed adapter owns a model
`camcore.testing`   whether an adapter keeps the contract, and a model made of NumPy
`camcore.errors`    everything that is raised or warned of
==================  ========================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from camcore._shared.version import VERSION

if TYPE_CHECKING:
    from camcore import (
        adapter,
        app,
        augment,
        batch,
        errors,
        layers,
        medical,
        methods,
        metrics,
        photos,
        recipes,
        registry,
        report,
        targets,
        testing,
        training,
        viz,
        zoo,
    )
    from camcore.comparison import Comparison, compare
    from camcore.evaluation import Evaluation, evaluate
    from camcore.explainer import Explainer, explain
    from camcore.explanation import Explanation, load
    from camcore.factorisation import Factorisation, factorise
    from camcore.layers.layout import Layout
    from camcore.photos.io import read_photo
    from camcore.photos.preprocessing import Preprocessing
    from camcore.recipes import Recipe
    from camcore.tiles import explain_tiles
    from camcore.zoo import imagenet_classes, load_model

__version__ = VERSION

__all__ = [
    "Comparison",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Factorisation",
    "Layout",
    "Preprocessing",
    "Recipe",
    "adapter",
    "app",
    "augment",
    "batch",
    "compare",
    "errors",
    "evaluate",
    "explain",
    "explain_tiles",
    "factorise",
    "imagenet_classes",
    "layers",
    "load",
    "load_model",
    "medical",
    "methods",
    "metrics",
    "photos",
    "read_photo",
    "recipes",
    "registry",
    "report",
    "targets",
    "testing",
    "training",
    "viz",
    "zoo",
]

_DEFINED_IN = {
    "Comparison": "comparison",
    "Evaluation": "evaluation",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Factorisation": "factorisation",
    "Layout": "layers.layout",
    "Preprocessing": "photos.preprocessing",
    "Recipe": "recipes",
    "compare": "comparison",
    "evaluate": "evaluation",
    "explain": "explainer",
    "explain_tiles": "tiles",
    "factorise": "factorisation",
    "imagenet_classes": "zoo",
    "load": "explanation",
    "load_model": "zoo",
    "read_photo": "photos.io",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is first asked for, so that ``import camcore`` is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_DEFINED_IN.get(name, name)}")
    found = getattr(module, name) if name in _DEFINED_IN else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
