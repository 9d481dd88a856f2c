"""LARS, the optimizer for large batches."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_simclr.keras_internals import uses_weight_decay, variable_index
from keras_simclr.validation import check_number, check_positive, is_number

BIASES_AND_NORMS = ("bias$", "gamma$", "beta$", "head_supervised")


@keras.saving.register_keras_serializable(package="keras_simclr")
class LARS(keras.optimizers.Optimizer):
    r"""Layer-wise adaptive rate scaling: SGD with momentum, its steps scaled by the weights' norms.

    With `|x|` the Euclidean norm of a whole variable, a variable `w` with gradient `g` and
    momentum `v` is updated by

    ```
    g = g + weight_decay * w
    ratio = trust_coefficient * |w| / |g|    (1 where either norm is 0)
    v = momentum * v + learning_rate * ratio * g
    w = w - v
    ```

    `nesterov=True` subtracts `momentum * v + learning_rate * ratio * g` instead of `v`.
    `classic_momentum=False` keeps the learning rate out of the momentum: `v = momentum * v + g`,
    the update is `u = v` (with Nesterov `u = momentum * v + g`), the ratio is
    `trust_coefficient * |w| / |u|`, and `w = w - learning_rate * ratio * u`.

    Half-precision variables are updated in float32.

    Args:
        learning_rate: Float, or a `keras.optimizers.schedules.LearningRateSchedule`. Defaults to
            0.3, the rate of SimCLR for a batch of 256; for others, `0.3 * batch_size / 256`.
        momentum: Float, at least 0 and below 1. Defaults to 0.9.
        weight_decay: Float of at least 0, the L2 penalty added to the gradient. Defaults to 1e-4.
        trust_coefficient: Positive float. Defaults to 0.001.
        nesterov: Whether to use Nesterov momentum. Defaults to False.
        classic_momentum: Whether the learning rate is part of the momentum. Defaults to True.
        exclude: Regular expressions, searched in the path of each variable. A variable in which
            one is found has neither weight decay nor adaptation (its ratio is 1). Defaults to
            biases, gamma and beta of normalization layers, and the authors' supervised head.
        exclude_from_adaptation: Regular expressions like `exclude`, for the adaptation only;
            `exclude` is then for the weight decay only. Defaults to None, the same as `exclude`.
        name: Name of the optimizer. Defaults to "lars".
        **kwargs: `clipnorm`, `global_clipnorm`, `use_ema`, `gradient_accumulation_steps` and the
            other arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If a number is out of range, or a pattern is not a regular expression.

    Example:
    The length of a first step is `learning_rate * trust_coefficient * |w|`, whatever the gradient.
    >>> w = keras.Variable([3.0, 4.0], name="kernel")
    >>> optimizer = LARS(1.0, weight_decay=0.0, trust_coefficient=0.1)
    >>> optimizer.apply([ops.array([0.0, 7.0])], [w])
    >>> ops.convert_to_numpy(w).tolist()
    [3.0, 3.5]

    References:
        You et al. 2017 (arXiv:1708.03888), as used by Chen et al. 2020 (arXiv:2002.05709),
        section 2.2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.3,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        trust_coefficient: float = 0.001,
        nesterov: bool = False,
        classic_momentum: bool = True,
        exclude: Sequence[str] = BIASES_AND_NORMS,
        exclude_from_adaptation: Sequence[str] | None = None,
        name: str = "lars",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        if not is_number(momentum) or not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be at least 0 and below 1. Received: momentum={momentum!r}."
            )
        check_number("weight_decay", weight_decay, 0)
        check_positive("trust_coefficient", trust_coefficient)
        self.momentum = momentum
        self.trust_coefficient = trust_coefficient
        self.nesterov = nesterov
        self.classic_momentum = classic_momentum
        self.exclude = _patterns("exclude", exclude)
        self.exclude_from_adaptation = (
            None
            if exclude_from_adaptation is None
            else _patterns("exclude_from_adaptation", exclude_from_adaptation)
        )

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the momentum of each variable, and apply the patterns to its path."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        not_adapted = self.exclude_from_adaptation
        if not_adapted is None:
            not_adapted = self.exclude
        # By index: on TensorFlow the variables that `update_step` gets have no path.
        self._decayed = frozenset(
            index
            for index, variable in enumerate(variables)
            if uses_weight_decay(self, variable) and not _found(self.exclude, variable)
        )
        self._adapted = frozenset(
            index for index, variable in enumerate(variables) if not _found(not_adapted, variable)
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its momentum."""
        index = variable_index(self, variable)
        momentum = self.momentums[index]
        dtype = keras.backend.result_type(variable.dtype, "float32")
        rate = ops.cast(learning_rate, dtype)
        g, w, v = (ops.cast(tensor, dtype) for tensor in (gradient, variable, momentum))
        if index in self._decayed:
            g = g + self.weight_decay * w
        if self.classic_momentum:
            v, update = self._momentum_update(v, rate * self._trust_ratio(index, w, g) * g)
        else:
            v, update = self._momentum_update(v, g)
            update = rate * self._trust_ratio(index, w, update) * update
        self.assign(momentum, v)
        self.assign(variable, w - update)

    def _momentum_update(self, v, step):
        v = self.momentum * v + step
        return v, self.momentum * v + step if self.nesterov else v

    def _trust_ratio(self, index, w, step):
        if index not in self._adapted:
            return 1.0
        w_norm, step_norm = _norm(w), _norm(step)
        either_is_zero = ops.logical_or(w_norm == 0, step_norm == 0)
        ratio = self.trust_coefficient * w_norm / ops.where(either_is_zero, 1.0, step_norm)
        return ops.where(either_is_zero, 1.0, ratio)

    def _apply_weight_decay(self, variables):
        """Do nothing: the weight decay of LARS is part of the gradient."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate the optimizer."""
        not_adapted = self.exclude_from_adaptation
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "nesterov": self.nesterov,
            "classic_momentum": self.classic_momentum,
            "exclude": list(self.exclude),
            "exclude_from_adaptation": None if not_adapted is None else list(not_adapted),
        }


def _norm(x):
    return ops.sqrt(ops.sum(ops.square(x)))


def _found(patterns, variable):
    return any(re.search(pattern, variable.path) for pattern in patterns)


def _patterns(name, patterns):
    if isinstance(patterns, str):
        raise ValueError(
            f"`{name}` must be a list of regular expressions. Received: {name}={patterns!r}. "
            f"Write [{patterns!r}]."
        )
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"`{name}` must hold regular expressions. Received: {pattern!r} ({error}). Use "
                "`re.escape` to match a plain name."
            ) from error
    return tuple(patterns)
