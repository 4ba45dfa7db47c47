"""Operators that work place by place, by their slopes y′."""

from __future__ import annotations

import functools
import math
import operator

from ..tape import Operation, Value
from .table import slope


@slope("Add", "Cast", "Identity", "Sum")
def same(op: Operation, i: int) -> float:
    """Give y′ = 1."""
    return 1


@slope("Dropout")
def dropout(op: Operation, i: int) -> float:
    """Give y′ = 1, in inference."""
    if op.has(2) and bool(op.known(2)):
        raise op.refuse("it drops at random, in training mode")
    return 1


@slope("Sub")
def subtract(op: Operation, i: int) -> float:
    """Give y′ = 1 and −1."""
    return 1 - 2 * i


@slope("Mul")
def multiply(op: Operation, i: int) -> Value:
    """Give y′ = the other factor."""
    return op.x(1 - i)


@slope("Div")
def divide(op: Operation, i: int) -> Value:
    """Give y′ = 1/b and −y/b, for y = a/b."""
    return 1 / op.x(1) if i == 0 else -op.y / op.x(1)


@slope("Max", "Min")
def largest(op: Operation, i: int) -> Value:
    """Give y′ = 1 for the one that was taken; those that tie share it."""
    taken = [op.x(k).equals(op.y) for k in range(len(op.node.input))]
    return taken[i] if len(taken) == 1 else taken[i] / sum(taken[1:], start=taken[0])


@slope("Mean")
def average(op: Operation, i: int) -> float:
    """Give y′ = 1/n."""
    return 1 / len(op.node.input)


@slope("Neg")
def negate(op: Operation, i: int) -> float:
    """Give y′ = −1."""
    return -1


@slope("Abs")
def absolute(op: Operation, i: int) -> Value:
    """Give y′ = sign x."""
    return op.tape("Sign", op.x())


@slope("Reciprocal")
def reciprocal(op: Operation, i: int) -> Value:
    """Give y′ = −y²."""
    return -op.y * op.y


@slope("Sqrt")
def root(op: Operation, i: int) -> Value:
    """Give y′ = 1/2y."""
    return 0.5 / op.y


@slope("Exp")
def exponential(op: Operation, i: int) -> Value:
    """Give y′ = y."""
    return op.y


@slope("Log")
def logarithm(op: Operation, i: int) -> Value:
    """Give y′ = 1/x."""
    return 1 / op.x()


@slope("Pow")
def power(op: Operation, i: int) -> Value:
    """Give y′ = p x^(p−1) for the base, and y log x for the exponent."""
    x, p = op.x(0), op.tape("CastLike", op.x(1), op.x(0))
    return p * x ** (p - 1) if i == 0 else op.y * op.tape("Log", x)


@slope("Sin")
def sine(op: Operation, i: int) -> Value:
    """Give y′ = cos x."""
    return op.tape("Cos", op.x())


@slope("Cos")
def cosine(op: Operation, i: int) -> Value:
    """Give y′ = −sin x."""
    return -op.tape("Sin", op.x())


@slope("Tanh")
def tanh(op: Operation, i: int) -> Value:
    """Give y′ = 1 − y²."""
    return 1 - op.y * op.y


@slope("Sigmoid")
def sigmoid(op: Operation, i: int) -> Value:
    """Give y′ = y (1 − y)."""
    return op.y * (1 - op.y)


@slope("HardSigmoid")
def hard_sigmoid(op: Operation, i: int) -> Value:
    """Give y′ = α where 0 < y < 1."""
    inside = (op.y > 0) & (op.y < 1)
    return inside.choose(op.get("alpha", 0.2), 0)


@slope("HardSwish")
def hard_swish(op: Operation, i: int) -> Value:
    """Give y′ = x/3 + 1/2 where −3 < x < 3; 0 before, 1 after."""
    x = op.x()
    return (x > 3).choose(1, (x < -3).choose(0, x / 3 + 0.5))


