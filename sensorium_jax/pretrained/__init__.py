"""Baselines trained on the embedded default: three simulated mice, not mice.

    run = sensorium_jax.load_pretrained("gru_baseline_demo")
    run.evaluate(run.params, "oracle")

Each folder holds ``weights.safetensors``, ``config.json`` and a model card, ``README.md``.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console

from sensorium_jax import parallel
from sensorium_jax.data import pipeline
from sensorium_jax.demo import demo_store
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import from_record
from sensorium_jax.files import read_json
from sensorium_jax.run import Run
from sensorium_jax.weights import CONFIG, load_weights

FOLDER = Path(__file__).parent


def pretrained_names() -> list[str]:
    """The names that ``load_pretrained`` knows."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def load_pretrained(name: str, *, devices: int = 1, console: Console | None = None) -> Run:
    """Open a baseline that comes with the package, on the embedded default.

    The three simulated mice are made on first use (about a minute) and kept in the user's cache.

    Args:
        name: one of ``pretrained_names()``, such as "gru_baseline_demo".
        devices: how many devices ``evaluate`` uses.
        console: where to say that mice are simulated.

    Raises:
        UserError: no such name, or weights of other mice than the cache's.
    """
    names = pretrained_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UserError(f"no pre-trained model {name!r}; {hint}")
    trained = load_weights(FOLDER / name)
    config = read_json(FOLDER / name / CONFIG, advice="install sensorium_jax again")
    recordings = pipeline.load_recordings(demo_store(console))
    if recordings.session_names != trained.sessions:
        raise UserError(
            f"expected the mice of {name}, {', '.join(trained.sessions)}, in "
            f"{recordings.store.path}, found {', '.join(recordings.session_names)}; remove that "
            "folder, to simulate them again"
        )
    mesh = parallel.make_mesh(devices)
    params = parallel.replicate(jax.tree.map(jnp.asarray, trained.params), mesh)
    return Run(from_record(config["experiment"]), recordings, params, mesh)
