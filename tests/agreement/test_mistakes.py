"""The usual mistakes about what is given are answered in words, in each framework."""

from __future__ import annotations

import re

import pytest
from mistakes_table import KITS, MISTAKES, PAGE, answer, page


@pytest.fixture(scope="module", params=list(KITS))
def kit(request, tmp_path_factory, require):
    require("torch"), require("torchvision"), require("tensorflow"), require("cv2")
    return KITS[request.param](tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_a_mistake_is_answered(mistake, kit):
    assert re.search(mistake.words, answer(mistake, kit), re.DOTALL)


def test_the_page_of_mistakes_is_what_the_command_writes(require):
    require("torchvision"), require("tensorflow"), require("cv2")
    assert page() == PAGE.read_text("utf-8")


def test_a_models_own_error_arrives_unchanged_where_the_inputs_are_right(torch):
    import camcore

    class Fails(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 2, 3)

        def forward(self, images):
            raise KeyError("of the model's own")

    explainer, images = camcore.Explainer(Fails(), layer="conv"), torch.zeros(1, 3, 8, 8)
    for call in (explainer, explainer.evidence, camcore.Explainer(Fails()).layers):
        with pytest.raises(KeyError, match="of the model's own"):
            call(images)
