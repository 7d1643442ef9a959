"""Signals that request the end of a training."""

from __future__ import annotations

import signal
import threading
from typing import Any

from sensorium_jax.errors import STOP_SIGNALS


class StopSignals:
    """A context in which ``STOP_SIGNALS`` set ``requested``; a second one raises at once.

    SIGHUP stays ignored where the process was started to ignore it, as nohup does.
    """

    def __init__(self):
        self.requested = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else {}
            heeded = [s for s in STOP_SIGNALS if s not in ignored]
            self._handlers = {s: signal.signal(s, self._request) for s in heeded}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
