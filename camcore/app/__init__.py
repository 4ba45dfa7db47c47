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

__all__ = ["Bench", "PageRequest", "Shown", "build", "mount"]


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
        Its `launch` serves it on this machine alone unless told otherwise; `mount` places it in
        a web app of one's own. It may also stand in a larger Gradio app, whose server is then
        that app's.

    Raises
    ------
    InputError
        There is no such model.
    MissingExtraError
        The extra ``app`` is not installed.
    """
    from camcore.app.page import page

    return page(models if isinstance(models, Bench) else Bench.of(models, **options))


def mount(app: Any, page: Any, path: str, **options: Any) -> Any:
    """Place the page in a web app of one's own, guarded as its own server is.

    Parameters
    ----------
    app : fastapi.FastAPI
        The app; the page becomes a part of it.
    page : gradio.Blocks
        What `build` made.
    path : str
        Where in the app: ``"/look"``.
    **options
        As ``gradio.mount_gradio_app`` takes them, in place of what suits the page:
        `auth_dependency`, `root_path`, ...

    Returns
    -------
    fastapi.FastAPI
        The app, for ``uvicorn.run``.

    Raises
    ------
    MissingExtraError
        The extra ``app`` is not installed.
    """
    from camcore.app.page import mount

    return mount(app, page, path, **options)
