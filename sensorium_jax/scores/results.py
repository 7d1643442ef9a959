"""The files of a scored run: ``report.json`` and ``scores.npz``, written and read.

``report.json`` holds every score; ``scores.npz`` the moments of every clip and neuron, by units,
score, tier and session, from which runs are compared without predicting again. The moments are
about the neurons' means, so that float32 is precise enough: 162 MB for the ten mice of the release.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sensorium_jax.errors import UserError
from sensorium_jax.files import file_digest, read_arrays, read_json, whole_file, write_json
from sensorium_jax.scores.report import Report
from sensorium_jax.scores.score import ALL, INTERVAL_SCORES, SINGLE_TRIAL
from sensorium_jax.scores.units import OFFICIAL, check_units

REPORT, SCORES = "report.json", "scores.npz"
ADVICE = "score the run again: sensorium-jax report RUN"

ClipMoments = dict[tuple[str, str], np.ndarray]  # (tier, session) -> [K 6 N]


def write(workdir: Path, report: Report) -> None:
    """Write both files of a run into its workdir.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder), Report((), withheld=("final_test_main",)))
        ...     read_report(Path(folder))
        {'units': 'raw', ..., 'withheld': ['final_test_main'], ...}
    """
    moments: dict[str, Any] = {
        f"{s.units}/{field}/{s.tier}/{s.session}": clips.astype(np.float32)
        for s in report.scores
        if s.family == ALL
        for field, clips in s.clips.items()
    }
    with whole_file(workdir / SCORES) as partial, partial.open("wb") as file:
        np.savez(file, **moments)
    record = {**report.to_json(), "sha256": {SCORES: file_digest(workdir / SCORES)}}
    write_json(workdir / REPORT, record, sealed=True)


def read_report(workdir: Path) -> dict[str, Any]:
    """The scores of a run as plain values (``Report.to_json``).

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_json(workdir / REPORT, advice=ADVICE, keys=("scores", "means"))


def units_of(report: dict[str, Any]) -> str:
    """The units that a report shows first; before version 0.2 there were official ones only.

    Examples:
        >>> units_of({"scores": [], "means": []})
        'official'
    """
    return report.get("units", OFFICIAL)


def read_moments(
    workdir: Path, field: str = SINGLE_TRIAL, *, units: str | None = None
) -> ClipMoments:
    """The moments of a run's clips, for "single_trial" or "to_average".

    Args:
        workdir: the workdir of the run.
        field: the score.
        units: "official" or "raw"; None: those that the run's report shows first.

    Raises:
        UserError: there is no such score, or none in these units, or a file is missing or damaged.

    Examples:
        >>> read_moments(Path("run"), field="bits")
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a score of single_trial or to_average, got 'bits'
    """
    if field not in INTERVAL_SCORES:
        raise UserError(f"expected a score of {' or '.join(INTERVAL_SCORES)}, got {field!r}")
    report, path = read_report(workdir), workdir / SCORES
    units = check_units(units or units_of(report))
    digest = report.get("sha256", {}).get(SCORES)  # before version 0.2 there is none
    try:
        if digest not in (None, file_digest(path)):
            raise ValueError(f"it is not the one that {REPORT} was written with")
        arrays = {_key(name): x for name, x in read_arrays(path).items()}
        moments = {
            (tier, session): x.astype(np.float64)
            for (unit, name, tier, session), x in arrays.items()
            if (unit, name) == (units, field)
        }
    except FileNotFoundError:
        raise UserError(f"expected {path}, which is missing; {ADVICE}") from None
    except ValueError as error:
        raise UserError(
            f"expected arrays in {path}, which is damaged or older ({error}); {ADVICE}"
        ) from None
    if arrays and not moments:
        raise UserError(f"expected scores in {units} units in {path}, found others; {ADVICE}")
    return moments


def _key(name: str) -> tuple[str, str, str, str]:
    """Units, score, tier and session of an array; before version 0.2 units were official."""
    words = name.split("/")
    unit, score, tier, session = words if len(words) == 4 else (OFFICIAL, *words)
    return unit, score, tier, session
