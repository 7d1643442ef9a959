"""Which trial serves what: a plain table that people may edit, and folds by clip.

    session,number,tier,family,clip,frames,labelled
    dynamic29515-10-12-Video-...,0,train,natural,clip00012,300,True

Only the first three columns are read; a trial without a row, or with the tier "none", is not used,
and a mouse without any is left out. Folds are such tables too.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium_jax import protocol
from sensorium_jax.data.format import Session, Store
from sensorium_jax.errors import UserError
from sensorium_jax.files import whole_file

NEEDED = ("session", "number", "tier")


class Row(NamedTuple):
    """One trial of one mouse."""

    session: str
    number: int
    tier: str
    family: str
    clip: str
    frames: int
    labelled: bool


def table_of(store: Store) -> list[Row]:
    """The store's own tiers."""
    return [
        Row(session.name, *values)
        for session in store.sessions
        for values in zip(*(column.tolist() for column in session.trials), strict=True)
    ]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write a tier table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as beside:
        beside.write_text(text.getvalue())


def apply_table(store: Store, path: Path) -> Store:
    """The store with the tiers of a table; mice without a trial in it are left out.

    Raises:
        UserError: no such file, a column is missing, a session, trial or tier is unknown, a trial
            is there twice, or a clip is in the train tier and another tier of the same mouse.
    """
    tiers = _read(path)
    known = {session.name: session for session in store.sessions}
    for name in tiers:
        if name not in known:
            raise UserError(
                f"no session {name!r} in the store at {store.path}, but in {path}; "
                f"there are: {', '.join(known)}"
            )
    sessions = [_applied(known[name], tiers[name], path) for name in sorted(tiers)]
    sessions = [s for s in sessions if (s.trials.tier != protocol.MISSING).any()]
    if not sessions:
        raise UserError(f"expected trials in {path}, found none but {protocol.MISSING!r}")
    return store._replace(sessions=tuple(sessions))


def folds(
    rows: Sequence[Row], k: int, *, tiers: Sequence[str] = ("train", "oracle"), seed: int = 0
) -> Iterator[list[Row]]:
    """Tables for k-fold validation: a fold's clips are its oracle tier, those of the others train.

    A clip is in one fold, in whichever mice and tiers it was shown, so that nothing leaks. Clips
    are dealt out evenly for every set of mice that saw them.

    Args:
        rows: the table to split.
        k: how many folds.
        tiers: whose trials are split. The others stay as they are, but for an oracle tier that is
            not split, and withheld trials of those that are: they are set aside.
        seed: of the deal.

    Raises:
        UserError: fewer than two folds, more than clips, or tiers that are not there.
    """
    for tier in tiers:
        _check_tier(tier, "--tiers")
    pooled = [row for row in rows if row.tier in tiers and row.labelled]
    seen_by = defaultdict(set)
    for row in pooled:
        seen_by[row.clip].add(row.session)
    if not 2 <= k <= len(seen_by):
        raise UserError(
            f"expected 2 folds or more, and at most one for each of the {len(seen_by)} clips of "
            f"{', '.join(tiers)}, got {k}"
        )
    rng = np.random.default_rng(seed)
    order = [str(clip) for clip in rng.permutation(sorted(seen_by))]
    order.sort(key=lambda clip: sorted(seen_by[clip]))  # stable: shuffled within a set of mice
    fold_of = {clip: i % k for i, clip in enumerate(order)}
    chosen = {(row.session, row.number) for row in pooled}
    for fold in range(k):

        def tier(row: Row, fold: int = fold) -> str:
            if (row.session, row.number) not in chosen:
                aside = row.tier in tiers or row.tier == protocol.ORACLE
                return protocol.MISSING if aside else row.tier
            return protocol.ORACLE if fold_of[row.clip] == fold else protocol.TRAIN

        yield [row._replace(tier=tier(row)) for row in rows]


def _read(path: Path) -> dict[str, dict[int, str]]:
    """Session -> file number -> tier."""
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
    except FileNotFoundError:
        raise UserError(f"expected a table of tiers at {path}, found nothing") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"expected a CSV table in {path}, which is damaged ({error})") from None
    missing = [name for name in NEEDED if not rows or name not in rows[0]]
    if missing:
        raise UserError(
            f"expected the columns {', '.join(NEEDED)} and rows in {path}, found no "
            f"{missing[0]}; sensorium-jax tiers writes a table to edit"
        )
    tiers: dict[str, dict[int, str]] = defaultdict(dict)
    for line, row in enumerate(rows, start=2):
        where = f"line {line} of {path}"
        if not (row["number"] or "").isdigit():
            raise UserError(f"expected a trial number in {where}, found {row['number']!r}")
        number = int(row["number"])
        _check_tier(row["tier"], where)
        if number in tiers[row["session"]]:
            raise UserError(f"expected every trial once, found {number} again in {where}")
        tiers[row["session"]][number] = row["tier"]
    return tiers


def _check_tier(tier: str, where: str) -> None:
    known = (*protocol.TIERS, protocol.MISSING)
    if tier not in known:
        near = difflib.get_close_matches(str(tier), known, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
        raise UserError(f"no tier {tier!r} ({where}); {hint}")


def _applied(session: Session, tiers: dict[int, str], path: Path) -> Session:
    """The session, with these tiers and these trials only."""
    table = session.trials
    unknown = set(tiers) - set(table.number.tolist())
    if unknown:
        raise UserError(
            f"no trial {min(unknown)} of {session.name} in the store, but in {path}; "
            "remove that line"
        )
    tier = np.array([tiers.get(number, protocol.MISSING) for number in table.number.tolist()])
    for clip in np.unique(table.clip[tier == protocol.TRAIN]):
        elsewhere = (table.clip == clip) & ~np.isin(tier, (protocol.TRAIN, protocol.MISSING))
        if elsewhere.any():
            trials = table.number[table.clip == clip]
            raise UserError(
                f"expected every clip of {session.name} in one tier, found {clip} in train and in "
                f"{tier[elsewhere][0]} in {path} (trials {', '.join(map(str, trials))}): a leak; "
                "put them in one"
            )
    return session.with_tiers(tier)


if __name__ == "__main__":  # a program before version 0.2
    raise SystemExit("this program is now: sensorium-jax tiers")
