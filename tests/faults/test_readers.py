"""Damaged files are told in one line, or read as they were: never a traceback, never other numbers.

Files that people bring and files of ours are damaged at random, and their reader is called. Where
``Case.exact`` holds, it gives the same numbers as the sound file, or an error in one line. What
nobody can detect is left out, or held to tracebacks alone. Of what is sealed with digests since
version 0.2, in ``place/sealed``, every damage must be told; of files without digests, as those of
version 0.1 are, and of what others wrote, it cannot be where it lies in

- bytes of the numbers in an .npy file, its byte order and the kind of its numbers; of the weights
  in a .safetensors file; of a parquet file outside of a zip: none of them has checksums;
- a digit, a word or a name that is changed into another in JSON, CSV or a config of one's own;
- a field that is missing in the record of a run or of weights: it has its default, as in the
  records of earlier versions; a score that is null in a report: it is not defined;
- bytes of an mp4 film, which its decoder conceals;
- checkpoints of version 0.1, which are not sealed with digests.

``FUZZ_EXAMPLES=2000 pytest -n 0 tests/faults/test_readers.py`` looks further, elsewhere every time.
"""

import contextlib
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium_jax import configs, load_recordings, load_run, simulate, submission
from sensorium_jax.data import digests, tiers
from sensorium_jax.data.format import KINDS, open_store, remedy, stored_sessions
from sensorium_jax.data.writer import GROUP, GROUP_FILE, check_store_folder, is_complete
from sensorium_jax.errors import one_line
from sensorium_jax.files import file_digest, read_json_lines, write_json
from sensorium_jax.pages import figures
from sensorium_jax.pages import run as run_page
from sensorium_jax.pages import stimuli as pictures
from sensorium_jax.prepare.convert import convert
from sensorium_jax.prepare.raw import RawSession
from sensorium_jax.prepare.stored import StoredSession
from sensorium_jax.runs import checkpoint
from sensorium_jax.runs.films import read_film, read_signal
from sensorium_jax.runs.run import load_weights_run
from sensorium_jax.scores import results
from sensorium_jax.scores.compare import read_pair
from sensorium_jax.scores.published import board, entry
from sensorium_jax.submission.files import TRACKS
from sensorium_jax.submission.write import TrialWriter
from sensorium_jax.training.metric_log import MetricLog

pytest.importorskip("pyarrow", reason="needs pip install -e '.[submission]'")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 20))  # of each case
MOST_SECONDS = 60  # of one reading, on any machine: else it hangs
OTHERS = True, 7, "word", [], [None], {}, {"a": 1}
FOLDER, NO_FILE = "a folder in the place of the file", "no file"
pytestmark = pytest.mark.filterwarnings("ignore")  # readers warn of damage; orbax of its threads


# --- damages: (bytes of the sound file, random) -> bytes, FOLDER or NO_FILE -----------------------


def cut(data, random):
    return data[: random.randrange(len(data))]


def empty(data, random):
    return b""


def noise(data, random):
    return bytes(random.randrange(256) for _ in range(random.randint(1, 40)))


def folder(data, random):
    return FOLDER


def absence(data, random):
    return NO_FILE


