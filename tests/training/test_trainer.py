import keras
import numpy as np
import pytest

from keras_simclr import NTXentLoss, SimCLRAugmenter
from keras_simclr.data.array_dataset import ArrayDataset
from keras_simclr.layers.presets import CROP_AND_FLIP

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def assert_equal_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def datasets(images, labels):
    import grain
    import tensorflow as tf
    import torch

    tensors = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
    return {
        "tf.data": tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
        "tf.data without labels": tf.data.Dataset.from_tensor_slices(images).batch(8),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=8),
        "PyDataset": ArrayDataset(images, labels, batch_size=8),
        "grain": grain.MapDataset.source(list(zip(images, labels, strict=True))).batch(8),
        "grain iterated": grain.MapDataset.source(images).to_iter_dataset().batch(8),
        "generator": (images[i : i + 8] for i in range(0, 24, 8)),
    }


KINDS = list(datasets(np.zeros((1, 8, 8, 1)), np.zeros(1)))


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", KINDS)
def test_fit_takes_images_from(kind, make_model, labeled_images):
    model = make_model()
    history = model.fit(datasets(*labeled_images)[kind], steps_per_epoch=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int32"])
def test_fit_takes_arrays_of(dtype, make_model, labeled_images):
    history = make_model().fit(labeled_images[0].astype(dtype), labeled_images[1], verbose=0)
    assert sorted(history.history) == ["contrastive_accuracy", "loss", "relative_loss"]


@pytest.mark.every_backend
def test_fit_takes_tensors_of_the_backend(make_model, labeled_images):
    images = keras.ops.convert_to_tensor(labeled_images[0].astype("float32"))
    assert np.isfinite(make_model().fit(images, verbose=0).history["loss"]).all()


@pytest.mark.usefixtures("compiled")
def test_the_loss_falls(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.01))
    loss = model.fit(labeled_images[0], epochs=40, batch_size=24, verbose=0).history["loss"]
    assert np.mean(loss[-10:]) < np.mean(loss[:10]) - 0.15


@pytest.mark.every_backend
def test_every_weight_of_encoder_and_head_is_trained(make_model, labeled_images):
    model = make_model()
    model.build((None, 12, 12, 3))
    before = weights(model)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(labeled_images[0], verbose=0)
    paths = [w.path for w in model.weights]
    for path, a, b in zip(paths, before, weights(model), strict=True):
        assert not np.array_equal(a, b), path


@pytest.mark.every_backend
def test_both_views_are_normalized_together(make_model, labeled_images):
    """The moving mean after one step is that of all 2N views together."""
    model = make_model(augmenter=keras.layers.Rescaling(1.0))  # views are the images
    model.compile(keras.optimizers.SGD(0.0))
    images = labeled_images[0][:8]
    model.build((None, 12, 12, 3))
    convolved = keras.ops.convert_to_numpy(
        model.backbone.layers[1](model.backbone.layers[0](images.astype("float32")))
    )
    model.fit(images, batch_size=8, verbose=0)
    moving_mean = np.array(model.backbone.layers[2].moving_mean)
    np.testing.assert_allclose(moving_mean, 0.1 * convolved.mean((0, 1, 2)), rtol=1e-4)


@pytest.mark.every_backend
def test_the_reported_loss_is_nt_xent_of_the_two_halves(make_model, labeled_images):
    model = make_model(augmenter=keras.layers.Rescaling(1.0), temperature=0.3)
    model.build((None, 12, 12, 3))
    model.compile("sgd")
    result = model.evaluate(labeled_images[0], batch_size=24, return_dict=True, verbose=0)
    z = keras.ops.convert_to_numpy(model.projection_head(model(labeled_images[0])))
    assert result["loss"] == pytest.approx(float(NTXentLoss(0.3)(z, z)), rel=1e-4)
    assert result["relative_loss"] == pytest.approx(result["loss"] / np.log(47), rel=1e-4)


def test_a_model_can_be_evaluated_before_fit(make_model, labeled_images):
    model = make_model()
    model.compile("sgd")
    assert len(model.evaluate(labeled_images[0], verbose=0)) == 3


