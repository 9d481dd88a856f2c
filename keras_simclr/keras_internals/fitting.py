"""How Keras' `fit` runs: epochs, callbacks, `call`, losses, metrics."""

import contextlib
import sys
import threading
import types
import warnings
import weakref

import keras

from keras_simclr.keras_internals.layers import replaced

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


_callers: dict[int, int] = {}  # threads in `calling`, by the id of the model


_callers_lock = threading.Lock()


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


def when_fit_ends(function):
    """Call a function when the `fit` ends that calls this from `on_train_begin`, even by an error.

    Keras calls no callback after an error, but nothing else keeps its list of callbacks.

    Args:
        function: Function without arguments.

    Returns:
        A `weakref.finalize`, or None outside a `fit`.
    """
    frame: types.FrameType | None = sys._getframe(1)  # not this one, which would refer to itself
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList):
            return weakref.finalize(owner, function)
        frame = frame.f_back
    return None


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


@contextlib.contextmanager
def end_of_data_expected(steps):
    """Suppress Keras' warning that a dataset has ended, unless `steps` was specified."""
    with warnings.catch_warnings():
        if steps is None:
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
        yield


@contextlib.contextmanager
def own_loader_seeds():
    """Let Keras' `DataLoader`s on PyTorch draw their seeds from a generator of their own.

    They draw one per epoch, which nothing uses, from the global generator.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch
    from keras.src.trainers.data_adapters import data_adapter_utils

    make_loader = data_adapter_utils.get_torch_dataloader

    def make_loader_with_generator(iterable):
        loader = make_loader(iterable)
        loader.generator = torch.Generator()
        return loader

    with replaced(data_adapter_utils, "get_torch_dataloader", make_loader_with_generator):
        yield


def is_multi_worker(strategy):
    """Return whether a strategy of `tf.distribute` spans several processes."""
    import tensorflow as tf

    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.extended._in_multi_worker_mode()