@slope("Relu")
def relu(op: Operation, i: int) -> Value:
    """Give y′ = 1 where x > 0."""
    return (op.x() > 0).as_number()


@slope("Clip")
def clip(op: Operation, i: int) -> Value | float:
    """Give y′ = 1 between the bounds."""
    if i > 0:
        raise op.refuse("its bounds depend on the model's inputs")
    lower, upper, x = op.known(1, "min"), op.known(2, "max"), op.x()
    inside: list[Value] = []
    if lower is not None:
        # As ReLU and ReLU6 do, which have no slope at their ends.
        inside.append(x > 0 if lower == 0 else x >= float(lower))
    if upper is not None:
        inside.append(x < float(upper) if lower == 0 else x <= float(upper))
    return functools.reduce(operator.and_, inside).as_number() if inside else 1


@slope("LeakyRelu")
def leaky_relu(op: Operation, i: int) -> Value:
    """Give y′ = 1 where x > 0, else α."""
    return (op.x() > 0).choose(1, op.get("alpha", 0.01))


@slope("PRelu")
def parametric_relu(op: Operation, i: int) -> Value:
    """Give y′ = 1 where x > 0, else the slope a; by a itself, 0 and x."""
    x, a = op.x(0), op.x(1)
    return (x > 0).choose(1, a) if i == 0 else (x > 0).choose(0, x)


@slope("ThresholdedRelu")
def thresholded_relu(op: Operation, i: int) -> Value:
    """Give y′ = 1 where x > α."""
    is_above: Value = op.x() > op.get("alpha", 1.0)
    return is_above.as_number()


@slope("Elu", "Celu", "Selu")
def exponential_linear(op: Operation, i: int) -> Value:
    """Give y′ = γ where x > 0, else what the exponential part has: y + γα, of Celu y/α + 1."""
    default = 1.67326319217681884765625 if op.kind == "Selu" else 1.0
    alpha = op.get("alpha", default)
    gamma = op.get("gamma", 1.05070102214813232421875) if op.kind == "Selu" else 1.0
    below = op.y / alpha + 1 if op.kind == "Celu" else op.y + gamma * alpha
    return (op.x() > 0).choose(gamma, below)


@slope("Softplus")
def softplus(op: Operation, i: int) -> Value:
    """Give y′ = σ(x)."""
    return op.tape("Sigmoid", op.x())


@slope("Softsign")
def softsign(op: Operation, i: int) -> Value:
    """Give y′ = (1 + |x|)⁻²."""
    below = 1 + op.tape("Abs", op.x())
    return 1 / (below * below)


@slope("Mish")
def mish(op: Operation, i: int) -> Value:
    """Give y′ = t + x σ(x) (1 − t²), t = tanh(softplus(x))."""
    x = op.x()
    t = op.tape("Tanh", op.tape("Softplus", x))
    return t + x * op.tape("Sigmoid", x) * (1 - t * t)


@slope("Erf")
def error_function(op: Operation, i: int) -> Value:
    """Give y′ = 2/√π · exp(−x²)."""
    return op.tape("Exp", -op.x() * op.x()) * (2 / math.sqrt(math.pi))


@slope("Gelu")
def gelu(op: Operation, i: int) -> Value:
    """Give y′ = Φ(x) + x φ(x); by the approximation, (1 + t)/2 + x (1 − t²) u′/2, t = tanh u."""
    x, c = op.x(), math.sqrt(2 / math.pi)
    if op.get("approximate", "none") == "tanh":
        t = op.tape("Tanh", (x + x * x * x * 0.044715) * c)
        return (1 + t) * 0.5 + x * (1 - t * t) * (1 + x * x * 0.134145) * (c / 2)
    below = (1 + op.tape("Erf", x * math.sqrt(0.5))) * 0.5
    return below + x * op.tape("Exp", x * x * -0.5) * (c / 2)


@slope("Where")
def where(op: Operation, i: int) -> Value:
    """Give y′ = 1 for the one that was taken."""
    return op.x(0).choose(*((1, 0) if i == 1 else (0, 1)))
