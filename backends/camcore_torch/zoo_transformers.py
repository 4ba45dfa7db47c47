"""Models of transformers, from folders or the hub, shown photographs by their image processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from camcore._shared.optional import needs
from camcore._shared.reading import said
from camcore.errors import CamcoreError, InputError
from camcore.photos.crop import Crop
from camcore.photos.fit import fitted, measured_view
from camcore.registry import Fit, LoadedModel, LoadOptions
from camcore.zoo import check_weights, known_classes, library_weights
from camcore_torch.inputs import to_numpy
from camcore_torch.zoo_states import fill

Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]

_CROP_BELOW: Final = 384
"""Sides from which on ConvNeXt's image processor stretches photographs, and no longer crops."""

_TRIAL: Final = ((240, 400), (400, 240))
"""Photographs, by height and width, on which it is measured where a processor looks."""

_BESIDE: Final = 2
"""How many pixels of the scaled photograph a measured crop may lie beside the one meant."""

_APART: Final = 1e-3
"""How far the pixels may be apart that a processor makes at once, and by way of a picture."""

_INTERPOLATIONS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Names of Pillow's filters, by number."""


def load_hub(name: str, options: LoadOptions) -> LoadedModel:
    """Load a model of transformers with its image processor; no code of its folder is run.

    Parameters
    ----------
    name : str
        A folder as ``save_pretrained`` writes it, or a name on the Hugging Face Hub, which is
        looked up in the local cache alone unless pretrained weights are asked for.
    options : LoadOptions
        Other weights for it, a number of classes.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        It cannot be loaded, or its processor shows photographs in a way that is not known.
    MissingExtraError
        transformers is not installed.
    """
    with needs("models", "loading models of transformers"):
        import transformers
    folder = Path(name).is_dir()
    if folder:
        options.only(
            {"weights", "checkpoint", "num_classes", "device"},
            f"{name} is a folder, with its own weights",
        )
    source = {"local_files_only": not options.pretrained, "trust_remote_code": False}
    with _quiet(), _loading(name, folder, options):
        config = transformers.AutoConfig.from_pretrained(name, **source)
        processor = transformers.AutoImageProcessor.from_pretrained(name, **source)
        kind = _class_of(transformers, config)
        if options.weights or options.checkpoint or options.num_classes:
            if options.num_classes:
                config.num_labels = options.num_classes
            model = kind(config)
            fill(model, options)
        else:
            model, about = kind.from_pretrained(
                name, config=config, output_loading_info=True, **source
            )
            _check_whole(name, about)
    model = model.float()
    check_weights(name, {k: to_numpy(v) for k, v in model.state_dict().items()})
    trained = options.has_weights or options.num_classes is None
    return described(model, processor, pretrained=trained)


def snapshot(name: str) -> list[Path]:
    """List the files of a model of the hub in its local cache; none where it is not there.

    Parameters
    ----------
    name : str
        Its name on the hub.

    Returns
    -------
    list of Path
    """
    with needs("models", "looking into the cache of the Hugging Face Hub"):
        from huggingface_hub import try_to_load_from_cache
    found = try_to_load_from_cache(name, "config.json")
    if not isinstance(found, str):
        return []
    return sorted(path for path in Path(found).parent.rglob("*") if path.is_file())


def described(model: nn.Module, processor: Any, *, pretrained: bool = True) -> LoadedModel:
    """Describe a model of transformers by its configuration and its image processor.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model.
    processor : transformers.BaseImageProcessor
        What makes its ``pixel_values``.
    pretrained : bool
        Whether its weights were loaded.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        The processor does something else to photographs than scale, crop and normalise them.
    """
    classifies = type(model).__name__.endswith("ForImageClassification")
    return replace(
        _shown_by(processor),
        model=model,
        classes=known_classes(model) if classifies else None,
        pretrained=pretrained,
        activation=_activation(model.config) if classifies else None,
    )


def _activation(config: Any) -> Activation:
    """Say what makes probabilities of a classifier's logits, as its pipelines do."""
    if config.problem_type == "regression":
        return "none"
    several = config.problem_type == "multi_label_classification"
    return "sigmoid" if several or config.num_labels == 1 else "softmax"


def _shown_by(processor: Any) -> LoadedModel:
    """Say how a processor shows photographs: where it looks, and what it makes of pixels.

    Where it looks is read from its settings where these are known, and measured, since some
    processors do more than their settings say.
    """
    try:
        found = [_shown(processor, *way) for way in _ways(processor)]
        if not (seen := _measured(processor)):
            raise ValueError("it does more than scale, crop and fill up")
        known = next((shown for shown in found if _looks_there(shown, seen)), None)
        return known or _shown(processor, "measured", min(seen[0].grid), min(seen[0].scaled))
    except Exception as error:  # a processor refuses in its own words what it cannot do
        raise InputError(
            f"The {type(processor).__name__} shows photographs in a way that cannot be laid back "
            f"over them: {said(error)} Explain the module itself with what the processor makes: "
            "camcore.explain(model, pixel_values)."
        ) from error


