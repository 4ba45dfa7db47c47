"""What a model states of its outputs without computing it: by its loss or its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from camcore.targets.scale import Scale

_PROBLEMS: Final[Mapping[str, Scale]] = {
    "multi_label_classification": Scale("sigmoid"),
    "single_label_classification": Scale("softmax"),
    "regression": Scale("none"),
}
"""Hugging Face's kinds of problem: each has a loss of its own, which takes logits."""

_LOSSES: Final[Mapping[str, str]] = {
    "binary_crossentropy": "sigmoid",
    "bce": "sigmoid",
    "binary_focal_crossentropy": "sigmoid",
    "categorical_crossentropy": "softmax",
    "categorical_focal_crossentropy": "softmax",
    "sparse_categorical_crossentropy": "softmax",
    **dict.fromkeys(
        (
            "mean_squared_error",
            "mse",
            "mean_absolute_error",
            "mae",
            "mean_absolute_percentage_error",
            "mape",
            "mean_squared_logarithmic_error",
            "msle",
            "log_cosh",
            "huber",
        ),
        "none",
    ),
}
"""Keras' losses by their names, and what makes probabilities of logits for each."""


def stated_scales(model: Any) -> Mapping[str, Scale]:
    """Read what a model's loss or configuration says of its outputs.

    Parameters
    ----------
    model : object
        A model of Keras, compiled or not, or one of Hugging Face.

    Returns
    -------
    mapping of str to Scale
        By the path of the output, and where it is one of several also by its number;
        ``"*"`` stands for any.
    """
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    if isinstance(problem, str) and problem in _PROBLEMS:
        return {"*": _PROBLEMS[problem]}
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        named = dict(loss)
    elif isinstance(loss, list | tuple) and len(loss) > 1:
        named = dict(zip(getattr(model, "output_names", None) or (), loss, strict=False))
    else:
        named = {"*": loss[0] if isinstance(loss, list | tuple) and loss else loss}
    scales = {name: scale for name, one in named.items() if (scale := of_loss(one)) is not None}
    order = list(getattr(model, "output_names", None) or ())
    return scales | {str(i): scales[name] for i, name in enumerate(order) if name in scales}


def of_loss(loss: Any) -> Scale | None:
    """Say what a loss of Keras takes.

    Parameters
    ----------
    loss : str, callable or keras.losses.Loss
        Its name, its function or an object of its class.

    Returns
    -------
    Scale or None
        None for losses of one's own.
    """
    function = getattr(loss, "fn", loss)
    if isinstance(function, str):
        name = function
    elif getattr(function, "__module__", "").startswith(("keras.", "tf_keras.")):
        name = getattr(function, "__name__", "")
    else:
        return None
    activation = _LOSSES.get(_snake_case(name))
    if activation is None or activation == "none":
        return None if activation is None else Scale(activation)
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return Scale(activation, applied=not config.get("from_logits", False))


def _snake_case(name: str) -> str:
    """Write ``BinaryCrossentropy`` as ``binary_crossentropy``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
