"""What this package expects of every private name that it uses.

A failure here means that an upgrade of Keras or of a framework has changed one of them.
"""

import contextlib
import gc
import tempfile
import threading
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import LARS, keras_internals


def small_model():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.5, seed=1)])


def test_a_seed_generator_keeps_its_state_in_a_variable_of_this_name():
    assert keras.random.SeedGenerator(1).state.name == keras_internals.SEED_STATE


def test_flattened_layers_are_the_layer_and_all_layers_inside():
    model = keras.Sequential([small_model()])
    names = [type(layer).__name__ for layer in keras_internals.flatten_layers(model)]
    assert names[0] == "Sequential" and {"Dense", "Dropout"} <= set(names)


@pytest.mark.parametrize("step", ["fit", "evaluate"])
def test_keras_steps_call_the_model_by_its_attribute_call(step):
    model = small_model()
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    seen = []

    def function(inputs, training=None, mask=None):
        seen.append(tuple(inputs.shape))
        return model.layers[0](inputs)

    with keras_internals.calling(model, function):
        getattr(model, step)(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    assert seen and "call" not in vars(model)


class Watched(layers.Layer):
    """A layer that notes how many outputs of such layers are held."""

    outputs: list = []
    held: list = []

    def call(self, inputs):
        gc.collect()  # in Keras 3.14, the call of a layer leaves a cycle
        self.held.append(sum(output() is not None for output in self.outputs))
        outputs = inputs * 2.0
        self.outputs.append(weakref.ref(outputs))
        return outputs


def branches():
    """Return a model with shared inputs, nested models, two outputs and a structure of inputs."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    inner = keras.Sequential([keras.Input((4,)), layers.Rescaling(3.0), layers.Rescaling(0.5)])
    x = layers.Add()([inner(a), b])
    y = layers.Concatenate()([x, inner(x), layers.Add()([x, a])])
    return keras.Model({"a": a, "b": b}, [y, x])


def test_a_functional_model_that_frees_its_tensors_returns_the_same():
    model = branches()
    given = {"a": np.arange(8.0).reshape(2, 4), "b": np.ones((2, 4))}
    expected = model(given)
    with keras_internals.intermediates_freed(model):
        found = model(given)
        assert len(keras.models.clone_model(model).layers) == len(model.layers)
    assert isinstance(found, list) and "_run_through_graph" not in vars(model)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch alone runs layer by layer")
@pytest.mark.parametrize(("frees", "held"), [(False, [0, 1, 2, 3]), (True, [0, 1, 1, 1])])
def test_a_functional_model_frees_each_tensor_after_its_last_use(frees, held):
    model = keras.Sequential([keras.Input((4,)), *(Watched() for _ in range(4))])
    Watched.outputs.clear()
    Watched.held.clear()
    with keras_internals.intermediates_freed(model) if frees else contextlib.nullcontext():
        model(np.ones((2, 4)))
    assert Watched.held == held


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the cycles are PyTorch's")
@pytest.mark.parametrize("frees", [False, True])
def test_structures_that_were_flattened_are_freed(frees, uncollected):
    held = []
    with keras_internals.structures_freed() if frees else contextlib.nullcontext():
        for traverse in (keras.tree.flatten, lambda x: keras.tree.traverse(lambda _: None, x)):
            tensor = keras.ops.ones((2,))
            held.append(weakref.ref(tensor))
            for structure in ([tensor, [tensor]], {"b": (tensor, None), "a": [tensor]}):
                traverse(structure)
            del tensor, structure
        structure = {"b": [1, (2,)], "a": 3}
        assert keras.tree.flatten(structure) == [3, 1, 2]
        assert keras.tree.pack_sequence_as(structure, [6, 4, 5]) == {"a": 6, "b": [4, (5,)]}
    assert [tensor() is None for tensor in held] == [frees, frees]


class Numbers(keras.utils.PyDataset):
    """Four batches, and the number of epochs that have ended."""

    epochs = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.full((2, 4), index), np.ones((2, 3))

    def on_epoch_end(self):
        self.epochs += 1


def one_by_one():
    for _ in range(100):
        yield np.ones((2, 4)), np.ones((2, 3))


class StartAt(keras.callbacks.Callback):
    """Let the first epoch start at a step, and list the steps."""

    def __init__(self, start, epoch, step):
        super().__init__()
        self.start, self.position, self.steps = start, (epoch, step), []

    def on_train_begin(self, logs=None):
        self.start.set(*self.position)
        self.start.arm()

    def on_train_batch_begin(self, batch, logs=None):
        self.steps.append(batch)


@pytest.mark.parametrize("replay", [False, True])
def test_the_first_epoch_starts_where_it_should(replay):
    start = keras_internals.EpochStart(replay)
    callback = StartAt(start, 1, 3)
    model, dataset = small_model(), Numbers()
    model.compile("sgd", "mse")
    with keras_internals.epochs_starting_at(start):
        model.fit(dataset, initial_epoch=1, epochs=3, verbose=0, callbacks=[callback])
    assert callback.steps == [3, 0, 1, 2, 3]
    assert dataset.epochs >= 2 + replay


def test_a_generator_is_read_again_up_to_the_first_step():
    start = keras_internals.EpochStart(replay=True)
    callback = StartAt(start, 2, 1)
    rest, model = one_by_one(), small_model()
    model.compile("sgd", "mse")
    options = {"initial_epoch": 2, "epochs": 3, "steps_per_epoch": 4, "callbacks": [callback]}
    with keras_internals.epochs_starting_at(start):
        model.fit(rest, shuffle=False, verbose=0, **options)
    assert callback.steps == [1, 2, 3]
    assert sum(1 for _ in rest) <= 100 - 12


@pytest.mark.parametrize("kind", keras_internals.CALLBACK_STATE)
def test_callbacks_keep_their_state_in_these_attributes(kind):
    arguments = {"filepath": "model.keras"} if kind is keras.callbacks.ModelCheckpoint else {}
    callback = kind(**arguments)
    callback.set_model(small_model())
    callback.model.compile("sgd", "mse")
    callback.on_train_begin()
    for name in keras_internals.CALLBACK_STATE[kind]:
        assert hasattr(callback, name) or name == "best", name


def test_the_function_is_called_until_the_last_thread_has_left():
    """The replicas of a `MirroredStrategy` enter and leave in any order."""
    model = small_model()
    first, second = (keras_internals.calling(model, lambda inputs: "views") for _ in range(2))
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    assert model.call(None) == "views"
    second.__exit__(None, None, None)
    assert "call" not in vars(model)


def test_the_loss_is_weighted_by_the_length_of_the_first_tensor():
    model = small_model()
    model.compile("sgd", "mse")
    model.evaluate(np.ones((10, 4)), np.ones((10, 3)), batch_size=5, verbose=0)
    assert float(keras_internals.images_seen(model)) == 10


def test_losses_of_layers_are_added_up():
    dense = layers.Dense(3, use_bias=False, kernel_initializer="ones", kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile("sgd", "mse")
    found = keras.ops.convert_to_numpy(keras_internals.additional_losses(model))
    assert found == pytest.approx(0.01 * 12)


def test_metrics_are_flattened_with_the_loss_first():
    model = small_model()
    model.compile("sgd", "mse", metrics=["mae"])
    model.evaluate(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    assert keras_internals.flatten_metrics(model, {"mae": 2.0, "loss": 1.0}) == [1.0, 2.0]


def test_fit_starts_at_the_initial_epoch_that_a_callback_sets():
    class Resume(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            keras_internals.set_initial_epoch(self.model, 2)

    model = small_model()
    model.compile("sgd", "mse")
    data = np.ones((2, 4)), np.ones((2, 3))
    history = model.fit(*data, epochs=3, verbose=0, callbacks=[Resume()])
    assert history.epoch == [2]


def test_a_schedule_is_distinguished_from_a_number():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert keras_internals.has_schedule(keras.optimizers.SGD(schedule))
    assert not keras_internals.has_schedule(keras.optimizers.SGD(0.1))
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule))
    assert keras_internals.has_schedule(wrapped)


def test_variables_can_be_excluded_from_weight_decay():
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="bias")
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])
    assert keras_internals.uses_weight_decay(optimizer, kernel)
    assert not keras_internals.uses_weight_decay(optimizer, bias)


def test_a_variable_has_the_index_that_the_optimizer_was_built_with():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    assert keras_internals.variable_index(optimizer, variables[1]) == 1


def test_optimizers_apply_weight_decay_in_the_method_that_lars_overrides():
    """LARS adds its decay to the gradient; Keras' own step of decay must find nothing to do."""
    assert callable(keras.optimizers.Optimizer._apply_weight_decay)
    variable = keras.Variable([2.0], name="bias")
    optimizer = LARS(0.1, weight_decay=0.5)
    optimizer.build([variable])
    optimizer.apply([keras.ops.zeros(1)])
    assert keras.ops.convert_to_numpy(variable).tolist() == [2.0]


def test_batch_normalization_asks_one_method_for_mean_and_variance():
    layer = layers.BatchNormalization(momentum=0.0)
    layer.build((None, 2))
    asked = []

    def moments(axes, inputs):
        asked.append(axes)
        return keras.ops.convert_to_tensor([3.0, 4.0]), keras.ops.convert_to_tensor([1.0, 1.0])

    with keras_internals.batch_norm_moments([layer], moments):
        layer(np.zeros((5, 2), "float32"), training=True)
    assert asked == [[0]]
    np.testing.assert_allclose(layer.moving_mean, [3.0, 4.0])
    layer(np.zeros((5, 2), "float32"), training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.0, 0.0])


