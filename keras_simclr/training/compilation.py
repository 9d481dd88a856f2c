"""Keras' `compile`, with the recipe's optimizer and loss as defaults."""

from typing import Any

import keras

from keras_simclr import distribution
from keras_simclr.callbacks.main_process import list_callbacks
from keras_simclr.callbacks.run_state import RATE_CALLBACKS
from keras_simclr.data.prepare import check_known_length
from keras_simclr.keras_internals import has_schedule, inner_optimizer, name_publicly
from keras_simclr.losses import NTXentLoss
from keras_simclr.training.step import StepRecorder

NT_XENT_NAMES = ("nt_xent", "NTXentLoss")


class RecipeCompiler(keras.Model):
    """Base class of `SimCLR` that implements `compile`."""

    def _init_compilation(self):
        self._contrastive_loss = None
        self._recorder = StepRecorder()
        self._optimizer_is_auto = True
        self._is_planned = False
        self._compile_options: dict[str, Any] = {}
        self._optimized: tuple[int, ...] | None = None
        self._plan: tuple | None = None  # of the last `fit`
        self.planned_epochs: int | None = None  # of the recipe that was last followed

    @distribution.run_in_scope
    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Configure the model for training; arguments that are "auto" follow the recipe.

        Args:
            optimizer: Any Keras optimizer or its name. Defaults to "auto": each `fit` creates the
                recipe's optimizer, with a learning rate schedule over the epochs of that `fit`.
            loss: A loss, called as `loss(z_a, z_b)` with embeddings of shape (N, D), or its name.
                Defaults to "auto": `NTXentLoss` with the temperature of the model.
            loss_weights: Not supported.
            metrics: Not supported, as there are no labels.
            weighted_metrics: Not supported.
            run_eagerly: As in Keras. Defaults to False.
            steps_per_execution: As in Keras. Defaults to 1.
            jit_compile: As in Keras. Defaults to "auto".
            auto_scale_loss: As in Keras. Defaults to True.

        Raises:
            ValueError: If an unsupported argument is passed, or a name is unknown.
        """
        if metrics or weighted_metrics:
            raise ValueError(
                "Metrics are not supported: pretraining has no labels. It always reports "
                "`contrastive_accuracy` and `relative_loss`. Received: "
                f"{metrics or weighted_metrics!r}. Pass metrics to `fine_tune`, or use a callback."
            )
        if loss_weights is not None:
            raise ValueError(
                "`loss_weights` is not supported: there is only one loss. Received: "
                f"loss_weights={loss_weights!r}."
            )
        self._contrastive_loss = self._get_loss(loss)
        self._compile_options = {
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        self._recorder = StepRecorder()
        self._optimizer_is_auto = isinstance(optimizer, str) and optimizer == "auto"
        self._is_planned = not self._optimizer_is_auto
        # A placeholder, which never takes a step, until `fit` creates the recipe's optimizer.
        self._compile_with("sgd" if self._optimizer_is_auto else optimizer)

    def _compile_with(self, optimizer):
        super().compile(optimizer=optimizer, **self._compile_options)
        name_publicly(self.optimizer)
        self._optimized = None

    def _get_loss(self, loss):
        if loss is None or isinstance(loss, str) and loss == "auto":
            return None
        if isinstance(loss, str) and loss in NT_XENT_NAMES:
            return NTXentLoss(self._temperature) if self._temperature else None
        found = keras.losses.get(loss)
        if isinstance(found, keras.losses.Loss) and found.reduction in (None, "none", "sum"):
            raise ValueError(
                "The loss must be a mean, or its value and the learning rate depend on the batch "
                f"size. Received: a loss with reduction={found.reduction!r}. Leave out `reduction`."
            )
        return found

    def _plan_recipe(self, data, epochs, initial_epoch, verbose):
        """Set up the recipe's optimizer for the epochs of this `fit`."""
        recipe = self.recipe(epochs)
        steps = check_known_length(data.steps_per_epoch)
        plan = (data.batch_size, epochs * steps, steps)
        optimizer = recipe.make_optimizer(*plan)
        # With mixed precision, Keras wraps the optimizer.
        current: Any = inner_optimizer(self.optimizer)
        same_kind = self._is_planned and isinstance(current, type(optimizer))
        if same_kind and self._optimized in (None, self._trainable_ids()):
            if self._plan != (recipe, plan) or not has_schedule(
                current
            ):  # otherwise nothing must be compiled again
                current.learning_rate = recipe.make_schedule(*plan)
                self.make_train_function(force=True)
        else:
            self._compile_with(optimizer)
            self._is_planned = True
        self._plan = (recipe, plan)
        self.plan_epochs(epochs)
        self.optimizer.iterations.assign(initial_epoch * steps)
        if verbose:
            print(recipe.describe(*plan, temperature=self.temperature))

    def _trainable_ids(self):
        return tuple(id(variable) for variable in self.trainable_variables)

    def _build_optimizer(self):
        """Create the optimizer's variables, so that a backup can restore them before training."""
        if self._optimized not in (None, self._trainable_ids()):
            raise ValueError(
                "Layers were frozen or unfrozen after the optimizer was built. Received: "
                f"{len(self.trainable_variables)} trainable variables instead of "
                f"{len(self._optimized)}. Call `compile` again."
            )
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        self._optimized = self._trainable_ids()

    def get_compile_config(self):
        """Return the config with which `compile_from_config` compiles the model."""
        config = super().get_compile_config()
        if config:
            config |= self._compile_options  # Keras' own has what "auto" was on this backend
            config["loss"] = keras.saving.serialize_keras_object(self._contrastive_loss)
            config["optimizer_is_auto"] = self._optimizer_is_auto
            config["is_planned"] = self._is_planned
        return config

    def compile_from_config(self, config):
        """Compile the model from a config of `get_compile_config`."""
        config = keras.saving.deserialize_keras_object(config)
        is_auto, is_planned = config.pop("optimizer_is_auto"), config.pop("is_planned")
        self.compile(**config)
        self._optimizer_is_auto, self._is_planned = is_auto, is_planned
        if self.built:
            self._build_optimizer()


def check_rate_callbacks(callbacks, optimizer):
    """Raise a ValueError if a callback sets the learning rate and the optimizer has a schedule."""
    for callback in list_callbacks(callbacks):
        if isinstance(callback, RATE_CALLBACKS) and has_schedule(optimizer):
            raise ValueError(
                f"`{type(callback).__name__}` sets the learning rate, which is a schedule. "
                f"Received: the optimizer {optimizer.name!r}, which has a learning rate schedule. "
                "Pass an optimizer with a constant learning rate, such as "
                "`keras.optimizers.AdamW(1e-3)`, or remove the callback."
            )
