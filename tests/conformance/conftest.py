"""Networks, batches and tolerances that recipes are held against the installed libraries with."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import camcore
from camcore import zoo
from camcore.photos.crop import CentreCrop
from camcore.recipes import find_recipe
from camcore.resize import resize

SHARED = {"gradcam", "gradcampp", "xgradcam", "hirescam", "layercam", "elementwisegradcam", "fem"}
"""Methods that are made of one pass; a batch makes them all at once."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one network, the class to explain of each, and where to look."""

    model: Any
    layer: str
    images: np.ndarray
    classes: tuple[int, ...]
    known: dict[str, dict[str, camcore.Explanation]] = field(default_factory=dict, repr=False)

    def explain(self, method: str, recipe: str, **options: Any) -> camcore.Explanation:
        """What camcore makes of it; methods that share a pass are made at once and kept."""
        about = (self.images, list(self.classes), self.layer)
        shared = [row.name for row in find_recipe(recipe).covers() if row.name in SHARED]
        if options or method not in shared:
            return camcore.explain(self.model, *about, method, recipe, **options)
        if recipe not in self.known:
            self.known[recipe] = camcore.explain(self.model, *about, shared, recipe)
        return self.known[recipe][method]

    def one_by_one(self) -> Iterator[Batch]:
        """Each image as a batch of its own."""
        for i, chosen in enumerate(self.classes):
            yield Batch(self.model, self.layer, self.images[i : i + 1], (chosen,))

    def at(self, layer: str) -> Batch:
        """The same at another layer."""
        return Batch(self.model, layer, self.images, self.classes)


@dataclass(frozen=True, eq=False)
class Cases:
    """A network's batches: each image alone for its first class, and four of several classes."""

    alone: Sequence[Batch]
    four: Batch

    @property
    def few(self) -> list[Batch]:
        """Every image once: four together, the others alone; one alone at least."""
        return [self.four, *(self.alone[4:] or self.alone[:1])]

    @property
    def all(self) -> list[Batch]:
        """Every batch."""
        return [*self.alone, self.four]

    def small(self, layer: str, count: int = 2, size: int = 64) -> Batch:
        """Small images at a narrow layer of a PyTorch model, for a pass for each channel.

        In double precision, since batches of other sizes, and more or fewer threads, sum in
        another order, and a difference of scores keeps few of single precision's digits.
        """
        images = self.four.images[:count, :, :size, :size].astype(np.float64)
        model = copy.deepcopy(self.four.model).double()
        return Batch(model, layer, images, self.four.classes[:count])


def cases(model: Any, layer: str, images: np.ndarray) -> Cases:
    outputs = camcore.explain(model, images, layer=layer, method="activations").outputs
    ranked = np.argsort(-outputs, axis=1, kind="stable")
    alone = [
        Batch(model, layer, images[i : i + 1], (int(ranked[i, 0]),)) for i in range(len(images))
    ]
    # First, second, first and third choice.
    classes = tuple(int(ranked[i, rank]) for i, rank in enumerate((0, 1, 0, 2)))
    assert len(set(classes)) > 1
    return Cases(alone, Batch(model, layer, images[:4], classes))


def lite0_cases(framework: str, layer: str, photographs: dict[str, np.ndarray]) -> Cases:
    loaded = zoo.load_model(f"demo-{framework}:efficientnet_lite0")
    images = [
        np.asarray(
            loaded.preprocess(
                CentreCrop(
                    photo.shape[:2], loaded.size, loaded.resize, loaded.interpolation
                ).to_model(photo)
            )
        )
        for name, photo in photographs.items()
        if name != "camera"
    ]
    return cases(loaded.model, layer, np.concatenate(images))


@pytest.fixture(scope="session")
def torch_lite0(torch, photographs) -> Cases:
    """EfficientNet-Lite0 with ImageNet weights in PyTorch, on six photographs."""
    return lite0_cases("torch", "bn2", photographs)


@pytest.fixture(scope="session")
def keras_lite0(keras, photographs) -> Cases:
    """The same in Keras."""
    return lite0_cases("keras", "head_relu", photographs)


@pytest.fixture(scope="session")
def twins(torch_lite0, keras_lite0) -> list[tuple[Batch, Batch]]:
    """Batches in PyTorch, each beside the same in Keras."""
    pairs = list(zip(torch_lite0.few, keras_lite0.few, strict=True))
    assert all(here.classes == there.classes for here, there in pairs)
    return pairs


