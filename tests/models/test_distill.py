import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import LARS, ConvMuon, SimCLR
from keras_simclr.datasets import load_digits
from keras_simclr.models.distill import SoftLabels, distill

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]
QUICK = {"epochs": 1, "verbose": 0, "seed": 0, "augmenter": None}


@pytest.fixture(scope="module")
def teacher(pretrained, labeled_images):
    return pretrained.fine_tune(*labeled_images, augmenter=None, epochs=5, verbose=0)


def weights_of(model):
    return [np.array(w) for w in model.get_weights()]


def unlike(one, other):
    return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def small_student():
    inputs = keras.Input((None, None, 3))
    h = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(inputs)))
    outputs = layers.Softmax()(layers.Dense(2, name="logits")(h))
    return keras.Model(inputs, outputs)


def numpy_loss(teacher, student, temperature):
    """Equation 3 of the paper in plain loops."""
    losses = []
    for t, s in zip(teacher / temperature, student / temperature, strict=True):
        p, q = np.exp(t) / np.exp(t).sum(), np.exp(s) / np.exp(s).sum()
        losses.append(-sum(p * np.log(q)))
    return np.mean(losses)


@pytest.mark.every_backend
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_that_of_the_paper(temperature, rng):
    teacher, student = rng.normal(size=(2, 6, 5)).astype("float32")
    found = SoftLabels(temperature).compute_loss(teacher, student)
    expected = numpy_loss(teacher, student, temperature)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5)


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_the_student_learns_what_the_teacher_predicts(teacher, labeled_images):
    images, _ = labeled_images
    adam = keras.optimizers.Adam(0.01)
    options = {**QUICK, "epochs": 100, "batch_size": 24, "optimizer": adam, "temperature": 1.0}
    student = distill(teacher, images, **options)
    expected, found = (m.predict(images, verbose=0) for m in (teacher, student))
    explained = 1 - np.var(found - expected) / np.var(expected)
    assert explained > 0.8
    assert student.history.history["loss"][-1] < student.history.history["loss"][0]


@pytest.mark.usefixtures("compiled")
@pytest.mark.filterwarnings("ignore:This model was not pretrained")
def test_on_digits_the_student_is_at_least_as_good_as_its_teacher():
    """The teacher has seen 50 labels; the student sees none, but all images."""
    (x_train, y_train), test = load_digits(image_size=8)
    few = np.concatenate([np.flatnonzero(y_train == label)[:5] for label in range(10)])
    backbone = keras.Sequential([layers.Rescaling(1 / 255)])
    for filters in (16, 32):
        backbone.add(layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False))
        backbone.add(layers.BatchNormalization(momentum=0.9))
        backbone.add(layers.ReLU())
    model = SimCLR(backbone, seed=0)
    teacher = model.fine_tune(x_train[few], y_train[few], augmenter=None, verbose=0)
    adam = keras.optimizers.Adam(0.01)
    options = {**QUICK, "epochs": 15, "optimizer": adam, "temperature": 1.0, "batch_size": 128}
    student = distill(teacher, x_train, **options)
    accuracies = [classifier.evaluate(*test, verbose=0)[1] for classifier in (teacher, student)]
    assert accuracies[1] >= accuracies[0] > 0.6


def test_the_teacher_does_not_change(teacher, labeled_images):
    before, flags = weights_of(teacher), [layer.trainable for layer in teacher.layers]
    distill(teacher, labeled_images[0], **QUICK)
    assert not unlike(before, weights_of(teacher))
    assert [layer.trainable for layer in teacher.layers] == flags


def test_a_student_like_the_teacher_starts_from_new_weights(teacher, labeled_images):
    student = distill(teacher, labeled_images[0], **QUICK | {"epochs": 0})
    assert [w.shape for w in student.weights] == [w.shape for w in teacher.weights]
    assert unlike(weights_of(student), weights_of(teacher))


