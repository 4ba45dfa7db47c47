"""Classes by name, as they are typed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camcore.cli.labels import class_index
from camcore.errors import TargetError

NAMES = ("Tabby", "tiger cat", "Egyptian cat", "crane", "Crane", "dog", "cat food", "lynx", "CAT")


@pytest.fixture
def loaded():
    return SimpleNamespace(classes=NAMES)


def test_a_class_is_found_by_index_or_by_name_in_any_case(loaded):
    assert class_index(loaded, "7") == 7
    assert class_index(loaded, "-1") == -1
    assert class_index(loaded, "tabby") == 0
    assert class_index(loaded, "TIGER CAT") == 1
    assert class_index(loaded, "cat") == 8


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("crane", r"'crane' names the classes \[3, 4\]; give one of these indices"),
        ("tabbi", r"no class 'tabbi'\. Did you mean tabby\?"),
        # By what it holds where it is near to none, and each once.
        ("Gyptia", r"no class 'Gyptia'\. Did you mean egyptian cat\?"),
        ("xylophone", r"no class 'xylophone'\. Give an index\."),
    ],
)
def test_a_name_that_is_none_suggests_those_near_to_it(loaded, wanted, message):
    with pytest.raises(TargetError, match=message):
        class_index(loaded, wanted)


def test_without_names_an_index_is_wanted():
    with pytest.raises(TargetError, match="have no names; give an index, not 'cat'"):
        class_index(SimpleNamespace(classes=None), "cat")
    assert class_index(SimpleNamespace(classes=None), "3") == 3
