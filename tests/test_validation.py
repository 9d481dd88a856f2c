import math

import numpy as np
import pytest

from keras_simclr.validation import (
    check_choice,
    check_interval,
    check_normalization,
    check_number,
    check_positive,
    check_positive_integer,
    check_probability,
    check_value_range,
    is_integer,
    is_number,
    is_pair,
    size_pair,
)

pytestmark = pytest.mark.once


@pytest.mark.parametrize("value", [0, -1.5, np.float32(2), np.int64(3)])
def test_finite_numbers_are_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1", None, [1], np.ones(2)])
def test_anything_else_is_not_a_number(value):
    assert not is_number(value)


@pytest.mark.parametrize("value", [0, -3, np.int64(3), np.uint8(3)])
def test_integers_of_python_and_numpy_are_integers(value):
    assert is_integer(value)


@pytest.mark.parametrize("value", [1.0, True, np.float32(1), "1", None])
def test_anything_else_is_not_an_integer(value):
    assert not is_integer(value)


@pytest.mark.parametrize("value", [(0, 1), [0.5, -1], (np.float32(1), 2)])
def test_two_numbers_are_a_pair(value):
    assert is_pair(value)


@pytest.mark.parametrize("value", [(0,), (0, 1, 2), (0, None), (0, math.inf), "01", 1, None])
def test_anything_else_is_not_a_pair(value):
    assert not is_pair(value)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_numbers_at_and_between_the_bounds_pass(value):
    check_number("strength", value, 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "high", None])
def test_numbers_beyond_the_bounds_are_refused(value):
    with pytest.raises(ValueError, match=r"`strength` must .*\[0, 1\]. Received: strength="):
        check_number("strength", value, 0, 1)


def test_a_number_may_have_only_a_lower_bound():
    check_number("strength", 1e9, 0)
    with pytest.raises(ValueError, match="must be a number of at least 0. Received: strength=-1.0"):
        check_number("strength", -1.0, 0)


@pytest.mark.parametrize("value", [0, 1, 0.3])
def test_probabilities_pass(value):
    check_probability("factor", value)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_not_a_probability_is_refused(value):
    with pytest.raises(ValueError, match=f"`factor` must .* Received: factor={value}"):
        check_probability("factor", value)


def test_positive_numbers_pass():
    check_positive("temperature", 1e-6)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, "0.1"])
def test_a_number_that_is_not_positive_is_refused_with_the_cure(value):
    expected = f"`temperature` must be positive. Received: temperature={value!r}. Use 0.1."
    with pytest.raises(ValueError) as error:
        check_positive("temperature", value, "Use 0.1.")
    assert str(error.value) == expected


def test_without_a_cure_the_error_ends_with_what_was_received():
    with pytest.raises(ValueError, match=r"temperature=0\.$"):
        check_positive("temperature", 0)


@pytest.mark.parametrize("value", [1, np.int32(5)])
def test_positive_integers_pass(value):
    check_positive_integer("k", value)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, None])
def test_what_is_not_a_positive_integer_is_refused(value):
    with pytest.raises(ValueError, match=f"`k` must be a positive integer. Received: k={value}"):
        check_positive_integer("k", value)


def test_an_integer_below_its_minimum_is_refused():
    check_positive_integer("size", 8, min_=8)
    with pytest.raises(ValueError, match="`size` must be an integer of at least 8. .*size=7"):
        check_positive_integer("size", 7, min_=8)


def test_an_unknown_choice_lists_the_known_ones():
    check_choice("border", "zeros", ("zeros", "renormalize"))
    with pytest.raises(ValueError) as error:
        check_choice("border", "mirror", ("zeros", "renormalize"))
    assert str(error.value) == (
        "`border` must be one of 'zeros', 'renormalize'. Received: border='mirror'."
    )


@pytest.mark.parametrize("interval", [(0.1, 2.0), [1, 1]])
def test_an_interval_is_returned_as_a_tuple(interval):
    assert check_interval("scale", interval) == tuple(interval)


@pytest.mark.parametrize("interval", [(0, 1), (2, 1), (1, 3), (1,), 1, None, "12"])
def test_what_is_not_an_interval_of_positive_numbers_is_refused(interval):
    with pytest.raises(
        ValueError,
        match=r"must be \(lower, upper\), positive numbers of at most 2. .* scale=",
    ):
        check_interval("scale", interval, max_=2)


@pytest.mark.parametrize("value_range", [(0, 255), [-1.0, 1.0]])
def test_a_value_range_is_returned_as_a_tuple(value_range):
    assert check_value_range(value_range) == tuple(value_range)


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), 255, (0, 1, 2), None])
def test_what_is_not_a_value_range_is_refused(value_range):
    with pytest.raises(ValueError, match=r"`value_range` must be .*\(0, 255\). Received: "):
        check_value_range(value_range)


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [(32, (32, 32)), ((32, 48), (32, 48)), ([32.0, 48], (32, 48)), (None, None)],
)
def test_an_image_size_is_returned_as_height_and_width(image_size, expected):
    assert size_pair(image_size) == expected


@pytest.mark.parametrize("image_size", [0, -1, 2.5, (32,), (32, 0), "32", (1, 2, 3)])
def test_what_is_not_an_image_size_is_refused(image_size):
    with pytest.raises(ValueError, match="`image_size` must be .height, width. in pixels"):
        size_pair(image_size)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [((0, 1), (0, 1)), ([[0.5, 0.4], 2], ((0.5, 0.4), 2)), (((0, 0), (1, 2)), ((0, 0), (1, 2)))],
)
def test_a_normalization_is_returned_as_tuples(normalization, expected):
    assert check_normalization(normalization) == expected


@pytest.mark.parametrize(
    "normalization",
    [1, (0,), (0, 0), (0, -1), ("0", 1), ((0, 0), (1, 1, 1)), ((), ()), (0, (1, 0)), None],
)
def test_what_is_not_a_normalization_is_refused(normalization):
    with pytest.raises(ValueError, match="`normalization` must be .mean, standard deviation."):
        check_normalization(normalization)


def test_a_normalization_has_a_number_for_each_channel():
    with pytest.raises(ValueError, match="one number for each of the 3 channels. Received: "):
        check_normalization(((0, 0), 1), channels=3)
