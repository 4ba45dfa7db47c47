"""A page on this machine where anyone can look at a model: photographs, classes, layers, methods.

`build` makes it, and ``camcore app`` on the command line serves it. The page is written with
Gradio (extra ``app``). What is asked for and what is shown are in `camcore.app.session`, which
needs no browser and no Gradio.

page = camcore.app.build("timm:resnet50", pretrained=True)
page.launch()                         # on this machine alone
"""

from __future__ import annotations

from typing import Any

from camcore.app.session import Bench, PageRequest, Shown

__all__ = ["Bench", "PageRequest", "Shown", "build"]


def build(models: Any = None, **options: Any) -> Any:
    """Build the page for one model or several, as a Gradio Blocks object.

    Parameters
    ----------
    models : str, model, LoadedModel, Bench, or sequence or mapping of str to these
        As `camcore.load_model` or `camcore.explain` takes them; a mapping names them. Left out,
        the demonstration's networks, which need no download.
    **options
        What a named model is loaded with, as `camcore.load_model` takes it: `pretrained`,
        `weights`, `classes`, ...; and `preprocess` and `classes` of a model that does not say
        them itself, as `camcore.explain` takes them.

    Returns
    -------
    gradio.Blocks
        Its `launch` serves it on this machine alone unless told otherwise. It may stand in a
        larger Gradio app, or be mounted by ``gradio.mount_gradio_app``.

    Raises
    ------
    InputError
        There is no such model.
    MissingExtraError
        The extra ``app`` is not installed.
    """
    from camcore.app.page import page

    return page(models if isinstance(models, Bench) else Bench.of(models, **options))
