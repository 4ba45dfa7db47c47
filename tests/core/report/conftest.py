"""Photographs, and two small networks' explanations of them."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.photos.crop import CentreCrop
from camcore.testing import random_network

NAMES = ("beach.jpg", "Cat & dog.png", "dunes 10.jpg", "dunes 9.jpg")
METHODS = ("gradcam", "layercam")
MODELS = ("first", 'second <b title="x">')


@pytest.fixture(scope="session", autouse=True)
def _packages(require):
    for package in ("jinja2", "PIL", "matplotlib"):
        require(package)


@pytest.fixture(scope="session")
def photos():
    """Smooth photographs of several sizes, which JPEG keeps well."""
    rows, columns = np.mgrid[0:1:120j, 0:1:160j]
    whole = np.stack([rows, columns, 1 - rows], axis=-1)
    shown = [whole, whole[::-1], whole.transpose(1, 0, 2), whole[:, :90] ** 2]
    return [np.rint(255 * np.clip(one, 0.1, 0.9)).astype(np.uint8) for one in shown]


@pytest.fixture(scope="session")
def crops(photos):
    return [CentreCrop(photo.shape, 8, 10) for photo in photos]


@pytest.fixture(scope="session")
def inputs(photos, crops):
    seen = np.stack([crop.to_model(p) for crop, p in zip(crops, photos, strict=True)])
    return np.moveaxis(seen[..., :2] / 127.5 - 1, -1, 1)


@pytest.fixture(scope="session")
def explanations(inputs):
    return {
        name: camcore.explain(
            random_network(seed=seed), inputs, method=list(METHODS), activation="softmax"
        )
        for name, seed in zip(MODELS, (4, 1), strict=True)
    }


@pytest.fixture(scope="session")
def page(photos, explanations, tmp_path_factory):
    """A report on disk."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    return camcore.report.write(
        path,
        photos,
        explanations,
        names=NAMES,
        title="Two & networks",
        call="camcore compare 'a b' <c>",
        seed=7,
        tolerance=1e-4,
    )


@pytest.fixture(scope="session")
def evaluation(inputs):
    """The first network's maps, evaluated."""
    return camcore.evaluate(
        random_network(seed=4),
        inputs,
        methods=list(METHODS),
        metrics=["deletion", "insertion", "road", "average_drop"],
        layer="relu2",
        activation="softmax",
        controls=["random", "reversed"],
        steps=20,
        keep=3,
    )


@pytest.fixture(scope="session")
def evaluated_page(photos, explanations, crops, evaluation, tmp_path_factory):
    """A report of an evaluation, on disk."""
    path = tmp_path_factory.mktemp("evaluated") / "report.html"
    entries = [
        camcore.report.Entry(explanations["first"][method], crops=crops) for method in METHODS
    ]
    return camcore.report.write(path, photos, entries, names=NAMES, evaluation=evaluation)
