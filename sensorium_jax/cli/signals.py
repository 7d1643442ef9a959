"""Signals that stop a program, from its first moment to its last; imports next to nothing."""

from __future__ import annotations

import _thread
import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from sensorium_jax.errors import STOP_SIGNALS, STOPPED


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within it ``STOP_SIGNALS`` do what Ctrl-C does; training finishes its step first.

    A signal that the process was started to ignore, as nohup does with SIGHUP, stays ignored.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def again(unraisable) -> None:
        """A Ctrl-C that arrives within a callback of a library gets lost there: it comes again."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(0.02, lambda: runs and _thread.interrupt_main()).start()
        else:
            hook(unraisable)

    handlers, hook, runs = {}, sys.unraisablehook, True
    if threading.current_thread() is threading.main_thread():
        heeded = [s for s in STOP_SIGNALS if signal.getsignal(s) == signal.SIG_DFL]
        handlers = {s: signal.signal(s, interrupt) for s in heeded}
        sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook, runs = hook, False
        for number, handler in handlers.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, handler)


def ignore_signals() -> None:
    """From now on nothing stops the process: it is about to end, with its own exit code.

    CPython keeps in mind that text given to ``exec``, as dataclasses do, was interrupted, and ends
    by SIGINT for that, unless other text ran since.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    eval("0")


def report_stop(reason: str = "") -> int:
    """Say how a stopped program is resumed, and return its exit code."""
    why = f" ({reason})" if reason else ""
    print(f"Stopped{why}. Run the same command again to resume: {command()}", file=sys.stderr)
    return STOPPED


def command() -> str:
    """The command that this program was started by, to be typed again."""
    program, *words = sys.argv
    name = Path(program).name
    if name == "sensorium-jax":
        return shlex.join([name, *words])
    start = ["-m", "sensorium_jax"] if name == "__main__.py" else [program]
    return shlex.join(["python", *start, *words])
