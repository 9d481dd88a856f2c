"""When backups are saved."""

import datetime
import time

from keras_simclr.validation import is_integer


class SaveTimes:
    """The steps before which a backup is due.

    Args:
        save_freq: "epoch", a number of steps, or a `datetime.timedelta`.

    Raises:
        ValueError: If `save_freq` is none of these.
    """

    def __init__(self, save_freq):
        is_time = isinstance(save_freq, datetime.timedelta) and save_freq > datetime.timedelta(0)
        is_steps = is_integer(save_freq) and save_freq > 0
        if not (is_time or is_steps or save_freq == "epoch"):
            raise ValueError(
                '`save_freq` must be "epoch", a positive number of steps, or a positive '
                f"`datetime.timedelta`. Received: save_freq={save_freq!r}."
            )
        self.save_freq = save_freq
        self.start()

    def start(self):
        """Restart the timer."""
        self._started = time.monotonic()

    def is_due(self, step, last):
        """Return whether to save before a step of an epoch, in which `last` was saved before."""
        if isinstance(self.save_freq, datetime.timedelta):
            return time.monotonic() - self._started >= self.save_freq.total_seconds()
        return self.save_freq != "epoch" and step // self.save_freq > last // self.save_freq
