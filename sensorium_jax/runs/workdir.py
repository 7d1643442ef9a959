"""The workdir of a run: its record ``run.json``, and its tier table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium_jax._version import __version__
from sensorium_jax.data.recordings import Recordings
from sensorium_jax.errors import UserError
from sensorium_jax.experiment import Experiment
from sensorium_jax.experiment.fields import differences
from sensorium_jax.experiment.records import from_record, to_record
from sensorium_jax.files import (
    file_digest,
    read_json,
    refuse_overlap,
    whole_file,
    write_json,
)

RECORD, TIERS = "run.json", "tiers.csv"


def claim(workdir: Path, experiment: Experiment, recordings: Recordings) -> None:
    """Record a run in ``workdir``, or check that it holds this run already.

    A tier table is copied into it, so that later edits of the table do not affect the run. Trials
    that the recordings leave out are recorded, also those that a resumed run leaves out.

    Raises:
        UserError: it holds a run of another experiment, of other recordings or tiers, or other
            files.
    """
    table = None if recordings.tiers is None else Path(recordings.tiers).read_text()
    record = {
        "experiment": to_record(experiment),
        "data": str(recordings.store.path),
        "units": recordings.neuron_digests,
        "tiers": None,
        "left_out": recordings.left_out,
        "version": __version__,
    }
    refuse_overlap(workdir, [recordings.store.path], option="--workdir")
    path = workdir / RECORD
    if path.exists():
        previous, fields = read_record(workdir)
        records = to_record(previous), record["experiment"]
        # How a step is computed does not change what is learnt.
        changes = differences(*({**x, "training": None} for x in records))
        if changes:
            suffix = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
            raise UserError(
                f"{workdir} holds a run of another experiment: {changes[0]}{suffix}; "
                "name another --workdir, or remove that one"
            )
        check_neurons(fields, recordings, advice="name another --workdir")
        copy = own_tiers(workdir, fields) or workdir / TIERS
        if table != (copy.read_text() if copy.exists() else None):
            raise UserError(
                f"{workdir} holds a run with other tiers; name another --workdir, or the run's "
                f"own table ({copy}) as --tiers"
                if copy.exists()
                else f"{workdir} holds a run with the store's own tiers; name another --workdir"
            )
        if recordings.left_out != fields.get("left_out", {}):  # of trials damaged since
            write_json(path, fields | {"left_out": recordings.left_out}, sealed=True)
        return
    if workdir.exists() and any(_is_foreign(p, table) for p in workdir.iterdir()):
        raise UserError(
            f"expected a run or an empty folder in {workdir}, found other files; "
            "name another --workdir"
        )
    workdir.mkdir(parents=True, exist_ok=True)
    if table is not None:
        with whole_file(workdir / TIERS) as partial:
            partial.write_text(table)
        record["tiers"] = file_digest(workdir / TIERS)
    write_json(path, record, sealed=True)


def _is_foreign(path: Path, table: str | None) -> bool:
    """Whether a file in a folder without a record is none that a killed ``claim`` left."""
    if path.name == TIERS and path.is_file() and table is not None:
        return path.read_text(errors="replace") != table
    return not path.name.startswith(".")


def own_tiers(workdir: Path, record: dict[str, Any]) -> Path | None:
    """The tier table of a run; None if it was trained with the store's own tiers.

    Raises:
        UserError: it is not the one that the run was trained with.
    """
    path = workdir / TIERS
    if "tiers" in record:  # before version 0.2 it is not
        digest = file_digest(path) if path.is_file() else None
        if digest != record["tiers"]:
            raise UserError(
                f"expected {path} as the run was trained with it, found it changed, missing or "
                "added; bring that table back, or train again"
            )
    return path if path.exists() else None


def check_neurons(record: dict[str, Any], recordings: Recordings, *, advice: str) -> None:
    """Check that a run was trained on the neurons of these recordings, in the same order.

    Args:
        record: the record of the run (``read_record``).
        recordings: the sessions.
        advice: the end of the error message.

    Raises:
        UserError: the sessions or their neurons differ.

    Examples:
        >>> from types import SimpleNamespace
        >>> digests = {"mouse": "5994471abb01112a"}
        >>> recordings = SimpleNamespace(neuron_digests=digests)
        >>> check_neurons({"units": digests}, recordings, advice="name the run's own store")
    """
    expected, actual = record["units"], recordings.neuron_digests
    if list(expected) != list(actual):
        raise UserError(
            f"expected the sessions of the run, {', '.join(expected)}, in {recordings.store.path}, "
            f"found {', '.join(actual)}; {advice}"
        )
    wrong = [name for name in actual if actual[name] != expected[name]]
    if wrong:
        raise UserError(
            f"expected the neurons of the run in {recordings.store.path}, found others, or in "
            f"another order, in {', '.join(wrong)}; {advice}"
        )


def read_record(workdir: Path) -> tuple[Experiment, dict[str, Any]]:
    """The experiment of a run, and the whole record: ``experiment``, ``data``, ``units``, ...

    Raises:
        UserError: the workdir holds no run, or a run of another version.

    Examples:
        >>> read_record(Path("nowhere"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected nowhere/run.json, which is missing; ...
    """
    record = read_json(
        workdir / RECORD, advice="name the --workdir of a run", keys=("experiment", "data")
    )
    try:
        experiment = from_record(record["experiment"])
        if not isinstance(experiment, Experiment):
            raise UserError(f"its experiment is {type(experiment).__name__}")
    except UserError as error:
        raise UserError(
            f"expected an experiment of sensorium_jax {__version__} in {workdir / RECORD}, "
            f"written by {record.get('version')}: {error}; train it again, or install that version"
        ) from None
    if "units" not in record:
        raise UserError(
            f"expected the ids of a run's neurons in {workdir / RECORD}, found none: it is older "
            "than their record; train it again"
        )
    for name, kind in (("data", str), ("units", dict), ("left_out", dict)):
        if not isinstance(record.setdefault(name, {}), kind):
            raise UserError(
                f"expected {name} as text or a table in {workdir / RECORD}, found "
                f"{record[name]!r}: it is damaged; train it again"
            )
    return experiment, record
