"""Progress of a run, with an estimate of the time that is left."""

import sys
import time

import keras

FIRST_STEPS = 3  # steps that are not timed, as they include compilation
FIRST_SECONDS = 5  # of timed steps before the first estimate


class Progress(keras.callbacks.Callback):
    """Print a line after each epoch, and an estimate of the time once some steps are done."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = self._steps = 0
        self._began = 0.0
        self._has_estimated = False

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Print the first estimate."""
        self._steps += 1
        if self._steps == FIRST_STEPS + 1:
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        if self._steps > FIRST_STEPS + 1 and elapsed > FIRST_SECONDS and not self._has_estimated:
            self._has_estimated = True
            _print(f"{self._time_left(batch)} left")

    def on_epoch_end(self, epoch, logs=None):
        """Print loss and accuracy, and the time that is left."""
        shown = [f"{name} {float(value):.3f}" for name, value in (logs or {}).items()]
        if self._steps > FIRST_STEPS + 1:
            shown.append(f"{self._time_left(self.params['steps'] or 0)} left")
        _print(f"epoch {epoch + 1} of {self.params['epochs']}: {', '.join(shown)}")

    def _time_left(self, batch):
        seconds = (time.monotonic() - self._began) / (self._steps - FIRST_STEPS - 1)
        epochs = self.params["epochs"] - self._epoch
        return format_seconds(seconds * (epochs * (self.params["steps"] or 0) - batch))


def format_seconds(seconds: float) -> str:
    """Return a time in the largest unit that suits it.

    Example:
    >>> format_seconds(50), format_seconds(3000), format_seconds(30000)
    ('50 s', '50 min', '8.3 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _print(text):
    print(text, file=sys.stderr, flush=True)
