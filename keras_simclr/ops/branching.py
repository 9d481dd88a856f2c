"""Work that differs between the images of a chunk, in the form that is fastest on each device."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import optree
from keras import ops

from keras_simclr.ops.compilation import is_compiling
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.native import native


def apply_in_order(order: Any, steps: Sequence[Callable], planes: Any, parameters: Any) -> Any:
    """Apply steps to each image in its own order.

    Args:
        order: Indices into `steps`, integers of shape (N, number of steps). If compiled for a CPU,
            all images of the chunk must have the same order.
        steps: Functions of (planes, parameters) that return planes. They may overwrite the planes
            that they are given, by `multiply_` and the functions below it in `in_place.py`.
        planes: Tensor of shape (N, C, H, W), a chunk of images as planes.
        parameters: A structure of tensors of shape (N, ...).

    Returns:
        Planes of shape (N, C, H, W).
    """
    if for_gpu():
        return _apply_masked(order, steps, planes, parameters)
    if is_compiling(planes, order):

        def step(place, planes):
            return ops.switch(order[0, place], steps, planes, parameters)

        # XLA copies the planes after each step of a loop, but TensorFlow takes at least 3 times as
        # long to compile the steps without one.
        places = order.shape[1]
        if keras.backend.backend() == "tensorflow":
            return ops.fori_loop(0, places, step, planes)
        for place in range(places):
            planes = step(place, planes)
        return planes
    for indices in ops.convert_to_numpy(order).T:
        if (indices == indices[0]).all():
            planes = steps[indices[0]](planes, parameters)
            continue
        results = native.empty_like(planes)
        for index in np.unique(indices):
            rows = ops.convert_to_tensor(np.flatnonzero(indices == index))
            results[rows] = steps[index](_planes_of_rows(planes, rows), _of_rows(parameters, rows))
        planes = results
    return planes


def apply_if_needed(
    needed: Any, function: Callable, otherwise: Callable, planes: Any, parameters: Any
) -> Any:
    """Apply `function` to a chunk, or if it is a single image that does not need it, `otherwise`.

    Only compiled chunks on a CPU make this difference.

    Args:
        needed: Booleans of shape (N,).
        function: Function of (planes, parameters) that returns a tensor. It treats images that do
            not need it as `otherwise` does.
        otherwise: Function of planes that returns a tensor of the same shape.
        planes: Tensor of shape (N, C, H, W), a chunk of images as planes.
        parameters: A structure of tensors of shape (N, ...).

    Returns:
        The result for all images of the chunk.
    """
    if planes.shape[0] != 1 or for_gpu() or not is_compiling(planes, needed):
        return function(planes, parameters)
    return ops.cond(needed[0], lambda: function(planes, parameters), lambda: otherwise(planes))


def computed_apart(function: Callable, finite: Any, shape: tuple) -> Any:
    """Return the result of a function in a compiled one, computed as a whole, by all cores.

    XLA merges an operation with what reads it, which computes it again and out of order, and a loop
    that keeps them apart runs on one core. A branch is not merged.

    Args:
        function: Function without arguments that returns a float32 tensor.
        finite: A scalar tensor, of which XLA does not know that it is finite; otherwise the result
            is NaN.
        shape: Shape of the result.
    """
    return ops.cond(finite < math.inf, function, lambda: ops.full(shape, math.nan, "float32"))


def where_selected(
    selected: Any, function: Callable, otherwise: Callable, planes: Any, parameters: Any
) -> Any:
    """Apply `function` to the selected images and `otherwise` to the others.

    On a CPU, compiled chunks compute only the function that each image needs, and PyTorch computes
    `function` for the selected images only.

    Args:
        selected: Booleans of shape (N,).
        function: Function of (planes, parameters) that returns a tensor of shape (N, ...).
        otherwise: Function of planes that returns a tensor of the same shape.
        planes: Tensor of shape (N, C, H, W).
        parameters: A structure of tensors of shape (N, ...).

    Returns:
        Tensor of shape (N, ...).
    """
    compiled = is_compiling(planes, selected)
    if for_gpu() or not compiled and keras.backend.backend() != "torch":
        results = otherwise(planes)
        selected = ops.reshape(selected, (-1, *[1] * (len(results.shape) - 1)))
        return ops.where(selected, function(planes, parameters), results)
    if keras.backend.backend() == "torch":
        import torch

        # A copy in the order of the result, as rows of it are overwritten.
        results = otherwise(planes).clone(memory_format=torch.contiguous_format)
        rows = ops.convert_to_tensor(np.flatnonzero(ops.convert_to_numpy(selected)))
        if len(rows):
            results[rows] = function(_planes_of_rows(planes, rows), _of_rows(parameters, rows))
        return results
    if planes.shape[0] == 1:
        return apply_if_needed(selected, function, otherwise, planes, parameters)

    def of_image(tensors):
        selected, *others = optree.tree_map(lambda tensor: ops.expand_dims(tensor, 0), tensors)
        return apply_if_needed(selected, function, otherwise, *others)[0]

    return ops.map(of_image, (selected, planes, parameters))


def _apply_masked(order, steps, planes, parameters):
    """Apply all steps in every place, and keep the one that the order of each image has there."""
    for place in range(order.shape[1]):
        of_place = ops.reshape(order[:, place], (-1, 1, 1, 1))
        results = [step(planes, parameters) for step in steps]
        planes = results[-1]
        for index, result in enumerate(results[:-1]):
            planes = ops.where(of_place == index, result, planes)
    return planes


def _planes_of_rows(planes, rows):
    """Copy some images of a chunk on PyTorch: faster than `planes[rows]`, as strides stay."""
    if planes.requires_grad:
        return planes[rows]
    import torch

    return torch.index_select(planes, 0, rows, out=torch.empty_like(planes[: len(rows)]))


def _of_rows(parameters, rows):
    """Return the parameters of some of the images of a chunk."""
    return optree.tree_map(lambda leaf: leaf[rows], parameters)
