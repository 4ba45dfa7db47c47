"""The pull-back as an ONNX graph under construction, and formulas that add nodes to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from camcore.adapter import Array
from camcore.errors import GradientError

from .graph import Graph, attributes
from .sizes import Shape, Sizes

OPSET = 19
"""Of the pull-back, whatever the file's."""


def _writes(operator: str, *, turned: bool = False) -> Callable[[Value, Term], Value]:
    """Make a method that adds a node for a value and another term."""

    def write(value: Value, other: Term) -> Value:
        return value.tape(operator, *((other, value) if turned else (value, other)))

    return write


class Value:
    """A tensor of the pull-back, to write formulas with."""

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape, self.name = tape, name

    __array_ufunc__ = None  # an array's own operators leave it to these

    __add__ = __radd__ = _writes("Add")
    __mul__ = __rmul__ = _writes("Mul")
    __sub__, __rsub__ = _writes("Sub"), _writes("Sub", turned=True)
    __truediv__, __rtruediv__ = _writes("Div"), _writes("Div", turned=True)
    __matmul__, __rmatmul__ = _writes("MatMul"), _writes("MatMul", turned=True)
    __pow__ = _writes("Pow")
    __gt__, __lt__ = _writes("Greater"), _writes("Less")
    __and__ = _writes("And")
    __ge__, __le__ = _writes("GreaterOrEqual"), _writes("LessOrEqual")

    def __neg__(self) -> Value:
        return self.tape("Neg", self)

    def choose(self, yes: Term, no: Term) -> Value:
        """Take one of two where this holds, and the other where it does not."""
        return self.tape("Where", self, yes, no)

    def as_number(self) -> Value:
        """Give 1 where this holds, and 0 where it does not."""
        return self.tape("Cast", self, to=helper.np_dtype_to_tensor_dtype(self.tape.dtype))

    def or_one(self) -> Value:
        """Put 1 in the place of 0, to divide by."""
        return self + self.equals(0)

    def equals(self, other: Term) -> Value:
        """Give 1 where two are the same, and 0 elsewhere."""
        return self.tape("Equal", self, other).as_number()

    def sum(self, axes: Sequence[int]) -> Value:
        """Add up over axes, which stay with a length of 1."""
        return self.tape("ReduceSum", self, list(axes), keepdims=1)

    def mean(self, axes: Sequence[int]) -> Value:
        """Average over axes, which stay with a length of 1."""
        return self.tape("ReduceMean", self, list(axes), keepdims=1)

    def reshape(self, shape: Sequence[int]) -> Value:
        """Give it another shape."""
        return self.tape("Reshape", self, list(shape))

    def transpose(self, axes: Sequence[int]) -> Value:
        """Put its axes in another order."""
        return self.tape("Transpose", self, perm=list(axes))


Term: TypeAlias = "Value | Array | Sequence[int] | float | None"
"""What a formula is made of: lists are whole numbers, None is an input left out."""