def test_the_symbolic_build_is_a_method_on_tensorflow():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("several workers are TensorFlow's")
    model = small_model()
    assert callable(model._maybe_symbolic_build)
    with keras_internals.without_symbolic_build(model):
        assert model._maybe_symbolic_build(data_batch=None) is None
    assert "_maybe_symbolic_build" not in vars(model)


def test_a_strategy_of_one_process_is_not_multi_worker():
    import tensorflow as tf

    assert not keras_internals.is_multi_worker(tf.distribute.get_strategy())


def test_lambdas_come_back_from_their_configs_within_the_scope_only():
    model = keras.Sequential([keras.Input((1,)), layers.Lambda(lambda x: x + 1)])
    config = keras.saving.serialize_keras_object(model)
    with keras_internals.safe_mode(False):
        copy = keras.saving.deserialize_keras_object(config, safe_mode=False)
    assert copy.predict(np.ones((1, 1)), verbose=0) == 2.0
    with pytest.raises(ValueError, match="(?i)lambda"):
        keras.models.clone_model(model).from_config(model.get_config())


def test_functional_and_sequential_models_are_distinguished_from_subclasses():
    inputs = keras.Input((4,))
    functional = keras.Model(inputs, layers.Dense(2)(inputs))

    class Subclass(keras.Model):
        pass

    assert keras_internals.is_functional(functional)
    assert keras_internals.is_functional(small_model())
    assert not keras_internals.is_functional(Subclass())


