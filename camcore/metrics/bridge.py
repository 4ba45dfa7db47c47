"""Make maps for other libraries' metrics, in the way that these ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError


def quantus_explain_func(
    model: object, inputs: npt.ArrayLike, targets: npt.ArrayLike, **kwargs: Any
) -> npt.NDArray[np.float64]:
    """Explain a batch for Quantus, as its metrics call an ``explain_func``.

    >>> scores = quantus.MaxSensitivity()(
    ...     model=model, x_batch=images, y_batch=classes, a_batch=None,
    ...     explain_func=camcore.metrics.quantus_explain_func,
    ...     explain_func_kwargs={"method": "gradcam", "layer": "layer4"},
    ... )

    Parameters
    ----------
    model : torch.nn.Module or keras.Model
        As Quantus passes it on; what else `camcore.explain` takes is good, too.
    inputs : (B, ...) array
        In the model's own layout: ``(B, C, *S)`` in PyTorch, ``(B, *S, C)`` in Keras.
    targets : (B,) int array
        The class to explain of each.
    **kwargs
        Of `camcore.explain`: `method`, one of them, ``"gradcam"`` unless said, `layer`, `recipe`
        and others. A `device`, which Quantus adds where it was told one, is passed over: the
        model is where it is.

    Returns
    -------
    (B, 1, *S) float64 array
        Maps over the input, in [0, 1] by the recipe ``paper``.

    Raises
    ------
    InputError
        There are other than one class for each input, or several methods; and what
        `camcore.explain` raises.

    References
    ----------
    Hedström et al., "Quantus: An Explainable AI Toolkit for Responsible Evaluation of Neural
    Network Explanations and Beyond", JMLR 2023, whose ``explain`` has the same signature.
    """
    from camcore import explain  # which is built on this package

    kwargs.pop("device", None)
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" or classes.shape != (len(np.asarray(inputs)),):
        raise InputError(
            f"targets of shape {classes.shape} and dtype {classes.dtype}; expected one class, a "
            f"whole number, for each of {len(np.asarray(inputs))} inputs."
        )
    found: Any = explain(model, inputs, classes.tolist(), **kwargs)
    if not hasattr(found, "maps"):
        raise InputError(
            f"method={kwargs.get('method')!r}; a metric of Quantus evaluates one method. Give the "
            "name of one."
        )
    maps = np.asarray(found.maps, np.float64)
    return maps[:, None]
