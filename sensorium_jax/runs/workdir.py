"""The folder of a run: what it records, and who may write there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium_jax._version import __version__
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.fields import differences
from sensorium_jax.experiment.records import from_record, to_record
from sensorium_jax.files import read_json, whole_file, write_json

RECORD, TIERS = "run.json", "tiers.csv"


def claim(workdir: Path, experiment: Experiment, recordings: Recordings) -> None:
    """Make ``workdir`` the place of this run, or check that it already is.

    A table of tiers is copied there, so that later changes of it do not reach the run.

    Raises:
        UserError: it holds a run of another experiment, recording or table, or other files.
    """
    table = None if recordings.tiers is None else Path(recordings.tiers).read_text()
    record = {
        "experiment": to_record(experiment),
        "data": str(recordings.store.path),
        "units": recordings.neuron_digests,
        "version": __version__,
    }
    path = workdir / RECORD
    if path.exists():
        stored, fields = read_record(workdir)
        changes = differences(to_record(stored), record["experiment"])
        if changes:
            more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
            raise UserError(
                f"{workdir} holds a run of another experiment: {changes[0]}{more}; "
                "name another --workdir, or remove that one"
            )
        check_neurons(fields, recordings, advice="name another --workdir")
        if table != (kept.read_text() if (kept := workdir / TIERS).exists() else None):
            raise UserError(
                f"{workdir} holds a run with other tiers; name another --workdir, or the run's "
                f"own table ({kept}) as --tiers"
                if kept.exists()
                else f"{workdir} holds a run with the store's own tiers; name another --workdir"
            )
        return
    if workdir.exists() and any(workdir.iterdir()):
        raise UserError(
            f"expected a run or an empty folder in {workdir}, found other files; "
            "name another --workdir"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    if table is not None:
        with whole_file(workdir / TIERS) as beside:
            beside.write_text(table)
    write_json(path, record)


def check_neurons(record: dict[str, Any], recordings: Recordings, *, advice: str) -> None:
    """Raise ``UserError`` unless the readouts of a run belong to these neurons, in this order."""
    expected, found = record["units"], recordings.neuron_digests
    if list(expected) != list(found):
        raise UserError(
            f"expected the sessions of the run, {', '.join(expected)}, in {recordings.store.path}, "
            f"found {', '.join(found)}; {advice}"
        )
    wrong = [name for name in found if found[name] != expected[name]]
    if wrong:
        raise UserError(
            f"expected the neurons of the run in {recordings.store.path}, found others, or in "
            f"another order, in {', '.join(wrong)}; {advice}"
        )


def read_record(workdir: Path) -> tuple[Experiment, dict[str, Any]]:
    """The experiment of a workdir, and the rest of its record.

    Raises:
        UserError: no run there, or one of another version.
    """
    record = read_json(workdir / RECORD, advice="name the --workdir of a run")
    try:
        experiment = from_record(record["experiment"])
    except (UserError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"expected an experiment of sensorium_jax {__version__} in {workdir / RECORD}, "
            f"written by {record.get('version')}: {error}; train it again, or install that version"
        ) from None
    if "units" not in record:
        raise UserError(
            f"expected the ids of a run's neurons in {workdir / RECORD}, found none: it is older "
            "than their record; train it again"
        )
    return experiment, record
