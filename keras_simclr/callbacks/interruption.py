"""Ctrl-C and SIGTERM, which wait until a backup is saved."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Receives the first Ctrl-C or SIGTERM; the next one has its usual effect.

    Attributes:
        received: Number of the received signal, or None.
    """

    def __init__(self):
        self.received: int | None = None
        self._previous: dict = {}

    def start(self):
        """Start receiving, if this is the main thread; signals that are ignored stay so."""
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._previous[number] = signal.signal(number, self._receive)

    def stop(self):
        """Give the signals their usual effect back."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _receive(self, number, frame):
        self.received = number
        self.stop()
        print("\nSaving a backup before the next step. Interrupt again to stop at once.")

    def raise_error(self, message):
        """Print a message and raise what the received signal raises."""
        print(message)
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(128 + signal.SIGTERM)
