"""Resizing as a matrix product: one row of weights for each row that comes out."""

from keras import ops

KERNELS = ("bicubic", "bilinear")


def interpolation_matrix(start, length, flip, in_size, out_size, kernel, antialias=False):
    """Weights that resize the stretch [start, start + length) of an axis to `out_size`.

    As in TensorFlow 2: pixels have their centres at halves, bicubic is the kernel of Keys with
    a = -0.5, and what lies outside of the stretch does not count; weights are normalised.

    Args:
        start: First pixel of the stretch, float tensor of shape (N,).
        length: Its number of pixels, float tensor of shape (N,).
        flip: Whether to turn the stretch around, booleans of shape (N,), or None.
        in_size: Pixels of the axis.
        out_size: Pixels wanted.
        kernel: "bicubic" or "bilinear".
        antialias: Whether to widen the kernel when shrinking.

    Returns:
        Float32 tensor of shape (N, out_size, in_size).
    """
    start, length = (ops.reshape(value, (-1, 1, 1)) for value in (start, length))
    row = ops.reshape(ops.arange(out_size, dtype="float32"), (1, -1, 1))
    if flip is not None:
        row = ops.where(ops.reshape(flip, (-1, 1, 1)), out_size - 1 - row, row)
    scale = length / out_size
    centre = start + (row + 0.5) * scale - 0.5
    pixel = ops.reshape(ops.arange(in_size, dtype="float32"), (1, 1, -1))
    distance = ops.abs(pixel - centre)
    if antialias:
        distance = distance / ops.maximum(scale, 1.0)
    inside = ops.logical_and(pixel >= start, pixel < start + length)
    weights = ops.where(inside, _kernel(distance, kernel), 0.0)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def pictures_to_planes(images, rows, columns):
    """Apply row weights (N, h, H) and column weights (N, w, W) to pictures (N, H, W, C).

    Each product is a plain one of matrices that lie together in memory, and the transposition to
    planes (N, C, h, w) falls between the two.
    """
    height, width, channels = images.shape[1:]
    images = ops.matmul(rows, ops.reshape(images, (-1, height, width * channels)))
    planes = ops.transpose(ops.reshape(images, (-1, rows.shape[1], width, channels)), (0, 3, 1, 2))
    return _weigh_columns(planes, columns)


def planes_to_pictures(planes, rows, columns):
    """Apply row weights (N, h, H) and column weights (N, w, W) to planes (N, C, H, W)."""
    planes = _weigh_columns(planes, columns)
    channels, height, width = planes.shape[1:]
    images = ops.reshape(ops.transpose(planes, (0, 2, 3, 1)), (-1, height, width * channels))
    return ops.reshape(ops.matmul(rows, images), (-1, rows.shape[1], width, channels))


def _weigh_columns(planes, columns):
    channels, height, width = planes.shape[1:]
    rows = ops.reshape(planes, (-1, channels * height, width))
    rows = ops.matmul(rows, ops.swapaxes(columns, 1, 2))
    return ops.reshape(rows, (-1, channels, height, columns.shape[1]))


def check_kernel(interpolation):
    """Raise a ValueError unless the kernel is known."""
    if interpolation not in KERNELS:
        raise ValueError(
            f"`interpolation` must be one of {KERNELS}. Received: interpolation={interpolation!r}."
        )


def _kernel(distance, kernel):
    if kernel == "bilinear":
        return ops.maximum(1.0 - distance, 0.0)
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return ops.where(distance < 1.0, near, ops.where(distance < 2.0, far, 0.0))
