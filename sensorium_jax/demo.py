"""The embedded default: three simulated mice, made once and kept in the user's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import Progress

from sensorium_jax import simulate
from sensorium_jax.data import format as store_format
from sensorium_jax.data.convert import convert_recording
from sensorium_jax.data.raw import RawSession

SEED = 0
NAME = f"simulated-v{simulate.VERSION}-{store_format.VERSION}"


def demo_store(console: Console | None = None, *, modulated: bool = True) -> Path:
    """The store of the embedded default; makes it if the cache does not have it.

    Each mouse is written in the release's raw layout, converted as a recording would be, and its
    raw files (0.4 GB a mouse) are removed. A kill at any moment costs one mouse at most. With
    ``modulated=False`` it is a control, of neurons that do not know what the animal does.
    """
    console = console or Console()
    cache = platformdirs.user_cache_path("sensorium_jax")
    name = NAME if modulated else f"{NAME}-unmodulated"
    store, beside = cache / name, cache / f"{name}-raw"
    if (store / store_format.STORE_FILE).exists():
        return store
    store.mkdir(parents=True, exist_ok=True)
    total = 2 * sum(map(simulate.trial_count, simulate.DEMO))
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        console.print(f"Simulating three mice (once; kept in {store})")
        task = progress.add_task("simulating", total=total)
        for plan in simulate.DEMO:
            source = beside / simulate.session_name(plan.letter)
            if not (store / source.name).exists():
                shutil.rmtree(beside, ignore_errors=True)
                simulate.write_session(
                    beside,
                    plan,
                    seed=SEED,
                    modulated=modulated,
                    on_trial=lambda *_: progress.advance(task),
                )
                convert_recording(
                    RawSession(source), store, on_trial=lambda *_: progress.advance(task)
                )
            shutil.rmtree(beside, ignore_errors=True)
    store_format.finish_store(store)
    return store
