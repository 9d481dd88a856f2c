"""A run that diverges in a known step, with the layers that show it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr import ProjectionHead, SimCLR, distribution
from keras_simclr.callbacks import BackupAndRestore, ReplayStep

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]

BLACK, STEPS = 21, 5
IMAGES = np.random.default_rng(0).integers(50, 200, (40, 8, 8, 1)).astype("uint8")
IMAGES[BLACK] = 0


@keras.saving.register_keras_serializable(package="tests")
class Log(layers.Layer):
    """The logarithm, of which that of 0 is infinite."""

    def call(self, inputs):
        return ops.log(inputs)


@keras.saving.register_keras_serializable(package="tests")
class Root(layers.Layer):
    """The square root of the squares, whose gradient at 0 is NaN."""

    def call(self, inputs):
        return ops.sqrt(ops.square(inputs))


def train(layer=Log, epochs=2, callbacks=(), micro_batch_size=None, classify=False):
    """Train on batches of 8 images in their order, of which one in step 3 is black."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layer(name="special"),
            layers.Conv2D(4, 3),
            layers.Activation("softplus"),  # with a bias, oneDNN makes others finite
        ],
        name="backbone",
    )
    model = SimCLR(
        backbone,
        name="model",
        projection_head=ProjectionHead(4, output_dim=4),
        augmenter=layers.RandomFlip(seed=2, name="flip"),
        micro_batch_size=micro_batch_size,
        seed=1,
    )
    model.compile(keras.optimizers.SGD(0.01))
    options = {"batch_size": 8, "epochs": epochs, "shuffle": False, "verbose": 0}
    if classify:
        model.fine_tune(IMAGES, np.arange(40) % 2, optimizer="sgd", callbacks=callbacks, **options)
    model.fit(IMAGES, callbacks=list(callbacks), **options)
    return model


def error_of(**arguments):
    with pytest.raises(ArithmeticError) as caught:
        train(**arguments)
    return str(caught.value)


def test_the_error_names_the_step_and_the_epoch(compiled):
    assert "in step 3 of epoch 1." in error_of()


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="one step per execution")
def test_the_error_names_the_step_if_executions_do_not_divide_the_epoch(compiled):
    model = train(epochs=0)
    model.compile(keras.optimizers.SGD(0.01), steps_per_execution=4)
    with pytest.raises(ArithmeticError, match="in step 3 of epoch 1."):
        model.fit(IMAGES, batch_size=8, shuffle=False, verbose=0)


def test_the_error_names_the_step_before_validation_resets_the_metrics():
    with pytest.raises(ArithmeticError, match="in step 3 of epoch 1."):
        model = train(epochs=0)
        options = {"validation_data": IMAGES[:8], "batch_size": 8, "shuffle": False, "verbose": 0}
        model.fit(IMAGES, **options)


def test_the_error_names_the_step_if_a_later_loss_is_finite_again(monkeypatch):
    """As with a loss scale, with which Keras skips a step."""
    model = train(epochs=0)
    model.optimizer.learning_rate = 0.0
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    with pytest.raises(ArithmeticError, match="in step 3 of epoch 1."):
        model.fit(IMAGES, **options)


@pytest.mark.every_backend
def test_the_replayed_step_names_the_first_layer(capsys, compiled):
    said = error_of(callbacks=[ReplayStep(epoch=1, step=3)])
    assert "Step 3 of epoch 1, replayed: the loss is nan, the learning rate 0.01" in said
    assert "the images are from 0 to 199" in said
    assert "first output that is not finite is that of the layer" in said and "special'" in said
    printed = capsys.readouterr().out
    assert "largest output" in printed and "projection_head" in printed


def test_the_first_gradient_is_named_if_all_outputs_are_finite(capsys):
    said = error_of(layer=Trainable, callbacks=[ReplayStep(epoch=1, step=3)])
    assert "first gradient that is not finite is that of the layer" in said and "special'" in said


@keras.saving.register_keras_serializable(package="tests")
class Trainable(Root):
    """A root of scaled squares, whose gradient is NaN where an image is black."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs):
        return ops.sqrt(ops.square(inputs * self.scale))


def test_a_step_after_the_first_bad_one_says_that_the_weights_are_not_finite():
    said = error_of(callbacks=[ReplayStep(epoch=1, step=4)])
    assert "weights are not finite already" in said


def test_a_step_in_which_all_is_finite_says_so_and_ends_the_run():
    assert "All outputs and gradients are finite" in error_of(callbacks=[ReplayStep(1, 2)])


@pytest.mark.every_backend
def test_a_step_is_replayed_in_micro_batches():
    said = error_of(callbacks=[ReplayStep(1, 3)], micro_batch_size=4)
    assert "that is not finite is that of the layer" in said and "special'" in said


def numbers(printed):
    """Return the numbers of a table, without the names of layers, which differ between models."""
    return [line.split()[-3:] for line in printed.strip().split("\n")]


def test_a_step_is_replayed_from_the_last_backup(tmp_path, capsys):
    def backup():
        return BackupAndRestore(tmp_path, save_freq=2)

    assert "not saved" in error_of(callbacks=[backup()])
    again = error_of(callbacks=[backup(), ReplayStep(1, 3)])
    from_backup = numbers(capsys.readouterr().out)
    assert "special'" in again
    assert error_of(callbacks=[ReplayStep(1, 3)]) == again
    assert numbers(capsys.readouterr().out) == from_backup


@pytest.mark.filterwarnings("ignore:This model was not pretrained")
def test_a_step_of_fine_tuning_is_replayed():
    said = error_of(callbacks=[ReplayStep(1, 3)], classify=True)
    assert "special'" in said


def test_a_step_that_the_run_never_begins_is_an_error():
    with pytest.raises(ValueError, match="Received: the end of the run instead of epoch 9, step 1"):
        train(layer=layers.Identity, epochs=1, callbacks=[ReplayStep(9, 1)])


def test_a_step_before_the_backup_is_an_error(tmp_path):
    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    train(layer=layers.Identity, epochs=1, callbacks=[backup])
    with pytest.raises(ValueError, match="Received: epoch 2, step 1 instead of epoch 1, step 2"):
        train(layer=layers.Identity, epochs=2, callbacks=[backup, ReplayStep(1, 2)])


def test_several_devices_are_refused(monkeypatch):
    monkeypatch.setattr(distribution, "num_devices", lambda: 2)
    with pytest.raises(ValueError, match="A step is replayed on one device. Received: 2 devices"):
        ReplayStep(1, 1).on_train_begin()


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1.5, 1), (1, None)])
def test_other_positions_are_refused(arguments):
    with pytest.raises(ValueError, match="must be a positive integer. Received"):
        ReplayStep(*arguments)
