"""Every method has a card, and what it cites is what its row names."""

from __future__ import annotations

import re

import numpy as np
import pytest

import camcore
from camcore.methods.cards import CARDS, QUESTIONS, Reference, cost, formula, needed
from camcore.methods.table import NEEDS, Method, find
from camcore.testing import random_network

ROWS = {row.name: row for row in camcore.methods.TABLE}
WITHOUT_A_PAPER = {"activations", "random"}


def test_every_method_has_a_card_and_no_other_has():
    assert set(CARDS) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_card_has_every_field(name):
    row, card = ROWS[name], CARDS[name]
    assert formula(row)
    assert not formula(row).startswith((row.label, "Compute", "Draw"))
    assert card.use.endswith(".")
    assert cost(row)
    assert len(needed(row)) == len(row.needs) == len(set(needed(row)))
    assert row.paper
    assert (card.reference is None) == (name in WITHOUT_A_PAPER)


@pytest.mark.parametrize("name", sorted(set(ROWS) - WITHOUT_A_PAPER))
def test_what_is_cited_is_the_paper_that_the_row_names(name):
    paper, cited = ROWS[name].paper, CARDS[name].reference
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", cited.bibtex, re.M))
    assert fields["title"] == f"{{{cited.title}}}"
    assert fields["author"] == cited.authors
    if years := re.findall(r"\b(?:19|20)\d\d\b", re.sub(r"arXiv:[\d.]+", "", paper)):
        assert [fields["year"]] == years
    if number := re.search(r"arXiv:([\d.]+)", paper):
        assert fields["eprint"] == number[1]
        assert int(fields["year"]) == 2000 + int(number[1][:2])
    if "github.com" in paper or paper == "pytorch-grad-cam":
        assert paper in fields["howpublished"]
        return
    first = re.split(r" et al\.| and |, arXiv", paper)[0].split(",")[0]
    assert fields["author"].startswith(f"{first}, ")
    for venue in ("CVPR", "ICCV", "WACV", "BMVC", "IJCNN", "IPTA", "ECCV", "ICLR", "ICML", "TIP"):
        if venue in paper:
            assert f"({venue})" in fields.get("booktitle", fields.get("journal", ""))
            assert ("Workshops" in paper) == ("Workshops" in fields.get("booktitle", ""))


def test_an_arxiv_number_is_not_before_its_year():
    for card in CARDS.values():
        cited = card.reference
        if cited is not None and cited.arxiv is not None:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", cited.arxiv)
            assert 2000 + int(cited.arxiv[:2]) <= cited.year


def test_keys_are_those_of_one_publication():
    keys = {}
    for card in CARDS.values():
        if card.reference is not None:
            assert keys.setdefault(card.reference.key, card.reference) == card.reference


def test_formulas_are_the_papers():
    shown = {name: formula(ROWS[name]) for name in ("cam", "gradcam", "hirescam", "layercam")}
    assert shown == {
        "cam": "Σ_c W_kc · A_c",
        "gradcam": "Σ_c mean_s(g_c) · A_c",
        "hirescam": "Σ_c g_c · A_c",
        "layercam": "Σ_c relu(g_c) · A_c",
    }


def test_a_formula_of_counterfactuals_and_of_finercam_is_their_own():
    network = random_network()
    images = np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    said = {"layer": "relu2", "target": 1}
    plain = camcore.explain(network, images, **said).raw["relu2"]
    other = camcore.explain(network, images, method="counterfactual", **said).raw["relu2"]
    assert abs(plain + other).max() < 1e-12
    assert formula(find("counterfactual")) == "Grad-CAM of −y: −Σ_c mean_s(g_c) · A_c"


def test_costs_are_in_words():
    assert cost(find("gradcam")) == "one forward pass and one backward"
    assert cost(find("eigencam")) == "one forward pass"
    assert cost(find("sscam")) == "1 + channels × samples, in forward passes"


def test_every_need_has_words_and_one_of_a_strangers_is_named():
    stranger = Method("odd", "Odd", lambda odd_thing: odd_thing, ("odd_thing",), "1", "me")
    assert needed(stranger) == ["odd thing"]
    assert formula(stranger) == ""
    for need in NEEDS:
        (words,) = needed(Method("odd", "Odd", len, (need,), "1", "me"))
        assert words != need.replace("_", " ")


def test_bibtex_leaves_out_what_is_not_known():
    assert Reference("key", "Me", "Mine", "https://here", kind="misc").bibtex == (
        "@misc{key,\n  title = {{Mine}},\n  author = {Me},\n"
        "  howpublished = {\\url{https://here}},\n}"
    )


def test_papers_are_on_arxiv_but_for_a_few():
    without = {name for name, card in CARDS.items() if card.reference and not card.reference.arxiv}
    programs = {"elementwisegradcam", "eigengradcam", "fasterscorecam"}
    journals = {"layercam", "segxrescam", "segeigencam", "fem", "gscorecam", "ablationcam"}
    assert without == programs | journals


def test_every_method_answers_one_question():
    answered = [name for group in QUESTIONS.values() for name in group]
    assert sorted(answered) == sorted(ROWS)
    for question in QUESTIONS:
        assert question.endswith("?")
        assert len(question) < 80
