"""Validation of arguments: numbers, pairs, sizes and ranges."""

import math
import numbers


def is_number(value):
    """Return whether `value` is a finite number."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def is_integer(value):
    """Return whether `value` is a Python or NumPy integer."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_pair(value):
    """Return whether `value` is a tuple or list of two finite numbers."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(is_number, value))


def check_number(name, value, min_=-math.inf, max_=math.inf):
    """Raise a ValueError unless `value` is a finite number in [min_, max_]."""
    if is_number(value) and min_ <= value <= max_:
        return
    bounds = f"in [{min_}, {max_}]" if max_ < math.inf else f"of at least {min_}"
    raise ValueError(f"`{name}` must be a number {bounds}. Received: {name}={value!r}.")


def check_probability(name, value):
    """Raise a ValueError unless `value` lies in [0, 1]."""
    check_number(name, value, 0, 1)


def check_positive(name, value, cure=""):
    """Raise a ValueError unless `value` is a positive number.

    Args:
        name: Name of the argument.
        value: Value of the argument.
        cure: Sentence that ends the error message.
    """
    if not is_number(value) or value <= 0:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value!r}. {cure}".strip())


def check_positive_integer(name, value, min_=1):
    """Raise a ValueError unless `value` is an integer of at least `min_`."""
    if not is_integer(value) or value < min_:
        what = "a positive integer" if min_ == 1 else f"an integer of at least {min_}"
        raise ValueError(f"`{name}` must be {what}. Received: {name}={value!r}.")


def check_choice(name, value, choices):
    """Raise a ValueError that lists the choices unless `value` is one of them."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"`{name}` must be one of {known}. Received: {name}={value!r}.")


def check_interval(name, interval, max_=math.inf):
    """Return (lower, upper), or raise a ValueError unless 0 < lower <= upper <= max_."""
    if not is_pair(interval) or not 0 < interval[0] <= interval[1] <= max_:
        bound = f" of at most {max_}" if max_ < math.inf else ""
        raise ValueError(
            f"`{name}` must be (lower, upper), positive numbers{bound}. "
            f"Received: {name}={interval!r}."
        )
    return tuple(interval)


def check_value_range(value_range):
    """Return (lower, upper), or raise a ValueError unless lower < upper."""
    if not is_pair(value_range) or not value_range[0] < value_range[1]:
        raise ValueError(
            "`value_range` must be (lower, upper), such as (0, 255). Received: "
            f"value_range={value_range!r}."
        )
    return tuple(value_range)


def size_pair(image_size):
    """Return an `image_size`, which may be an int, as (height, width); None stays None."""
    if image_size is None:
        return None
    pair = (image_size, image_size) if is_number(image_size) else image_size
    if not is_pair(pair) or any(side < 1 or side != int(side) for side in pair):
        raise ValueError(
            f"`image_size` must be (height, width) in pixels, or an int. Received: "
            f"image_size={image_size!r}."
        )
    return tuple(int(side) for side in pair)


def check_normalization(normalization, channels=None):
    """Return (mean, deviation) with tuples for lists, or raise a ValueError.

    Args:
        normalization: (mean, deviation), each a number or a sequence of one number per channel.
        channels: Number of channels. Defaults to None: any.
    """
    is_two = isinstance(normalization, (tuple, list)) and len(normalization) == 2
    parts = (
        [tuple(p) if isinstance(p, (tuple, list)) else p for p in normalization] if is_two else []
    )
    values = [part if isinstance(part, tuple) else (part,) for part in parts]
    lengths = {len(part) for part in parts if isinstance(part, tuple)}
    valid = is_two and all(values) and all(map(is_number, sum(values, ())))
    if not valid or min(values[1]) <= 0 or len(lengths) > 1:
        raise ValueError(
            "`normalization` must be (mean, standard deviation) of images in [0, 1], each a number "
            f"or one number per channel. Received: normalization={normalization!r}."
        )
    if channels is not None and lengths - {channels}:
        raise ValueError(
            f"`normalization` must have one number for each of the {channels} channels. Received: "
            f"normalization={normalization!r}."
        )
    return tuple(parts)