class Tape:
    """The nodes of a pull-back, and what of the forward pass they read.

    Parameters
    ----------
    graph, sizes
        Of the file.
    samples : int
        How many samples a pass has.
    repeats : int
        How many cotangents of each sample are pulled back at once.
    double : bool
        Whether numbers are float64 rather than float32.
    """

    def __init__(
        self, graph: Graph, sizes: Sizes, samples: int, repeats: int, *, double: bool
    ) -> None:
        self.graph, self.sizes, self.samples, self.repeats = graph, sizes, samples, repeats
        self.dtype = np.dtype(np.float64 if double else np.float32)
        self.nodes: list[NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.saved: dict[str, Value] = {}
        self.places: dict[str, str] = {}
        self._made = 0

    def __call__(self, operator: str, *given: Term, **how: Any) -> Value:
        """Add a node, and give its first output."""
        names = [self._name(term) for term in given]
        made = self._next()
        self.nodes.append(helper.make_node(operator, names, [made], **how))
        return Value(self, made)

    def constant(self, array: Array) -> Value:
        """Add a constant."""
        return Value(self, self._name(array))

    def zeros(self, shape: Sequence[int]) -> Value:
        """Give zeros of a shape."""
        return self("Expand", 0.0, list(shape))

    def ones(self, shape: Sequence[int]) -> Value:
        """Give ones of a shape."""
        return self("Expand", 1.0, list(shape))

    def shape(self, tensor: str) -> Shape:
        """Give the shape of a forward tensor, for all cotangents at once."""
        return self.sizes.shape(tensor, self.samples * self.repeats)

    def known(self, tensor: str) -> Array | None:
        """Read what is the same for all inputs of these sizes; None where it varies."""
        stored = self.graph.constant(tensor)
        return self.sizes.values.get(tensor) if stored is None else stored

    def see(self, tensor: str) -> Value:
        """Read a tensor of the forward pass; half precision as float32.

        Raises
        ------
        GradientError
            Its shape depends on the inputs' values.
        """
        if tensor not in self.saved:
            self.saved[tensor] = self._see(tensor)
        return self.saved[tensor]

    def see_places(self, node: NodeProto) -> Value:
        """Read where a max pooling took its maxima from."""
        tensor, *named = node.output
        if tensor not in self.places:
            self.places[tensor] = "".join(named) or f"{tensor}@places"
            shape = self.sizes.shape(tensor, self.samples)
            self._declare(self.places[tensor], np.dtype(np.int64), shape)
        return self._repeated(Value(self, self.places[tensor]), tensor)

    def cotangent(self, tensor: str, name: str) -> Value:
        """Add an input for the cotangent of an output."""
        self._declare(name, self.dtype, self.shape(tensor))
        return Value(self, name)

    def model(self, results: Sequence[Value]) -> onnx.ModelProto:
        """Write the pull-back as a model that returns these."""
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        outputs = [helper.make_tensor_value_info(one.name, kind, None) for one in results]
        graph = helper.make_graph(self.nodes, "pull_back", self.inputs, outputs, self.constants)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)

    def _see(self, tensor: str) -> Value:
        if (stored := self.known(tensor)) is not None:
            is_number = np.issubdtype(stored.dtype, np.floating) or stored.dtype.kind == "V"
            return Value(self, self._name(stored.astype(self.dtype) if is_number else stored))
        if tensor in self.graph.unsized:
            raise GradientError(f"the shape of {tensor!r} depends on the inputs' values")
        dtype = self.sizes.dtypes[tensor]
        self._declare(tensor, dtype, self.sizes.shape(tensor, self.samples))
        seen = Value(self, tensor)
        if dtype.kind not in "biu" and dtype != self.dtype:
            seen = self("Cast", seen, to=helper.np_dtype_to_tensor_dtype(self.dtype))
        return self._repeated(seen, tensor)

    def _repeated(self, seen: Value, tensor: str) -> Value:
        axis = self.sizes.doubled(tensor)
        if self.repeats == 1 or axis is None:
            return seen
        return self("Concat", *[seen] * self.repeats, axis=axis)

    def _declare(self, name: str, dtype: np.dtype[Any], shape: Shape) -> None:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def _name(self, term: Term) -> str:
        if isinstance(term, Value):
            return term.name
        if term is None:
            return ""
        if isinstance(term, (list, tuple)):
            term = np.asarray(term, np.int64)
        elif isinstance(term, (int, float)):
            term = np.asarray(term, self.dtype)
        self.constants.append(numpy_helper.from_array(np.asarray(term), self._next()))
        return self.constants[-1].name

    def _next(self) -> str:
        self._made += 1
        return f"@pulled:{self._made}"


class Operation:
    """A node of the file, as the rule for its operator sees it.

    Parameters
    ----------
    tape : Tape
        Where the rule writes.
    node : onnx.NodeProto
        The node.
    result : int
        Which of its outputs the cotangent is of.
    """

    def __init__(self, tape: Tape, node: NodeProto, result: int = 0) -> None:
        self.tape, self.node, self.result = tape, node, result
        self.kind, self.attributes = node.op_type, attributes(node)
        self.opset = tape.graph.opset

    def x(self, i: int = 0) -> Value:
        """Read an input."""
        return self.tape.see(self.node.input[i])

    @property
    def y(self) -> Value:
        """The output."""
        return self.tape.see(self.node.output[self.result])

    def shape(self, i: int = 0) -> Shape:
        """Give an input's shape."""
        return self.tape.shape(self.node.input[i])

    @property
    def made(self) -> Shape:
        """The output's shape."""
        return self.tape.shape(self.node.output[self.result])

    def has(self, i: int) -> bool:
        """Tell whether an input is there."""
        return len(self.node.input) > i and bool(self.node.input[i])

    def get(self, name: str, default: Any = None) -> Any:
        """Read an attribute."""
        return self.attributes.get(name, default)

    def known(self, i: int, attribute: str = "") -> Array | None:
        """Read an input that is the same for all inputs of the model, or the attribute for it.

        Raises
        ------
        GradientError
            It depends on the model's inputs.
        """
        if not self.has(i):
            given = self.get(attribute)
            return None if given is None else np.asarray(given)
        tensor = self.node.input[i]
        found = self.tape.known(tensor)
        if found is None:
            raise self.refuse(f"its input {tensor!r} depends on the model's inputs")
        return found

    def axis(self, default: int, rank: int | None = None) -> int:
        """Read the attribute ``axis``, counted from the front."""
        axis: int = self.get("axis", default)
        return axis % (len(self.shape()) if rank is None else rank)

    def fit(self, cotangent: Value, i: int, shape: Shape | None = None) -> Value:
        """Add up what an input was broadcast to.

        Parameters
        ----------
        cotangent : Value
            For every place of the broadcast input.
        i : int
            The input.
        shape : tuple of int, optional
            The cotangent's shape; the output's unless given.
        """
        shape, own = self.made if shape is None else shape, self.shape(i)
        more = len(shape) - len(own)
        axes = [a for a, n in enumerate(shape) if a < more or (own[a - more] == 1 and n != 1)]
        summed = cotangent.sum(axes) if axes else cotangent
        return summed.reshape(own) if more else summed

    def refuse(self, why: str) -> GradientError:
        """Make the error for a node that no rule serves."""
        return GradientError(why)

    def size(self, axes: Sequence[int]) -> int:
        """Count an input's places along axes."""
        return math.prod(self.shape()[axis] for axis in axes)
