"""Names and columns of the files of a submission."""

from __future__ import annotations

from types import ModuleType

from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError

# Names of the files of a track, by tier (starter kit, README).
TRACKS = {
    "main": {
        "live_test_main": "predictions_live_main.parquet.brotli",
        "final_test_main": "predictions_final_main.parquet.brotli",
    },
    "bonus": {
        "live_test_bonus": "predictions_live_test_bonus_ood.parquet.brotli",
        "final_test_bonus": "predictions_final_test_bonus_ood.parquet.brotli",
    },
}
TIERS = {name: tier for track in TRACKS.values() for tier, name in track.items()}

LARGEST_BYTES = 5_000_000_000  # of an upload (starter kit, README)

COLUMNS = ("mouse", "trial_indices", "prediction", "neuron_ids")


def sessions_to_predict(recordings: Recordings, tier: str) -> list[int]:
    """Positions of the sessions whose responses of a tier are withheld.

    If the store has no withheld responses of the tier: of all sessions with trials of the tier.
    """
    rows = [recordings.rows(s, tier) for s in range(len(recordings.session_names))]
    withheld = [s for s, r in enumerate(rows) if not recordings.trials(s).labelled[r].all()]
    return withheld or [s for s, r in enumerate(rows) if len(r)]


def parquet() -> tuple[ModuleType, ModuleType]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "expected pyarrow, which is not installed; pip install 'sensorium_jax[submission]'"
        ) from None
    return pyarrow, pyarrow.parquet
