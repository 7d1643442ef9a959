"""Small files are whole or not there, and pages take any title."""

import json
import signal

import numpy as np
import pytest

from sensorium_jax.errors import STOP_SIGNALS, UserError, hint, hold_signals
from sensorium_jax.files import plain, read_json, whole_file, write_json
from sensorium_jax.pages import page
from sensorium_jax.tables import Row, Table


def test_a_failed_write_leaves_nothing_and_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), whole_file(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == {"old": 1}
    with pytest.raises(TypeError):
        write_json(path, {"no": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_has_null_for_what_is_no_number(tmp_path):
    values = {"a": (np.float32(0.5), np.nan, [np.inf]), "n": np.int64(3), "none": None}
    write_json(tmp_path / "a.json", values)
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert read_json(tmp_path / "a.json", advice="") == plain(values)
    assert plain(values) == {"a": [0.5, None, [None]], "n": 3, "none": None}


@pytest.mark.parametrize("title", ["NOBODY", "TITLE and BODY", "a<b> & $c$", "BODY"])
def test_pages_take_any_title_and_body(title):
    text = page.render(title, "<p>the TITLE of a BODY</p>")
    assert text.count("<p>the TITLE of a BODY</p>") == 1
    assert f"<title>{title.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}" in text
    assert text.startswith("<!doctype html>") and text.rstrip().endswith("</html>")


def test_tables_are_text_and_html():
    table = Table(("mouse", "a\nb"), (Row(("x<y", "1")), Row(("part", "2"), 1)), "title", "caption")
    assert str(table).splitlines() == [
        "title",
        "mouse   a b",
        "x<y       1",
        "  part    2",
        "caption",
    ]
    html = table._repr_html_()
    assert "x&lt;y" in html and "<p>caption</p>" in html and html.count("<tr>") == 3


def test_hints_name_the_nearest_or_all():
    assert hint("orcale", ["oracle", "train"]) == "did you mean oracle?"
    assert hint("zzz", ["oracle", "train"]) == "there are: oracle, train"


def test_damaged_json_says_what_to_do(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="a.json, which is damaged .*; mend it"):
        read_json(tmp_path / "a.json", advice="mend it")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signals_are_held_until_the_end_and_a_second_one_is_not(number):
    seen = []
    before = signal.signal(number, lambda *_: seen.append("handled"))
    try:
        with hold_signals():
            signal.raise_signal(number)
            assert not seen
        assert seen == ["handled"]
        with pytest.raises(KeyboardInterrupt), hold_signals():
            signal.raise_signal(number)
            signal.raise_signal(number)
        signal.signal(number, signal.SIG_IGN)
        with hold_signals():
            signal.raise_signal(number)
        assert seen == ["handled"] and signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
