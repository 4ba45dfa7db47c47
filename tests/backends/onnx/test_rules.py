"""Each operator's rule, alone: gradients against finite differences in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from camcore_onnx import backend
from camcore_onnx.rules import RULES


def values(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> np.ndarray:
    """Draw numbers that lie apart, so that no step crosses a kink or a tie."""
    count = int(np.prod(shape))
    spread = np.linspace(low, high, count + 1)[:-1] + 0.37 * (high - low) / (count + 1)
    return np.random.default_rng(seed).permutation(spread).reshape(shape)


erf = np.vectorize(math.erf)
IMAGE = values(2, 4, 5, 6)
POSITIVE = values(2, 3, 4, low=0.2, high=3)
LINE = values(2, 3, 4)


@dataclass(frozen=True)
class Case:
    """One node: what varies, what follows as constants (None is left out), and its attributes.

    `by` computes it where onnx.reference does so in single precision, otherwise, or not at all.
    """

    operator: str
    given: tuple[np.ndarray, ...]
    constants: tuple[Any, ...] = ()
    how: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    outputs: int = 1
    differentiated: tuple[int, ...] | None = None
    by: Callable[..., np.ndarray] | None = None
    order: tuple[int, ...] | None = None

    def __str__(self) -> str:
        how = ",".join(f"{name}={value}" for name, value in self.how.items())
        shapes = "x".join(str(array.shape).replace(" ", "") for array in self.given)
        return f"{self.operator}-{self.opset} {shapes} {how}"

    def model(self, dtype: type) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        names, inputs, constants = [], [], []
        for number, array in enumerate(self.given):
            names.append(f"x{number}")
            of = kind if array.dtype.kind == "f" else onnx.TensorProto.INT64
            inputs.append(helper.make_tensor_value_info(names[-1], of, array.shape))
        for number, constant in enumerate(self.constants):
            names.append("" if constant is None else f"c{number}")
            if constant is not None:
                array = np.asarray(constant)
                array = array.astype(dtype) if array.dtype.kind == "f" else array
                constants.append(numpy_helper.from_array(array, names[-1]))
        names = [names[k] for k in self.order or range(len(names))]
        made = [f"y{k}" for k in range(self.outputs)]
        node = helper.make_node(self.operator, names, made, name="the_node", **self.how)
        scaled = helper.make_node("Identity", ["y0"], ["out"])
        out = helper.make_tensor_value_info("out", kind, None)
        graph = helper.make_graph([node, scaled], "case", inputs, [out], constants)
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def forward(case: Case, given: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the node in double precision."""
    if case.by is None:
        return ReferenceEvaluator(case.model(np.float64)).run(None, given)[0]
    return case.by(*given.values(), *(c for c in case.constants if c is not None))


def slopes(case: Case, cotangent: np.ndarray, number: int, step: float = 1e-6) -> np.ndarray:
    """Measure how fast the output, weighed by the cotangent, grows with each place."""
    whole = {f"x{k}": array.copy() for k, array in enumerate(case.given)}
    found = np.zeros(case.given[number].size)
    for place in range(found.size):
        ends = []
        for sign in (1, -1):
            moved = case.given[number].copy()
            moved.flat[place] += sign * step
            output = forward(case, {**whole, f"x{number}": moved})
            ends.append(float((output * cotangent).sum()))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found.reshape(case.given[number].shape)


def pulled_back(case: Case, number: int, cotangent: np.ndarray | None = None) -> Any:
    adapter = backend.adapt(case.model(np.float32))
    given = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in case.given]
    drawn: list[np.ndarray] = []

    def seed(leaves):
        drawn.append(np.random.default_rng(1).uniform(-1, 1, leaves[""].shape))
        return {"": drawn[0].astype(np.float32)}

    name = f"@input.{number}"
    trace = adapter.run(given, [name], [seed], logits=False)
    return trace.layers[name].gradients[0], drawn[0], trace.outputs[""]


def by_torch(name: str, **how: Any) -> Callable[..., np.ndarray]:
    """Compute by a function of torch.nn.functional."""

    def compute(*given: Any) -> np.ndarray:
        torch = pytest.importorskip("torch")
        tensors = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in given]
        return getattr(torch.nn.functional, name)(*tensors, **how).numpy()

    return compute


def cropped(x: np.ndarray, pads: np.ndarray) -> np.ndarray:
    return np.pad(x[:, 1:, :-1], [(0, 0), (0, 1), (2, 0)])


