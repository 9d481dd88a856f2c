"""Steps that are repeated as a CUDA graph, on a recorder of the operations of the CPU.

As a graph does, it repeats the same operations on the same memory, and recording runs nothing.
"""

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import SimCLR, SimCLRAugmenter
from keras_simclr.callbacks import ReplayStep
from keras_simclr.layers import RandomRotate90
from keras_simclr.ops import cuda_graph, known_values
from keras_simclr.ops.forms import form
from keras_simclr.optimizers import warmup_cosine

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="other backends compile whole steps"
)


class Recorder:
    """Records the operations of a step, and repeats them.

    Attributes:
        model: The model, whose values recording must leave as they are.
        recorded: The number of operations of each recorded step.
    """

    def __init__(self):
        self.model = None
        self.recorded = []

    def __call__(self, function):
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        operations = []

        class Mode(TorchDispatchMode):
            def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
                if operation.overloadpacket.__name__ == "_local_scalar_dense":
                    raise RuntimeError("operation not permitted when stream is capturing")
                result = operation(*args, **(kwargs or {}))
                operations.append((operation, args, kwargs or {}, result))
                return result

        def repeat():
            with torch.no_grad():
                for operation, args, kwargs, result in operations:
                    alias = [r.alias_info for r in operation._schema.returns]
                    if any(a is not None and not a.is_write for a in alias):
                        continue  # a view of memory that is filled again
                    again = operation(*args, **kwargs)
                    if not any(alias):
                        for old, new in zip(flat(result), flat(again), strict=True):
                            old.detach().copy_(new)

        model = self.model
        variables = model.variables + model.metrics_variables + model.optimizer.variables
        before = [variable.value.detach().clone() for variable in variables]
        try:
            with Mode():
                results = function()
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.value.data.copy_(value)
        self.recorded.append(len(operations))
        return results, repeat


def flat(result):
    return [tensor for tensor in keras.tree.flatten(result) if tensor is not None]


class NoteLosses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses, self.rates = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(cuda_graph, "record", recorder)
    return recorder


@pytest.fixture
def train(monkeypatch, recorder, make_model, labeled_images):
    """Return a function that trains a model, with recorded steps or without."""

    def train(
        recorded, data=None, compile=None, epochs=3, backbone=None, augmenter=None, **options
    ):
        keras.utils.set_random_seed(1)
        views = augmenter and augmenter()
        model = SimCLR(backbone(), seed=1) if backbone else make_model(augmenter=views)
        if compile is not None:
            model.compile(**compile())
        recorder.model, noted = model, NoteLosses()
        monkeypatch.setattr("keras_simclr.training.step.can_record", lambda: recorded)
        with form("gpu"):
            history = model.fit(
                labeled_images[0] if data is None else data,
                epochs=epochs,
                verbose=0,
                callbacks=[noted, *options.pop("callbacks", ())],
                **{"batch_size": 8, **options},
            ).history
        return model, noted, history

    return train


def assert_same(found, expected):
    (model, noted, history), (other, other_noted, other_history) = found, expected
    assert noted.losses == other_noted.losses and noted.rates == other_noted.rates
    assert history == other_history
    variables = [m.variables + m.metrics_variables + m.optimizer.variables for m in (model, other)]
    for one, two in zip(*variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, two)), one.path)


def scheduled_adamw():
    return {"optimizer": keras.optimizers.AdamW(warmup_cosine(0.01, 9, 2), weight_decay=0.1)}


def constant_adam():
    return {"optimizer": keras.optimizers.Adam(0.01)}


def sgd():
    return {"optimizer": keras.optimizers.SGD(0.01)}


@pytest.mark.parametrize("compile", [None, scheduled_adamw, constant_adam])
def test_recorded_steps_train_as_eager_ones(compile, train, recorder):
    assert_same(train(True, compile=compile), train(False, compile=compile))
    assert len(recorder.recorded) == 1 and recorder.recorded[0] > 100


def test_the_python_code_of_recorded_steps_does_not_run(train, monkeypatch):
    calls, call = [], layers.Dense.call

    def counted(self, *args):
        calls.append(self)
        return call(self, *args)

    monkeypatch.setattr(layers.Dense, "call", counted)
    model, noted, _ = train(False, epochs=1)
    per_step = len(calls) / len(noted.losses)
    calls.clear()
    train(True)
    assert len(calls) == per_step * (cuda_graph.EAGER_STEPS + 1)


def test_a_scheduled_rate_is_not_read_from_the_gpu(train, monkeypatch):
    notes, note = [], known_values._note

    def counted(*args):
        notes.append(args)
        note(*args)

    monkeypatch.setattr(known_values, "_note", counted)
    train(False, compile=scheduled_adamw)
    eager = len(notes)
    notes.clear()
    train(True, compile=scheduled_adamw)
    assert len(notes) <= eager + 1  # that of the step that is recorded