@pytest.fixture(scope="session")
def torch_resnet(torch, require) -> Cases:
    """A ResNet-18 of random weights, and random images of 96 x 96."""
    torch.manual_seed(0)
    model = require("torchvision").models.resnet18(num_classes=10).eval()
    for module in model.modules():
        # captum's and MONAI's hooks refuse rectifiers that alter their input in place.
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return cases(model, "layer4", blobs((4, 3, 96, 96)))


@pytest.fixture(scope="session")
def keras_resnet(keras) -> Cases:
    """A small ResNet of random weights that ends in a softmax, and random images of 64 x 64."""
    keras.utils.set_random_seed(0)
    images = np.ascontiguousarray(blobs((4, 3, 64, 64)).transpose(0, 2, 3, 1))
    return cases(small_resnet(keras), "second", images)


def small_resnet(keras: Any) -> Any:
    """Two residual blocks."""
    layers = keras.layers
    image = keras.Input((64, 64, 3))
    x = layers.Conv2D(16, 5, strides=4, padding="same", activation="relu")(image)
    for name, stride in (("first", 1), ("second", 2)):
        path = layers.Conv2D(24, 3, strides=stride, padding="same", use_bias=False)(x)
        path = layers.ReLU()(layers.BatchNormalization()(path))
        path = layers.Conv2D(24, 3, padding="same", use_bias=False)(path)
        short = layers.Conv2D(24, 1, strides=stride)(x)
        x = layers.ReLU(name=name)(layers.Add()([short, layers.BatchNormalization()(path)]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Softmax()(layers.Dense(10)(x)))


@pytest.fixture(scope="session")
def torch_volumes(torch) -> Cases:
    """A small three-dimensional network of random weights, and random volumes."""
    torch.manual_seed(0)
    layers = torch.nn
    model = layers.Sequential(
        layers.Conv3d(1, 6, 3, stride=2, padding=1),
        layers.ReLU(),
        layers.Conv3d(6, 8, 3, padding=1),
        layers.ReLU(),
        layers.AdaptiveAvgPool3d(1),
        layers.Flatten(),
        layers.Linear(8, 5),
    ).eval()
    return cases(model, "3", np.random.default_rng(0).normal(size=(4, 1, 9, 8, 7)).astype("f4"))


def blobs(shape: tuple[int, ...]) -> np.ndarray:
    """Blobs rather than noise, so that maps differ from place to place."""
    coarse = np.random.default_rng(0).normal(size=(*shape[:2], 6, 6))
    return resize(coarse, shape[2:]).astype(np.float32)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations and gradients ``(B, C, H, W)``, as after a rectifier, and scores."""
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(2, 5, 4, 3)), 0)
    activations[:, 4] = 0
    gradients = rng.normal(size=activations.shape)
    gradients[:, 3] = 0
    return activations, gradients, np.array([0.7, -0.4])


@pytest.fixture(params=["lite0", "resnet"])
def torch_cases(request) -> Cases:
    """The batches of one network in PyTorch."""
    return request.getfixturevalue(f"torch_{request.param}")


@pytest.fixture(params=["lite0", "resnet"])
def keras_cases(request) -> Cases:
    """The batches of one network in Keras."""
    return request.getfixturevalue(f"keras_{request.param}")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(require) -> Iterator[None]:
    """Threads that wait for one another are slower than one where the machine is busy."""
    # Of the extra "conformance", as scikit-learn's; it knows OpenBLAS and OpenMP, so torch too.
    with require("threadpoolctl").threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What libraries warn of on their own account is not camcore's."""
    with warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", camcore.errors.CamcoreWarning)
        yield


@pytest.fixture(scope="session")
def assert_alike() -> Callable[..., None]:
    """Maps in [0, 1] within 1e-5; others within 1e-5 of the largest value of each."""

    def check(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-5) -> None:
        theirs = np.asarray(theirs)
        assert ours.shape == theirs.shape
        assert np.all(np.isfinite(theirs))
        for mine, other in zip(ours, theirs, strict=True):
            assert np.ptp(other) > 0
            np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * np.abs(other).max())

    return check
