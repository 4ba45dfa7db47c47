"""The usual mistakes about what is given to camcore.explain, and what a person reads of each.

    python tests/support/mistakes_table.py

writes docs/mistakes.md.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import camcore
from camcore.errors import CamcoreError
from camcore.layers import candidates

PAGE = Path(__file__).parents[2] / "docs/mistakes.md"
SIDE = 16


@dataclass(frozen=True)
class Kit:
    """A framework's network of SIDE × SIDE images of three channels, and its own objects."""

    framework: str
    model: Any
    kind: type
    channels_first: bool
    weights: Any
    optimiser: Any
    loader: Callable[[], Any]
    tensor: Callable[[np.ndarray], Any]
    sized: Any
    folder: Path

    def images(self, count: int = 1, channels: int = 3, side: int = SIDE) -> np.ndarray:
        """Images in [0, 1] as the model takes them."""
        values = np.random.default_rng(0).random((count, side, side, channels), np.float32)
        return np.moveaxis(values, -1, 1) if self.channels_first else values

    def other(self, images: np.ndarray) -> np.ndarray:
        """The same images with their channels at the other end."""
        return np.moveaxis(images, 1, -1) if self.channels_first else np.moveaxis(images, -1, 1)


def torch_kit(folder: Path) -> Kit:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    kind = type("Network", (nn.Sequential,), {})
    model = kind(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    sized = kind(nn.Conv2d(3, 4, 3, stride=5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 5)).eval()
    sized.img_size = SIDE
    data = TensorDataset(torch.rand(4, 3, SIDE, SIDE), torch.arange(4))
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    loader = lambda: DataLoader(data, batch_size=2)  # noqa: E731
    return Kit(
        *("PyTorch", model, kind, True, model.state_dict(), optimiser, loader, torch.from_numpy),
        *(sized, folder),
    )


def keras_kit(folder: Path) -> Kit:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    given = keras.Input((SIDE, SIDE, 3), name="images")
    inner = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(given)
    scores = keras.layers.Dense(5, name="dense")(keras.layers.Flatten(name="flat")(inner))
    model = keras.Model(given, scores, name="network")
    images = np.random.default_rng(0).random((4, SIDE, SIDE, 3), np.float32)
    data = lambda: tf.data.Dataset.from_tensor_slices((images, np.arange(4))).batch(2)  # noqa: E731
    weights = {w.path: w.numpy() for w in model.weights}
    optimiser = keras.optimizers.SGD()
    return Kit(
        *("Keras", model, keras.Model, False, weights, optimiser, data, tf.constant),
        *(model, folder),
    )


Call = Callable[[Kit], Any]


@dataclass(frozen=True)
class Mistake:
    """Something that people do, how it looks, and words that the answer has in it."""

    title: str
    code: str
    call: Call
    words: str


def _explain(kit: Kit, inputs: Any, *arguments: Any, **options: Any) -> Any:
    return camcore.explain(kit.model, inputs, *arguments, **options)


def _batches(kit: Kit) -> Iterator[Any]:
    yield kit.images()


def _written(kit: Kit, name: str, data: bytes) -> Path:
    path = kit.folder / name
    path.write_bytes(data)
    return path


def _photo(kit: Kit, name: str = "cat.png", shape: tuple[int, ...] = (24, 36, 3)) -> Path:
    photo = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    return camcore.photos.write_image(kit.folder / name, photo)


class _Loader:
    def __iter__(self) -> Iterator[Any]:
        yield from ()


def _flip(picture: Any) -> np.ndarray:
    return np.asarray(picture)[None, :SIDE, :SIDE] * np.random.default_rng().random()


MISTAKES = [
    Mistake(
        "one image without a batch axis",
        "explain(model, images[0])",
        lambda kit: _explain(kit, kit.images()[0]),
        r"no batch axis: give images\[None\]",
    ),
    Mistake(
        "one image without a batch axis, channels at the other end",
        "explain(model, np.asarray(image) / 255)",
        lambda kit: _explain(kit, kit.other(kit.images())[0]),
        "no batch axis.*channels (last|first), and the model takes them (first|last)",
    ),
    Mistake(
        "channels at the other end",
        "explain(model, images)",
        lambda kit: _explain(kit, kit.other(kit.images(2))),
        r"channels (last|first), and the model takes them (first|last).*np.moveaxis",
    ),
    Mistake(
        "a tensor with channels at the other end",
        "explain(model, tensor)",
        lambda kit: _explain(kit, kit.tensor(np.ascontiguousarray(kit.other(kit.images(2))))),
        "channels (last|first), and the model takes them (first|last)",
    ),
    Mistake(
        "grey images for a network of colours",
        "explain(model, grey)",
        lambda kit: _explain(kit, kit.images(channels=1)),
        "1 channel, and the model takes 3: repeat the grey one",
    ),
    Mistake(
        "a grey image without batch and channels",
        "explain(model, np.asarray(grey) / 255)",
        lambda kit: _explain(kit, kit.images(channels=1).squeeze()),
        r"no batch and no channel axis: give np.repeat\(images\[None, .*\(H, W\) of uint8",
    ),
    Mistake(
        "images with transparency",
        "explain(model, rgba)",
        lambda kit: _explain(kit, kit.images(channels=4)),
        "4 channels, and the model takes 3: leave the transparency out",
    ),
    Mistake(
        "images of another size than the network takes",
        "explain(model, large)",
        lambda kit: camcore.explain(kit.sized, kit.images(side=40)),
        f"takes pictures of {SIDE}×{SIDE}: scale them",
    ),
    Mistake(
        "nothing",
        "explain(model, None)",
        lambda kit: _explain(kit, None),
        "nothing to explain: got None",
    ),
    Mistake(
        "an empty batch",
        "explain(model, images[:0])",
        lambda kit: _explain(kit, kit.images()[:0]),
        r"is empty: its shape is \(0, ",
    ),
    Mistake(
        "an empty list",
        "explain(model, [])",
        lambda kit: _explain(kit, []),
        "got an empty list",
    ),
    Mistake(
        "a loader",
        "explain(model, loader)",
        lambda kit: _explain(kit, kit.loader()),
        "one is explained at a time.*for images, labels in loader",
    ),
    Mistake(
        "a generator of batches",
        "explain(model, generator)",
        lambda kit: _explain(kit, _batches(kit)),
        "A generator gives one batch after the other",
    ),
    Mistake(
        "images and labels of a loader together",
        "explain(model, next(iter(loader)))",
        lambda kit: _explain(kit, tuple(next(iter(kit.loader())))),
        "images and labels of a loader: give the images alone",
    ),
    Mistake(
        "one image without a batch axis, for the names of layers",
        "Explainer(model).layers(images[0])",
        lambda kit: camcore.Explainer(kit.model).layers(kit.images()[0]),
        r"no batch axis: give images\[None\]",
    ),
    Mistake(
        "channels at the other end, for what maps are made of",
        "Explainer(model).evidence(images)",
        lambda kit: camcore.Explainer(kit.model).evidence(kit.other(kit.images(2))),
        "channels (last|first), and the model takes them (first|last)",
    ),
    Mistake(
        "channels at the other end, for a list of layers",
        "camcore.layers.candidates(model, images)",
        lambda kit: candidates(kit.model, kit.other(kit.images(2))),
        "channels (last|first), and the model takes them (first|last)",
    ),
    Mistake(
        "a photograph, for a list of layers",
        'camcore.layers.candidates(model, "cat.png")',
        lambda kit: candidates(kit.model, _photo(kit)),
        "Photographs are read by camcore.explain and camcore.Explainer",
    ),
    Mistake(
        "channels at the other end, for concepts",
        "factorise(model, images)",
        lambda kit: camcore.factorise(kit.model, kit.other(kit.images(2))),
        "channels (last|first), and the model takes them (first|last)",
    ),
    Mistake(
        "a list of images",
        "explain(model, [image, image])",
        lambda kit: _explain(kit, [kit.images()[0], kit.images()[0]]),
        r"images without a batch axis: make one batch, np.stack\(images\)",
    ),
    Mistake(
        "a list of batches",
        "explain(model, [images, images])",
        lambda kit: _explain(kit, [kit.images(), kit.images()]),
        r"join it, np.concatenate\(list\)",
    ),
    Mistake(
        "numbers in lists",
        "explain(model, images.tolist())",
        lambda kit: _explain(kit, kit.images().tolist()),
        r"a list of numbers.*np.asarray\(images, np.float32\)",
    ),
    Mistake(
        "images by a name that the model does not have",
        'explain(model, {"pixels": images})',
        lambda kit: _explain(kit, {"pixels": kit.images()}),
        "given by the name 'pixels': give the array alone",
    ),
    Mistake(
        "a loader of one's own",
        "explain(model, loader)",
        lambda kit: _explain(kit, _Loader()),
        "A _Loader gives one batch after the other",
    ),
    Mistake(
        "the bytes of a photograph",
        "explain(model, file.read())",
        lambda kit: _explain(kit, _photo(kit).read_bytes()),
        r"Give a photograph's path, or PIL.Image.open\(io.BytesIO\(data\)\)",
    ),
    Mistake(
        "a file that is open",
        'explain(model, open("cat.png", "rb"))',
        lambda kit: _explain(kit, io.BufferedReader(io.BytesIO(_photo(kit).read_bytes()))),
        r"Give the photograph's path, or PIL.Image.open\(file\)",
    ),
    Mistake(
        "an address",
        'explain(model, "https://example.com/cat.png")',
        lambda kit: _explain(kit, "https://example.com/cat.png"),
        "https://example.com/cat.png is an address.*Download it",
    ),
    Mistake(
        "a set of photographs",
        "explain(model, {paths})",
        lambda kit: _explain(kit, {"cat.png"}),
        "Give a list, which has an order",
    ),
    Mistake(
        "the model twice",
        "explainer(model)",
        lambda kit: camcore.Explainer(kit.model)(kit.model),
        "holds no array to be explained",
    ),
    Mistake(
        "an explainer in place of a model",
        "explain(explainer, images)",
        lambda kit: camcore.explain(camcore.Explainer(kit.model), kit.images()),
        r"It holds its model: call it, explainer\(images\)",
    ),
    Mistake(
        "nothing in place of a model",
        "explain(make_model(), images)",
        lambda kit: camcore.explain(None, kit.images()),
        "What was to make the model returned nothing",
    ),
    Mistake(
        "one-hot labels in place of classes",
        "explain(model, images, one_hot)",
        lambda kit: _explain(kit, kit.images(2), np.eye(5)[[1, 2]]),
        r"give the indices: labels.argmax\(1\)",
    ),
    Mistake(
        "labels with an axis too many",
        "explain(model, images, labels)",
        lambda kit: _explain(kit, kit.images(2), np.array([[1], [2]])),
        r"Give one axis: labels\[:, 0\]",
    ),
    Mistake(
        "a loss in place of a score",
        "explain(model, images, lambda outputs, labels: ...)",
        lambda kit: _explain(kit, kit.images(), lambda outputs, labels: outputs),
        "takes \\(outputs, labels\\), and is called with the model's outputs alone",
    ),
    Mistake(
        "a score that returns nothing",
        "explain(model, images, lambda outputs: print(outputs.shape))",
        lambda kit: _explain(kit, kit.images(), lambda outputs: None),
        "returned (a )?None.*expected one .*score per sample",
    ),
    Mistake(
        "names of classes with a gap",
        'explain(model, images, "dog", classes={0: "cat", 2: "dog"})',
        lambda kit: _explain(kit, kit.images(), "dog", classes={0: "cat", 2: "dog"}),
        "expected every index from 0 to 1",
    ),
    Mistake(
        "names of classes from a file that is not there",
        'explain(model, images, "dog", classes="labels.txt")',
        lambda kit: _explain(kit, kit.images(), "dog", classes="labels.txt"),
        "there is no file of that name",
    ),
    Mistake(
        "smoothing as a switch",
        "explain(model, images, augment=True)",
        lambda kit: _explain(kit, kit.images(), augment=True),
        "expected a list of views, such as camcore.augment.FLIPS_AND_SCALES",
    ),
    Mistake(
        "a layout as a word",
        'explain(model, images, layout="tokens")',
        lambda kit: _explain(kit, kit.images(), layout="tokens"),
        r"expected camcore.Layout\('tokens'\)",
    ),
    Mistake(
        "an option as text",
        'explain(model, images, method="integratedgradients", steps="8")',
        lambda kit: _explain(kit, kit.images(), method="integratedgradients", steps="8"),
        "steps='8'; it must be a whole number",
    ),
    Mistake(
        "NaN among the pixels",
        "explain(model, images / 0)",
        lambda kit: _explain(kit, np.full_like(kit.images(), np.nan)),
        "not finite|NaN",
    ),
    Mistake(
        "an array of paths",
        "explain(model, np.array(paths))",
        lambda kit: _explain(kit, np.array(["a.png", "b.png"])),
        "holds no numbers.*photographs as a list",
    ),
    Mistake(
        "images of different sizes in one object array",
        "explain(model, np.array([a, b], object))",
        lambda kit: _explain(kit, np.array([kit.images(), kit.images(side=8), None], object)),
        "holds no numbers",
    ),
    Mistake(
        "a photograph, where nothing is known of the preprocessing",
        'explain(model, "cat.png")',
        lambda kit: _explain(kit, _photo(kit)),
        "not known how photographs are shown to this.*preprocess=",
    ),
    Mistake(
        "a PIL image, where nothing is known of the preprocessing",
        'explain(model, Image.open("cat.png"))',
        lambda kit: _explain(kit, _opened(_photo(kit))),
        "not known how photographs are shown to this.*preprocess=",
    ),
    Mistake(
        "an array (H, W, 3) of uint8, where nothing is known of the preprocessing",
        "explain(model, cv2.imread(path))",
        lambda kit: _explain(kit, np.zeros((24, 36, 3), np.uint8)),
        "not known how photographs are shown to this.*preprocess=",
    ),
    Mistake(
        "a photograph that is not there",
        'explain(model, "dog.png", preprocess=...)',
        lambda kit: _explain(kit, "no such dog.png", preprocess=camcore.Preprocessing(SIDE)),
        "no such dog.png does not exist",
    ),
    Mistake(
        "a folder",
        'explain(model, "photos", preprocess=...)',
        lambda kit: _explain(kit, kit.folder, preprocess=camcore.Preprocessing(SIDE)),
        "is a folder; pass the path of a photograph",
    ),
    Mistake(
        "a file that is no photograph",
        'explain(model, "notes.txt", preprocess=...)',
        lambda kit: _explain(
            kit, _written(kit, "notes.txt", b"no picture"), preprocess=camcore.Preprocessing(SIDE)
        ),
        "is no image that Pillow can read",
    ),
    Mistake(
        "a photograph that is cut short",
        'explain(model, "half.png", preprocess=...)',
        lambda kit: _explain(
            kit,
            _written(kit, "half.png", _photo(kit).read_bytes()[:200]),
            preprocess=camcore.Preprocessing(SIDE),
        ),
        "is damaged or cut short",
    ),
    Mistake(
        "a preprocessing of training",
        "explain(model, photo, preprocess=training_transform)",
        lambda kit: _explain(kit, _photo(kit), preprocess=_flip),
        "something else each time",
    ),
    Mistake(
        "a preprocessing that fails",
        "explain(model, photo, preprocess=function)",
        lambda kit: _explain(kit, _photo(kit), preprocess=lambda picture: picture["image"]),
        "fails for a photograph of shape",
    ),
    Mistake(
        "a preprocessing for what is no photograph",
        "explain(model, images, preprocess=transform)",
        lambda kit: _explain(kit, kit.images(), preprocess=camcore.Preprocessing(SIDE)),
        "preprocess= turns photographs into what the model takes",
    ),
    Mistake(
        "the model behind the images",
        "explain(images, model)",
        lambda kit: camcore.explain(kit.images(), kit.model),
        "The model comes first",
    ),
    Mistake(
        "a class in place of a model",
        "explain(Network, images)",
        lambda kit: camcore.explain(kit.kind, kit.images()),
        "It is a class, .*: give a model made of it",
    ),
    Mistake(
        "a function in place of a model",
        "explain(lambda x: model(x), images)",
        lambda kit: camcore.explain(lambda x: kit.model(x), kit.images()),
        "Give the model that the function calls",
    ),
    Mistake(
        "weights in place of a model",
        "explain(model.state_dict(), images)",
        lambda kit: camcore.explain(dict(kit.weights), kit.images()),
        "It holds weights: make the model",
    ),
    Mistake(
        "a file of weights in place of a model",
        'explain("model.pth", images)',
        lambda kit: camcore.explain("model.pth", kit.images()),
        "It holds weights: make the model",
    ),
    Mistake(
        "an optimiser in place of a model",
        "explain(optimizer, images)",
        lambda kit: camcore.explain(kit.optimiser, kit.images()),
        "No adapter owns a",
    ),
    Mistake(
        "several models",
        "explain([model, model], images)",
        lambda kit: camcore.explain([kit.model, kit.model], kit.images()),
        "No adapter owns a builtins.list",
    ),
    Mistake(
        "a layer that is not there",
        'explain(model, images, layer="layer4")',
        lambda kit: _explain(kit, kit.images(), layer="layer4"),
        "no layer 'layer4'",
    ),
    Mistake(
        "a layer without places",
        "explain(model, images, layer=the last)",
        lambda kit: _explain(kit, kit.images(), layer="4" if kit.channels_first else "dense"),
        "no spatial extent",
    ),
    Mistake(
        "pytorch-grad-cam's word for the layer",
        "explain(model, images, target_layers=[model.layer4])",
        lambda kit: _explain(kit, kit.images(), target_layers=[kit.model]),
        "camcore's word for it is layer=",
    ),
    Mistake(
        "the Keras example's word for the layer",
        'explain(model, images, last_conv_layer_name="block14")',
        lambda kit: _explain(kit, kit.images(), last_conv_layer_name="block14"),
        "camcore's word for it is layer=",
    ),
    Mistake(
        "pytorch-grad-cam's word for the target",
        "explain(model, images, targets=[...])",
        lambda kit: _explain(kit, kit.images(), targets=[1]),
        "camcore's word for it is target=",
    ),
    Mistake(
        "a class that there is not",
        "explain(model, images, 1000)",
        lambda kit: _explain(kit, kit.images(), 1000),
        "Class 1000 is out of range: the model scores 5 classes",
    ),
    Mistake(
        "a class by name, where there are none",
        'explain(model, images, "tabby")',
        lambda kit: _explain(kit, kit.images(), "tabby"),
        "have no names; give an index.*classes=",
    ),
    Mistake(
        "a class by a name that there is not",
        'explain(model, images, "cat", classes=names)',
        lambda kit: _explain(kit, kit.images(), "cat", classes=["tabby cat", "coat", "dog"]),
        "Did you mean tabby cat",
    ),
    Mistake(
        "classes for another number of images",
        "explain(model, images, [1, 2])",
        lambda kit: _explain(kit, kit.images(3), [1, 2]),
        "names 2 classes for a batch of 3",
    ),
    Mistake(
        "a probability in place of a class",
        "explain(model, images, 0.7)",
        lambda kit: _explain(kit, kit.images(), 0.7),
        "A class is an integer",
    ),
    Mistake(
        "a method that there is not",
        'explain(model, images, method="gradcam+")',
        lambda kit: _explain(kit, kit.images(), method="gradcamm"),
        "Did you mean 'gradcam'",
    ),
    Mistake(
        "a recipe that there is not",
        'explain(model, images, recipe="keras")',
        lambda kit: _explain(kit, kit.images(), recipe="keras-oi"),
        "Did you mean 'keras-io'",
    ),
    Mistake(
        "a photograph of another aspect ratio under the map",
        "result.overlay(photo)",
        lambda kit: _explain(kit, kit.images()).overlay(np.zeros((24, 36, 3), np.uint8)),
        "another aspect ratio.*crop=.*stretch=True",
    ),
    Mistake(
        "an overlay of arrays, without pictures",
        "result.overlay()",
        lambda kit: _explain(kit, kit.images()).overlay(),
        "Arrays were explained, not photographs",
    ),
    Mistake(
        "a picture by save",
        'result.save("cat.png")',
        lambda kit: _explain(kit, kit.images()).save("cat.png"),
        "ending of a picture.*save_overlay",
    ),
    Mistake(
        "an overlay over the photograph itself",
        "result.save_overlay(photo)",
        lambda kit: _explain(kit, _photo(kit), preprocess=_scaled(kit)).save_overlay(_photo(kit)),
        "would be written over",
    ),
    Mistake(
        "a photograph under the map by its name",
        'result.overlay("cat.png")',
        lambda kit: _explain(kit, kit.images()).overlay("cat.png"),
        "Images are arrays here; got the name of a file",
    ),
    Mistake(
        "what the model took under the map",
        "result.overlay(images)",
        lambda kit: _explain(kit, kit.images()).overlay(np.zeros((1, 3, SIDE, SIDE))),
        "looks channels-first",
    ),
    Mistake(
        "a size that is one number",
        "result.at(224)",
        lambda kit: _explain(kit, kit.images()).at(224),
        r"a length for each axis: at\(\(224, 224\)\)",
    ),
    Mistake(
        "a mask by the name of a rule",
        'result.mask("otsu")',
        lambda kit: _explain(kit, kit.images()).mask("otsu"),  # type: ignore[arg-type]
        "threshold='otsu'; expected a share of the map's largest value",
    ),
    Mistake(
        "boxes by a value of 8 bits",
        "result.boxes(127)",
        lambda kit: _explain(kit, kit.images()).boxes(127),
        "threshold=127; expected a share of the map's largest value",
    ),
    Mistake(
        "a result under the name of a folder",
        'result.save(".")',
        lambda kit: _explain(kit, kit.images()).save("."),
        r"\. is a folder, which no file can replace",
    ),
    Mistake(
        "a report as a PDF",
        'report.write("cat.pdf", result)',
        lambda kit: camcore.report.write("cat.pdf", _explain(kit, kit.images())),
        "a report is a web page. Give a name that ends in .html",
    ),
    Mistake(
        "a report before its name",
        'report.write(result, "report.html")',
        lambda kit: camcore.report.write(_explain(kit, kit.images()), "report.html"),  # type: ignore[arg-type]
        "The name of the file comes first",
    ),
    Mistake(
        "a report of arrays, without pictures",
        'report.write("report.html", result)',
        lambda kit: camcore.report.write("report.html", _explain(kit, kit.images())),
        "Give the photographs, volumes or signals before the explanations",
    ),
    Mistake(
        "a comparison of models",
        "camcore.compare([model, model])",
        lambda kit: camcore.compare([kit.model, kit.model]),
        "Explanations are compared; got a",
    ),
    Mistake(
        "a result in place of its maps",
        "metrics.deletion(images, result, score_images)",
        lambda kit: camcore.metrics.deletion(
            np.zeros((1, 3, SIDE, SIDE), np.float32),
            _explain(kit, kit.images()),
            lambda i, images: np.zeros(len(images)),
        ),
        "give explanation.maps",
    ),
    Mistake(
        "a model in place of its scores",
        "metrics.deletion(images, result.maps, model)",
        lambda kit: camcore.metrics.deletion(
            np.zeros((1, 3, SIDE, SIDE), np.float32), _explain(kit, kit.images()).maps, kit.model
        ),
        r"Give camcore.Explainer\(model\).evidence\(images\).score_images",
    ),
]


def _scaled(kit: Kit) -> camcore.Preprocessing:
    return camcore.Preprocessing(SIDE, channels_first=kit.channels_first)


def _opened(path: Path) -> Any:
    from PIL import Image

    return Image.open(path)


def answer(mistake: Mistake, kit: Kit) -> str:
    """What a person reads of a mistake, on any machine."""
    try:
        mistake.call(kit)
    except CamcoreError as error:
        said = str(error).replace(f"{kit.folder}/", "").replace(str(kit.folder), "photos")
        said = re.sub(r" at 0x[0-9a-f]+", "", said)
        return re.sub(r"(Adapters are loaded for: )[^.]+", r"\1...", said)
    raise AssertionError(f"{kit.framework}: {mistake.title} is not answered.")


KITS = {"PyTorch": torch_kit, "Keras": keras_kit}


def page() -> str:
    """Write every mistake with its answers; the same answer of both frameworks once."""
    with tempfile.TemporaryDirectory() as folder:
        kits = [make(Path(folder)) for make in KITS.values()]
        rows = []
        for mistake in MISTAKES:
            answers = {kit.framework: answer(mistake, kit) for kit in kits}
            same = len(set(answers.values())) == 1
            said = {"Both": answers[kits[0].framework]} if same else answers
            listed = "\n".join(f"- {name}: {text}" for name, text in said.items())
            title = mistake.title[0].upper() + mistake.title[1:]
            rows.append(f"## {title}\n\n    {mistake.code}\n\n{listed}\n")
    head = (
        "# Mistakes, and what is answered\n\n"
        f"The {len(MISTAKES)} mistakes that people make most, in PyTorch and in Keras, with a "
        f"network of {SIDE} × {SIDE} images of three channels. "
        "`python tests/support/mistakes_table.py` makes each of them and writes down the error; "
        "where a model itself failed, its own error is attached as the cause.\n\n"
    )
    return head + "\n".join(rows)


if __name__ == "__main__":
    import torchvision  # noqa: F401, before TensorFlow

    PAGE.write_text(page(), "utf-8")
