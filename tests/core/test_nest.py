"""Nests are walked by dotted path, rebuilt as what they were, and never written to."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.nest import batch_of, fill, flatten, inner_images, map_leaves, map_parts, put

Point = namedtuple("Point", "x y")


@dataclass(frozen=True)
class Pair:
    first: Any
    second: Any


NESTS = {
    "lone": (7, {"": 7}),
    "tuple": ((1, (2, 3)), {"0": 1, "1.0": 2, "1.1": 3}),
    "list": ([1, [2]], {"0": 1, "1.0": 2}),
    "dict": ({"a": 1, "b": {"c": 2}}, {"a": 1, "b.c": 2}),
    "ordered": (OrderedDict(a=1, b=2), {"a": 1, "b": 2}),
    "user's": (UserDict({"a": (1,)}), {"a.0": 1}),
    "frozen mapping": (MappingProxyType({"a": 1}), {"a": 1}),
    "named": (Point(1, [2]), {"x": 1, "y.0": 2}),
    "dataclass": (Pair(1, Pair(2, None)), {"first": 1, "second.first": 2, "second.second": None}),
    "whole numbers as keys": ({3: 1}, {"3": 1}),
    "empty": ((), {}),
}


@pytest.mark.parametrize("name", NESTS)
def test_flatten_gives_leaves_by_path(name):
    nest, leaves = NESTS[name]
    assert dict(flatten(nest)) == leaves


@pytest.mark.parametrize("name", NESTS)
def test_map_leaves_keeps_the_kind_of_each_container(name):
    nest, leaves = NESTS[name]
    tenfold = map_leaves(nest, lambda path, leaf: None if leaf is None else 10 * leaf)
    assert type(tenfold) is type(nest)
    assert dict(flatten(tenfold)) == {p: None if v is None else 10 * v for p, v in leaves.items()}
    assert dict(flatten(nest)) == leaves, "the given nest was written to"


@pytest.mark.parametrize("name", NESTS)
def test_map_leaves_gives_back_the_nest_where_nothing_changes(name):
    nest, _ = NESTS[name]
    assert map_leaves(nest, lambda path, leaf: leaf) is nest


def test_map_parts_goes_no_deeper_than_one_container():
    assert map_parts({"a": (1, 2), "b": 3}, lambda key, part: (key, part)) == {
        "a": ("a", (1, 2)),
        "b": ("b", 3),
    }


def test_fill_takes_leaves_in_order_and_passes_over_none():
    nest = {"a": (1, None), "b": [2, 3]}
    assert fill(nest, iter("xyz")) == {"a": ("x", None), "b": ["y", "z"]}


def test_put_replaces_one_leaf():
    assert put({"a": (1, 2), "b": 3}, "a.1", 9) == {"a": (1, 9), "b": 3}


def test_an_inner_list_of_images_is_one_leaf_and_an_outer_one_is_several():
    image = np.zeros((3, 4, 5))
    listed = [image, image]
    assert list(dict(flatten((listed,), is_leaf=inner_images))) == ["0"]
    assert list(dict(flatten(listed, is_leaf=inner_images))) == ["0", "1"]
    assert list(dict(flatten(([image[0]],), is_leaf=inner_images))) == ["0.0"]


def test_batch_of_joins_arrays_and_keeps_plain_numbers():
    one, other = np.ones((1, 2)), np.zeros((2, 2))
    both = batch_of([{"a": (one, 3)}, {"a": (other, 3)}])
    np.testing.assert_array_equal(both["a"][0], [[1, 1], [0, 0], [0, 0]])
    assert both["a"][1] == 3


def test_batch_of_refuses_samples_of_several_sizes():
    with pytest.raises(InputError, match=r"shapes \(2,\), \(3,\) cannot be one batch"):
        batch_of([np.ones((1, 2)), np.ones((1, 3))])
