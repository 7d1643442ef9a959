"""The embedded default: three simulated mice, made once and kept in the user's cache."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs

from sensorium_jax import simulate
from sensorium_jax.data import format as store_format
from sensorium_jax.data.format import finish_store
from sensorium_jax.errors import UserError
from sensorium_jax.files import lock
from sensorium_jax.prepare.convert import Options, convert_recording
from sensorium_jax.prepare.raw import RawSession
from sensorium_jax.types import OnProgress

SEED = 0
NAME = f"simulated-v{simulate.VERSION}-{store_format.VERSION}"


def demo_store(
    *,
    modulated: bool = True,
    on_progress: OnProgress = lambda what, done, total: None,
    say: Callable[[str], None] = print,
) -> Path:
    """The store of the embedded default, which is made if the cache does not have it.

    Each mouse is written in the release's raw layout and converted like a recording; then its raw
    files (0.4 GB a mouse) are removed. A process killed at any moment loses at most one mouse.

    Args:
        modulated: False: a control, whose neurons are not modulated by behaviour and gaze.
        on_progress: called with "simulating", the number of trials done, and their total.
        say: called once, with a message that mice are simulated and where the store is.
    """
    cache = platformdirs.user_cache_path("sensorium_jax")
    name = NAME if modulated else f"{NAME}-unmodulated"
    store, raw = cache / name, cache / f"{name}-raw"
    if (store / store_format.STORE_FILE).exists():
        return store
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"expected to keep simulated mice in {cache}, which cannot be written "
            f"({error.strerror}); set XDG_CACHE_HOME to a folder that can"
        ) from None
    with lock(store / ".convert.lock", wait=True, say=say):
        if not (store / store_format.STORE_FILE).exists():  # another process may have made it
            _simulate(store, raw, modulated=modulated, on_progress=on_progress, say=say)
    return store


def _simulate(
    store: Path, raw: Path, *, modulated: bool, on_progress: OnProgress, say: Callable[[str], None]
) -> None:
    """Simulate and convert the mice that the store lacks, one after the other."""
    say(f"Simulating three mice (once; kept in {store})")
    total = 2 * sum(map(simulate.trial_count, simulate.DEMO))
    count = itertools.count(1)

    def on_trial(*_) -> None:
        on_progress("simulating", next(count), total)

    for plan in simulate.DEMO:
        source = raw / simulate.session_name(plan.letter)
        if not (store / source.name).exists():
            shutil.rmtree(raw, ignore_errors=True)
            simulate.write_session(
                raw,
                plan,
                seed=SEED,
                modulated=modulated,
                speckled=True,  # as in every published score
                on_trial=on_trial,
            )
            options = Options(command="sensorium-jax train (which simulates these mice)")
            convert_recording(RawSession(source), store, options=options, on_trial=on_trial)
        shutil.rmtree(raw, ignore_errors=True)
    finish_store(store)
