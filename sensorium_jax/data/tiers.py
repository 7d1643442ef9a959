"""Tier tables: CSV files that assign trials to tiers, for people to edit; and folds by clip.

    session,number,tier,family,clip,frames,labelled
    dynamic29515-10-12-Video-...,0,train,natural,clip00012,300,True

Only the first three columns are read. A trial without a row, or of the tier "none", is not used; a
mouse without trials is left out. Each fold of a cross-validation is a tier table too.
"""

from __future__ import annotations

import csv
import io
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session, Store
from sensorium_jax.errors import UserError, hint
from sensorium_jax.files import whole_file

REQUIRED = ("session", "number", "tier")  # columns


class Row(NamedTuple):
    """One trial of one mouse: a row of a tier table.

    Examples:
        >>> row = Row("mouse", 7, "train", "natural", "clip00012", 300, True)
        >>> row._replace(tier="oracle").tier
        'oracle'
    """

    session: str
    number: int
    tier: str
    family: str
    clip: str
    frames: int
    labelled: bool


def table_of(store: Store) -> list[Row]:
    """The tier table of a store: one row for each trial of each session."""
    return [
        Row(session.name, *values)
        for session in store.sessions
        for values in zip(*(column.tolist() for column in session.trials), strict=True)
    ]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write a tier table as CSV.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tiers.csv"
        ...     write_table(path, [Row("mouse", 7, "train", "natural", "clip00012", 300, True)])
        ...     print(path.read_text(), end="")
        session,number,tier,family,clip,frames,labelled
        mouse,7,train,natural,clip00012,300,True
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text.getvalue())


def apply_table(store: Store, path: Path) -> Store:
    """The store with the tiers of a table; mice without trials in the table are left out.

    Raises:
        UserError: the file or a column is missing, a session, trial or tier is unknown, a trial
            has two rows, or a clip is in the train tier and another tier of the same mouse.

    Examples:
        >>> apply_table(Store(Path("store"), ()), Path("nowhere.csv"))
        Traceback (most recent call last):
            ...
        sensorium_jax.errors.UserError: expected a table of tiers at nowhere.csv, found nothing
    """
    tiers = _read(path)
    sessions_by_name = {session.name: session for session in store.sessions}
    for name in tiers:
        if name not in sessions_by_name:
            raise UserError(
                f"no session {name!r} in the store at {store.path}, but in {path}; "
                f"there are: {', '.join(sessions_by_name)}"
            )
    sessions = [_assign_tiers(sessions_by_name[name], tiers[name], path) for name in sorted(tiers)]
    sessions = [s for s in sessions if (s.trials.tier != protocol.MISSING).any()]
    if not sessions:
        raise UserError(f"expected trials in {path}, found none but {protocol.MISSING!r}")
    return store._replace(sessions=tuple(sessions))


def folds(
    rows: Sequence[Row], k: int, *, tiers: Sequence[str] = ("train", "oracle"), seed: int = 0
) -> Iterator[list[Row]]:
    """Tier tables for k-fold cross-validation: a fold's clips are its oracle tier, the rest train.

    All trials of a clip, in all mice and tiers, are in one fold, so that no clip leaks from train
    to oracle. Folds get equal numbers of clips (to within one) from each set of mice that saw them.

    Args:
        rows: the table to divide.
        k: number of folds.
        tiers: tiers whose trials are divided. Trials of the other tiers keep their tier, except
            that an oracle tier which is not divided, and withheld trials of tiers which are, get
            the tier "none".
        seed: of the random order of clips.

    Raises:
        UserError: fewer than two folds, more folds than clips, or an unknown tier.

    Examples:
        >>> columns = {"tier": "train", "family": "natural", "frames": 300, "labelled": True}
        >>> rows = [Row("mouse", i, clip=clip, **columns) for i, clip in enumerate("abcd")]
        >>> oracle = [[r.clip for r in fold if r.tier == "oracle"] for fold in folds(rows, 2)]
        >>> [len(fold) for fold in oracle], sorted(sum(oracle, []))
        ([2, 2], ['a', 'b', 'c', 'd'])
    """
    for name in tiers:
        _check_tier(name, "--tiers")
    divided = [row for row in rows if row.tier in tiers and row.labelled]
    mice = defaultdict(set)  # by clip
    for row in divided:
        mice[row.clip].add(row.session)
    if not 2 <= k <= len(mice):
        raise UserError(
            f"expected 2 folds or more, and at most one for each of the {len(mice)} clips of "
            f"{', '.join(tiers)}, got {k}"
        )
    rng = np.random.default_rng(seed)
    order = [str(clip) for clip in rng.permutation(sorted(mice))]
    order.sort(key=lambda clip: sorted(mice[clip]))  # stable: shuffled within a set of mice
    fold_of = {clip: i % k for i, clip in enumerate(order)}
    trials = {(row.session, row.number) for row in divided}
    for fold in range(k):

        def tier(row: Row, fold: int = fold) -> str:
            if (row.session, row.number) not in trials:
                unused = row.tier in tiers or row.tier == protocol.ORACLE
                return protocol.MISSING if unused else row.tier
            return protocol.ORACLE if fold_of[row.clip] == fold else protocol.TRAIN

        yield [row._replace(tier=tier(row)) for row in rows]


