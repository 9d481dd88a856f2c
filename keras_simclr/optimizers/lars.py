"""LARS, the optimizer of SimCLR's large batches."""

import re

import keras
from keras import ops

BIASES_AND_NORMS = ("bias$", "gamma$", "beta$", "head_supervised")


@keras.saving.register_keras_serializable(package="keras_simclr")
class LARS(keras.optimizers.Optimizer):
    r"""Layer-wise adaptive rate scaling: momentum SGD whose steps are as long as the weights allow.

    With `|x|` the Euclidean norm of a whole variable, a variable `w` with gradient `g` and
    momentum `v` is updated by

    ```
    g = g + weight_decay * w
    ratio = trust_coefficient * |w| / |g|    (1 where either norm is 0)
    v = momentum * v + learning_rate * ratio * g
    w = w - v
    ```

    `nesterov=True` subtracts `momentum * v + learning_rate * ratio * g` instead of `v`.
    `classic_momentum=False` keeps the rate out of the momentum: `v = momentum * v + g`, the
    update is `u = v` (with Nesterov `u = momentum * v + g`), its ratio is
    `trust_coefficient * |w| / |u|`, and `w = w - learning_rate * ratio * u`.

    Half-precision variables are updated by float32 arithmetic.

    Args:
        learning_rate: Float, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: Float, at least 0 and below 1. Defaults to 0.9.
        weight_decay: Float, at least 0: L2, added to the gradient. Defaults to 1e-4.
        trust_coefficient: Positive float. Defaults to 0.001.
        nesterov: Whether to look one step ahead. Defaults to False.
        classic_momentum: Whether the rate is applied before the momentum. Defaults to True.
        exclude: Regular expressions, searched in the path of each variable. Where one is found,
            the variable has neither decay nor adaptation (its ratio is 1). Defaults to biases,
            the gamma and beta of normalizations, and the authors' supervised head.
        exclude_from_adaptation: Regular expressions like `exclude`, for adaptation alone; then
            `exclude` tells of decay alone. Defaults to None, the same list.
        name: Name of the optimizer.
        **kwargs: `clipnorm`, `global_clipnorm`, `use_ema`, `gradient_accumulation_steps` and the
            others of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If a number is out of its range, or a pattern is no regular expression.

    Example:
    A first step is `learning_rate * trust_coefficient * |w|` long, however long the gradient.
    >>> w = keras.Variable([3.0, 4.0], name="kernel")
    >>> optimizer = LARS(1.0, weight_decay=0.0, trust_coefficient=0.1)
    >>> optimizer.apply([ops.array([0.0, 7.0])], [w])
    >>> ops.convert_to_numpy(w).tolist()
    [3.0, 3.5]

    Source: You et al. 2017 (arXiv:1708.03888), as Chen et al. 2020 (arXiv:2002.05709), section
    2.2, use it.
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        weight_decay=1e-4,
        trust_coefficient=0.001,
        nesterov=False,
        classic_momentum=True,
        exclude=BIASES_AND_NORMS,
        exclude_from_adaptation=None,
        name="lars",
        **kwargs,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        _check("momentum", momentum, 0 <= momentum < 1, "at least 0 and below 1")
        _check("weight_decay", weight_decay, weight_decay >= 0, "at least 0")
        _check("trust_coefficient", trust_coefficient, trust_coefficient > 0, "positive")
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

    def build(self, variables):
        """Make the momentum of each variable, and settle by its path what applies to it."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        not_adapted = self.exclude_from_adaptation
        if not_adapted is None:
            not_adapted = self.exclude
        # By index: on TensorFlow, `update_step` gets variables that have lost their path.
        self._decayed = frozenset(
            index
            for index, variable in enumerate(variables)
            if self._use_weight_decay(variable) and not _found(self.exclude, variable)
        )
        self._adapted = frozenset(
            index for index, variable in enumerate(variables) if not _found(not_adapted, variable)
        )

    def update_step(self, gradient, variable, learning_rate):
        """Update a variable and its momentum."""
        index = self._get_variable_index(variable)
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
        """Do nothing: the decay of LARS is part of the gradient, not a step of its own."""

    def get_config(self):
        """Return what `from_config` takes."""
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


def _check(name, value, is_right, what):
    if not is_right:
        raise ValueError(f"`{name}` must be {what}. Received: {name}={value}.")


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
                f"`{name}` must hold regular expressions. Received: {pattern!r}, and {error}. "
                "Use `re.escape` for a plain name."
            ) from error
    return tuple(patterns)
