"""About the orthogonal matrix nearest to another one, by the Newton-Schulz iteration of Muon."""

from typing import Any

import keras
from keras import ops

from keras_simclr.ops.forms import for_gpu


def orthogonalize(matrix: Any, coefficients: tuple[float, float, float], steps: int) -> Any:
    """Return about the orthogonal matrix nearest to another one.

    A step replaces X by X (a + b G + c G^2), with G = X^T X. On a GPU, this is computed in
    bfloat16, as in Jordan et al. 2024. On a CPU, only G goes through the iteration, since that of
    the next step is G times the square of the polynomial, and X is multiplied once by the product
    of the polynomials: less than half the work for a kernel with many more rows than columns.
    It needs float32, as G has the squares of the singular values.

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
    return ops.matmul(matrix, _product_of_polynomials(matrix, coefficients, steps))


def _iterate(matrix, coefficients, steps):
    a, b, c = coefficients
    for _ in range(steps):
        gram = ops.matmul(ops.transpose(matrix), matrix)
        matrix = _add_product(a, matrix, matrix, _add_product(b, gram, c * gram, gram))
    return matrix


def _product_of_polynomials(matrix, coefficients, steps):
    a, b, c = coefficients
    gram, identity = ops.matmul(ops.transpose(matrix), matrix), ops.eye(matrix.shape[1])
    product = identity
    for step in range(steps):
        polynomial = a * identity + _add_product(b, gram, c * gram, gram)
        product = polynomial if step == 0 else ops.matmul(product, polynomial)
        if step < steps - 1:
            gram = ops.matmul(ops.matmul(polynomial, gram), polynomial)
    return product


def _add_product(factor, start, left, right):
    """Return `factor * start + left @ right`, on PyTorch by one kernel."""
    if keras.backend.backend() == "torch":
        return start.addmm(left, right, beta=factor)
    return factor * start + ops.matmul(left, right)