@pytest.mark.usefixtures("compiled")
def test_evaluating_twice_gives_the_same_result(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    first = model.evaluate(labeled_images[0], batch_size=8, verbose=0)
    assert model.evaluate(labeled_images[0], batch_size=8, verbose=0) == first


@pytest.mark.every_backend
def test_validation_leaves_training_unchanged(make_model, labeled_images):
    without, with_validation = make_model(), make_model()
    without.fit(labeled_images[0], epochs=2, verbose=0)
    history = with_validation.fit(
        labeled_images[0], epochs=2, validation_data=labeled_images[0][:9], verbose=0
    )
    assert_equal_weights(without, with_validation)
    assert len(history.history["val_contrastive_accuracy"]) == 2


def test_validation_split_holds_out_the_last_images(make_model, labeled_images):
    history = make_model().fit(labeled_images[0], validation_split=0.25, batch_size=9, verbose=0)
    assert "val_loss" in history.history


@pytest.mark.every_backend
def test_a_seed_repeats_a_run(make_model, labeled_images):
    one, other = make_model(seed=5), make_model(seed=5)
    one.fit(labeled_images[0], epochs=2, verbose=0)
    other.fit(labeled_images[0], epochs=2, verbose=0)
    assert_equal_weights(one, other)


def test_another_seed_gives_another_run(make_model, labeled_images):
    one, other = make_model(seed=5), make_model(seed=6)
    one.build((None, 12, 12, 3))
    other.build((None, 12, 12, 3))
    other.set_weights(one.get_weights())
    one.fit(labeled_images[0], verbose=0)
    other.fit(labeled_images[0], verbose=0)
    assert not np.array_equal(weights(one)[0], weights(other)[0])


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_steps_draw_different_views(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    model.build((None, 12, 12, 3))
    model.projection_head.stack[1].momentum = 0.0
    losses = [model.train_on_batch(labeled_images[0])[0] for _ in range(3)]
    singles = [losses[0], 2 * losses[1] - losses[0]]  # train_on_batch reports running means
    assert singles[0] != pytest.approx(singles[1], rel=1e-6)


@pytest.mark.usefixtures("compiled")
def test_a_short_last_batch_is_used(make_model, labeled_images):
    model = make_model()
    data = ArrayDataset(labeled_images[0], batch_size=10)  # 10, 10, 4
    model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 3


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", ["arrays of known size", "unknown size"])
def test_a_batch_of_one_changes_nothing_and_warns(kind, make_model, labeled_images):
    model = make_model()
    model.compile("sgd")
    if kind == "unknown size":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices(labeled_images[0]).batch(23)
    else:
        data = ArrayDataset(labeled_images[0], batch_size=23)
    with pytest.warns(UserWarning, match="batch of one image was skipped"):
        model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 1


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_training_works_with_xla(make_model, labeled_images):
    model = make_model()
    model.compile("sgd", jit_compile=keras.backend.backend() != "torch")
    assert np.isfinite(model.fit(labeled_images[0], verbose=0).history["loss"]).all()


@pytest.mark.every_backend
def test_a_loss_that_is_not_finite_raises(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.SGD(1e30))
    with pytest.raises(ArithmeticError, match="loss became"):
        model.fit(labeled_images[0], epochs=5, batch_size=8, verbose=0)


def test_zero_epochs_train_nothing(make_model, labeled_images):
    model = make_model()
    history = model.fit(labeled_images[0], epochs=0, verbose=0)
    assert history.epoch == [] and not model.pretrained


@pytest.mark.parametrize("weights", [{"class_weight": {0: 1.0}}, {"sample_weight": np.ones(24)}])
def test_class_and_sample_weights_are_refused_in_pretraining(weights, make_model, labeled_images):
    with pytest.raises(ValueError, match="not supported in pretraining"):
        make_model().fit(labeled_images[0], verbose=0, **weights)


def test_an_argument_unknown_to_keras_is_refused(make_model, labeled_images):
    with pytest.raises(TypeError, match="workers"):
        make_model().fit(labeled_images[0], workers=4)


def test_arguments_are_in_the_order_of_keras():
    import inspect

    from keras_simclr import SimCLR

    for name in ("fit", "evaluate", "predict", "compile"):
        ours = list(inspect.signature(getattr(SimCLR, name)).parameters)
        theirs = list(inspect.signature(getattr(keras.Model, name)).parameters)
        assert ours == theirs


def test_a_dataset_of_unknown_length_requires_steps_per_epoch(make_model, labeled_images):
    with pytest.raises(ValueError, match="`steps_per_epoch`"):
        make_model().fit(iter([labeled_images[0], labeled_images[0]]))


def endless_kinds(images):
    import grain
    import tensorflow as tf
    import torch

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.tensor(images))

    dataset = tf.data.Dataset.from_tensor_slices(images)
    return {
        "tf.data": dataset.filter(lambda image: True).batch(12),
        "grain": grain.MapDataset.source(images).to_iter_dataset().batch(12),
        "IterableDataset": torch.utils.data.DataLoader(Stream(), batch_size=12),
    }


@pytest.mark.parametrize("kind", ["tf.data", "grain", "IterableDataset"])
def test_a_dataset_of_unknown_length_is_read_again(kind, make_model, labeled_images):
    model = make_model()
    data = endless_kinds(labeled_images[0])[kind]  # two batches
    history = model.fit(data, epochs=3, steps_per_epoch=2, verbose=0)
    assert int(model.optimizer.iterations) == 6 and len(history.history["loss"]) == 3


@pytest.mark.parametrize("kind", ["tf.data", "grain", "IterableDataset", "known length"])
def test_an_epoch_can_have_more_steps_than_one_pass(kind, make_model, labeled_images):
    import tensorflow as tf

    model = make_model()
    data = {
        **endless_kinds(labeled_images[0]),
        "known length": tf.data.Dataset.from_tensor_slices(labeled_images[0]).batch(12),
    }[kind]
    model.fit(data, epochs=2, steps_per_epoch=3, verbose=0)
    assert int(model.optimizer.iterations) == 6


def test_a_loader_of_images_alone_is_read(make_model, labeled_images):
    import torch

    model = make_model()
    loader = torch.utils.data.DataLoader(torch.tensor(labeled_images[0]), batch_size=8)
    model.fit(loader, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 6
    np.testing.assert_allclose(
        model.predict(loader, verbose=0), model.predict(labeled_images[0], verbose=0), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", ["uint16", "int32", "int64", "float64"])
@pytest.mark.parametrize("kind", ["tf.data", "DataLoader"])
def test_datasets_of_wide_dtypes_can_be_trained_on(kind, dtype, make_model, labeled_images):
    model = make_model()
    data = datasets(labeled_images[0].astype(dtype), labeled_images[1])[kind]
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
    np.testing.assert_allclose(
        model.predict(data, verbose=0), model.predict(labeled_images[0], verbose=0), rtol=1e-5
    )


def crops(image_size):
    """Return an augmenter that compiles faster than one with all transforms."""
    return SimCLRAugmenter(image_size, seed=2, **CROP_AND_FLIP)


def decoded(images):
    """Return tf.data of decoded images, whose height and width TensorFlow does not know."""
    import tensorflow as tf

    files = [tf.io.encode_png(image).numpy() for image in images]
    files = tf.data.Dataset.from_tensor_slices(files)
    return files.map(lambda file: tf.io.decode_png(file, channels=3))


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("augmenter", "micro_batch_size"),
    [
        (lambda: None, None),
        (lambda: crops(12), 4),
        (lambda: keras.layers.RandomFlip(seed=1), None),
    ],
    ids=["", "micro-batches", "flip"],
)
def test_images_without_static_size_train_the_same_way(
    augmenter, micro_batch_size, make_model, labeled_images
):
    options = {"micro_batch_size": micro_batch_size}
    losses = []
    for data in (decoded(labeled_images[0]).batch(8), datasets(*labeled_images)["tf.data"]):
        model = make_model(augmenter=augmenter(), **options)
        losses.append(model.fit(data, epochs=2, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_batches_of_different_sizes_can_be_trained_on(make_model, labeled_images):
    images = labeled_images[0]
    sizes = [images[:8], np.pad(images[8:16], ((0, 0), (2, 3), (0, 5), (0, 0))), images[16:, 1:]]
    data = decoded(sizes[0]).batch(8)
    for more in sizes[1:]:
        data = data.concatenate(decoded(more).batch(8))
    model = make_model(image_size=12)
    assert np.isfinite(model.fit(data, epochs=2, verbose=0).history["loss"]).all()
    assert int(model.optimizer.iterations) == 6
    assert model.predict(data, verbose=0).shape == (24, 8)
    assert np.isfinite(model.evaluate(data, verbose=0)).all()


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_images_without_a_static_rank_can_be_trained_on(make_model, labeled_images):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(labeled_images)

    def forget(image, label):
        return tf.numpy_function(lambda value: value, [image], tf.uint8), label

    data = data.map(forget).batch(8)
    model = make_model(augmenter=crops(12))
    expected = (
        make_model(augmenter=crops(12))
        .fit(datasets(*labeled_images)["tf.data"], verbose=0)
        .history["loss"]
    )
    assert model.fit(data, verbose=0).history["loss"] == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(model.evaluate(data, verbose=0)).all()
    assert model.predict(data, verbose=0).shape == (24, 8)
    assert int(model.fine_tune(data, epochs=1, verbose=0).optimizer.iterations) == 3


def test_a_generator_that_ends_too_early_warns(make_model, labeled_images):
    generator = (labeled_images[0][i : i + 8] for i in range(0, 24, 8))
    with pytest.warns(UserWarning, match="ran out of data"):
        make_model().fit(generator, steps_per_epoch=5, verbose=0)


def test_the_end_of_a_dataset_of_unknown_length_does_not_warn(make_model, labeled_images):
    data = endless_kinds(labeled_images[0])["tf.data"]
    model = make_model()
    model.compile("sgd")
    model.fit(data, epochs=2, validation_data=data, verbose=0)
    assert int(model.optimizer.iterations) == 4
    assert model.predict(data, verbose=0).shape == (24, 8)


def test_each_batch_has_its_own_views_while_gradients_accumulate(make_model, labeled_images):
    steps = []

    class Draws(SimCLRAugmenter):
        def sample(self, *arguments, **options):
            crops = super().sample(*arguments, **options)
            steps.append(np.array(keras.ops.convert_to_numpy(crops.crop.top)).tolist())
            return crops

    model = make_model(augmenter=Draws(**CROP_AND_FLIP, seed=2))
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    model.compile(optimizer, run_eagerly=True)
    model.fit(labeled_images[0], batch_size=6, verbose=0)
    drawn = {tuple(top) for top in steps if len(top) == 12}
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 2
    assert len(drawn) == 4


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_gradients_can_accumulate(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    history = model.fit(labeled_images[0], batch_size=6, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_no_epochs_do_not_count_as_pretraining(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], epochs=2, initial_epoch=2, verbose=0)
    assert not model.pretrained