def test_a_seed_makes_the_student_repeatable(teacher, labeled_images):
    options = {**QUICK, "augmenter": "auto"}
    one, other = (distill(teacher, labeled_images[0], **options) for _ in range(2))
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_student_is_an_ordinary_compiled_model(teacher, labeled_images, tmp_path):
    student = distill(teacher, labeled_images[0], **QUICK)
    loss, accuracy = student.evaluate(*labeled_images, verbose=0)
    assert loss > 0 and 0 <= accuracy <= 1
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(
        loaded.predict(labeled_images[0], verbose=0),
        student.predict(labeled_images[0], verbose=0),
        rtol=1e-5,
    )


@pytest.mark.every_backend
def test_the_student_is_saved_for_every_backend(teacher, labeled_images):
    config = distill(teacher, labeled_images[0], optimizer="sgd", **QUICK).get_compile_config()
    assert config["jit_compile"] == "auto"
    assert config["optimizer"]["module"] == "keras.optimizers"


@pytest.mark.parametrize("epochs, expected", [(100, ConvMuon), (101, LARS)])
def test_the_optimizer_follows_the_recipes_of_pretraining(
    epochs, expected, teacher, labeled_images
):
    options = QUICK | {"epochs": epochs, "student": small_student()}
    assert type(distill(teacher, labeled_images[0], **options).optimizer) is expected


def test_a_simclr_model_gives_the_student_its_encoder(pretrained, teacher, labeled_images):
    before = weights_of(pretrained)
    student = distill(teacher, labeled_images[0], student=pretrained, **QUICK | {"epochs": 0})
    encoder = weights_of(student.get_layer("encoder"))
    assert not unlike(encoder, weights_of(pretrained.encoder))
    distill(teacher, labeled_images[0], student=pretrained, **QUICK)
    assert not unlike(before, weights_of(pretrained))


def test_a_smaller_network_is_trained_itself(teacher, labeled_images):
    student = small_student()
    before = weights_of(student)
    assert distill(teacher, labeled_images[0], student=student, **QUICK) is student
    assert unlike(before, weights_of(student))


def datasets(images):
    import tensorflow as tf
    import torch

    from keras_simclr.data.array_dataset import ArrayDataset

    return {
        "tf.data": tf.data.Dataset.from_tensor_slices(images).batch(8),
        "DataLoader": torch.utils.data.DataLoader(torch.tensor(images), batch_size=8),
        "PyDataset": ArrayDataset(images, batch_size=8),
        "labeled": ArrayDataset(images, np.zeros(len(images)), batch_size=8),
    }


@pytest.mark.parametrize("kind", ["tf.data", "DataLoader", "PyDataset", "labeled"])
def test_images_come_from(kind, teacher, labeled_images):
    student = distill(teacher, datasets(labeled_images[0])[kind], **QUICK)
    assert student.history.epoch == [0]


def test_labels_are_ignored_by_default(teacher, labeled_images):
    images, labels = labeled_images
    one = distill(teacher, images, **QUICK)
    other = distill(teacher, images, 1 - labels, **QUICK)
    np.testing.assert_array_equal(one.history.history["loss"], other.history.history["loss"])


@pytest.mark.usefixtures("compiled")
def test_labels_alone_train_the_student_at_weight_1(teacher, labeled_images):
    images, labels = labeled_images
    adam = keras.optimizers.Adam(0.03)
    options = {**QUICK, "epochs": 60, "optimizer": adam, "student_loss_weight": 1.0}
    student = distill(teacher, images, 1 - labels, **options)
    assert np.mean(student.predict(images, verbose=0).argmax(1) == 1 - labels) > 0.9


def test_images_without_a_label_do_not_count(teacher, labeled_images):
    images, labels = labeled_images
    options = {**QUICK, "student_loss_weight": 1.0, "optimizer": keras.optimizers.SGD(0.0)}
    options["batch_size"], options["shuffle"] = 24, False
    partly = np.where(np.arange(24) < 12, labels, -1)
    student = distill(teacher, images, partly, **options)
    # The loss was taken with the statistics of the batch, as `training=True`.
    probabilities = keras.ops.convert_to_numpy(student(images, training=True))
    expected = -np.log(probabilities[np.arange(12), labels[:12]]).mean()
    np.testing.assert_allclose(student.history.history["student_loss"], expected, rtol=1e-3)


