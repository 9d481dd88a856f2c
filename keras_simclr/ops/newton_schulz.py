"""Approximately the orthogonal matrix nearest to a given one, by Muon's Newton-Schulz iteration."""

from typing import Any

import keras
from keras import ops

from keras_simclr.ops.forms import for_gpu

MIN_RATIO = 1.5  # of rows to columns, from which on less is multiplied
MAX_STEPS = 5  # up to which the errors stay below 1e-3


def orthogonalize(matrix: Any, coefficients: tuple[float, float, float], steps: int) -> Any:
    """Return approximately the orthogonal matrix nearest to a given one.

    A step replaces X by X (a + b G + c G^2), with G = X^T X. On a GPU, this is computed in
    bfloat16, as in Jordan et al. 2024. On a CPU, if X has many more rows than columns, only G goes
    through the iteration, since that of the next step is G times the square of the polynomial, and
    X is multiplied once by the product of the polynomials: less than half the work. Where singular
    values are 0, rounding errors of G grow 12-fold in each step, so there may only be few.

    Args:
        matrix: Tensor of shape (m, n), float32.
        coefficients: a, b and c.
        steps: Number of steps.

    Returns:
        Tensor of shape (m, n), float32.
    """
    rows, columns = matrix.shape
    if rows < columns:
        return ops.transpose(orthogonalize(ops.transpose(matrix), coefficients, steps))
    matrix = matrix / (ops.norm(matrix) + 1e-7)
    if for_gpu():
        matrix = _iterate(ops.cast(matrix, "bfloat16"), coefficients, steps)
        return ops.cast(matrix, "float32")
    if rows < MIN_RATIO * columns or not 1 <= steps <= MAX_STEPS:
        return _iterate(matrix, coefficients, steps)
    return ops.matmul(matrix, _product_of_polynomials(matrix, coefficients, steps))


def _iterate(matrix, coefficients, steps):
    a, b, c = coefficients
    for _ in range(steps):
        gram = ops.matmul(ops.transpose(matrix), matrix)
        matrix = _add_product(a, matrix, matrix, _add_product(b, gram, c * gram, gram))
    return matrix


def _product_of_polynomials(matrix, coefficients, steps):
    a, b, c = coefficients
    gram = ops.matmul(ops.transpose(matrix), matrix)
    identity = ops.eye(matrix.shape[1], dtype="float32")

    def polynomial_of(gram):
        return a * identity + _add_product(b, gram, c * gram, gram)

    product = polynomial = polynomial_of(gram)
    for _ in range(steps - 1):
        gram = ops.matmul(ops.matmul(polynomial, gram), polynomial)
        polynomial = polynomial_of(gram)
        product = ops.matmul(product, polynomial)
    return product


def _add_product(factor, start, left, right):
    """Return `factor * start + left @ right`, on PyTorch by one kernel."""
    if keras.backend.backend() == "torch":
        return start.addmm(left, right, beta=factor)
    return factor * start + ops.matmul(left, right)
