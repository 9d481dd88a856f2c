import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_simclr.optimizers import LARS, ConvMuon, pretraining_recipe, recipes, warmup_cosine

SCHEDULES = json.loads((Path(__file__).parents[1] / "golden" / "schedule.json").read_text())
PRESETS = [name for name, value in vars(recipes).items() if isinstance(value, recipes.Recipe)]


def rate(optimizer, step):
    """Return the learning rate of an optimizer at a step."""
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


def authors_peak(settings):
    batch = settings["train_batch_size"]
    scale = batch / 256 if settings["learning_rate_scaling"] == "linear" else math.sqrt(batch)
    return settings["base_learning_rate"] * scale


@pytest.mark.parametrize("case", range(6))
def test_the_schedule_is_that_of_the_authors(case):
    reference = SCHEDULES[case]
    peak = authors_peak(reference["settings"])
    schedule = warmup_cosine(peak, reference["total_steps"], reference["warmup_steps"])
    found = [float(schedule(step)) for step in reference["steps"]]
    one_rounding = np.spacing(np.float32(peak))
    np.testing.assert_allclose(found, reference["values"], rtol=0, atol=one_rounding)


def test_the_schedule_stays_at_zero_after_its_end():
    schedule = warmup_cosine(2.0, 100, 10)
    assert float(schedule(100)) == float(schedule(1000)) == 0


def test_without_a_warm_up_the_first_rate_is_the_peak():
    assert float(warmup_cosine(3, 10)(0)) == 3.0


def test_a_schedule_may_have_a_single_step():
    assert float(warmup_cosine(0.5, 1)(0)) == 0.5


def test_a_schedule_without_steps_is_refused():
    with pytest.raises(ValueError, match="`total_steps` must be positive. Received: total_steps=0"):
        warmup_cosine(1.0, 0)


@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_a_warm_up_that_leaves_no_step_for_the_cosine_is_refused(warmup_steps):
    received = f"Received: warmup_steps={warmup_steps}, total_steps=10"
    with pytest.raises(ValueError, match=f"`warmup_steps` must be at least 0 and .* {received}"):
        warmup_cosine(1.0, 10, warmup_steps)


@pytest.mark.parametrize("size", [(32, 32), (28, 32), (8, 8)])
def test_views_of_up_to_32_pixels_have_the_cifar_recipe(size):
    assert pretraining_recipe(*size) is recipes.CIFAR


@pytest.mark.parametrize("size", [(33, 32), (32, 96), (224, 224)])
def test_larger_views_have_the_imagenet_recipe(size):
    assert pretraining_recipe(*size) is recipes.IMAGENET


@pytest.mark.parametrize(
    ("size", "epochs", "preset"),
    [
        (32, 1, "FEW_EPOCHS"),
        (32, 100, "FEW_EPOCHS"),
        (32, 101, "CIFAR"),
        (96, 100, "FEW_EPOCHS"),
        (96, 101, "IMAGENET"),
    ],
)
def test_few_epochs_have_their_own_recipe(size, epochs, preset):
    assert pretraining_recipe(size, size, epochs=epochs) is getattr(recipes, preset)


def test_few_epochs_are_trained_with_muon_at_0_018_for_a_batch_of_256():
    optimizer = recipes.FEW_EPOCHS.make_optimizer(256, 780, 39)
    assert isinstance(optimizer, ConvMuon)
    assert optimizer.momentum == 0.9 and optimizer.nesterov
    assert optimizer.weight_decay == optimizer.adam_weight_decay == 0.1
    assert rate(optimizer, 78) == pytest.approx(1.76e-2)
    assert recipes.FEW_EPOCHS.temperature == 0.1
    assert recipes.FEW_EPOCHS.crop_area == (0.2, 1.0)


def test_imagenet_is_pretrained_with_lars_at_4_8_for_a_batch_of_4096():
    optimizer = recipes.IMAGENET.make_optimizer(4096, 31_200, 312)
    assert isinstance(optimizer, LARS)
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == 1e-4
    assert recipes.IMAGENET.temperature == 0.1
    assert rate(optimizer, 0) == 0
    assert rate(optimizer, 1560) == pytest.approx(2.4)  # halfway up
    assert rate(optimizer, 3120) == pytest.approx(4.8)  # after 10 epochs
    assert rate(optimizer, 3120 + 14_040) == pytest.approx(2.4)  # halfway down
    assert rate(optimizer, 31_200) == 0


