"""The page itself, written with Gradio (extra ``app``).

Gradio serves these people best: the object that `page` returns stands in their own apps and in
Hugging Face Spaces as it is, the server works events off in threads behind a bounded queue, and its
pieces can be worked by keys. Streamlit runs the whole script again at each click and cannot be
embedded; Panel and NiceGUI run in no Space without a container of one's own.

What Gradio does by itself and is turned off here: it counts launches, takes fonts and scripts from
elsewhere, shows its own links, and serves whatever files it has been given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from camcore import report
from camcore._shared.optional import needs
from camcore.app import calls, pieces
from camcore.app.guard import guarded
from camcore.app.session import (
    SAMPLES,
    SIDE,
    STEPS,
    Bench,
    Box,
    OnBench,
    PageRequest,
    read_photo,
    sample,
)
from camcore.errors import CamcoreError, InputError
from camcore.methods.table import TABLE as METHODS
from camcore.photos.io import write_image
from camcore.photos.photo import Photo
from camcore.recipes import TABLE as RECIPES
from camcore.viz import save_figure

# Read by Gradio when it is imported: it counts nothing, and asks no server for its version.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
with needs("app", "The page"):
    import gradio as gr

MAX_FILE: Final = 50 * 2**20
"""Bytes of an upload at most."""

WAITING: Final = 64
"""How many events wait at most; further ones are told that the page is busy."""

AT_ONCE: Final = max(2, os.cpu_count() or 2)
"""How many events are worked off at once."""

KINDS: Final = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".dcm"]
"""Endings of the files that may be uploaded; what is in them is what counts."""

_TABS: Final = ("map", "methods", "layers", "compare", "curves", "hide", "files")
_FIRST_TAB: Final = _TABS[0]
_MOST_BESIDE: Final = 9
_CLASSES: Final = 5000
"""Models of more classes have a number to type in place of a list."""

_NONE: Final = "none"
_TARGET: Final = 3
"""The place of the class among the settings."""

_CSS: Final = Path(__file__).with_name("page.css").read_text("utf-8")
_TO_ADDRESS: Final = """(query) => {
    const now = new URLSearchParams(location.search);
    const next = new URLSearchParams(query);
    for (const [name, value] of now) if (name.startsWith('__')) next.set(name, value);
    const text = next.toString();
    history.replaceState(null, '', location.pathname + (text ? '?' + text : ''));
}"""


_PRESSED: Final = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-class]');
    if (button) trigger('select', {value: button.dataset.class});
});
// The list is written anew when a class is explained; whoever works with keys stays where they are.
let last = null;
element.addEventListener('focusin', (event) => { last = event.target.dataset.class ?? null; });
element.addEventListener('focusout', (event) => { if (event.relatedTarget) last = null; });
watch('value', () => {
    if (last === null || document.activeElement !== document.body) return;
    element.querySelector(`button[data-class="${last}"]`)?.focus();
});
"""
"""What makes the list of classes buttons of the page."""


class Page(gr.Blocks):  # type: ignore[misc]
    """The page, whose server is safe to start: on this machine alone, and with a bounded queue."""

    def launch(self, *args: Any, **options: Any) -> Any:
        """Serve the page, as `gradio.Blocks.launch` does.

        Parameters
        ----------
        *args, **options
            As Gradio takes them, in place of what suits the page.
        """
        kwargs = {
            "max_threads": 4 * AT_ONCE,
            "share": False,
            "state_session_capacity": 200,
            **_served(options),
        }
        return super().launch(*args, **kwargs)


def mount(app: Any, blocks: Page, path: str, **options: Any) -> Any:
    """Place the page in a web app of one's own, as safe as `Page.launch` serves it.

    Parameters
    ----------
    app : fastapi.FastAPI
        The app; the page becomes a part of it.
    blocks : Page
        What `page` made.
    path : str
        Where in the app: ``"/look"``.
    **options
        As `gradio.mount_gradio_app` takes them, in place of what suits the page.

    Returns
    -------
    fastapi.FastAPI
        The app.
    """
    return gr.mount_gradio_app(app, blocks, path, **_served(options))