def _read(path: Path) -> dict[str, dict[int, str]]:
    """The tier of each file number of each session."""
    try:
        rows = _parse(path.read_text(encoding="utf-8-sig"))  # spreadsheets write a mark first
    except FileNotFoundError:
        raise UserError(f"expected a table of tiers at {path}, found nothing") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"expected a CSV table in {path}, which is damaged ({error})") from None
    missing = [name for name in REQUIRED if not rows or name not in rows[0]]
    if missing:
        raise UserError(
            f"expected the columns {', '.join(REQUIRED)} and rows in {path}, found no "
            f"{missing[0]}; sensorium-jax tiers writes a table to edit"
        )
    tiers: dict[str, dict[int, str]] = defaultdict(dict)
    for line, row in enumerate(rows, start=2):
        location = f"line {line} of {path}"
        if not (row["number"].isascii() and row["number"].isdecimal()):
            raise UserError(f"expected a trial number in {location}, found {row['number']!r}")
        number = int(row["number"])
        _check_tier(row["tier"], location)
        if number in tiers[row["session"]]:
            raise UserError(f"expected every trial once, found {number} again in {location}")
        tiers[row["session"]][number] = row["tier"]
    return tiers


def _parse(text: str) -> list[dict[str, str]]:
    """Rows of a table by column; columns may be parted by comma, semicolon or tab."""
    lines = [line for line in text.splitlines() if line.strip(",;\t ")]
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    rows = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    return [{str(k).strip(): (v or "").strip() for k, v in row.items() if k} for row in rows]


def _check_tier(tier: str, location: str) -> None:
    tiers = (*protocol.TIERS, protocol.MISSING)
    if tier not in tiers:
        raise UserError(f"no tier {tier!r} ({location}); {hint(tier, tiers)}")


def _assign_tiers(session: Session, tiers: dict[int, str], path: Path) -> Session:
    """The session with these tiers by file number; the other trials get the tier "none"."""
    table = session.trials
    unknown = set(tiers) - set(table.number.tolist())
    if unknown:
        raise UserError(
            f"no trial {min(unknown)} of {session.name} in the store, but in {path}; "
            "remove that line"
        )
    tier = np.array([tiers.get(number, protocol.MISSING) for number in table.number.tolist()])
    for clip in np.unique(table.clip[tier == protocol.TRAIN]):
        leaked = (table.clip == clip) & ~np.isin(tier, (protocol.TRAIN, protocol.MISSING))
        if leaked.any():
            trials = table.number[table.clip == clip]
            raise UserError(
                f"expected every clip of {session.name} in one tier, found {clip} in train and in "
                f"{tier[leaked][0]} in {path} (trials {', '.join(map(str, trials))}): a leak; "
                "put them in one"
            )
    return session.with_tiers(tier)


if __name__ == "__main__":  # a program before version 0.2
    sys.argv[1:1] = ["tiers"]
    runpy.run_module("sensorium_jax", run_name="__main__", alter_sys=True)
