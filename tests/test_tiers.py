"""Tables of tiers, as people edit them, and folds by clip."""

import csv

import numpy as np
import pytest

from sensorium_jax import load_recordings, protocol
from sensorium_jax.cli import tiers as tiers_command
from sensorium_jax.data import format as store_format
from sensorium_jax.data import tiers
from sensorium_jax.errors import UserError
from sensorium_jax.runs.workdir import claim
from tests import small


@pytest.fixture(scope="module")
def opened(store):
    return store_format.open_store(store)


@pytest.fixture
def table(opened, tmp_path):
    """The store's own table, to be edited."""
    path = tmp_path / "tiers.csv"
    tiers.write_table(path, tiers.table_of(opened))
    return path


def edit(path, change):
    with path.open() as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else ["session"])
        writer.writeheader()
        writer.writerows(rows)


def test_own_table_changes_nothing(opened, table):
    for own, read in zip(opened.sessions, tiers.apply_table(opened, table).sessions, strict=True):
        np.testing.assert_array_equal(own.trials.tier, read.trials.tier)


def test_edited_tiers_decide(store, table):
    def change(rows):
        oracle = [row for row in rows if row["tier"] == "oracle"]
        for row in oracle:
            row["tier"] = "train"
        return [row for row in rows if row["tier"] != "final_test_main"]

    own = load_recordings(store)
    edit(table, change)
    edited = load_recordings(store, tiers=table)
    for session in range(2):
        trains = {*own.rows(session, "train"), *own.rows(session, "oracle")}
        assert set(edited.rows(session, "train")) == trains
        assert not len(edited.rows(session, "oracle"))
        assert not len(edited.rows(session, "final_test_main"))
        assert len(own.rows(session, "final_test_main"))


def test_a_mouse_without_rows_is_left_out(opened, store, table):
    name = opened.sessions[1].name
    edit(table, lambda rows: [row for row in rows if row["session"] == name])
    assert load_recordings(store, tiers=table).session_names == (name,)


def set_first(**values):
    return lambda rows: [rows[0] | values, *rows[1:]]


def leak(rows):
    first = next(row for row in rows if row["tier"] == "oracle")
    return [row | {"tier": "train"} if row is first else row for row in rows]


@pytest.mark.parametrize(
    "change, words",
    [
        (set_first(session="dynamic9"), "no session 'dynamic9' in the store .* there are: dyn"),
        (set_first(number="999"), "no trial 999 of dynamic"),
        (set_first(number="one"), "expected a trial number in line 2 of .* found 'one'"),
        (set_first(tier="trian"), "no tier 'trian' .line 2 of .*did you mean train"),
        (lambda rows: [*rows, rows[0]], "expected every trial once, found 0 again in line"),
        (leak, "expected every clip of .* in one tier, found clip.* in train and in oracle"),
        (lambda rows: [{"session": row["session"]} for row in rows], "found no number"),
        (lambda rows: [], "expected the columns session, number, tier and rows in .*tiers.csv"),
        (lambda rows: [row | {"tier": "none"} for row in rows], "expected trials in .* found none"),
    ],
)
def test_tables_that_are_wrong(change, words, store, table):
    edit(table, change)
    with pytest.raises(UserError, match=words) as error:
        load_recordings(store, tiers=table)
    assert "\n" not in str(error.value)


def test_no_table(store, tmp_path):
    with pytest.raises(UserError, match="expected a table of tiers at .*found nothing"):
        load_recordings(store, tiers=tmp_path / "none.csv")


@pytest.mark.parametrize("pool", [("train", "oracle"), ("train",)])
def test_folds_share_no_clip_and_leave_none_out(pool, opened):
    rows = tiers.table_of(opened)
    tables = list(tiers.folds(rows, 3, tiers=pool))
    held_out = []
    for table in tables:
        train = {row.clip for row in table if row.tier == "train"}
        oracle = {row.clip for row in table if row.tier == "oracle"}
        assert train and oracle and not train & oracle
        assert train | oracle == {row.clip for row in rows if row.tier in pool}
        held_out.append(oracle)
        for row, own in zip(table, rows, strict=True):
            if own.tier in protocol.TEST_TIERS:
                assert row == own
            elif own.tier not in pool:
                assert row.tier == protocol.MISSING
    assert not set.intersection(*held_out)
    assert set.union(*held_out) == {row.clip for row in rows if row.tier in pool}


