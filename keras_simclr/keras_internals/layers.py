"""Layers, their weights and their files."""

import contextlib
import functools
import math
import threading
import types

import keras
import numpy as np

_zeroing: dict[int, int] = {}  # uses of `zero_initial_weights` by each thread
_zeroing_lock = threading.Lock()
_originals = {
    cls: cls.__call__
    for cls in (keras.initializers.VarianceScaling, keras.initializers.RandomNormal)
}
LARGE = 2**16  # entries of a weight
SEED_STATE = "seed_generator_state"  # name of the variable of a `SeedGenerator`


def flatten_layers(layer):
    """Return a layer and all layers inside it."""
    return list(layer._flatten_layers())


@contextlib.contextmanager
def batch_norm_moments(layers, moments):
    """Let BatchNormalization layers take their mean and variance from `moments`.

    Args:
        layers: Built `keras.layers.BatchNormalization` layers.
        moments: Function of (axes, inputs) that returns mean and variance.
    """

    def of_layer(layer):
        return lambda inputs, mask=None: moments(layer._reduction_axes, inputs)

    for layer in layers:
        layer._moments = of_layer(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer._moments


@contextlib.contextmanager
def layer_calls(layers, function, name="call"):
    """Let layers call `function(layer, call, *args, **kwargs)`.

    Args:
        layers: Keras layers.
        function: Function of the arguments of the layers' `call`; `call` is the layer's own method.
        name: Name of the method, such as "convolution_op" of convolutions. Defaults to "call".
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(
                replaced(layer, name, functools.partial(function, layer, getattr(layer, name)))
            )
        yield


@contextlib.contextmanager
def replaced(owner, name, method):
    """Replace a method of one Keras object, which must not track it, or a name in a module."""
    before = vars(owner).get(name)
    object.__setattr__(owner, name, method)
    try:
        yield
    finally:
        if before is None:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, before)


@contextlib.contextmanager
def convolutions_without_copies():
    """Let Keras' convolutions and pooling on PyTorch read images where they are.

    Keras copies them to channels first, and convolutions copy them back to channels last.
    """
    try:
        from keras.src.backend.torch import nn
    except ImportError:  # from Keras 3.16 on
        from keras.src.backend.torch.ops import nn

    transpose = nn._transpose_spatial_inputs

    def without_copy(images, *options, **more):
        if images.ndim == 4:
            return images.permute(0, 3, 1, 2)
        return transpose(images, *options, **more)

    with replaced(nn, "_transpose_spatial_inputs", without_copy):
        yield


@contextlib.contextmanager
def intermediates_freed(model):
    """Let functional models forget each tensor after the last layer that reads it.

    Keras keeps the tensors between the layers until the last layer has run.
    """
    from keras.src.models.functional import Functional

    layers = (getattr(layer, "_functional", layer) for layer in flatten_layers(model))
    with contextlib.ExitStack() as stack:
        for layer in layers:
            if isinstance(layer, Functional):
                plan, run = _plan_of_last_uses(layer), layer._run_through_graph
                method = functools.partial(_run_and_free, layer, plan, run)
                stack.enter_context(replaced(layer, "_run_through_graph", method))
        yield


@contextlib.contextmanager
def structures_freed():
    """Let `keras.tree` on PyTorch forget structures of tensors when it returns.

    Keras 3.15 leaves cycles of references to them, which stay until Python looks for cycles.
    """
    from keras.src.tree import torchtree_impl

    tree = torchtree_impl.torch_tree

    def tree_flatten(structure, is_leaf=None):
        """Flatten a structure; Keras asks for its children alone, or for all leaves."""
        if is_leaf is None:
            return tree.tree_flatten(structure)
        top = id(structure)
        return tree.tree_flatten(structure, is_leaf=lambda node: id(node) != top)

    names = types.SimpleNamespace(**{**vars(tree), "tree_flatten": tree_flatten})
    with replaced(torchtree_impl, "torch_tree", names):
        yield


def _plan_of_last_uses(model):
    """Return the nodes of a functional model in order, each with the tensors it is last to read."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    nodes = [node for node in nodes if node.operation and not node.is_input]
    last_readers = {id(tensor): node for node in nodes for tensor in node.input_tensors}
    for tensor in model.outputs:
        last_readers.pop(id(tensor), None)
    unneeded: dict = {node: [] for node in nodes}
    for tensor, node in last_readers.items():
        unneeded[node].append(tensor)
    return list(unneeded.items())


def _run_and_free(model, plan, run, inputs, operation_fn, call_fn=None):
    """Return what `run`, the method of `Functional`, returns."""
    if call_fn is not None:  # the model is being cloned
        return run(inputs, operation_fn, call_fn)
    tensors = dict(zip(map(id, model.inputs), keras.tree.flatten(inputs), strict=True))
    del inputs
    for node, unneeded in plan:
        args, kwargs = node.arguments.fill_in(tensors)
        results = operation_fn(node.operation)(*args, **kwargs)
        tensors.update(zip(map(id, node.outputs), keras.tree.flatten(results), strict=True))
        del args, kwargs, results
        for tensor in unneeded:
            del tensors[tensor]
    outputs = [tensors[id(tensor)] for tensor in model.outputs]
    return keras.tree.pack_sequence_as(model._outputs_struct, outputs)


@contextlib.contextmanager
def without_symbolic_build(model):
    """Prevent `fit` from building a model with a symbolic batch."""
    model._maybe_symbolic_build = lambda **batch: None
    try:
        yield
    finally:
        del model._maybe_symbolic_build


@contextlib.contextmanager
def safe_mode(enabled):
    """Refuse Python lambdas in configs, which are code, or allow them."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(enabled):
        yield


def is_functional(layer):
    """Return whether a layer is a functional or sequential model."""
    from keras.src.models.functional import Functional

    return isinstance(layer, (Functional, keras.Sequential))


def object_graph(serialized):
    """Return the `TrackableObjectGraph` of a TensorFlow checkpoint from its bytes."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    return TrackableObjectGraph.FromString(serialized)


@contextlib.contextmanager
def zero_initial_weights():
    """Let the layers that this thread builds start at zero, or anywhere: weights will be replaced.

    Random ones take long, above all on JAX, which compiles their generator for each shape.
    """
    thread = threading.get_ident()
    with _zeroing_lock:
        if not _zeroing:
            for cls in _originals:
                cls.__call__ = _zero_or(_originals[cls])
        _zeroing[thread] = _zeroing.get(thread, 0) + 1
    try:
        yield
    finally:
        with _zeroing_lock:
            _zeroing[thread] -= 1
            if not _zeroing[thread]:
                del _zeroing[thread]
            if not _zeroing:
                for cls in _originals:
                    cls.__call__ = _originals[cls]


def _zero_or(original):
    def call(initializer, shape, dtype=None):
        if threading.get_ident() not in _zeroing:
            return original(initializer, shape, dtype)
        return _untouched_zeros(shape, dtype or "float32")

    return call


def _untouched_zeros(shape, dtype):
    """Return zeros that take no memory until they are replaced.

    TensorFlow copies those of NumPy; its own are not zero if their memory was used before.
    """
    if keras.backend.backend() == "tensorflow" and math.prod(shape) >= LARGE:
        import tensorflow as tf

        return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)
    return keras.ops.convert_to_tensor(np.zeros(shape, "float32"), dtype)
