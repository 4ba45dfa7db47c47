"""Matrix products."""

from __future__ import annotations

from ..tape import Operation, Value
from .table import rule


@rule("MatMul")
def matrix_product(op: Operation, g: Value, i: int) -> Value:
    """Give dA = g Bᵀ and dB = Aᵀ g, added up over batches that one of the two has not."""
    first, second = op.shape(0), op.shape(1)
    rows, columns = (1, *first)[-2:], (*second, 1)[-2:] if len(second) < 2 else second[-2:]
    outer = op.made[: len(op.made) - (len(first) > 1) - (len(second) > 1)]
    g = g.reshape([*outer, rows[0], columns[1]])
    if i == 0:
        made = g @ _transposed(op.x(1).reshape([*second[:-2], *columns]), second)
        shape = (*outer, *rows)
    else:
        made = _transposed(op.x(0).reshape([*first[:-2], *rows]), first) @ g
        shape = (*outer, *columns)
    if len(op.shape(i)) < 2:
        axes = range(len(shape) - 2)
        return (made.sum(axes) if axes else made).reshape(op.shape(i))
    return op.fit(made, i, shape)


@rule("Gemm")
def general_product(op: Operation, g: Value, i: int) -> Value:
    """Give dA = α g Bᵀ, dB = α Aᵀ g and dC = β g, for y = α A B + β C, A or B transposed or not."""
    turned, alpha = (op.get("transA", 0), op.get("transB", 0)), op.get("alpha", 1.0)
    if i == 2:
        return op.fit(g * op.get("beta", 1.0), 2)
    other = op.x(1 - i)
    # The cotangent stands before the other where exactly one of both is true.
    if (i == 0) != bool(turned[i]):
        how = {"transA": turned[1] if i else 0, "transB": 0 if i else 1 - turned[1]}
        if i == 1:
            how = {"transA": 1, "transB": turned[0]}
        return op.tape("Gemm", g, other, alpha=alpha, **how)
    how = {"transA": turned[1], "transB": 1} if i == 0 else {"transA": 1 - turned[0], "transB": 0}
    return op.tape("Gemm", other, g, alpha=alpha, **how)


@rule("Einsum")
def einsum(op: Operation, g: Value, i: int) -> Value:
    """Give dA = the sum of products of g with all others, over what A has no index of."""
    terms, _, made = op.get("equation").replace(" ", "").partition("->")
    letters = terms.split(",")
    own, others = letters[i], [one for k, one in enumerate(letters) if k != i]
    given = [made, *others]
    if not made or "." in terms or len(set(own)) < len(own) or set(own) - set("".join(given)):
        raise op.refuse(f"its equation is {op.get('equation')!r}")
    values = [op.x(k) for k in range(len(letters)) if k != i]
    return op.tape("Einsum", g, *values, equation=f"{','.join(given)}->{own}")


def _transposed(value: Value, shape: tuple[int, ...]) -> Value:
    rank = max(2, len(shape))
    return value.transpose([*range(rank - 2), rank - 1, rank - 2])