@pytest.mark.parametrize(("student", "temperature"), [(None, 0.1), ("small", 1.0)])
def test_the_temperature_is_the_papers(student, temperature, teacher, labeled_images, monkeypatch):
    seen = []
    init = SoftLabels.__init__
    monkeypatch.setattr(SoftLabels, "__init__", lambda self, t: (seen.append(t), init(self, t))[1])
    distill(teacher, labeled_images[0], student=student and small_student(), **QUICK)
    assert seen == [temperature]


def multi_label(teacher):
    logits = teacher.get_layer("logits").output
    return keras.Model(teacher.input, layers.Activation("sigmoid")(logits))


REFUSED = {
    "temperature": ({"temperature": -1.0}, "`temperature` must be positive. Received"),
    "weight": ({"student_loss_weight": 2.0}, "must be a number in"),
    "epochs": ({"epochs": 1.5}, "`epochs` must be"),
    "no labels": ({"student_loss_weight": 0.5}, "Labels are missing"),
    "all unlabeled": ({"student_loss_weight": 0.5, "y": [-1] * 24}, "At least one image must"),
    "too large": ({"student_loss_weight": 0.5, "y": [2] * 24}, "below `num_classes`"),
    "one-hot": ({"student_loss_weight": 0.5, "y": np.eye(2)[[0, 1] * 12]}, "one integer per image"),
    "no logits": ({"teacher": keras.Sequential([keras.Input((4,))])}, "layer named 'logits'"),
    "range": ({"x": np.random.default_rng(0).uniform(size=(8, 12, 12, 3))}, "value_range"),
    "a string": ({"x": "photos"}, "Images must be an array"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is(case, teacher, labeled_images):
    options, message = REFUSED[case]
    arguments = {"teacher": teacher, "x": labeled_images[0], **QUICK, **options}
    with pytest.raises(ValueError, match=message):
        distill(**arguments)


def test_a_multi_label_teacher_is_refused(teacher, labeled_images):
    with pytest.raises(ValueError, match="must be the softmax of its layer 'logits'"):
        distill(multi_label(teacher), labeled_images[0], value_range=(0, 255), **QUICK)


def test_the_student_of_a_frozen_teacher_is_trained_as_a_whole(pretrained, labeled_images):
    images, labels = labeled_images
    options = {"epochs": 0, "freeze_backbone": True, "optimizer": "sgd", "verbose": 0}
    frozen = pretrained.fine_tune(images, labels, **options)
    student = distill(frozen, images, epochs=0, verbose=0)
    assert len(student.trainable_variables) > len(frozen.trainable_variables)


def test_a_loaded_teacher_without_a_resnet_needs_the_value_range(teacher, labeled_images, tmp_path):
    teacher.save(tmp_path / "teacher.keras")
    loaded = keras.saving.load_model(tmp_path / "teacher.keras", compile=False)
    with pytest.raises(ValueError, match="`value_range` must be given, as the teacher does not"):
        distill(loaded, labeled_images[0], **QUICK)
    student = distill(loaded, labeled_images[0], value_range=(0, 255), **QUICK)
    assert student.value_range == (0, 255)


def test_a_student_for_another_value_range_is_refused(labeled_images):
    images, labels = labeled_images
    options = {"epochs": 0, "optimizer": "sgd", "verbose": 0}
    teacher, student = (
        SimCLR("resnet18", value_range=value_range, seed=0) for value_range in ((0, 255), (0, 1))
    )
    with pytest.warns(UserWarning, match="not pretrained"):
        teacher = teacher.fine_tune(images, labels, **options)
    with pytest.raises(ValueError, match="`value_range` must be that of the teacher"):
        distill(teacher, images / 255.0, student=student, epochs=0, verbose=0)


def test_a_student_cannot_be_its_own_teacher(teacher, labeled_images):
    with pytest.raises(ValueError, match="another model than the teacher"):
        distill(teacher, labeled_images[0], student=teacher, **QUICK)


def test_a_backup_is_refused(teacher, labeled_images, tmp_path):
    from keras_simclr.callbacks import BackupAndRestore

    with pytest.raises(ValueError, match="cannot be resumed"):
        distill(teacher, labeled_images[0], callbacks=BackupAndRestore(tmp_path), **QUICK)