def test_a_batch_normalization_layer_calls_its_attribute_call():
    layer = layers.BatchNormalization()
    layer.build((None, 4))
    seen = []

    def normalize(layer, call, inputs, training=None, mask=None):
        seen.append(training)
        return call(inputs, training=training, mask=mask)

    with keras_internals.layer_calls([layer], normalize):
        layer(np.ones((2, 4), "float32"), training=True)
    layer(np.ones((2, 4), "float32"), training=True)
    assert seen == [True]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's layers")
def test_convolutions_and_pooling_compute_the_same_without_copies():
    model = keras.Sequential(
        [
            keras.Input((9, 8, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.AveragePooling2D(2),
            layers.DepthwiseConv2D(2),
            layers.GlobalAveragePooling2D(),
        ]
    )
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(images))
    with keras_internals.convolutions_without_copies():
        found = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_method_that_is_replaced_twice_comes_back():
    layer = layers.Activation("relu")
    before = layer.call
    with keras_internals.replaced(layer, "call", lambda inputs: 1):
        with keras_internals.replaced(layer, "call", lambda inputs: 2):
            assert layer.call(0) == 2
        assert layer.call(0) == 1
    assert layer.call == before


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's optimizers")
def test_an_optimizer_sums_its_gradients_by_a_method_that_can_be_replaced():
    import tensorflow as tf

    @tf.function
    def step():
        optimizer.apply([tf.constant([1.0])], [variable])

    optimizer, variable = keras.optimizers.SGD(1.0), keras.Variable([0.0])
    optimizer.build([variable])
    with keras_internals.without_all_reduce(optimizer):
        operations = step.get_concrete_function().graph.get_operations()
        step()
    assert "IdentityN" not in [one.type for one in operations]  # which has the gradient of the sum
    assert variable.numpy() == [-1.0]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's gradient tape")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_tape_uses_the_gradient_that_was_recorded(compiled):
    import tensorflow as tf

    def function(x):
        return (x * x, x), lambda upstream, _: [upstream * 7.0]

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            square, _ = keras_internals.record_gradient(function, x)
            total = 2.0 * square
        return tape.gradient(total, x)

    used = tf.function(gradient) if compiled else gradient
    assert used(tf.constant(3.0)).numpy() == 14.0


def test_an_object_graph_is_read_from_its_bytes():
    import tensorflow as tf

    kernel = tf.Variable(1.0, name="dense/kernel")
    with tempfile.TemporaryDirectory() as folder:
        prefix = tf.train.Checkpoint(layer=kernel).write(f"{folder}/model")
        content = tf.train.load_checkpoint(prefix).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    graph = keras_internals.object_graph(content)
    child = graph.nodes[0].children[0]
    assert child.local_name == "layer"
    assert graph.nodes[child.node_id].attributes[0].full_name == "dense/kernel"


INITIALIZERS = ["glorot_uniform", "he_normal", "lecun_normal", "random_normal"]


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_weights_start_at_zero_where_they_will_be_replaced(initializer):
    with keras_internals.zero_initial_weights():
        zero = layers.Dense(3, kernel_initializer=initializer)
        zero.build((None, 4))
    random = layers.Dense(3, kernel_initializer=initializer)
    random.build((None, 4))
    assert not np.any(zero.get_weights()[0])
    assert np.all(random.get_weights()[0])


def test_weights_of_other_threads_start_as_usual():
    layer = layers.Dense(3)
    with keras_internals.zero_initial_weights():
        thread = threading.Thread(target=layer.build, args=((None, 4),))
        thread.start()
        thread.join()
    assert np.all(layer.get_weights()[0])


def test_threads_that_overlap_leave_initial_weights_as_they_were():
    first, second = keras_internals.zero_initial_weights(), keras_internals.zero_initial_weights()
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with second:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with first:
        thread.start()
        entered.wait(10)
    leave.set()
    thread.join()
    layer = layers.Dense(3)
    layer.build((None, 4))
    assert np.all(layer.get_weights()[0])
    assert "keras_simclr" not in keras.initializers.VarianceScaling.__call__.__module__


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's tensors")
def test_keras_makes_scalars_with_a_function_that_can_be_replaced():
    from torch.utils._python_dispatch import TorchDispatchMode

    called = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            called.append(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    tensor = keras.ops.ones(2)
    with keras_internals.scalars_made_on_device(), Watch():
        found = keras.ops.where(tensor > 0, tensor, 2.5) + keras.ops.convert_to_tensor(True)
    assert found.tolist() == [2.0, 2.0]
    assert "lift_fresh" not in called  # a copy from the host
    with Watch():
        keras.ops.convert_to_tensor(1.0)
    assert "lift_fresh" in called


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's tensors")
def test_the_version_of_a_variable_changes_when_it_is_assigned():
    variable = keras.Variable(1.0)
    before = keras_internals.version_of(variable.value)
    assert keras_internals.version_of(variable.value) == before
    variable.assign_add(1.0)
    assert keras_internals.version_of(variable.value) == before + 1


def test_an_optimizer_takes_its_scheduled_rate_from_a_method_that_can_be_replaced():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    optimizer, variable = keras.optimizers.SGD(schedule), keras.Variable([0.0])
    optimizer.build([variable])
    with keras_internals.scheduled_on_host(optimizer, lambda: 5):
        optimizer.apply([keras.ops.ones(1)], [variable])
    assert keras.ops.convert_to_numpy(variable.value).tolist() == [-0.5]
    assert float(optimizer.learning_rate) == pytest.approx(0.9)


def test_an_optimizer_takes_a_given_rate_instead_of_its_own():
    optimizer, variable = keras.optimizers.SGD(0.1), keras.Variable([0.0])
    optimizer.build([variable])
    with keras_internals.rate_given(optimizer, keras.ops.convert_to_tensor(0.5)):
        optimizer.apply([keras.ops.ones(1)], [variable])
    assert keras.ops.convert_to_numpy(variable.value).tolist() == [-0.5]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's loaders")
def test_keras_makes_its_loaders_by_a_function_that_can_be_replaced():
    import torch

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    dataset = keras.utils.PyDataset
    Ones = type(
        "Ones", (dataset,), {"__len__": lambda _: 1, "__getitem__": lambda *_: np.ones((1, 2))}
    )
    before = torch.get_rng_state()
    with keras_internals.own_loader_seeds():
        model.predict(Ones(), verbose=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_keeps_the_callbacks_of_a_fit_that_failed():
    class Failing(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            assert keras_internals.when_fit_ends(lambda: ended.append(1)) is not None

        def on_epoch_begin(self, epoch, logs=None):
            assert not ended
            raise OSError("broken")

    ended: list = []
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(OSError, match="broken"):
        model.fit(np.ones((1, 2)), np.ones(1), verbose=0, callbacks=[Failing()])
    assert ended == [1]


def test_outside_of_a_fit_nothing_ends():
    assert keras_internals.when_fit_ends(print) is None