def test_batches_of_another_size_run_as_usual(train, labeled_images, recorder):
    starts = [(0, 8), (8, 8), (16, 8), (4, 8), (12, 8), (16, 4)]
    batches = [labeled_images[0][i : i + n] for i, n in starts]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    def run(recorded):
        return train(recorded, Batches(), scheduled_adamw, batch_size=None, epochs=2)

    assert_same(run(True), run(False))
    assert len(recorder.recorded) == 1


def augmenter_with_a_custom_layer():
    return SimCLRAugmenter(custom=[RandomRotate90(seed=3)], seed=2)


def pair_with_a_layer_of_keras():
    return SimCLRAugmenter(seed=2), layers.RandomFlip(seed=3)


@pytest.mark.parametrize("augmenter", [augmenter_with_a_custom_layer, pair_with_a_layer_of_keras])
def test_layers_that_draw_when_they_are_called_run_as_usual(augmenter, train, recorder):
    assert_same(train(True, augmenter=augmenter), train(False, augmenter=augmenter))
    assert recorder.recorded == []


def test_a_replayed_step_runs_layer_by_layer(train, recorder):
    with pytest.raises(ArithmeticError, match="All outputs and gradients are finite"):
        train(True, callbacks=[ReplayStep(epoch=3, step=2)])
    assert len(recorder.recorded) == 1


def test_validation_between_recorded_steps_is_that_between_eager_ones(train, labeled_images):
    images = labeled_images[0]
    found, expected = (train(flag, validation_data=images[:16]) for flag in (True, False))
    assert_same(found, expected)
    assert "val_loss" in found[2]


def test_each_fit_records_its_own_steps(train, recorder, labeled_images):
    def fit_twice(recorded):
        model, *_ = train(recorded, compile=constant_adam)
        model.optimizer.learning_rate = 0.5
        with form("gpu"):
            history = model.fit(labeled_images[0], batch_size=8, epochs=3, verbose=0).history
        return model, NoteLosses(), history

    assert_same(fit_twice(True), fit_twice(False))
    assert len(recorder.recorded) == 2


def dropout():
    return keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, strides=2), layers.Dropout(0.1, seed=3)]
    )


@pytest.mark.parametrize("reader", [{"backbone": dropout}, {"compile": sgd}])
def test_a_step_that_reads_a_value_runs_as_usual_with_a_warning(reader, train, recorder):
    with pytest.warns(UserWarning, match="cannot be repeated as a CUDA graph") as warned:
        found = train(True, **reader)
    assert len([w for w in warned if "CUDA graph" in str(w.message)]) == 1
    assert_same(found, train(False, **reader))
    assert recorder.recorded == []


def test_recording_that_failed_is_tried_again_only_after_compile(
    train, recorder, monkeypatch, labeled_images
):
    def fit_again():
        with form("gpu"):
            model.fit(labeled_images[0], batch_size=8, epochs=3, verbose=0)

    with pytest.warns(UserWarning, match="CUDA graph"):
        model, *_ = train(True, compile=sgd)
    fit_again()
    assert recorder.recorded == []
    model.compile(**constant_adam())
    fit_again()
    assert len(recorder.recorded) == 1


def test_running_out_of_memory_while_recording_is_no_fault_of_the_model(train, monkeypatch):
    import torch

    def record(function):
        raise torch.OutOfMemoryError

    expected = train(False)
    monkeypatch.setattr(cuda_graph, "record", record)
    assert_same(train(True), expected)


def test_no_gradient_is_kept_after_fit(train):
    model, *_ = train(True)
    assert all(variable.value.grad is None for variable in model.trainable_variables)


def several_optimizers():
    adam = keras.optimizers.Adam()
    return keras.optimizers.MultiOptimizer(lambda variable: adam)


@pytest.mark.parametrize(
    "options", [{"run_eagerly": True}, {"micro_batch_size": 4}, {"optimizer": several_optimizers}]
)
def test_steps_are_not_recorded(options, recorder, make_model, monkeypatch, labeled_images):
    monkeypatch.setattr("keras_simclr.training.step.can_record", lambda: True)
    model = make_model(augmenter=None, **{k: v for k, v in options.items() if "micro" in k})
    optimizer = options.get("optimizer", keras.optimizers.SGD)()
    model.compile(optimizer, run_eagerly=options.get("run_eagerly", False))
    with form("gpu"):
        model.fit(labeled_images[0], batch_size=8, epochs=3, verbose=0)
    assert recorder.recorded == []


def test_steps_that_would_fill_the_memory_are_not_recorded(train, recorder, monkeypatch):
    asked = []
    monkeypatch.setattr(cuda_graph, "has_room", lambda: asked.append(1))
    train(True)
    assert recorder.recorded == [] and len(asked) == 1


def test_the_warning_states_the_first_cause(train, recorder, monkeypatch):
    def record(function):
        try:
            raise RuntimeError("a copy from pageable memory")
        finally:
            raise RuntimeError("failed due to a previous error during capture")

    monkeypatch.setattr(cuda_graph, "record", record)
    with pytest.warns(UserWarning, match="small networks: a copy from pageable memory"):
        train(True)
