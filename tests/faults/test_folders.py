"""Folders that people name: nothing of theirs is removed, and two programs never share one."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from small import edit_json

from sensorium_jax import errors, files, simulate, submission
from sensorium_jax.cli import prepare
from sensorium_jax.cli.main import main
from sensorium_jax.data import format as store_format
from sensorium_jax.data.recordings import load_recordings
from sensorium_jax.data.writer import check_store_folder, recover
from sensorium_jax.errors import UserError
from sensorium_jax.files import lock, refuse_overlap
from sensorium_jax.prepare.convert import Options, convert, match_recording

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mouse(tmp_path_factory):
    """The smallest session there is, read-only."""
    plan = simulate.SessionPlan(
        "A", neurons=3, train=2, clips=1, repeats=2, ood_clips=1, ood_repeats=1
    )
    return simulate.write_session(tmp_path_factory.mktemp("mouse"), plan)


@pytest.fixture
def raw(mouse, tmp_path):
    """A folder of that session, of hard links."""
    shutil.copytree(mouse, tmp_path / "raw" / mouse.name, copy_function=os.link)
    return tmp_path / "raw"


def contents(folder):
    """Every file below a folder, with its size and time."""
    stats = {p: p.stat() for p in sorted(folder.rglob("*"))}
    return {p: (s.st_size, s.st_mtime_ns) for p, s in stats.items() if p.is_file()}


def prepare_error(capsys, *flags):
    """The line that ``prepare raw`` ends with."""
    assert prepare.main(["raw", *map(str, flags)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


# --- what no conversion wrote -------------------------------------------------------------------


@pytest.mark.parametrize("out", [".", "raw", "raw/store", f"raw/{simulate.session_name('A')}"])
def test_a_store_lies_apart_from_the_recordings(out, raw, tmp_path, capsys):
    before = contents(tmp_path)
    error = prepare_error(capsys, "--raw", raw, "--out", tmp_path / out)
    assert "expected --out apart from what is read" in error
    assert contents(tmp_path) == before


def test_links_to_the_recordings_are_the_recordings(raw, tmp_path, capsys):
    (tmp_path / "link").symlink_to(raw, target_is_directory=True)
    before = contents(tmp_path)
    error = prepare_error(capsys, "--raw", raw, "--out", tmp_path / "link")
    assert "apart from what is read" in error and contents(tmp_path) == before


def test_places_apart_are_allowed(tmp_path):
    refuse_overlap(tmp_path / "store", [tmp_path / "storehouse", tmp_path / "raw"], option="--out")


@pytest.mark.parametrize("foreign", ["notes.txt", "other/meta.json", "other/x.npy", ".git/config"])
def test_folders_with_what_no_conversion_wrote_are_refused(foreign, raw, tmp_path, capsys):
    path = tmp_path / "store" / foreign
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"title": "mine"}))
    before = contents(tmp_path)
    error = prepare_error(capsys, "--raw", raw, "--out", tmp_path / "store")
    assert f"found {foreign.partition('/')[0]}" in error and "nothing was written" in error
    assert contents(tmp_path) == before


def test_a_store_may_hold_tables_and_pages_of_ours(raw, tmp_path):
    convert(raw, tmp_path / "store")
    (tmp_path / "store/tiers.csv").touch()
    check_store_folder(tmp_path / "store")


def test_a_file_where_the_store_belongs(raw, tmp_path, capsys):
    (tmp_path / "store").write_text("mine")
    assert "found a file" in prepare_error(capsys, "--raw", raw, "--out", tmp_path / "store")
    assert (tmp_path / "store").read_text() == "mine"


def test_a_store_of_an_earlier_version_is_converted_again(raw, tmp_path):
    convert(raw, tmp_path / "store")
    for file in (tmp_path / "store").rglob("*.json"):
        if file.name in (store_format.STORE_FILE, store_format.SESSION_FILE):
            edit_json(file, lambda record: record | {"version": 1})
    with pytest.raises(UserError, match="expected version .*found 1"):
        store_format.open_store(tmp_path / "store")
    convert(raw, tmp_path / "store")
    assert store_format.open_store(tmp_path / "store").sessions


WATCHED = """
import json, os, sys
written = []
def watch(event, args):
    writes = os.O_WRONLY | os.O_RDWR
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & writes:
        written.append(args[0])
    relative = event in ("os.remove", "os.rmdir") and args[1] != -1  # of shutil.rmtree
    if event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"):
        if not relative:
            written.append(args[0])
    if event == "os.rename":
        written.extend(args[:2])