def _shown(processor: Any, fit: Fit, side: int, resize: int) -> LoadedModel:
    return LoadedModel(
        None,
        partial(_pixel_values, processor),
        side,
        resize,
        _INTERPOLATIONS.get(int(getattr(processor, "resample", None) or 0), "bilinear"),
        fit=fit,
        view=partial(_view, processor),
    )


def _ways(processor: Any) -> Iterator[tuple[Fit, int, int]]:
    """List how a processor may make squares, by its settings: the way, the side, the scaling."""
    size = dict(getattr(processor, "size", None) or {})
    cut = dict((getattr(processor, "crop_size", None) or {}) if _crops(processor) else {})
    side = cut.get("height") or cut.get("shortest_edge")
    edge = size.get("shortest_edge")
    if size.get("height") and size.get("height") == size.get("width"):
        yield "stretch", side or size["height"], size["height"]
    if edge and getattr(processor, "crop_pct", None):
        if edge < _CROP_BELOW:
            yield "crop", edge, int(edge / processor.crop_pct)
        yield "stretch", edge, edge
    if edge and side:
        yield "crop", side, edge
        yield "crop", side, int(edge * 256 / 224)  # as LeViT's does


def _crops(processor: Any) -> bool:
    return bool(getattr(processor, "do_center_crop", False))


def _measured(processor: Any) -> list[Crop]:
    """Find what a processor shows of photographs; empty where its pixels are made otherwise."""
    found = [measured_view(partial(_view, processor), shape) for shape in _TRIAL]
    photo = np.random.default_rng(0).integers(0, 256, (*_TRIAL[0], 3), dtype=np.uint8)
    made = processor(photo, input_data_format="channels_last", return_tensors="np")
    values = _pixel_values(processor, _view(processor, photo))
    if values.shape != made["pixel_values"].shape or not np.allclose(
        values, made["pixel_values"], atol=_APART
    ):
        return []
    return [crop for crop in found if crop is not None] if all(found) else []


def _looks_there(shown: LoadedModel, seen: Sequence[Crop]) -> bool:
    """Tell whether a processor is seen to take its square from where it is said to."""
    for crop in seen:
        said_to = fitted(shown, crop.photo_shape)
        sides = (*said_to.scaled, *said_to.corner), (*crop.scaled, *crop.corner)
        if said_to.grid != crop.grid or np.abs(np.subtract(*sides)).max() > _BESIDE:
            return False
    return True


def _view(processor: Any, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scale and crop a photograph as a processor does, and leave its pixels from 0 to 255."""
    made = processor(
        photo,
        do_rescale=False,
        do_normalize=False,
        input_data_format="channels_last",
        return_tensors="np",
        # EfficientNet's normalises once more where this is set.
        **({"include_top": False} if hasattr(processor, "include_top") else {}),
    )
    seen: npt.NDArray[Any] = np.moveaxis(made["pixel_values"][0], 0, -1)
    return np.ascontiguousarray(np.clip(seen, 0, 255).astype(photo.dtype, copy=False))


def _pixel_values(processor: Any, view: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scale the pixels of a square as a processor does."""
    made = processor(
        view,
        do_resize=False,
        input_data_format="channels_last",
        return_tensors="np",
        **({"do_center_crop": False} if _crops(processor) else {}),
    )
    return np.asarray(made["pixel_values"])


def _class_of(transformers: Any, config: Any) -> Any:
    """Find the class that a configuration names; a classifier of images where it names none."""
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
    mapping = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    if type(config) not in mapping:
        raise InputError(
            f"transformers has no image classifier for a {type(config).__name__}. Load the model "
            "yourself, and give it to camcore.explain."
        )
    return mapping[type(config)]


def _check_whole(name: str, about: Any) -> None:
    """Refuse weights of which some are missing, which transformers draws at random."""
    missing = sorted(about["missing_keys"])
    other = [one[0] for one in about.get("mismatched_keys", ())]
    if missing or other:
        told = "; ".join(
            f"{len(keys)} {kind}, such as {keys[0]}"
            for kind, keys in (("missing", missing), ("of another shape", other))
            if keys
        )
        raise InputError(
            f"The weights in {name} are not all of the model's: {told}. transformers would draw "
            "these at random. Give a model that was trained for its task."
        )


@contextmanager
def _loading(name: str, folder: bool, options: LoadOptions) -> Iterator[None]:
    """Say what to do where transformers cannot load a model."""
    if options.pretrained:
        with library_weights(f"hf:{name}"):
            yield
        return
    try:
        yield
    except CamcoreError:
        raise
    except Exception as error:  # of an odd folder it raises anything
        if "trust_remote_code" in str(error):
            advice = (
                "Its folder brings code, which is never run here: load it yourself, if you trust "
                "it, and give the module, or a transformers.Pipeline, to camcore.explain."
            )
        elif folder:
            advice = (
                "Expected a folder with config.json, preprocessor_config.json and weights, "
                "as save_pretrained writes them of a model and of its image processor."
            )
        else:
            advice = (
                "Expected a folder, or a name in the local cache of the Hugging Face Hub. Nothing "
                "is downloaded unless it is asked for: pretrained=True, on the command line "
                "--pretrained."
            )
        raise InputError(f"hf:{name} cannot be loaded: {said(error)} {advice}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing while it loads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