def doubled(x: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return x.repeat(2, 2).repeat(2, 3)


CURVES = (
    *("Abs", "Cos", "Elu", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish"),
    *("Neg", "Relu", "Selu", "Sigmoid", "Sin", "Softplus", "Softsign", "Tanh"),
)
PLACEWISE = [
    *(Case(operator, (LINE,)) for operator in CURVES),
    *(Case(operator, (POSITIVE,)) for operator in ("Log", "Reciprocal", "Sqrt")),
    Case("HardSigmoid", (LINE * 3,), how={"alpha": 0.3, "beta": 0.4}),
    Case("HardSwish", (LINE * 3,)),
    Case("Elu", (LINE,), how={"alpha": 0.7}),
    Case("Celu", (LINE,), how={"alpha": 0.7}),
    Case("Selu", (LINE,), how={"alpha": 0.7, "gamma": 1.3}),
    Case("LeakyRelu", (LINE,), how={"alpha": 0.3}),
    Case("ThresholdedRelu", (LINE,), how={"alpha": 0.5}),
    Case("Erf", (LINE,), by=erf),
    Case("Gelu", (LINE,), opset=20, by=lambda x: x * (1 + erf(x / np.sqrt(2))) / 2),
    Case("Gelu", (LINE,), how={"approximate": "tanh"}, opset=20),
    Case("Clip", (LINE,), (-1.01, 0.73)),
    Case("Clip", (LINE,), (0.0, 1.2)),
    Case("Clip", (LINE,), (None, 1.2)),
    Case("Clip", (LINE,), (0.1,)),
    Case("Clip", (LINE,), how={"min": 0.0, "max": 1.0}, opset=6),
    Case("PRelu", (LINE,), (np.asarray([0.1, 0.2, 0.3, 0.4]),)),
    Case("PRelu", (LINE, values(3, 1, seed=1))),
    Case("Pow", (POSITIVE,), (2.0,)),
    Case("Pow", (POSITIVE,), (np.asarray(3),)),
    Case("Pow", (POSITIVE,), (0.5,)),
    Case("Pow", (POSITIVE, values(4, seed=1))),
    Case("Cast", (LINE,), how={"to": 1}, by=lambda x: x),
    Case("Dropout", (LINE,)),
    *(
        Case(operator, pair)
        for operator in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum")
        for pair in (
            (LINE, values(2, 3, 4, low=0.5, high=2.1, seed=1)),
            (LINE, values(3, 1, low=0.5, high=2.1, seed=1)),
            (values(1, 3, 1, seed=2), values(2, 3, 4, low=0.5, high=2.1, seed=1)),
        )
    ),
    Case("Mul", (LINE,), (np.asarray([0.5, 2.0, -1.0, 3.0]),)),
    Case("Mean", (LINE, LINE[::-1].copy() * 2)),
    Case("Mean", (LINE, values(3, 1, seed=1)), by=lambda *terms: sum(terms) / 2),
    Case("Where", (LINE, values(3, 1, seed=1)), (LINE > 0.3,), order=(2, 0, 1)),
    Case("Sum", (LINE, LINE[:1] * 2, LINE * 3)),
    Case("Max", (LINE, LINE[::-1].copy(), LINE * 0.5)),
]

PRODUCTS = [
    Case("MatMul", (values(2, 3, 4), values(4, 5, seed=1))),
    Case("MatMul", (values(2, 3, 4), values(2, 4, 5, seed=1))),
    Case("MatMul", (values(2, 1, 3, 4), values(3, 4, 2, seed=1))),
    Case("MatMul", (values(2, 3, 4), values(4, seed=1))),
    Case("MatMul", (values(3), values(2, 3, 4, seed=1))),
    Case("MatMul", (values(3), values(3, 2, seed=1))),
    Case("MatMul", (values(2, 3), values(3, seed=1))),
    Case("MatMul", (values(3), values(3, seed=1))),
    *(
        Case(
            "Gemm",
            (
                values(*((3, 2) if a else (2, 3))),
                values(*((4, 3) if b else (3, 4)), seed=1),
                values(4, seed=2),
            ),
            how={"transA": a, "transB": b, "alpha": 0.7, "beta": 1.3},
        )
        for a in (0, 1)
        for b in (0, 1)
    ),
    Case("Gemm", (values(2, 3),), (values(3, 4), values(2, 1, seed=2))),
    Case("Einsum", (values(2, 3, 4), values(2, 5, 4, seed=1)), how={"equation": "bij,bkj->bik"}),
    Case("Einsum", (values(2, 3, 4), values(4, 5, seed=1)), how={"equation": "bij,jk->bki"}),
]


def conv(shape: tuple[int, ...], kernels: tuple[int, ...], opset: int = 18, **how: Any) -> Case:
    return Case("Conv", (values(*shape),), (values(*kernels, seed=1),), how, opset)


def conv_transpose(shape: tuple[int, ...], kernels: tuple[int, ...], **how: Any) -> Case:
    return Case("ConvTranspose", (values(*shape),), (values(*kernels, seed=1),), how)


TWICE = np.asarray([1, 1, 2, 2], np.float32)
WINDOWS = [
    conv((2, 4, 5, 6), (3, 4, 3, 3)),
    conv((2, 4, 5, 6), (3, 4, 3, 3), pads=[1, 1, 1, 1]),
    conv((2, 4, 5, 6), (3, 4, 3, 2), pads=[2, 0, 1, 1]),
    conv((2, 4, 5, 6), (3, 4, 1, 1)),
    conv((2, 4, 5, 6), (3, 4, 1, 1), strides=[2, 2]),
    conv((2, 4, 5, 6), (3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    conv((2, 4, 7, 6), (3, 4, 3, 3), strides=[3, 2], pads=[0, 1, 1, 0]),
    conv((2, 4, 7, 8), (3, 4, 3, 2), dilations=[2, 3], pads=[1, 2, 2, 1]),
    conv((2, 4, 7, 8), (3, 4, 2, 2), dilations=[2, 2], strides=[2, 3]),
    conv((2, 4, 5, 6), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv((2, 4, 5, 6), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1], strides=[2, 2]),
    conv((2, 4, 5, 6), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv((2, 4, 5, 6), (8, 1, 3, 3), group=4, pads=[1, 1, 1, 1], strides=[2, 2]),
    conv((2, 4, 5, 6), (3, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv((2, 4, 5, 6), (3, 4, 2, 2), auto_pad="SAME_UPPER"),
    conv((2, 4, 5, 6), (3, 4, 2, 2), auto_pad="SAME_LOWER"),
    conv((2, 4, 5, 6), (3, 4, 2, 3), auto_pad="VALID", strides=[2, 1]),
    conv((2, 4, 5, 6), (3, 4, 1, 1), pads=[1, 1, 1, 1]),
    conv((2, 3, 9), (4, 3, 3), strides=[2], pads=[1, 1]),
    conv((2, 3, 9), (4, 3, 3), pads=[1, 1]),
    conv((2, 2, 4, 3, 5), (3, 2, 2, 3, 2), strides=[2, 1, 1], pads=[0, 1, 0, 1, 1, 1]),
    Case("Conv", (values(1, 2, 4, 4),), (values(3, 2, 3, 3, seed=1), values(3, seed=2))),
    conv_transpose((2, 4, 3, 4), (4, 3, 3, 3)),
    conv_transpose((2, 4, 3, 4), (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    conv_transpose((2, 4, 3, 4), (4, 3, 2, 2), strides=[2, 2]),
    conv_transpose(
        (2, 4, 3, 4), (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    Case(
        "ConvTranspose",
        (values(2, 4, 3, 4),),
        (values(4, 2, 3, 3, seed=1),),
        {"group": 2, "strides": [2, 1]},
        by=by_torch("conv_transpose2d", groups=2, stride=(2, 1)),
    ),
    conv_transpose((2, 3, 5), (3, 2, 3), strides=[3], output_padding=[2]),
    *(
        Case("AveragePool", (IMAGE,), how={"kernel_shape": [3, 3], **how})
        for how in (
            {},
            {"strides": [2, 2]},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [2, 3], "pads": [0, 1, 1, 0]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        )
    ),
    Case("AveragePool", (values(2, 3, 7),), how={"kernel_shape": [2], "strides": [2]}),
    *(
        Case("MaxPool", (IMAGE,), how={"kernel_shape": [3, 2], **how})
        for how in (
            {},
            {"strides": [2, 2]},
            {"strides": [2, 2], "pads": [1, 1, 1, 0]},
            {"strides": [2, 2], "ceil_mode": 1},
            {"dilations": [2, 2]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        )
    ),
    Case("MaxPool", (values(2, 3, 7),), how={"kernel_shape": [2], "strides": [2]}),
    *(
        Case("Resize", (values(1, 2, 3, 4),), (None, *given), {"mode": mode, **how})
        for mode, how in (
            ("nearest", {}),
            ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
            ("linear", {}),
            ("linear", {"coordinate_transformation_mode": "align_corners"}),
            ("linear", {"coordinate_transformation_mode": "asymmetric"}),
            ("cubic", {"cubic_coeff_a": -0.75}),
        )
        for given in (
            (np.asarray([1, 1, 2, 1.5], np.float32),),
            (None, np.asarray([1, 2, 7, 3])),
        )
    ),
    Case(
        "Resize",
        (values(1, 2, 3, 4),),
        (TWICE,),
        opset=10,
        by=doubled,
    ),
    Case(
        "Upsample",
        (values(1, 2, 3, 4),),
        (TWICE,),
        opset=9,
        by=doubled,
    ),
]

NORMALISED = [
    Case(
        "BatchNormalization",
        (IMAGE,),
        (
            values(4, seed=1),
            values(4, seed=2),
            values(4, seed=3),
            values(4, low=0.5, high=2, seed=4),
        ),
        {"epsilon": 1e-3},
    ),
    Case("LayerNormalization", (LINE,), (values(4, seed=1), values(4, seed=2))),
    Case("LayerNormalization", (LINE,), (values(3, 4, seed=1),), {"axis": 1, "epsilon": 1e-2}),
    Case("LayerNormalization", (LINE, values(4, seed=1), values(4, seed=2))),
    Case("InstanceNormalization", (IMAGE,), (values(4, seed=1), values(4, seed=2))),
    Case("GroupNormalization", (IMAGE,), (values(2, seed=1), values(2)), {"num_groups": 2}),
    Case(
        "GroupNormalization",
        (IMAGE,),
        (values(4, seed=1), values(4)),
        {"num_groups": 2},
        opset=21,
        by=lambda x, *weights: by_torch("group_norm")(x, 2, *weights),
    ),
    Case("LpNormalization", (LINE,), how={"axis": 1}),
    Case(
        "LRN",
        (IMAGE,),
        how={"size": 3, "alpha": 0.3, "beta": 0.7, "bias": 1.2},
        by=by_torch("local_response_norm", size=3, alpha=0.3, beta=0.7, k=1.2),
    ),
    Case(
        "LRN",
        (values(2, 7, 3, 2),),
        how={"size": 5, "alpha": 0.5},
        by=by_torch("local_response_norm", size=5, alpha=0.5),
    ),
]

REDUCED = [
    *(
        Case(operator, (POSITIVE,), (np.asarray(axes),), {"keepdims": keep})
        for operator in ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"]
        for axes, keep in (([1], 1), ([-1, 1], 0), ([0], 0))
    ),
    *(
        Case(operator, (LINE,), (np.asarray(axes),), {"keepdims": keep})
        for operator in ["ReduceSum", "ReduceL1", "ReduceLogSumExp"]
        for axes, keep in (([2], 1), ([1, 2], 0))
    ),
    Case("ReduceMean", (LINE,), how={"axes": [1], "keepdims": 0}, opset=13),
    Case("ReduceMean", (LINE,), opset=13),
    Case("ReduceSum", (LINE,), how={"noop_with_empty_axes": 1}),
    Case("ReduceSum", (LINE,), how={"axes": [-2]}, opset=11),
    Case("GlobalAveragePool", (IMAGE,)),
    Case("GlobalMaxPool", (IMAGE,)),
    *(Case("Softmax", (LINE,), how={"axis": axis}) for axis in (-1, 1)),
    Case(
        "Softmax",
        (LINE,),
        how={"axis": 1},
        opset=11,
        by=lambda x: by_torch("softmax", dim=1)(x.reshape(2, 12)).reshape(x.shape),
    ),
    *(Case("LogSoftmax", (LINE,), how={"axis": axis}) for axis in (-1, 1)),
    *(
        Case("CumSum", (LINE,), (np.asarray(axis),), {"exclusive": e, "reverse": r})
        for axis, e, r in ((1, 0, 0), (2, 1, 0), (-1, 0, 1), (1, 1, 1))
    ),
]

INDICES = np.asarray([[1, 0, 3], [2, 2, 1]])
ARRANGED = [
    Case("Reshape", (LINE,), (np.asarray([2, -1]),)),
    Case("Flatten", (LINE,), how={"axis": 2}),
    Case("Squeeze", (values(2, 1, 3),), (np.asarray([1]),)),
    Case("Unsqueeze", (LINE,), (np.asarray([1, -1]),)),
    Case("Transpose", (LINE,)),
    Case("Transpose", (IMAGE,), how={"perm": [0, 2, 3, 1]}),
    Case("Expand", (values(2, 1, 4),), (np.asarray([3, 2, 5, 4]),)),
    Case("Concat", (LINE, values(2, 2, 4, seed=1), values(2, 1, 4, seed=2)), how={"axis": 1}),
    Case("Concat", (LINE, values(2, 3, 1, seed=1)), how={"axis": -1}),
    Case("Split", (IMAGE,), (np.asarray([1, 3]),), {"axis": 1}, outputs=2),
    Case("Split", (IMAGE,), (), {"axis": 3, "num_outputs": 3}, outputs=3),
    *(
        Case("Slice", (values(2, 5, 6),), tuple(map(np.asarray, given)))
        for given in (
            ([1], [4], [1]),
            ([1, -3], [9, -1], [1, 2]),
            ([0, 4], [5, -9], [1, 2], [2, -1]),
            ([-1], [-9], [2], [-2]),
        )
    ),
    Case("Slice", (values(2, 5),), how={"starts": [1], "ends": [4], "axes": [1]}, opset=9),
    Case("Gather", (values(2, 5, 3),), (np.asarray(2),), {"axis": 1}),
    Case("Gather", (values(2, 5, 3),), (np.asarray(-1),), {"axis": 2}),
    Case("Gather", (values(2, 5, 3),), (np.asarray([[0, 2], [2, -1]]),), {"axis": 1}),
    Case("Gather", (values(2, 4), INDICES), how={"axis": 1}, differentiated=(0,)),
    Case("GatherElements", (values(2, 4),), (INDICES,), {"axis": 1}),
    Case("GatherND", (values(2, 4),), (np.asarray([[0, 1], [1, 3], [0, 1]]),)),
    Case("GatherND", (values(2, 4, 2),), (np.asarray([[1], [2]]),), {"batch_dims": 1}),
    Case("TopK", (LINE,), (np.asarray([2]),), {"axis": 1}, outputs=2),
    Case("Tile", (LINE,), (np.asarray([1, 2, 3]),)),
    *(
        Case("Pad", (values(2, 3, 4),), (np.asarray(pads),), {"mode": mode})
        for mode in ("constant", "reflect", "edge")
        for pads in ([0, 1, 2, 0, 1, 1], [0, 0, 1, 0, 2, 0])
    ),
    Case("Pad", (values(2, 3, 4),), (np.asarray([0, -1, 2, 0, 1, -1]),), by=cropped),
    Case("Pad", (values(2, 3, 4),), (np.asarray([2, 1]), 0.5, np.asarray([-1]))),
    Case("Pad", (values(2, 3),), how={"pads": [0, 1, 0, 2]}, opset=9),
    Case("DepthToSpace", (values(2, 8, 2, 3),), how={"blocksize": 2, "mode": "DCR"}),
    Case("DepthToSpace", (values(2, 8, 2, 3),), how={"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", (values(2, 2, 4, 6),), how={"blocksize": 2}),
    Case(
        "ScatterElements",
        (values(2, 4), values(2, 2, seed=1)),
        (np.asarray([[1, 0], [2, 3]]),),
        {"axis": 1},
        order=(0, 2, 1),
    ),
    Case(
        "ScatterND",
        (values(2, 4), values(3, seed=1)),
        (np.asarray([[0, 1], [1, 3], [1, 0]]),),
        order=(0, 2, 1),
    ),
    Case("Trilu", (values(2, 3, 4),), how={"upper": 0}),
    Case("Trilu", (values(2, 3, 4),), (np.asarray(1),)),
]

CASES = [*PLACEWISE, *PRODUCTS, *WINDOWS, *NORMALISED, *REDUCED, *ARRANGED]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_the_slopes(case):
    varying = case.differentiated or range(len(case.given))
    for number in varying:
        found, cotangent, output = pulled_back(case, number)
        plain = forward(case, {f"x{k}": array for k, array in enumerate(case.given)})
        np.testing.assert_allclose(output, plain, rtol=0, atol=2e-6 * max(1, np.abs(plain).max()))
        expected = slopes(case, cotangent, number)
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


def test_every_rule_has_a_case():
    tested = {case.operator for case in CASES}
    assert set(RULES) == tested
