"""Ctrl-C and SIGTERM, which wait until a backup is saved."""

import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\nSaving a backup before the next step. Interrupt again to stop at once.\n"


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
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number, frame):
        self.received = number
        self.stop()
        os.write(2, NOTICE)  # `print` may be in the middle of writing

    def deliver(self, message):
        """Print a message, and do what the received signal does without this class."""
        number, self.received = self.received, None
        print(message)
        handler = self._previous.get(number)
        if callable(handler) and handler is not signal.default_int_handler:
            handler(number, None)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        else:
            raise SystemExit(128 + signal.SIGTERM)
