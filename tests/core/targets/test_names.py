"""Classes are found by what people type, and what they may have meant is suggested."""

from __future__ import annotations

import pytest

from camcore.errors import TargetError
from camcore.targets import Class, Each, as_target, class_index

NAMES = ("tench", "tabby, tabby cat", "tiger cat", "catamaran", "crane", "Crane", "coat")


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("tench", 0), ("TENCH", 0), ("tabby", 1), ("tabby cat", 1), (" tiger  cat ", 2), ("3", 3)],
)
def test_a_class_is_found_by_its_name(wanted, index):
    assert class_index(NAMES, wanted) == index


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        # Whole words first, then parts of words, then what is spelt nearly so.
        ("cat", r"no class 'cat'. Did you mean tabby, tabby cat, tiger cat, catamaran\?"),
        ("crane", r"names the classes \[4, 5\]"),
        ("tensh", "Did you mean tench"),
        ("xylophone", "Give an index"),
    ],
)
def test_what_is_no_class_is_answered(wanted, message):
    with pytest.raises(TargetError, match=message):
        class_index(NAMES, wanted)


def test_without_names_the_way_to_say_them_is_told():
    with pytest.raises(TargetError, match=r"classes=camcore.imagenet_classes\(\)"):
        class_index(None, "tabby")


def test_targets_are_read_by_name():
    one, several = as_target("tench", NAMES), as_target(["tiger cat", "tench"], NAMES)
    assert isinstance(one, Class)
    assert one.index == 0
    assert several.index.tolist() == [2, 0]
    assert Each("tench", 3).targets[0] == "tench"
