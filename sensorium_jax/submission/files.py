"""What the files of a submission are called and hold."""

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


def submitted(recordings: Recordings, tier: str) -> list[int]:
    """Positions of the sessions to predict: those whose responses of a tier are withheld.

    In a store of which everything is public, all that have trials of the tier.
    """
    rows = [recordings.rows(s, tier) for s in range(len(recordings.session_names))]
    withheld = [s for s, r in enumerate(rows) if not recordings.trials(s).labelled[r].all()]
    return withheld or [s for s, r in enumerate(rows) if len(r)]


def parquet() -> tuple[ModuleType, ModuleType]:
    """``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            "expected pyarrow, which is not installed; pip install -e '.[submission]'"
        ) from None
    return pyarrow, pyarrow.parquet
