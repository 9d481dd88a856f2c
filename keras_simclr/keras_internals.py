"""All private names of Keras and the backends that this package relies on.

If an upgrade changes one of them, `tests/test_keras_internals.py` fails and states what was
expected.
"""

import contextlib
import functools
import threading
import warnings

import keras
import numpy as np

_callers: dict[int, int] = {}  # threads in `calling`, by the id of the model
_callers_lock = threading.Lock()

CALLBACK_STATE = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
}
SEED_STATE = "seed_generator_state"  # name of the variable of a `SeedGenerator`


def flatten_layers(layer):
    """Return a layer and all layers inside it."""
    return list(layer._flatten_layers())


@contextlib.contextmanager
def calling(model, function):
    """Let Keras' steps, which call the model on their data, call `function` instead.

    The replicas of `tf.distribute.MirroredStrategy` run in threads, of which the first one to
    enter sets the function and the last one to leave removes it.

    Args:
        model: A `keras.Model` whose `call` takes (inputs, training).
        function: Function of the same arguments, the same in all threads.
    """
    _count_callers(model, 1)
    object.__setattr__(model, "call", function)
    try:
        yield
    finally:
        if _count_callers(model, -1) == 0:
            object.__delattr__(model, "call")


def _count_callers(model, change):
    with _callers_lock:
        _callers[id(model)] = _callers.get(id(model), 0) + change
        return _callers[id(model)] or _callers.pop(id(model))


def images_seen(model):
    """Return the variable that counts the images seen since the metrics were reset.

    Keras weights the loss of a batch by the length of the first tensor in its input.
    """
    return model._loss_tracker.count


def additional_losses(model):
    """Return the sum of the losses added by layers, as Keras adds them to the model's loss."""
    return sum(map(model._aggregate_additional_loss, model.losses))


def flatten_metrics(model, logs):
    """Return the values of `logs` as Keras' `evaluate` returns them without `return_dict`."""
    return model._flatten_metrics_in_order(logs)


def set_initial_epoch(model, epoch):
    """Set the epoch at which the current `fit` starts; None leaves it to `initial_epoch`."""
    model._initial_epoch = epoch


class EpochStart:
    """Where the first epoch of a `fit` starts.

    Attributes:
        epoch: Epochs that are done.
        step: Steps that are done of the epoch after them.
        on_start: Function to call when everything before the epoch has been read, or None.
        replay: Whether the data depend on how often they were read, so that everything that was
            read before is read again.
        draws: Whether reading may draw random numbers from the generators of Python and NumPy,
            which then are where they were once everything has been read again.
    """

    def __init__(self, replay=False, draws=False):
        self.epoch, self.step, self.on_start = 0, 0, None
        self.replay, self.draws = replay, draws
        self._is_pending = False

    def set(self, epoch, step, on_start=None):
        """Set where the first epoch starts: after `epoch` epochs and `step` steps."""
        self.epoch, self.step, self.on_start = epoch, step, on_start

    def arm(self):
        """Let the epoch that is enumerated next start there."""
        self._is_pending = True

    def take(self):
        """Return (epoch, step, on_start) once after each `arm`, otherwise (0, 0, None)."""
        taken = (self.epoch, self.step, self.on_start) if self._is_pending else (0, 0, None)
        self._is_pending = False
        return taken


@contextlib.contextmanager
def epochs_starting_at(start):
    """Let the epochs of `fit` start where an `EpochStart` says when the first one begins.

    Keras' callbacks and its progress bar see the original numbers of the remaining steps.
    """
    from keras.src.trainers.epoch_iterator import EpochIterator

    enumerate_steps = EpochIterator._enumerate_iterator

    def enumerate_rest(iterator):
        epochs, steps, on_start = start.take()
        for _ in range(epochs if start.replay else 0):
            _replay_epoch(iterator, enumerate_steps(iterator))
        if on_start:
            on_start()
        enumerated = enumerate_steps(iterator)
        for _ in range(0, steps, iterator.steps_per_execution):
            _, _, batches = next(enumerated)
            if start.replay:
                _skip_batches(iterator, batches)
        yield from enumerated

    EpochIterator._enumerate_iterator = enumerate_rest
    try:
        yield
    finally:
        EpochIterator._enumerate_iterator = enumerate_steps


