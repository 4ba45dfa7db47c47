"""The rules by operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..tape import Operation, Value

Rule: TypeAlias = Callable[[Operation, Value, int], Value]
"""Given an operation, the cotangent of its output and which input, the cotangent of that one."""

Slope: TypeAlias = Callable[[Operation, int], "Value | float"]
"""Given an operation place by place and which input, the derivative of the output by that one."""

RULES: dict[str, Rule] = {}

STOPS = frozenset({"Ceil", "Floor", "Round", "Sign"})
"""Operators whose output has no slope anywhere: scores do not depend on what is before them."""


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


def slope(*operators: str) -> Callable[[Slope], Slope]:
    """Register a rule for operators that work place by place: dx = g · slope, where x was read."""

    def register(function: Slope) -> Slope:
        def pull_back(op: Operation, cotangent: Value, i: int) -> Value:
            if op.get("broadcast"):
                raise op.refuse("it broadcasts as it did before opset 7")
            factor = function(op, i)
            is_one = isinstance(factor, (int, float)) and factor == 1
            return op.fit(cotangent if is_one else cotangent * factor, i)

        RULES.update(dict.fromkeys(operators, pull_back))
        return function

    return register