def test_folds_are_even_for_every_set_of_mice():
    """Clips 0-9 were shown to both mice, and 10 to each alone."""
    rows = [
        tiers.Row(mouse, number, "train", "natural", clip, 300, True)
        for mouse in ("a", "b")
        for number, clip in enumerate([*map(str, range(10)), *(f"{mouse}{i}" for i in range(10))])
    ]
    for table in tiers.folds(rows, 5, seed=3):
        held = [row for row in table if row.tier == "oracle"]
        for mouse in ("a", "b"):
            assert sum(row.session == mouse for row in held) == 4
        shared = [row.clip for row in held if not row.clip.startswith(("a", "b"))]
        assert len(shared) == 4 and len(set(shared)) == 2


def test_withheld_trials_are_set_aside():
    rows = [tiers.Row("a", i, "train", "natural", f"clip{i}", 300, i > 0) for i in range(5)]
    assert all(table[0].tier == protocol.MISSING for table in tiers.folds(rows, 2))


@pytest.mark.parametrize(
    "k, pool, words",
    [
        (1, ("train",), "expected 2 folds or more"),
        (99, ("train",), "at most one for each of the .* clips of train, got 99"),
        (2, ("trian",), "no tier 'trian' .*did you mean train"),
    ],
)
def test_folds_that_cannot_be(k, pool, words, opened):
    with pytest.raises(UserError, match=words):
        list(tiers.folds(tiers.table_of(opened), k, tiers=pool))


def test_program(store, tmp_path, capsys):
    assert tiers_command.main([str(store), "--out", str(tmp_path / "folds"), "--folds", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / f"folds/fold{i}.csv") for i in range(2)
    ]
    recordings = load_recordings(store, tiers=tmp_path / "folds/fold1.csv")
    assert len(recordings.rows(0, "train")) and len(recordings.rows(0, "oracle"))
    assert tiers_command.main([str(tmp_path), "--out", str(tmp_path / "x.csv")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: expected a store") and error.count("\n") == 1


def test_a_run_keeps_its_table(store, table, tmp_path):
    def start(workdir, tiers):
        claim(tmp_path / workdir, small.experiment(), load_recordings(store, tiers=tiers))

    start("run", table)
    assert (tmp_path / "run/tiers.csv").read_text() == table.read_text()
    start("run", table)  # the same again
    edit(table, lambda rows: rows[1:])
    with pytest.raises(UserError, match="holds a run with other tiers; .*run/tiers.csv"):
        start("run", table)
    start("plain", None)
    with pytest.raises(UserError, match="holds a run with the store's own tiers"):
        start("plain", table)


def as_spreadsheet(text, *, separator=",", empty=False, mark=False):
    """A table as spreadsheets save it."""
    text = text.replace(",", separator)
    if empty:
        width = text.splitlines()[0].count(separator)
        text = text.replace("\n", f"\r\n{separator * width}\r\n", 2) + "\r\n \r\n"
    return ("\ufeff" if mark else "") + text


@pytest.mark.parametrize(
    "saved",
    [{"mark": True}, {"separator": ";", "mark": True}, {"separator": "\t"}, {"empty": True}],
)
def test_tables_of_spreadsheets_are_read(saved, store, table):
    expected = load_recordings(store, tiers=table)
    table.write_text(as_spreadsheet(table.read_text(), **saved), encoding="utf-8", newline="")
    read = load_recordings(store, tiers=table)
    for one, other in zip(expected.sessions, read.sessions, strict=True):
        np.testing.assert_array_equal(one.trials.tier, other.trials.tier)
        np.testing.assert_array_equal(one.trials.number, other.trials.number)