def _replay_epoch(iterator, enumerated):
    """Read an epoch again; of a PyDataset, only call the methods that Keras calls.

    With workers, Keras keeps batches from one epoch to the next, so all are read.
    """
    dataset = getattr(iterator.data_adapter, "py_dataset", None)
    has_workers = getattr(iterator.data_adapter, "enqueuer", None) is not None
    if dataset is not None and not has_workers and iterator.steps_per_epoch is None:
        dataset.on_epoch_begin()
        dataset.on_epoch_end()
        return
    with iterator.catch_stop_iteration():
        for _, _, batches in enumerated:
            _skip_batches(iterator, batches)


def _skip_batches(iterator, batches):
    for _ in range(iterator.steps_per_execution):
        next(batches)


def has_schedule(optimizer):
    """Return whether the learning rate of an optimizer is a schedule."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)


def uses_weight_decay(optimizer, variable):
    """Return whether a variable has not been excluded by `exclude_from_weight_decay`."""
    return optimizer._use_weight_decay(variable)


def variable_index(optimizer, variable):
    """Return the index of a variable among those that the optimizer was built with."""
    return optimizer._get_variable_index(variable)


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
def layer_calls(layers, function):
    """Let layers call `function(layer, call, *args, **kwargs)`.

    Args:
        layers: Keras layers.
        function: Function of the arguments of the layers' `call`; `call` is the layer's own method.
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(
                replaced(layer, "call", functools.partial(function, layer, layer.call))
            )
        yield


@contextlib.contextmanager
def replaced(owner, name, method):
    """Replace a method of one Keras object, which must not track what replaces it."""
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
    from keras.src.backend.torch import nn

    transpose = nn._transpose_spatial_inputs
    nn._transpose_spatial_inputs = lambda images: (
        images.permute(0, 3, 1, 2) if images.ndim == 4 else transpose(images)
    )
    try:
        yield
    finally:
        nn._transpose_spatial_inputs = transpose


@contextlib.contextmanager
def without_symbolic_build(model):
    """Prevent `fit` from building a model with a symbolic batch."""
    model._maybe_symbolic_build = lambda **batch: None
    try:
        yield
    finally:
        del model._maybe_symbolic_build


@contextlib.contextmanager
def end_of_data_expected(steps):
    """Suppress Keras' warning that a dataset has ended, unless `steps` was specified."""
    with warnings.catch_warnings():
        if steps is None:
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
        yield


def is_multi_worker(strategy):
    """Return whether a strategy of `tf.distribute` spans several processes."""
    import tensorflow as tf

    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.extended._in_multi_worker_mode()


@contextlib.contextmanager
def unsafe_deserialization():
    """Allow Python lambdas in the configs of live objects, which contain no untrusted code."""
    from keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(False):
        yield


def without_all_reduce(optimizer):
    """Return a context in which an optimizer does not sum gradients over TensorFlow's replicas.

    With one replica that changes nothing, but TensorFlow registers the gradient of the sum for
    ever, and with it the graph of the step.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return replaced(inner, "_all_reduce_sum_gradients", list)


def record_gradient(function, *tensors):
    """Return the tensors that `function` returns; a `tf.GradientTape` uses the gradient with them.

    Args:
        function: Function that returns a tensor or a tuple of tensors, and their gradient.
        *tensors: Arguments of `function`.
    """
    import tensorflow as tf
    from tensorflow.python.eager import record

    with record.stop_recording():
        found, gradient = function(*tensors)
        results = tf.nest.map_structure(tf.identity, found)
    record.record_operation("CustomGradient", tf.nest.flatten(results), list(tensors), gradient)
    return results


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
    """Let the layers that this thread builds start at zero, as their weights will be replaced.

    Random ones take long, above all on JAX, which compiles their generator for each shape.
    """
    classes = (keras.initializers.VarianceScaling, keras.initializers.RandomNormal)
    originals = {cls: cls.__call__ for cls in classes}
    thread = threading.get_ident()

    def patched(original):
        def call(initializer, shape, dtype=None):
            if threading.get_ident() != thread:
                return original(initializer, shape, dtype)
            return keras.ops.convert_to_tensor(np.zeros(shape, "float32"), dtype)

        return call

    for cls, original in originals.items():
        cls.__call__ = patched(original)
    try:
        yield
    finally:
        for cls, original in originals.items():
            cls.__call__ = original