def _served(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of Gradio's server that suit the page, with those that are given in their place."""
    return {
        "theme": theme(),
        "max_file_size": MAX_FILE,
        "ssr_mode": False,
        "footer_links": [],
        "enable_monitoring": False,
        "allowed_paths": [],
        "mcp_server": False,
        **options,
        "app_kwargs": guarded(options.get("app_kwargs")),
    }


def theme() -> Any:
    """Make the theme, of fonts that every machine has."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    mono = ["ui-monospace", "Consolas", "monospace"]
    return gr.themes.Default(primary_hue="blue", font=fonts, font_mono=mono)


def page(bench: Bench) -> Page:
    """Build the page for the models of a bench.

    Parameters
    ----------
    bench : Bench
        The models.

    Returns
    -------
    Page
        A Gradio Blocks object.
    """
    blocks: Page
    with Page(
        analytics_enabled=False,
        title="camcore: where a model looks",
        delete_cache=(600, 3600),
    ) as blocks:
        _Widgets(bench).wire(blocks)
    blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    return blocks


@lru_cache(maxsize=8)
def _read(path: str) -> Photo:
    return read_photo(path)


@lru_cache(maxsize=len(SAMPLES))
def _sample(name: str) -> Photo:
    return sample(name)


def photos_of(files: Sequence[str] | None) -> dict[str, str]:
    """Name the uploaded files, apart where two have one name."""
    found: dict[str, str] = {}
    for path in files or ():
        name = Path(path).name
        while name in found or name in SAMPLES:
            name = f"another {name}"
        found[name] = path
    return found


def photo_of(name: str, files: Sequence[str] | None) -> Photo:
    """Read the photograph of a name: an upload, or a sample.

    Raises
    ------
    InputError
        There is none, or its file cannot be read.
    """
    uploads = photos_of(files)
    if name in uploads:
        try:
            return _read(uploads[name])
        except InputError as error:
            # The place of the file on the server is no one's business.
            raise InputError(str(error).replace(uploads[name], name)) from error
    return _sample(name or SAMPLES[0])


def alert(error: CamcoreError) -> str:
    """Write what went wrong."""
    return (
        '<div role="alert" class="cam-one"><p><b>This cannot be shown.</b> '
        f"{escape(str(error))}</p></div>"
    )


class _Widgets:
    """The pieces of the page, and what they do."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        first = bench.model("")
        names = list(bench.models)
        # Within the page, so that it is there too where the page stands in another app.
        gr.HTML(f"<style>{_CSS}</style>", elem_id="cam-style")
        gr.Markdown("# Where a model looks")
        self.search = gr.Textbox(visible="hidden", label="address")
        self.query = gr.Textbox(visible="hidden", label="query")
        self.hidden = gr.State(())
        self.curves = gr.State(None, time_to_live=3600)
        self.active = gr.State(_FIRST_TAB)
        with gr.Row(elem_id="layout"):
            with gr.Column(min_width=280, elem_id="what"):
                self._what(names)
            with gr.Column(min_width=280, elem_id="shown"):
                self._shown(first, names)
            with gr.Column(min_width=280, elem_id="how"):
                self._how(self._classes(first.name))

    def _what(self, names: Sequence[str]) -> None:
        """Place the photograph, the model and its highest classes."""
        self.files = gr.File(
            label="Drop photographs here", file_count="multiple", file_types=KINDS, height=150
        )
        self.photo = gr.Radio(list(SAMPLES), value=SAMPLES[0], label="Photograph")
        self.model = gr.Dropdown(list(names), value=names[0], label="Model")
        self.top = gr.HTML(elem_id="classes", js_on_load=_PRESSED)

    def _how(self, classes: Sequence[tuple[str, str]]) -> None:
        """Place what is explained, and how."""
        self.target = gr.Dropdown(
            [("the predicted class", _NONE), *classes], value=_NONE, label="Explain"
        )
        self.against = gr.Dropdown(
            [("no other class", _NONE), *classes], value=_NONE, label="and not"
        )
        self.method = gr.Dropdown(
            [(one.label, one.name) for one in METHODS], value="gradcam", label="Method"
        )
        self.recipe = gr.Dropdown(
            [(f"{one.name}: {one.source}", one.name) for one in RECIPES.values()],
            value="paper",
            label="Recipe",
        )

    def _shown(self, first: OnBench, names: Sequence[str]) -> None:
        """Place the layers, the tabs, and the calls."""
        self.layer = gr.Slider(
            0,
            max(len(first.layers) - 1, 1),
            value=first.default,
            step=1,
            label=self._layer_label(first.name, first.default),
            info="From fine to deep",
            buttons=[],
            elem_id="layer",
        )
        with gr.Tabs() as self.tabs:
            with gr.Tab("Map", id="map") as self.tab_map:
                self._map()
            with gr.Tab("Methods", id="methods") as self.tab_methods:
                self.beside = gr.Dropdown(
                    [(one.label, one.name) for one in METHODS],
                    value=list(PageRequest.beside),
                    multiselect=True,
                    max_choices=_MOST_BESIDE,
                    label="Methods side by side",
                    elem_id="beside",
                )
                self.methods = gr.HTML(elem_id="methods")
            with gr.Tab("Layers", id="layers") as self.tab_layers:
                self.layers = gr.HTML(elem_id="layers")
            with gr.Tab("Two models", id="compare") as self.tab_compare:
                with gr.Row():
                    self.other = gr.Dropdown(list(names), value=names[-1], label="Held against")
                    self.other_layer = gr.Dropdown(
                        self._layer_choices(names[-1]), value=_NONE, label="at its layer"
                    )
                self.compared = gr.HTML(elem_id="compared")
            with gr.Tab("Deletion, insertion", id="curves") as self.tab_curves:
                self.trace = gr.Button("Trace the curves", variant="primary", elem_id="trace")
                self.share = gr.Slider(
                    *(0, STEPS, STEPS // 5),
                    step=1,
                    label=f"Step of {STEPS}",
                    buttons=[],
                    elem_id="step",
                )
                self.fed = gr.HTML(elem_id="fed")
            with gr.Tab("Hide a patch", id="hide") as self.tab_hide:
                self._patches()
            with gr.Tab("Files", id="files") as self.tab_files:
                self.make = gr.Button("Make the files", variant="primary", elem_id="make")
                self.made = gr.File(
                    label="Overlay, figure, arrays, report",
                    interactive=False,
                    file_count="multiple",
                    elem_id="made",
                )
        self.python = self._call("python", "The same in Python", "python")
        self.shell = self._call("shell", "The same on the command line", "shell")

    def _map(self) -> None:
        """Place the map, and how it is drawn."""
        self.picture = gr.HTML(elem_id="picture")
        with gr.Row(elem_id="drawn"):
            self.signed = gr.Checkbox(label="Signed: also what counts against", elem_id="signed")
            self.boxed = gr.Checkbox(label="Boxes around the evidence", elem_id="boxed")
            self.threshold = gr.Slider(
                *(0.05, 1, 0.5),
                step=0.05,
                label="Threshold of boxes",
                buttons=[],
                elem_id="threshold",
            )

    def _patches(self) -> None:
        """Place the photograph to hide patches of, and what does it without a pointer."""
        self.canvas = gr.Image(
            interactive=False,
            label="Press in the photograph to hide a patch",
            alt_text="The photograph with what is hidden",
            buttons=[],
            format="jpeg",
            elem_id="canvas",
        )
        self.moved = gr.HTML(elem_id="moved")
        with gr.Row():
            self.across = gr.Slider(
                0, 100, 50, step=1, label="Across, %", buttons=[], elem_id="across"
            )
            self.down = gr.Slider(0, 100, 50, step=1, label="Down, %", buttons=[], elem_id="down")
            self.side = gr.Slider(
                2, 60, 20, step=1, label="Side of a patch, %", buttons=[], elem_id="side"
            )
        with gr.Row():
            self.hide = gr.Button("Hide a patch there", elem_id="hide")
            self.restore = gr.Button("Show all again", elem_id="restore")

    @staticmethod
    def _call(language: Any, label: str, name: str) -> Any:
        """Place a call to copy."""
        return gr.Code(
            language=language,
            label=label,
            interactive=False,
            lines=1,
            wrap_lines=True,
            show_line_numbers=False,
            buttons=["copy"],
            elem_id=name,
        )

    def _classes(self, model: str) -> list[tuple[str, str]]:
        """List a model's classes, as far as they have names."""
        names = self.bench.model(model).classes
        listed = enumerate(names[:_CLASSES])
        return [(self._label(i, name), str(i)) for i, name in listed]

    @staticmethod
    def _label(index: int, name: str) -> str:
        return f"{name} · {index}" if name != str(index) else f"class · {index}"

    def _layer_label(self, model: str, place: int) -> str:
        layers = self.bench.model(model).layers
        if not layers:
            return "Layer: none, the method looks at the input"
        return f"Layer: {layers[min(place, len(layers) - 1)].label}"

    def _layer_choices(self, model: str) -> list[tuple[str, str]]:
        own = [(one.label, one.name) for one in self.bench.model(model).layers]
        return [("the one most like it", _NONE), *own]

    @property
    def settings(self) -> list[Any]:
        """What an `PageRequest` is made of, in the order of `_asked`."""
        return [
            *(self.files, self.photo, self.model, self.target, self.against, self.layer),
            *(self.method, self.recipe, self.signed, self.boxed, self.threshold),
            *(self.beside, self.other, self.other_layer, self.hidden, self.active),
        ]

    def _asked(
        self,
        files: Sequence[str] | None,
        photo: str,
        model: str,
        target: str,
        against: str,
        layer: float,
        method: str,
        recipe: str,
        signed: bool,
        boxed: bool,
        threshold: float,
        beside: Sequence[str],
        other: str,
        other_layer: str | None,
        hidden: Sequence[Box],
        active: str,
    ) -> tuple[PageRequest, Photo]:
        """Read what the pieces of the page say, and the photograph."""
        layers = self.bench.model(model).layers
        place = min(max(int(layer), 0), len(layers) - 1)
        names = list(self.bench.models)
        asked = PageRequest(
            model="" if model == names[0] else model,
            photo=photo,
            target=None if target in (None, _NONE) else int(target),
            against=None if against in (None, _NONE) else int(against),
            layer=self.bench.model(model).layer(layers[place].name) if layers else None,
            method=method,
            recipe=recipe,
            signed=bool(signed),
            threshold=float(threshold) if boxed else None,
            hidden=tuple(hidden or ()),
            tab=active or _FIRST_TAB,
            beside=tuple(beside or ())[:_MOST_BESIDE],
            other="" if other == names[-1] else other,
            other_layer=None if other_layer in (None, _NONE) else other_layer,
        )
        return asked, photo_of(photo, files)

    def show(self, *settings: Any) -> list[Any]:
        """Explain the photograph: the picture, classes, the calls, and the address."""
        try:
            asked, photo = self._asked(*settings)
            shown = self.bench.explain(asked, photo)
        except CamcoreError as error:
            return [alert(error), gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip(), None]
        one = self.bench.model(asked.model)
        label = self._layer_label(one.name, int(settings[5]))
        return [
            pieces.one(shown),
            pieces.classes(shown),
            gr.update(label=label),
            calls.python_call(asked, one),
            calls.shell_call(asked, one),
            asked.query(),
            None,
        ]

    def picked(self, event: gr.EventData, *settings: Any) -> list[Any]:
        """Explain the class that was pressed in the list."""
        value = str(event.value)
        target = value if value.isdecimal() else _NONE
        return [target, *self.show(*settings[:_TARGET], target, *settings[_TARGET + 1 :])]

    def content(self, *settings: Any) -> list[Any]:
        """Fill the tab that is looked at: methods, layers, two models, or the hidden patches."""
        active = str(settings[-1] or _FIRST_TAB)
        filled: dict[str, list[Any]] = {
            "methods": [gr.skip()],
            "layers": [gr.skip()],
            "compare": [gr.skip()],
            "hide": [gr.skip(), gr.skip()],
            "calls": [gr.skip(), gr.skip(), gr.skip()],
        }
        makers: Mapping[str, Callable[..., list[Any]]] = {
            "methods": lambda a, p: [self._methods(a, p)],
            "layers": lambda a, p: [self._layers(a, p)],
            "compare": lambda a, p: [self._compared(a, p)],
            "hide": lambda a, p: self._hidden(a, p),
        }
        try:
            asked, photo = self._asked(*settings)
            if active in makers:
                filled[active] = makers[active](asked, photo)
            filled["calls"] = [*self._calls(asked), asked.query()]
        except CamcoreError as error:
            if active in makers:
                filled[active] = [gr.skip(), alert(error)][-len(filled[active]) :]
        return [value for values in filled.values() for value in values]

    def _other(self, asked: PageRequest) -> tuple[str, str | None]:
        """Return the model held against, and its layer: the one most like it unless chosen."""
        other = asked.other or list(self.bench.models)[-1]
        layer = asked.other_layer
        return other, self.bench.counterpart(asked, other) if layer is None else layer

    def _calls(self, asked: PageRequest) -> list[Any]:
        """Write the calls of the tab that is looked at."""
        one, active = self.bench.model(asked.model), asked.tab
        if active == "methods" and asked.beside:
            python = calls.python_call(asked, one, methods=asked.beside)
            at = [one.layer(asked.layer)]
            return [python, calls.compare_shell_call(asked, [one], asked.beside, at)]
        if active == "layers":
            layers = [at.name for at in one.layers]
            return [calls.layers_call(asked, one, layers), calls.shell_call(asked, one)]
        if active == "hide" and asked.hidden:
            return [calls.hide_call(asked, one), calls.NO_SHELL_PATCHES]
        if active == "compare":
            other, layer = self._other(asked)
            second = self.bench.model(other)
            python = calls.python_call(asked, one, other=second, layer=layer)
            at = [one.layer(asked.layer), second.layer(layer)]
            shell = calls.compare_shell_call(asked, [one, second], [asked.method], at)
            return [python, shell]
        if active == "curves":
            python = calls.evaluate_call(asked, one, STEPS)
            return [python, calls.evaluate_shell_call(asked, one, STEPS)]
        return [calls.python_call(asked, one), calls.shell_call(asked, one)]

    def _methods(self, asked: PageRequest, photo: Photo) -> str:
        if not asked.beside:
            return '<p class="cam-note">Choose a method at least.</p>'
        found = self.bench.methods(asked, photo, asked.beside)
        return pieces.side_by_side(list(found.values()))

    def _layers(self, asked: PageRequest, photo: Photo) -> str:
        layers = self.bench.model(asked.model).layers
        found = [self.bench.explain(replace(asked, layer=one.name), photo) for one in layers]
        return pieces.by_layer(found, [one.label for one in layers])

    def _compared(self, asked: PageRequest, photo: Photo) -> str:
        return pieces.compared(self.bench.compared(asked, photo, *self._other(asked)))

    def _hidden(self, asked: PageRequest, photo: Photo) -> list[Any]:
        result = self.bench.hide(asked, photo)
        return [_small(result.picture), pieces.hidden(result, len(asked.hidden))]

    def traced(self, step: float, *settings: Any) -> list[Any]:
        """Trace deletion and insertion."""
        try:
            asked, photo = self._asked(*settings)
            curves = self.bench.curves(asked, photo)
        except CamcoreError as error:
            return [None, alert(error)]
        drawn = [pieces.DrawnCurve.of(one) for one in curves]
        return [drawn, self.stepped(step, drawn)]

    @staticmethod
    def stepped(step: float, curves: Any) -> Any:
        """Show what the network was fed at a step."""
        if not curves:
            return '<p class="cam-note">Press the button to trace the curves.</p>'
        return pieces.fed(curves, int(step))

    def patched(self, x: float, y: float, side: float, *settings: Any) -> Any:
        """Add a patch around a place, all in shares of the photograph."""
        try:
            asked, photo = self._asked(*settings)
        except CamcoreError:
            return gr.skip()
        height, width = photo.pixels.shape[:2]
        half = max(1, round(side * min(height, width) / 2))
        row, column = round(y * height), round(x * width)
        left, top = max(0, column - half), max(0, row - half)
        right, bottom = min(width, column + half), min(height, row + half)
        if right <= left or bottom <= top:
            return gr.skip()
        return (*asked.hidden, (left, top, right, bottom))[-50:]

    def files_of(self, *settings: Any) -> Any:
        """Write the overlay, the figure, the arrays and a report."""
        try:
            asked, photo = self._asked(*settings)
            shown = self.bench.explain(asked, photo)
        except CamcoreError as error:
            raise gr.Error(str(error), print_exception=False) from error
        # A folder of its own: what is asked at the same time does not meet.
        folder = Path(self.made.GRADIO_CACHE, uuid4().hex)
        folder.mkdir(parents=True)
        one = self.bench.model(asked.model)
        overlay, figure, arrays, page_file = (
            folder / name
            for name in ("overlay.png", "figure.png", "explanation.npz", "report.html")
        )
        write_image(overlay, shown.picture(max(photo.pixels.shape[:2])))
        save_figure(shown.explanation.figure(), figure)
        shown.explanation.save(arrays)
        report.write(
            page_file,
            shown.explanation,
            title=f"Where {one.name} looks",
            call=calls.shell_call(asked, one),
        )
        return [str(path) for path in (overlay, figure, arrays, page_file)]

    def opened(self, search: str) -> list[Any]:
        """Set the page as its address says."""
        asked = PageRequest.of_query(search or "")
        model = asked.model if asked.model in self.bench.models else next(iter(self.bench.models))
        one = self.bench.model(model)
        place = next((i for i, at in enumerate(one.layers) if at.name == asked.layer), one.default)
        classes = self._classes(model)
        known = {value for _, value in classes}
        target, against = (
            str(v) if v is not None and str(v) in known else _NONE
            for v in (asked.target, asked.against)
        )
        other = asked.other if asked.other in self.bench.models else list(self.bench.models)[-1]
        offered = self._layer_choices(other)
        known_layers = {value for _, value in offered}
        other_layer = asked.other_layer if asked.other_layer in known_layers else _NONE
        tab = asked.tab if asked.tab in _TABS else _FIRST_TAB
        methods = {one.name for one in METHODS}
        beside = [name for name in dict.fromkeys(asked.beside) if name in methods]
        if asked.beside and not beside:
            beside = list(PageRequest.beside)
        return [
            asked.photo if asked.photo in SAMPLES else SAMPLES[0],
            model,
            gr.update(choices=[("the predicted class", _NONE), *classes], value=target),
            gr.update(choices=[("no other class", _NONE), *classes], value=against),
            self._layer_update(model, place),
            asked.method if asked.method in methods else "gradcam",
            asked.recipe if asked.recipe in RECIPES else "paper",
            asked.signed,
            asked.threshold is not None,
            asked.threshold or 0.5,
            beside[:_MOST_BESIDE],
            other,
            gr.update(choices=offered, value=other_layer),
            asked.hidden,
            tab,
            gr.update(selected=tab),
        ]

    def _layer_update(self, model: str, place: int) -> Any:
        last = max(len(self.bench.model(model).layers) - 1, 1)
        return gr.update(maximum=last, value=place, label=self._layer_label(model, place))

    def changed_model(self, model: str, target: str, against: str) -> list[Any]:
        """Offer the layers and classes of another model."""
        classes = self._classes(model)
        known = {_NONE, *(value for _, value in classes)}
        return [
            self._layer_update(model, self.bench.model(model).default),
            gr.update(
                choices=[("the predicted class", _NONE), *classes],
                value=target if target in known else _NONE,
            ),
            gr.update(
                choices=[("no other class", _NONE), *classes],
                value=against if against in known else _NONE,
            ),
        ]

    def wire(self, blocks: Page) -> None:
        """Say what happens when."""
        shown = [
            *(self.picture, self.top, self.layer, self.python, self.shell, self.query, self.curves)
        ]
        filled = [
            *(self.methods, self.layers, self.compared, self.canvas, self.moved),
            *(self.python, self.shell, self.query),
        ]

        def then_fill(event: Any) -> None:
            event = event.then(self.content, self.settings, filled, show_progress="minimal")
            event.then(None, self.query, None, js=_TO_ADDRESS)

        def followed(event: Any) -> None:
            then_fill(event.then(None, self.query, None, js=_TO_ADDRESS))

        def then_show(event: Any) -> None:
            followed(event.then(self.show, self.settings, shown, show_progress="hidden"))

        def on(triggers: Sequence[Any]) -> None:
            followed(
                gr.on(
                    list(triggers),
                    self.show,
                    self.settings,
                    shown,
                    show_progress="minimal",
                    trigger_mode="always_last",
                )
            )

        then_show(
            blocks.load(
                self.opened,
                self.search,
                [
                    *(self.photo, self.model, self.target, self.against, self.layer, self.method),
                    *(self.recipe, self.signed, self.boxed, self.threshold, self.beside),
                    *(self.other, self.other_layer, self.hidden, self.active, self.tabs),
                ],
                js="() => location.search",
                show_progress="hidden",
            )
        )
        on(
            [
                *(self.target.input, self.against.input, self.layer.input, self.method.input),
                *(self.recipe.input, self.signed.input, self.boxed.input),
            ]
        )
        then_show(self.threshold.input(lambda: True, None, self.boxed, show_progress="hidden"))
        afresh = [self.hidden, self.target, self.against]
        then_show(
            self.photo.input(lambda: ((), _NONE, _NONE), None, afresh, show_progress="hidden")
        )
        then_show(
            self.model.input(
                self.changed_model,
                [self.model, self.target, self.against],
                [self.layer, self.target, self.against],
                show_progress="hidden",
            )
        )
        for event in (self.files.upload, self.files.delete, self.files.clear):
            then_show(event(self._added, self.files, [self.photo, *afresh]))
        # In one event, as each costs the server and the browser a turn.
        followed(
            self.top.select(
                self.picked, self.settings, [self.target, *shown], show_progress="minimal"
            )
        )
        for one in _TABS:
            tab = getattr(self, f"tab_{one}")
            then_fill(tab.select(lambda one=one: one, None, self.active, show_progress="hidden"))
        then_fill(
            self.other.input(
                lambda name: gr.update(choices=self._layer_choices(name), value=_NONE),
                self.other,
                self.other_layer,
                show_progress="hidden",
            )
        )
        changed = gr.on(
            [self.beside.input, self.other_layer.input],
            self.content,
            self.settings,
            filled,
            show_progress="minimal",
        )
        changed.then(None, self.query, None, js=_TO_ADDRESS)
        self.trace.click(self.traced, [self.share, *self.settings], [self.curves, self.fed])
        self.share.input(
            self.stepped,
            [self.share, self.curves],
            self.fed,
            show_progress="hidden",
            trigger_mode="always_last",
        )
        self.curves.change(
            self.stepped, [self.share, self.curves], self.fed, show_progress="hidden"
        )
        then_show(self.canvas.select(self._pressed, [self.side, *self.settings], self.hidden))
        then_show(
            self.hide.click(
                lambda x, y, side, *s: self.patched(x / 100, y / 100, side / 100, *s),
                [self.across, self.down, self.side, *self.settings],
                self.hidden,
            )
        )
        then_show(self.restore.click(lambda: (), None, self.hidden))
        self.make.click(self.files_of, self.settings, self.made)

    def _pressed(self, event: gr.SelectData, side: float, *settings: Any) -> Any:
        """Hide a patch where the picture was pressed."""
        _, photo = self._asked(*settings)
        height, width = photo.pixels.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        x, y = event.index
        return self.patched(
            (x + 0.5) / max(1, round(width * scale)),
            (y + 0.5) / max(1, round(height * scale)),
            side / 100,
            *settings,
        )

    @staticmethod
    def _added(files: Sequence[str] | None) -> list[Any]:
        """Offer the uploaded photographs, and show the last."""
        names = list(photos_of(files))
        value = names[-1] if names else SAMPLES[0]
        return [gr.update(choices=[*names, *SAMPLES], value=value), (), _NONE, _NONE]


def _small(picture: Any) -> Any:
    """Scale a picture down to what fits the page."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale == 1.0:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
