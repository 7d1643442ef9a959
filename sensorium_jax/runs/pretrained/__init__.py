"""Pre-trained baselines on the embedded default: three simulated mice, not recordings of mice.

    run = sensorium_jax.load_pretrained("gru_baseline_demo")
    run.evaluate(run.params, "oracle")

Each folder holds ``weights.safetensors``, ``config.json`` and a model card, ``README.md``.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp

from sensorium_jax import parallel
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.errors import UserError, hint
from sensorium_jax.experiment.records import from_record
from sensorium_jax.files import read_json
from sensorium_jax.runs.run import Run
from sensorium_jax.runs.weights import CONFIG, load_weights
from sensorium_jax.simulate.demo import demo_store

FOLDER = Path(__file__).parent


def pretrained_names() -> list[str]:
    """The names of the pre-trained models, for ``load_pretrained``.

    Examples:
        >>> pretrained_names()
        ['factorized_baseline_demo', 'gru_baseline_demo', 'static_baseline_demo']
    """
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONFIG}"))


def load_pretrained(name: str, *, devices: int = 1) -> Run:
    """Open a pre-trained baseline of the package on the embedded default.

    The three simulated mice are made on first use (about a minute) and kept in the user's cache.

    Args:
        name: one of ``pretrained_names()``, such as "gru_baseline_demo".
        devices: number of devices that ``evaluate`` uses.

    Raises:
        UserError: there is no model of that name, or the cache holds other mice than its weights.

    Examples:
        >>> load_pretrained("gru_baseline")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: no pre-trained model 'gru_baseline'; did you mean ...
    """
    names = pretrained_names()
    if name not in names:
        raise UserError(f"no pre-trained model {name!r}; {hint(name, names)}")
    trained = load_weights(FOLDER / name)
    config = read_json(FOLDER / name / CONFIG, advice="install sensorium_jax again")
    recordings = load_recordings(demo_store())
    if recordings.session_names != trained.sessions:
        raise UserError(
            f"expected the mice of {name}, {', '.join(trained.sessions)}, in "
            f"{recordings.store.path}, found {', '.join(recordings.session_names)}; remove that "
            "folder, to simulate them again"
        )
    mesh = parallel.make_mesh(devices)
    params = parallel.replicate(jax.tree.map(jnp.asarray, trained.params), mesh)
    return Run(from_record(config["experiment"]), recordings, params, mesh)