sys.addaudithook(watch)
from sensorium_jax.cli.main import main
code = main(sys.argv[2:])
json.dump([os.path.abspath(os.fsdecode(p)) for p in written if not isinstance(p, int)],
          open(sys.argv[1], "w"))
sys.exit(code)
"""


def around(folder, *places):
    """What lies in a folder but not in one of its places, with sizes and times."""
    inside = [folder / place for place in places]
    return {
        path: value
        for path, value in contents(folder).items()
        if not any(place in path.parents for place in inside)
    }


@pytest.mark.slow
def test_nothing_is_written_but_in_the_named_folders(raw, tmp_path):
    """Of every path that Python opens to write, removes or renames, and of the tree around."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    (tmp_path / "watch.py").write_text(WATCHED)
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "MPLCONFIGDIR": str(tmp_path / "cache/matplotlib"),  # matplotlib's own choice is ~
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path / "temporary"),
        "GLIBC_TUNABLES": "",
    }
    (tmp_path / "temporary").mkdir()
    commands = {
        "store": ["prepare", "raw", "--raw", "raw", "--out", "store"],
        "again": ["prepare", "raw", "--raw", "raw", "--out", "store", "--response", "float16"],
        "run": ["train", "--config=static_baseline", "--size=demo", "--data=store"]
        + ["--workdir=run", "--set", "epoch_steps=1", "--set", "max_epochs=1"]
        + ["--set", "data.frames=60", "--set", "data.trials=1", "--devices=1"],
        "examine": ["examine", "store", "--html", "store/page.html"],
    }
    allowed = [tmp_path / name for name in ("store", "run", "cache", "temporary")]
    allowed += [Path(os.environ["JAX_COMPILATION_CACHE_DIR"])]
    before = around(tmp_path, "store", "run", "cache", "temporary")
    for name, command in commands.items():
        log = tmp_path / f"temporary/{name}.json"
        done = subprocess.run(
            [sys.executable, "watch.py", log, *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        written = {Path(p) for p in json.loads(log.read_text())}
        outside = [
            p
            for p in written
            if not any(p == place or place in p.parents for place in allowed)
            and not p.is_relative_to("/dev")
        ]
        assert written and not outside
    assert around(tmp_path, "store", "run", "cache", "temporary") == before


# --- names --------------------------------------------------------------------------------------


def zipped(session, path, name):
    """A zip of a session folder by another name."""
    with zipfile.ZipFile(path, "a") as out:
        for file in sorted(p for p in session.rglob("*") if p.is_file()):
            out.write(file, f"{name}/{file.relative_to(session)}")
    return path


def test_two_sources_of_one_name_are_refused_and_renamed(mouse, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    for name in ("m1", "m2"):
        zipped(mouse, tmp_path / f"raw/{name}.zip", "session")
    flags = ["--raw", tmp_path / "raw", "--out", tmp_path / "store"]
    error = prepare_error(capsys, *flags)
    assert "m1.zip" in error and "m2.zip" in error and "--rename m2.zip=NAME" in error
    assert not (tmp_path / "store").exists()
    assert prepare.main(["raw", *map(str, flags), "--rename", "m2.zip=second"]) == 0
    assert [s.name for s in store_format.open_store(tmp_path / "store").sessions] == [
        "second",
        "session",
    ]


@pytest.mark.parametrize("entry", ["second", "=second", "m2=", "m2=a/b", "m2=.hidden", "m2=a:b"])
def test_names_that_no_session_can_have(entry):
    with pytest.raises(UserError, match="expected OLD=NEW"):
        Options(rename=(entry,)).names()


def test_zips_of_several_sessions_and_in_capitals(mouse, tmp_path):
    (tmp_path / "raw").mkdir()
    path = zipped(mouse, tmp_path / "raw/mice.ZIP", "deep/one")
    zipped(mouse, path, "deep/two")
    (tmp_path / "raw/._mice.zip").write_bytes(b"macOS")
    (tmp_path / "raw/Thumbs.db").write_bytes(b"Windows")
    assert convert(tmp_path / "raw", tmp_path / "store") == ["one", "two"]


def test_one_folder_too_many_and_the_working_folder(raw, tmp_path, monkeypatch):
    (tmp_path / "outer").mkdir()
    raw.rename(tmp_path / "outer/raw")
    names = convert(tmp_path / "outer", tmp_path / "one")
    monkeypatch.chdir(tmp_path / "outer/raw" / names[0])
    assert convert(Path("."), tmp_path / "two") == names


class Named:
    def __init__(self, name, source):
        self.name, self.source = name, Path(source)


def test_sessions_are_named_whole():
    one = Named("dynamic1-1-1-Video-a", "dynamic1-1-1-Video-a.zip")
    ten = Named("dynamic1-1-10-Video-b", "copy.zip")
    for name in (one.name, "dynamic1-1-1", "1-1-1", "dynamic1-1-1-Video-a.zip"):
        assert match_recording(name, [one, ten]) is one
    for name in (ten.name, "dynamic1-1-10", "copy", "copy.zip"):
        assert match_recording(name, [one, ten]) is ten
    for name in ("dynamic1", "dynamic1-1", "dynamic1-1-"):
        with pytest.raises(UserError, match=f"no session '{name}'"):
            match_recording(name, [one, ten])
    with pytest.raises(UserError, match="expected one session .* found 2"):
        match_recording("dynamic1-1-1", [one, Named("dynamic1-1-1-Video-c", "c.zip")])


# --- replacing a session ------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["written", "moved", "removed"])
def test_killed_while_it_replaces_a_session(moment, raw, mouse, tmp_path, monkeypatch):
    """The old session or the new one is whole, whenever the process ends; or the store says so."""

    class Killed(BaseException):
        pass

    store, rename, rmtree = tmp_path / "store", Path.rename, shutil.rmtree
    convert(raw, store)

    def dying_rename(path, target):
        late = path.name.endswith(".partial")
        if moment == "written" and Path(target).name.endswith(".replaced"):
            raise Killed
        if moment == "moved" and late and not Path(target).exists() and path.is_dir():
            raise Killed
        return rename(path, target)

    def dying_rmtree(path, **options):
        if moment == "removed" and Path(path).exists() and Path(path).suffix == ".replaced":
            raise Killed
        return rmtree(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying_rename)
        patch.setattr(shutil, "rmtree", dying_rmtree)
        with pytest.raises(Killed):
            convert(raw, store, options=Options(response="float16"))
    if moment == "written":
        (session,) = store_format.open_store(store).sessions
        assert session.dtype("response") == "float32" and session.read(0, 0, 60).response.any()
    else:
        with pytest.raises(UserError, match="lacks|half-written"):
            store_format.open_store(store)
    if moment == "moved":
        recover(store)
        assert store_format.open_store(store).sessions[0].dtype("response") == "float32"
    convert(raw, store, options=Options(response="float16"))
    (session,) = store_format.open_store(store).sessions
    assert session.dtype("response") == "float16" and not list(store.glob(".*"))


# --- locks --------------------------------------------------------------------------------------


def test_a_lock_names_its_holder_and_goes(tmp_path):
    path = tmp_path / "run/.lock"
    with lock(path):
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .*, started 20"):
            with lock(path):
                pass
    assert not path.exists()
    with lock(path):
        assert path.exists()


def test_a_crash_leaves_no_lock_behind(tmp_path):
    path = tmp_path / ".lock"
    program = (
        "import os, sys; from pathlib import Path; from sensorium_jax.files import lock\n"
        "with lock(Path(sys.argv[1])): os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT)
    assert ended.returncode == 9 and path.exists()
    with lock(path):
        pass
    assert not path.exists()


def test_a_lock_is_waited_for(tmp_path):
    path, said = tmp_path / ".lock", []
    program = (
        "import sys, time; from pathlib import Path; from sensorium_jax.files import lock\n"
        "with lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"

    def release(words):
        said.append(words)
        holder.stdin.close()  # it ends, and removes its file

    with lock(path, wait=True, say=release):
        assert path.exists()
    assert holder.wait() == 0 and len(said) == 1 and f"process {holder.pid}" in said[0]


def test_file_systems_without_locks_are_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(files.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path / ".lock"):
        pass


def test_conversions_into_one_store_take_turns(raw, mouse, tmp_path):
    """Clip numbers agree, however many conversions run at once."""
    twin = tmp_path / "twin/dynamic2-1-1-Video-simulated"
    shutil.copytree(mouse, twin, copy_function=os.link)
    program = (
        "import sys; from pathlib import Path; from sensorium_jax.prepare.convert import convert\n"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, source, tmp_path / "store"], cwd=ROOT)
        for source in (raw, twin.parent)
    ]
    assert [process.wait() for process in running] == [0, 0]
    one, two = store_format.open_store(tmp_path / "store").sessions
    assert one.trials.clip.tolist() == two.trials.clip.tolist()
    assert not list((tmp_path / "store").glob(".*"))


def test_a_store_that_cannot_be_written_is_read(raw, tmp_path):
    convert(raw, tmp_path / "store")
    places = [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    try:
        recordings = load_recordings(tmp_path / "store")
        assert recordings.sessions[0].read(0, 0, 60).response.any()
    finally:
        for place in places:
            place.chmod(place.stat().st_mode | 0o200)


def test_home_is_the_home_folder(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert prepare.main(["raw", "--raw=~/raw", "--out=~/store"]) == 0
    assert (tmp_path / "store/store.json").exists() and not (tmp_path / "~").exists()


def test_a_path_that_is_not_utf8(raw, tmp_path, capsys):
    out = os.fsdecode(os.fsencode(tmp_path / "store") + b"\xff")
    assert "expected a path in UTF-8" in prepare_error(capsys, "--raw", raw, "--out", out)


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errors.errno.EDQUOT, "Disk quota exceeded"), "no space left"),
        (ValueError('RESOURCE_EXHAUSTED: Failed to write "x" [OS error 122]'), "no space left"),
        (PermissionError(13, "Permission denied", "x"), "refused x: .*permissions"),
        (OSError(30, "Read-only file system", "x"), "refused x: .*read-only"),
        (NotADirectoryError(20, "Not a directory", "x"), "a file is where a folder belongs"),
        (OSError(36, "File name too long", "x"), "shorter"),
        (OSError(24, "Too many open files", "x"), "ulimit -n"),
        (ValueError('PERMISSION_DENIED: Failed to open "x" [OS error 13]'), "permissions"),
    ],
)
def test_errors_of_the_system_are_one_line(error, words):
    line = errors.one_line(error)
    assert re.search(words, line) and "\n" not in line


def test_bugs_are_no_errors_of_the_user():
    with pytest.raises(KeyError):
        errors.one_line(KeyError("x"))


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["evaluate", "run", "--json"], "scores.json"),
        (["compare", "run", "run", "--json"], "differences.json"),
        (["leaderboard", "run", "--json"], "board.json"),
        (["examine", "raw", "--html"], "page.html"),
        (["predict", "run", "film.npy", "--out"], "film.npy"),
        (["tiers", "STORE", "--out"], "tiers.csv"),
        (["stimuli", "--family", "random_dots", "--out"], "random_dots.csv"),
        (["stimuli", "--family", "random_dots", "--out"], "random_dots.png"),
        (["stimuli", "--family", "random_dots", "--format", "mp4", "--out"], "random_dots.mp4"),
    ],
)
def test_no_file_of_others_is_replaced(words, file, raw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "STORE" in words:
        convert(raw, tmp_path / "store")
    (tmp_path / file).write_bytes(b"mine")
    out = "." if words[0] == "stimuli" else file
    assert main([*(word.replace("STORE", "store") for word in words), out]) == 2
    error = capsys.readouterr().err
    assert f"found {file}, which is left as it is" in error and error.count("\n") == 1
    assert (tmp_path / file).read_bytes() == b"mine"


def test_no_zip_of_others_is_replaced(tmp_path):
    pytest.importorskip("pyarrow", reason="needs pip install -e '.[submission]'")
    (tmp_path / "main.zip").write_bytes(b"mine")
    with pytest.raises(UserError, match="found .*main.zip, which is left as it is"):
        submission.write(None, "main", tmp_path)


def test_a_page_of_ours_is_replaced(raw, tmp_path):
    page = tmp_path / "page.html"
    for _ in range(2):
        main(["examine", str(raw), "--html", str(page)])
    page.write_text("mine")
    assert main(["examine", str(raw), "--html", str(page)]) == 2 and page.read_text() == "mine"
