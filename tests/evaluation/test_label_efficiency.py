import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr.evaluation import label_efficiency, linear_probe
from keras_simclr.plotting import plot_label_efficiency

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]
SHORT = {"steps": 2, "batch_size": 8}


@pytest.fixture
def features(rng):
    """Return noisy features of three classes: 60 to train on and 30 to test on."""
    labels = np.arange(90) % 3
    rows = rng.normal(size=(90, 6)) + 2 * np.eye(3, 6)[labels]
    return (rows[:60], labels[:60]), (rows[60:], labels[60:])


@pytest.fixture
def images(labeled_images):
    data, labels = labeled_images
    return (data[:16], labels[:16]), (data[16:], labels[16:])


def test_features_are_probed_with_few_labels_and_with_all(features):
    result = label_efficiency(None, *features, labels=(1, 0.25, 1.0), draws=2)
    assert list(result.accuracies) == ["linear probe"]
    assert {n: len(v) for n, v in result.accuracies["linear probe"].items()} == {3: 2, 15: 2, 60: 1}
    train, test = features
    assert result.mean("linear probe", 60) == linear_probe(*train).score(*test)


def test_mean_and_standard_error_are_those_of_the_draws(features):
    result = label_efficiency(None, *features, labels=(1,), draws=4)
    values = result.accuracies["linear probe"][3]
    assert len(set(values)) > 1
    assert result.mean("linear probe", 3) == pytest.approx(sum(values) / 4)
    assert result.standard_error("linear probe", 3) == pytest.approx(np.std(values, ddof=1) / 2)


def test_a_single_draw_has_no_standard_error(features):
    result = label_efficiency(None, *features, labels=(1.0,))
    assert result.standard_error("linear probe", 60) is None
    assert "±" not in str(result).splitlines()[2]


def test_draws_are_balanced_and_repeatable(features):
    (rows, labels), test = features
    fewer = rows[:50], np.sort(labels[:50])  # 17, 17 and 16 of a class
    one, again = (label_efficiency(None, fewer, test, labels=(0.3, 2), seed=5) for _ in range(2))
    assert list(one.names.values()) == ["30 %", "2 per class"]
    assert list(one.names) == [15, 6]
    assert one.accuracies == again.accuracies
    other = label_efficiency(None, fewer, test, labels=(0.3, 2), seed=50)
    assert other.accuracies != one.accuracies


@pytest.mark.every_backend
def test_a_model_is_compared_by_all_methods(pretrained, images, capsys):
    before = [np.array(w) for w in pretrained.get_weights()]
    result = label_efficiency(pretrained, *images, labels=(2,), draws=2, verbose=1, **SHORT)
    assert list(result.accuracies) == ["fine-tuned", "linear probe", "from scratch"]
    assert all(0 <= v <= 1 for m in result.accuracies.values() for v in m[4])
    for old, new in zip(before, pretrained.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert capsys.readouterr().out.count("2 per class, draw 1, from scratch: ") == 1
    lines = str(result).splitlines()
    assert "on 8 test images" in lines[0] and "2 class-balanced draws" in lines[0]
    assert lines[2].startswith("2 per class (4)") and lines[2].count("±") == 3


def test_pixels_can_be_probed(pretrained, images):
    result = label_efficiency(pretrained, *images, labels=(1.0,), methods=("pixels",))
    flat = [(rows.reshape(len(rows), -1), labels) for rows, labels in images]
    assert result.mean("pixels", 16) == linear_probe(*flat[0]).score(*flat[1])


def test_from_scratch_is_credited_with_the_better_rate(pretrained, images):
    def of(*rates):
        options = {"labels": (1.0,), "methods": ("from scratch",), "scratch_rates": rates}
        options |= {"steps": 12, "batch_size": 8}
        return label_efficiency(pretrained, *images, **options).mean("from scratch", 16)

    alone = [of(1e-6), of(0.03)]
    assert of(1e-6, 0.03) == max(alone)


def test_classes_may_be_strings(features):
    names = np.array(["cat", "dog", "ship"])
    named = [(rows, names[labels]) for rows, labels in features]
    one = label_efficiency(None, *named, labels=(2,))
    assert one.accuracies == label_efficiency(None, *features, labels=(2,)).accuracies


def test_an_encoder_is_only_probed(pretrained, images):
    result = label_efficiency(pretrained.encoder, *images, labels=(2,))
    assert list(result.accuracies) == ["linear probe"]


def test_results_convert_to_json_and_can_be_plotted(features):
    result = label_efficiency(None, *features, labels=(1, 5), draws=2)
    assert json.loads(json.dumps(result.to_dict()))["names"] == {
        "3": "1 per class",
        "15": "5 per class",
    }
    axes = plot_label_efficiency(result.per_class()).axes[0]
    assert axes.get_xticks().tolist() == [1, 5]


def test_an_encoder_cannot_be_fine_tuned(pretrained, images):
    with pytest.raises(ValueError, match="Only a `SimCLR` can be fine-tuned.*Pass the `SimCLR`"):
        label_efficiency(pretrained.encoder, *images, methods=("fine-tuned",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ()}, "`labels` must be integers"),
        ({"labels": (0,)}, "`labels` must be integers.*Received: labels=\\(0,\\)"),
        ({"labels": (1.5,)}, "`labels` must be integers"),
        ({"labels": (1, 0.01)}, "different numbers of labels"),
        ({"labels": (21,)}, "at most the number of images of each class. Received: 21"),
        ({"draws": 0}, "`draws` must be a positive integer"),
        ({"methods": ("best",)}, "`methods` must be one of 'fine-tuned'"),
        ({"C": -1.0}, "`C` must be positive"),
        ({"scratch_rates": ()}, "`scratch_rates` must not be empty"),
        ({"labels": (1,), "C": "auto"}, "at least 2 labels per class"),
    ],
)
def test_bad_arguments_are_refused(options, message, features):
    with pytest.raises(ValueError, match=message):
        label_efficiency(None, *features, **options)


def test_a_class_that_is_only_tested_is_refused(features):
    train, (rows, labels) = features
    with pytest.raises(ValueError, match=r"must be among those of `train`. Received: \[3\]"):
        label_efficiency(None, train, (rows, labels + 1))


def test_the_same_network_is_trained_from_scratch(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    model.encoder.trainable = False
    copies = [model.untrained_copy(seed) for seed in (3, 3, 4)]
    first, again, other = ([np.array(w) for w in copy.get_weights()] for copy in copies)
    assert [w.shape for w in first] == [w.shape for w in model.get_weights()]
    kernels = [i for i, w in enumerate(first) if w.ndim > 1]
    assert all(np.array_equal(first[i], again[i]) for i in range(len(first)))
    for i in kernels:
        assert not np.array_equal(first[i], other[i])
        assert not np.array_equal(first[i], model.get_weights()[i])
    assert copies[0].encoder.trainable_variables and not copies[0].pretrained


def test_a_network_of_lambdas_can_be_trained_from_scratch(make_model, labeled_images):
    from keras_simclr import SimCLR

    network = keras.Sequential([layers.Lambda(lambda x: x / 255), layers.Conv2D(4, 3, strides=4)])
    model = SimCLR(network, seed=0)
    model.build((None, 12, 12, 3))
    assert model.untrained_copy(1).encoder.output_shape == (None, 4)