def put(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def flip(data, random):
    at = random.randrange(len(data))
    return put(data, at, bytes([data[at] ^ 1 << random.randrange(8)]))


def scramble(data, random):
    return put(data, random.randrange(len(data)), noise(data, random)[:8])


def flip_end(data, random):
    """In the directory of a zip, or the schema of a parquet file."""
    at = len(data) - 1 - random.randrange(min(len(data), 2000))
    return put(data, at, bytes([random.randrange(256)]))


def flip_header(data, random):
    """In the header of an .npy file, but for the byte order and the kind of its numbers."""
    start = data.index(b"'descr': '") + len("'descr': '")
    at = random.choice([i for i in range(data.index(b"\n") + 1) if i not in (start, start + 1)])
    return put(data, at, bytes([random.randrange(256)]))


def flip_names(data, random):
    """In the header of a .safetensors file: names, types, shapes and places."""
    at = random.randrange(8 + int.from_bytes(data[:8], "little"))
    return put(data, at, random.choice([b'"', b"1", b"7", b"I", b"x", b"}", b"\xff", b"\0"]))


def entries(value, kind):
    """(node, key) of everything within JSON objects (dict) or lists."""
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, child in pairs:
        if isinstance(value, kind):
            yield value, key
        yield from entries(child, kind)


def pick(data, random, kind):
    """The value of JSON, and (node, key) of one thing within its objects (dict) or lists."""
    value = json.loads(data)
    return value, *random.choice(list(entries(value, kind)))


def retype(data, random):
    """A value of an object becomes one of another type; only text becomes a number."""
    value, node, key = pick(data, random, dict)
    others = [x for x in OTHERS if type(x) is not type(node[key])]
    node[key] = random.choice([x for x in others if x != 7 or isinstance(node[key], str)])
    return json.dumps(value).encode()


def retype_entry(data, random):
    """An entry of a list becomes one of another type."""
    value, node, key = pick(data, random, list)
    node[key] = random.choice([x for x in OTHERS if type(x) is not type(node[key])])
    return json.dumps(value).encode()


def null(data, random):
    value, node, key = pick(data, random, dict)
    node[key] = None
    return json.dumps(value).encode()


def remove(data, random):
    value, node, key = pick(data, random, dict)
    del node[key]
    return json.dumps(value).encode()


def shorten(data, random):
    value, node, key = pick(data, random, list)
    del node[key]
    return json.dumps(value).encode()


def other_json(data, random):
    return json.dumps(random.choice(OTHERS)).encode()


def damage_line(data, random):
    """One line of a file of JSON lines."""
    lines = data.splitlines()
    at = random.randrange(len(lines))
    lines[at] = random.choice([retype, null, remove, flip, other_json])(lines[at], random)
    return b"\n".join(lines)


WHOLE = cut, empty, noise, folder, absence
BYTES = flip, scramble
RECORD = retype, other_json, *WHOLE  # of which a field may be missing
JSON = retype, retype_entry, null, remove, shorten, other_json, *WHOLE


@contextlib.contextmanager
def swap(path, content):
    """A file with other content, for as long as the context lasts."""
    sound = path.read_bytes()
    path.unlink()
    if content == FOLDER:
        path.mkdir()
    elif content != NO_FILE:
        path.write_bytes(content)
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(sound)


# --- readers: every number that a file has a part in ----------------------------------------------


def sealed(read):
    """The same reader, of files that are sealed with digests."""
    return lambda place: read(place / "sealed")


def read_store(place):
    recordings = load_recordings(place / "store")
    session = recordings.sessions[0]
    recording = StoredSession(session)
    recording.notes()
    return [
        *(recordings.neuron_digests, recordings.simulated, recordings.neurons),
        *(recordings.statistics(kind) for kind in KINDS),
        *(recordings.rows(0, tier).tolist() for tier in ("train", "oracle")),
        *(session.trials, session.load("stills"), session.read_rate(0, 0, 9)),
        *(session.read(0, 0, session.trials.frames[0]), recording.read(1).trial),
        *(recording.tiers, recording.released(), recording.types()),
    ]


def keep_store(place):
    """What a conversion asks of a store that is there."""
    check_store_folder(place / "store")
    (session,) = (place / "store").glob("dynamic*")
    is_complete(place / "store", session.name, made_from={})
    return len(stored_sessions(place / "store")), remedy(place / "store")


def read_raw(place, path=None):
    session = RawSession(path or next((place / "raw").iterdir()))
    trials = [session.read(int(number))[:2] for number in session.numbers[:2]]
    rates = [session.read_rate(int(number), 9) for number in session.numbers[:2]]
    tables = session.tiers, session.unit_ids, session.position_um, session.numbers
    return [
        *tables,
        session.frames,
        session.released(),
        session.types(),
        *trials,
        *rates,
    ]  # but for the files' digests


def read_raw_zip(place):
    return read_raw(place, place / "mouse.zip")


def read_tiers(place):
    recordings = load_recordings(place / "store", tiers=place / "tiers.csv")
    return [session.trials.tier for session in recordings.sessions]


def read_run(place):
    run = load_run(place / "run", data=place / "old/store")
    return run.params, repr(run.experiment.model), run.experiment.data.statistics


def read_old(place):
    run = load_run(place / "old/gru_baseline", data=place / "old/store")
    return run.params


def read_report(place):
    row = entry(place / "run")
    board([row])
    return row.scores, row.to_average


def read_scores(place):
    pair = read_pair(place / "run", place / "old/factorized_baseline")
    average = results.read_moments(place / "run", "to_average")
    return [sorted(scores.items()) for scores in (*pair, average)]


def read_log(place):
    path = place / "run/metrics.jsonl"
    figures.learning_curves(read_json_lines(path))
    run_page._speed(path)
    MetricLog(place / "run").forget_after(2)


def read_weights(place):
    run = load_weights_run(place / "weights", data=place / "old/store")
    return run.params, repr(run.experiment)


def read_config(place):
    return repr(configs.load_config(str(place / "config.py")))


def read_films(place):
    return read_film(place / "film.npy"), read_signal(place / "signal.npy", frames=20)


def read_movie(place):
    return read_film(place / "film.mp4")


def read_zip(place):
    return submission.check(place / "main.zip", load_recordings(place / "store"))


def read_parquet(place):
    return submission.check(place / LIVE, load_recordings(place / "store"))


# --- cases ----------------------------------------------------------------------------------------


class Case(NamedTuple):
    """Files of ``place``, what reads them, and how they are damaged."""

    pattern: str
    read: Callable[[Path], Any]
    damages: tuple[Callable, ...]
    exact: bool = True  # whether every damage is told, or does not matter


LIVE = TRACKS["main"]["live_test_main"]
BEST = "run/checkpoints/best/**/*"
CASES = {
    "sealed store": Case("sealed/store/**/*", sealed(read_store), (*JSON, *BYTES)),
    "sealed run": Case("sealed/run/run.json", sealed(read_run), (*JSON, *BYTES)),
    "sealed scores": Case("sealed/run/[rs]*s*", sealed(read_scores), (*WHOLE, *BYTES)),
    "sealed weights": Case("sealed/weights/*", sealed(read_weights), (*WHOLE, *BYTES)),
    "store": Case("store/store.json", read_store, JSON),
    "session": Case("store/*/meta.json", read_store, JSON),
    "store, bytes": Case("store/**/*e*.json", read_store, BYTES, exact=False),
    "array": Case("store/**/zarr.json", read_store, (*JSON, *BYTES)),
    "chunk": Case("store/**/c/0*/**/*", read_store, (*WHOLE, *BYTES)),
    "store to write to": Case("store/**/*e*.json", keep_store, (*JSON, *BYTES), exact=False),
    "raw": Case("raw/**/*.npy", read_raw, WHOLE),
    "raw, header": Case("raw/**/*.npy", read_raw, (flip_header,)),
    "raw zip": Case("mouse.zip", read_raw_zip, (*WHOLE, *BYTES, flip_end)),
    "tiers": Case("tiers.csv", read_tiers, (*WHOLE, *BYTES), exact=False),
    "run": Case("run/run.json", read_run, RECORD),
    "run, bytes": Case("run/run.json", read_run, (*JSON, *BYTES), exact=False),
    "report": Case("run/report.json", read_report, (retype, remove, other_json, *WHOLE)),
    "report, bytes": Case("run/report.json", read_report, (*JSON, *BYTES), exact=False),
    "scores": Case("run/scores.npz", read_scores, (*WHOLE, *BYTES, flip_end)),
    "log": Case("run/metrics.jsonl", read_log, (*WHOLE, *BYTES, damage_line), exact=False),
    "checkpoint": Case(BEST, read_run, (*WHOLE, *BYTES)),
    "checkpoint, no seal": Case(
        "old/gru*/checkpoints/best/**/*", read_old, (*WHOLE, *BYTES), False
    ),
    "weights": Case("weights/config.json", read_weights, RECORD),
    "weights, bytes": Case("weights/config.json", read_weights, (*JSON, *BYTES), exact=False),
    "arrays": Case("weights/weights.safetensors", read_weights, (*WHOLE, flip_names)),
    "config": Case("config.py", read_config, (*WHOLE, *BYTES), exact=False),
    "film": Case("*.npy", read_films, (*WHOLE, flip_header, flip_header)),
    "movie": Case("film.mp4", read_movie, (*WHOLE, *BYTES), exact=False),
    "submission": Case("main.zip", read_zip, (*WHOLE, *BYTES, flip_end)),
    "submission, parquet": Case(LIVE, read_parquet, (*WHOLE, *BYTES, flip_end), exact=False),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Sound files of every kind, small."""
    place = tmp_path_factory.mktemp("place")
    plan = simulate.SessionPlan(
        "A", neurons=3, train=2, clips=1, repeats=2, ood_clips=1, ood_repeats=1
    )
    mouse = simulate.write_session(place / "raw", plan)
    convert(mouse, place / "sealed/store")
    unseal(shutil.copytree(place / "sealed/store", place / "store"))
    with zipfile.ZipFile(place / "mouse.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for file in mouse.rglob("*.*"):
            out.write(file, file.relative_to(mouse.parent))
    tiers.write_table(place / "tiers.csv", tiers.table_of(open_store(place / "store")))
    shutil.copy(Path(configs.__file__).parent / "gru_2d.py", place / "config.py")
    write_old(place)
    write_films(place)
    write_submission(place)
    return place


def write_old(place):
    """Runs of version 0.1; one with seals; its weights."""
    with zipfile.ZipFile(Path(__file__).parents[1] / "golden/old_run.zip") as archive:
        archive.extractall(place / "old")
    shutil.copytree(place / "old/gru_baseline", place / "run")
    (best,) = (place / "run/checkpoints/best").iterdir()
    checkpoint.seal(best)
    load_run(place / "run", data=place / "old/store").export(place / "sealed/weights")
    unseal(shutil.copytree(place / "sealed/weights", place / "weights"))
    shutil.copytree(place / "run", place / "sealed/run")
    for name in ("run.json", "report.json"):
        path = place / "sealed/run" / name
        digest = {"sha256": {"scores.npz": file_digest(place / "run/scores.npz")}}
        write_json(path, json.loads(path.read_text()) | digest, sealed=True)
    shutil.copytree(place / "old", place / "sealed/old")


def unseal(folder):
    """Take the digests away, as if version 0.1 had written the files."""
    for path in folder.rglob("*.json"):
        record = json.loads(path.read_text())
        for key in ("digest", "digests", "sha256"):
            record.pop(key, None)
        path.write_text(json.dumps(record))
    for path in folder.rglob(digests.NAME):
        path.unlink()


def write_films(place):
    rng = np.random.default_rng(0)
    np.save(place / "film.npy", rng.integers(0, 256, (20, 36, 64)).astype(np.uint8))
    np.save(place / "signal.npy", rng.normal(size=(20, 2)))
    pictures.save_movie(np.load(place / "film.npy"), place / "film.mp4")


def write_submission(place):
    rng, recordings = np.random.default_rng(0), load_recordings(place / "store")
    (session,) = recordings.sessions
    for tier, name in TRACKS["main"].items():
        with TrialWriter(place / name) as writer:
            for row in recordings.rows(0, tier):
                number, frames = session.trials.number[row], min(300, session.trials.frames[row])
                rates = rng.gamma(1, 1, (session.neurons, frames - 50))
                writer.write(session.name, int(number), rates, session.load("unit_ids"))
    with zipfile.ZipFile(place / "main.zip", "w") as archive:
        for name in TRACKS["main"].values():
            archive.write(place / name, name)


# --- tests ----------------------------------------------------------------------------------------


def files_of(case, place):
    """The files of a case; those that only make a folder a group of zarr are never read."""
    files = sorted(p for p in place.glob(case.pattern) if p.is_file())
    return [p for p in files if p.name != GROUP_FILE or json.loads(p.read_text()) != GROUP]


def fitting(damages, path):
    """Those that fit a file: some need JSON, of an object with lists."""
    if path.suffix == ".json" and list(entries(json.loads(path.read_text()), list)):
        return damages
    return [damage for damage in damages if damage not in JSON or damage in WHOLE]


class Hang(BaseException):
    """No exception that a reader may catch."""


@pytest.fixture(autouse=True, scope="module")
def no_hang():
    def stop(*_):
        raise Hang(f"a reader took more than {MOST_SECONDS} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


def flat(value):
    """The leaves of nested values, with the names that lead to them, as arrays."""
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, list | tuple):
        return [leaf for child in value for leaf in flat(child)]
    return [np.asarray(value)]


def same(a, b):
    a, b = flat(a), flat(b)
    return len(a) == len(b) and all(
        x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(a, b, strict=True)
    )


def outcome(case, place):
    """What the reader gives; the line, where it gives an error."""
    signal.alarm(MOST_SECONDS)
    try:
        return case.read(place), None
    except Exception as error:
        line = one_line(error)  # raises what would be a traceback
        assert line and "\n" not in line
        return None, line
    finally:
        signal.alarm(0)


@pytest.fixture(scope="module")
def sound(place):
    """What the readers give for sound files, each read once."""
    values = {}

    def read(case):
        if case.read not in values:
            values[case.read] = case.read(place)
        return values[case.read]

    return read


@pytest.mark.parametrize("name", CASES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(random=st.randoms(use_true_random=False))
def test_damage_is_told_or_does_not_matter(name, place, sound, random):
    case = CASES[name]
    expected = sound(case)
    path = random.choice(files_of(case, place))
    content = random.choice(fitting(case.damages, path))(path.read_bytes(), random)
    with swap(path, content):
        value, line = outcome(case, place)
    assert line or not case.exact or same(value, expected), path


def exchange(old, new):
    """The first occurrence becomes another."""

    def change(data):
        assert old in data
        return data.replace(old, new, 1)

    return change


def set_value(*path, value):
    """A value of a JSON file becomes another."""

    def change(data):
        node = record = json.loads(data)
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        return json.dumps(record).encode()

    return change


def swallow(data):
    """The last but one file in the directory of a zip has a comment: the entry of the last one."""
    last = data.rindex(b"PK\1\2")
    return put(data, data.rindex(b"PK\1\2", 0, last) + 33, b"\x10")


CORE = "experiment", "model", "core"
REGRESSIONS = {  # what was a traceback or went unseen: case, file, what becomes of its content
    "no sessions": ("store", "store/*.json", set_value("sessions", value=[])),
    "sessions that are none": ("store", "store/*.json", set_value("sessions", value=0.5)),
    "a trial less": ("session", "store/*/meta.json", set_value("trials", "tier", value=["train"])),
    "frames as text": ("session", "store/*/meta.json", set_value("frames", value="word")),
    "another tier": ("session", "store/*/meta.json", exchange(b'"train"', b'"trait"')),
    "no digests": ("session", "store/*/meta.json", exchange(b'"sha256"', b'"sha25v"')),
    "fewer neurons": ("session", "store/*/meta.json", set_value("neurons", value=2)),
    "a chunk that is a folder": ("chunk", "store/*/response/c/0/0/0", lambda data: FOLDER),
    "an array of a folder": ("chunk", "store/*/position_um/c/0/0", lambda data: FOLDER),
    "fewer frames": (
        "array",
        "store/*/released/video_std/zarr.json",
        set_value("shape", 0, value=224),
    ),
    "halves of numbers": ("raw", "raw/*/meta/neurons/unit_ids.npy", exchange(b"<i8", b"<i4")),
    "channels as text": ("run", "run/run.json", set_value(*CORE, "channels", value="8")),
    "no experiment": ("run", "run/run.json", set_value("experiment", value=[7])),
    "a class that is a list": (
        "weights",
        "weights/config.json",
        set_value(*CORE, "type", value=[]),
    ),
    "units that are none": ("run", "run/run.json", set_value("units", value=True)),
    "no manifest of weights": (
        "checkpoint, no seal",
        "old/gru_baseline/checkpoints/best/2/params/manifest.ocdbt",
        lambda data: b"",
    ),
    "a score as text": (
        "report",
        "run/report.json",
        set_value("means", 0, "single_trial_by_neuron", value="word"),
    ),
    "a tier that is none": ("report", "run/report.json", set_value("means", 0, "tier", value=True)),
    "a directory swallowed": ("scores", "run/scores.npz", swallow),
    "an unknown method": (
        "scores",
        "run/scores.npz",
        lambda data: put(data, data.index(b"PK\1\2") + 10, b"\7"),
    ),
    "a core that is none": ("weights", "weights/config.json", set_value(*CORE, value=7)),
    "a field of another name": (
        "weights",
        "weights/config.json",
        exchange(b'"epoch_steps"', b'"epoch_cteps"'),
    ),
    "weights of another name": (
        "arrays",
        "weights/*.safetensors",
        exchange(b"params/stats", b"p]rams/stats"),
    ),
    "whole numbers as weights": ("arrays", "weights/*.safetensors", exchange(b'"F32"', b'"I32"')),
    "an open bracket": ("film", "signal.npy", exchange(b"(20, 2)", b"(20, 2(")),
    "a long header": ("film", "film.npy", lambda data: put(data, 9, b"\x50")),
    "no name of a mouse": ("submission, parquet", LIVE, exchange(b"dynamic", b"dynam\xffc")),
    "no parquet": (
        "submission, parquet",
        LIVE,
        lambda data: put(data, len(data) - 60, b"\xff" * 40),
    ),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_damage_that_was_not_told_once(name, place):
    case, pattern, change = REGRESSIONS[name]
    (path,) = place.glob(pattern)
    with swap(path, change(path.read_bytes())):
        _, line = outcome(CASES[case], place)
    assert line and line.startswith("expected")


@pytest.mark.parametrize("line", ['{"time": 1.5}', '{"step": "7", "time": 1}', '{"step": null}'])
def test_a_line_of_a_log_that_is_no_record_is_left_out(line, place):
    path = place / "run/metrics.jsonl"
    records = read_json_lines(path)
    with swap(path, path.read_bytes() + line.encode()):
        assert read_json_lines(path) == records
        read_log(place)
