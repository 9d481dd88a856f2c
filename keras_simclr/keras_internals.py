"""All private names of Keras and the backends that this package relies on.

If an upgrade changes one of them, `tests/test_keras_internals.py` fails and states what was
expected.
"""

import contextlib
import threading
import warnings

import keras

_callers: dict[int, int] = {}  # threads in `calling`, by the id of the model
_callers_lock = threading.Lock()

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


def is_functional(layer):
    """Return whether a layer is a functional or sequential model."""
    from keras.src.models.functional import Functional

    return isinstance(layer, (Functional, keras.Sequential))
