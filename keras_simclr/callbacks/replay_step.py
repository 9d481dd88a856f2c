"""A report on the step in which a run diverged."""

import contextlib
import functools

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution
from keras_simclr.callbacks.run_state import first_nonfinite
from keras_simclr.callbacks.terminate_on_nonfinite import CURE
from keras_simclr.keras_internals import flatten_layers, is_functional, layer_calls, replaced
from keras_simclr.ops.compilation import uncompiled
from keras_simclr.validation import check_positive_integer


class ReplayStep(keras.callbacks.Callback):
    """Show in which layer of which step a run becomes NaN or infinite, and stop there.

    Run the same program again with it, and with the `BackupAndRestore` of the run if there is one.
    Training resumes from the last backup and is the same up to the step. This step is computed
    layer by layer, with the same images, views and weights, and the weights are not updated. A
    table with the largest output and the norm of the gradient of every layer is printed.

    It works on one device only. `micro_batch_size` and the number of devices may differ from those
    of the run.

    Args:
        epoch: Number of the epoch, counted from 1, as in the error of `TerminateOnNonFinite`.
        step: Number of the step within the epoch, counted from 1.

    Raises:
        ArithmeticError: In the step, with a summary of the table.
        ValueError: If `epoch` or `step` is not a positive integer, or if the run never begins the
            step.

    Example:
    >>> replay = ReplayStep(epoch=3, step=18)  # model.fit(images, callbacks=[backup, replay])
    """

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__()
        check_positive_integer("epoch", epoch)
        check_positive_integer("step", step)
        self.epoch = epoch
        self.step = step

    def on_train_begin(self, logs=None):
        """Check that there is one device."""
        if distribution.num_devices() > 1:
            raise ValueError(
                "A step is replayed on one device. Received: "
                f"{distribution.num_devices()} devices. Resume the run on one of them."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Note the epoch."""
        self._epoch = epoch + 1

    def on_train_batch_begin(self, batch, logs=None):
        """Let the step be replayed instead of taken, if this is the one."""
        position = (self._epoch, batch + 1)
        if position > (self.epoch, self.step):
            raise self._missed(f"epoch {position[0]}, step {position[1]}")
        if position == (self.epoch, self.step):
            # Now, as JAX moves the values of variables out of the model for the step.
            optimizer = self.model.optimizer
            notes = {
                "nonfinite": first_nonfinite(self.model),
                "rate": float(ops.convert_to_numpy(optimizer.learning_rate)),
                "scale": float(ops.convert_to_numpy(getattr(optimizer, "dynamic_scale", 1.0))),
            }
            self.model.train_function = functools.partial(self._replay, notes)

    def on_train_end(self, logs=None):
        """Raise a ValueError, as the run has ended without the step."""
        raise self._missed("the end of the run")

    def _missed(self, where):
        return ValueError(
            "The run must begin the step that is replayed. Received: "
            f"{where} instead of epoch {self.epoch}, step {self.step}. Resume from an earlier "
            "backup, with `steps_per_execution=1`."
        )

    def _replay(self, notes, *args):
        """Compute the step, print the table, and raise its summary; called as Keras' function."""
        self.model.train_function = None
        *state, batches = args
        record = Record(self.model)
        data = next(iter(batches))
        with record.recording(), uncompiled():
            self.model.train_step(*state, data)
        rows = record.rows(self.model.trainable_variables, notes["scale"])
        print(table(rows))
        images = ops.convert_to_numpy(keras.tree.flatten(data)[0])
        raise ArithmeticError(
            f"Step {self.step} of epoch {self.epoch}, replayed: the loss is {record.loss:.6g}, the "
            f"learning rate {notes['rate']:.4g}, the images are from {images.min():.6g} to "
            f"{images.max():.6g}. {_diagnosis(rows, notes['nonfinite'])}"
        )


class Record:
    """The outputs, the loss and the gradients of a step that is run eagerly.

    Args:
        model: A compiled `keras.Model`.
    """

    def __init__(self, model: keras.Model) -> None:
        inner = [layer for layer in flatten_layers(model)[1:] if not is_functional(layer)]
        self.model = model
        self.layers = list({id(layer): layer for layer in inner}.values())
        self.outputs: dict[int, tuple] = {}  # in the order in which the layers are computed
        self.gradients: list = []
        self.loss = float("nan")

    @contextlib.contextmanager
    def recording(self):
        """Record what the layers, the loss and the optimizer of the model compute."""
        loss = functools.partial(self._compute_loss, self.model.compute_loss)
        with (
            layer_calls(self.layers, self._call),
            replaced(self.model, "compute_loss", functools.wraps(self.model.compute_loss)(loss)),
            replaced(self.model.optimizer, "apply", self._apply),
        ):
            yield

    def _call(self, layer, call, *args, **kwargs):
        outputs = call(*args, **kwargs)
        known = self.outputs.pop(id(layer), (layer, 0.0, 0))[1:]
        found = [_extent(output) for output in keras.tree.flatten(outputs)]
        largest, bad = zip(known, *found, strict=True)
        self.outputs[id(layer)] = (layer, max(largest), sum(bad))
        return outputs

    def _compute_loss(self, compute_loss, *args, **kwargs):
        loss = compute_loss(*args, **kwargs)
        self.loss = float(ops.stop_gradient(loss))
        return loss

    def _apply(self, gradients, trainable_variables=None):
        present = (0.0 if g is None else ops.convert_to_numpy(g) for g in gradients)
        self.gradients = [np.asarray(gradient, "float64") for gradient in present]

    def rows(self, variables: list, scale: float) -> list[tuple[str, float, int, float]]:
        """Return name, largest output, number of bad outputs and gradient norm of each layer.

        Args:
            variables: The trainable variables of the model.
            scale: Loss scale of the gradients.
        """
        pairs = zip(variables, self.gradients, strict=True)
        of_variable = {id(v): np.sum(np.square(g / scale)) for v, g in pairs}
        rows = []
        for layer, largest, bad in self.outputs.values():
            squares = [of_variable.get(id(v), 0.0) for v in layer.trainable_variables]
            rows.append((layer.path or layer.name, largest, bad, float(np.sqrt(sum(squares)))))
        return rows


def table(rows: list) -> str:
    """Return the rows of a `Record` as a table in text."""
    width = max([len("layer"), *(len(row[0]) for row in rows)])
    lines = [f"{'layer':{width}}  largest output  not finite  gradient norm"]
    for name, largest, bad, norm in rows:
        lines.append(f"{name:{width}}  {largest:14.6g}  {bad:10d}  {norm:13.6g}")
    return "\n".join(lines)


def _extent(output):
    """Return the largest finite absolute value of a tensor, and how many are not finite."""
    output = ops.cast(ops.stop_gradient(output), "float32")
    finite = ops.isfinite(output)
    values = ops.where(finite, ops.abs(output), 0.0)
    return float(ops.max(values)), int(ops.sum(1 - ops.cast(finite, "int32")))


def _diagnosis(rows, weight):
    """Return what is not finite in a step, first of all, as a sentence with its cure."""
    if weight:
        return f"The weights are not finite already, first in {weight}: replay an earlier step."
    outputs = [name for name, _, bad, _ in rows if bad]
    gradients = [name for name, *_, norm in rows if not np.isfinite(norm)]
    if outputs:
        return f"The first output that is not finite is that of the layer {outputs[0]!r}. {CURE}"
    if gradients:  # computed from the last layer to the first
        return (
            f"The first gradient that is not finite is that of the layer {gradients[-1]!r}. {CURE}"
        )
    return "All outputs and gradients are finite."
