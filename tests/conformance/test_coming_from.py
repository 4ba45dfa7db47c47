"""The pages for those who come from another library: each pair of calls gives the same.

On one processor 7.5e-9 to 9e-7, and up to 7e-6 at block5c_add in Keras.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from camcore import zoo
from camcore.photos.crop import CentreCrop

PAGES = sorted((Path(__file__).parents[2] / "docs" / "coming_from").glob("*.md"))
TORCH = {"pytorch_grad_cam", "captum", "torchcam", "monai"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^Apart by at most (\S+)\.$", re.MULTILINE)


class Section(NamedTuple):
    page: str
    title: str
    before: str
    text: str

    def __str__(self):
        return f"{self.page}: {self.title}"


def sections():
    for page in PAGES:
        before, *rest = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
        for text in rest[:-1]:
            yield Section(page.stem, text.partition("\n")[0], before, text)


@pytest.fixture(scope="module")
def given(torch, keras, photographs):
    """A network with ImageNet weights in both frameworks, and a photograph prepared for it."""

    def of(framework):
        loaded = zoo.load_model(f"demo-{framework}:efficientnet_lite0")
        shape = photographs["chelsea"].shape[:2]
        crop = CentreCrop(shape, loaded.size, loaded.resize, loaded.interpolation)
        photo = crop.to_model(photographs["chelsea"])
        names = {"model": loaded.model, "photo": photo, "names": loaded.classes}
        return {**names, "images": loaded.preprocess(photo)}

    return {True: of("torch"), False: of("keras")}


def test_every_library_has_five_pairs():
    counts = {page.stem: 0 for page in PAGES}
    for section in sections():
        counts[section.page] += 1
    assert len(counts) >= 7
    assert min(counts.values()) >= 5


@pytest.mark.parametrize("section", sections(), ids=str)
def test_a_pair_gives_the_same(section, given, torch):
    names = dict(given[section.page in TORCH])
    images = names["images"]
    if section.page in TORCH:
        names["images"] = torch.as_tensor(np.asarray(images))
    blocks = [*BLOCK.findall(section.before), *BLOCK.findall(section.text)]
    try:
        for block in blocks:
            exec(compile(block, str(section), "exec"), names)
    finally:
        if section.page in TORCH:  # some leave hooks
            for module in names["model"].modules():
                module._forward_hooks.clear()
                module._backward_hooks.clear()
    theirs, ours = (np.asarray(names[name], np.float64) for name in ("theirs", "ours"))
    assert theirs.shape == ours.shape
    if "Apart by at most 2 of 255." in section.text:
        assert np.abs(theirs - ours).max() <= 2
        return
    apart = np.abs(theirs - ours).max() / max(1, np.abs(theirs).max())
    print(f"{section}: {apart:.1e}")
    (said,) = SAID.findall(section.text)
    assert apart <= float(said)
    assert float(said) <= 1e-5