def test_cifar_is_pretrained_with_lars_at_2_0_for_a_batch_of_512():
    optimizer = recipes.CIFAR.make_optimizer(512, 97_000, 97)
    assert isinstance(optimizer, LARS)
    assert optimizer.weight_decay == 1e-4
    assert recipes.CIFAR.temperature == 0.5
    assert rate(optimizer, 970) == pytest.approx(2.0)


def test_small_batches_of_imagenet_follow_the_first_authors_advice():
    recipe = recipes.IMAGENET_SMALL_BATCH
    assert recipe.temperature == 0.2
    assert recipe.peak_rate(256) == pytest.approx(1.2)


def test_small_batches_of_cifar_follow_the_first_authors_advice():
    recipe = recipes.CIFAR_SMALL_BATCH
    assert recipe.temperature == 0.2
    assert recipe.peak_rate(256) == pytest.approx(3.2)


def test_linear_evaluation_is_nesterov_sgd_without_warm_up_and_decay():
    optimizer = recipes.LINEAR_EVALUATION.make_optimizer(512, 1000, 10)
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert optimizer.nesterov
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == 0
    assert rate(optimizer, 0) == pytest.approx(0.2)
    assert rate(optimizer, 500) == pytest.approx(0.1)
    assert rate(optimizer, 1000) == 0


@pytest.mark.parametrize(
    ("name", "peak", "epochs"),
    [
        ("FINE_TUNE_1_PERCENT", 0.16, 60),
        ("FINE_TUNE_10_PERCENT", 0.16, 30),
        ("FINE_TUNE_WIDE", 0.064, 30),
    ],
)
def test_fine_tuning_is_lars_without_warm_up_and_decay(name, peak, epochs):
    recipe = getattr(recipes, name)
    optimizer = recipe.make_optimizer(1024, 1000, 100)
    assert isinstance(optimizer, LARS)
    assert optimizer.weight_decay == 0
    assert recipe.epochs == epochs
    assert rate(optimizer, 0) == pytest.approx(peak)


def test_few_labels_are_trained_with_adamw():
    optimizer = recipes.FEW_LABELS.make_optimizer(64, 300, 10)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert rate(optimizer, 0) == pytest.approx(1e-3)
    assert rate(optimizer, 150) == pytest.approx(5e-4)


def test_few_labels_of_a_pretrained_encoder_have_a_lower_rate():
    optimizer = recipes.FEW_LABELS_PRETRAINED.make_optimizer(64, 300, 10)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    assert optimizer.weight_decay == recipes.FEW_LABELS.weight_decay
    assert rate(optimizer, 0) == pytest.approx(3e-4)


def test_ten_thousand_labels_are_many():
    assert recipes.MANY_LABELS == 10_000


@pytest.mark.parametrize(
    ("total_steps", "steps_per_epoch", "warmup_steps"),
    [(1000, 10, 100), (500, 10, 50), (5000, 10, 100), (9, 3, 0), (1, 1, 0)],
)
def test_the_warm_up_is_ten_epochs_or_a_tenth_of_the_steps(
    total_steps, steps_per_epoch, warmup_steps
):
    assert recipes.CIFAR.warmup_steps(total_steps, steps_per_epoch) == warmup_steps


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset):
    optimizer = getattr(recipes, preset).make_optimizer(4, 1, 1)
    w = keras.Variable([3.0, 4.0], name="kernel")
    optimizer.apply([keras.ops.array([1.0, 1.0])], [w])
    assert (keras.ops.convert_to_numpy(w) < [3.0, 4.0]).all()


def test_one_line_describes_the_plan():
    assert recipes.IMAGENET.describe(4096, 31_200, 312) == (
        "LARS, peak rate 4.8, warm-up 3120 of 31200 steps, temperature 0.1"
    )


def test_the_line_has_the_temperature_of_the_loss():
    assert "temperature 0.07" in recipes.CIFAR.describe(256, 100, 10, temperature=0.07)


def test_the_line_has_no_temperature_for_training_with_labels():
    assert recipes.FEW_LABELS.describe(64, 300, 10) == (
        "AdamW, peak rate 0.001, warm-up 0 of 300 steps"
    )


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipes.CIFAR.rate = 2.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"optimizer": "adam"},
            "`optimizer` must be one of 'adamw', 'lars', 'muon', 'sgd'. Received: optimizer='adam'",
        ),
        ({"scaling": "cubic"}, "`scaling` must be one of 'constant', 'linear', 'sqrt'"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(recipes.CIFAR, **wrong)
