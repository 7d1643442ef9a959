"""What is lost when machines fail: programs are killed, files damaged and disks filled, at random.

    python benchmarks/faults.py --rounds 200 [--only NAME ...] [--seed 0] [--folder DIR]
        [--json FILE] [--plot FILE]

Two simulated mice and a training of nine steps. What programs leave after a fault, and the same
command run again, is compared with what they leave undisturbed: weights, optimiser and scores bit
for bit, the names of all files, every file of a store. Of damaged files, all that is read must be
as it was, or refused in one line. *Survived* counts the rounds of which that holds, *harmless*
those among them whose damage changed nothing that is read. The exit code is 1 if anything was lost.

A round depends on the seed, its fault and its number only: the line of a lost one says how to run
it again. The moment of a kill is a share of the undisturbed duration, or just after one of the
files appears; it comes back as nearly as processes take turns alike.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before JAX is imported: faults are those of files
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import record
from absl import logging
from rich.table import Table

from sensorium_jax import load_recordings, load_run, load_weights, parallel, simulate
from sensorium_jax.configs import load_config
from sensorium_jax.data import tiers
from sensorium_jax.data.format import KINDS, Session, open_store
from sensorium_jax.errors import DONE, STOP_SIGNALS, STOPPED, USER_ERROR, UserError
from sensorium_jax.experiment import override
from sensorium_jax.experiment.records import to_record
from sensorium_jax.pages import page
from sensorium_jax.pages.terminal import bars, make_console
from sensorium_jax.runs.checkpoint import Checkpoints
from sensorium_jax.runs.run import load_weights_run
from sensorium_jax.runs.workdir import claim
from sensorium_jax.scores import results
from sensorium_jax.scores.score import INTERVAL_SCORES
from sensorium_jax.training.loop import train
from sensorium_jax.training.member import Member
from sensorium_jax.training.programs import Programs

CONFIG = "static_baseline"
SETTINGS = "channels=1", "rotations=1", "layers=1", "kernel=(11,)", "stride=(8,)"
SETTINGS = *(f"model.core.{setting}" for setting in SETTINGS), "data.frames=10", "data.trials=1"
SETTINGS = *SETTINGS, "epoch_steps=3", "max_epochs=3"
RECORDS = "run.json", "report.json", "scores.npz", "tiers.csv"
EARLIER_STEPS = r"run/checkpoints/last/[0-8](/|$)"
LIMIT_S = 600  # after which a program is said to hang
SURVIVED, HARMLESS, LOST, SKIPPED = "survived", "harmless", "lost", "skipped"  # verdicts
NAMESPACE = "FAULTS_NAMESPACE"  # environment variable
T = TypeVar("T")


class Lost(Exception):
    """A fault was not noticed, or its repair failed; the message says what was seen."""


class Skipped(Exception):
    """A fault cannot be made on this machine; the message says why."""


class Round(NamedTuple):
    """One round of a fault."""

    rng: np.random.Generator
    place: Path  # an empty folder
    done: list[str]  # what was done, for the line of a lost round


class Job(NamedTuple):
    """A command, and what it leaves in the folder that it runs in, undisturbed."""

    words: tuple[str, ...]
    before: dict[str, Path]  # folders that are copied there first, by name
    place: Path
    seconds: float
    results: dict[str, Any]  # of ``Sound.observe``


def main() -> int:
    """Play all rounds, and print."""
    flags, console = parser().parse_args(), make_console()
    logging.set_verbosity(logging.FATAL)  # orbax logs what it raises too
    with contextlib.ExitStack() as stack:
        folder = flags.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sound, on_progress = Sound(folder.resolve()), stack.enter_context(bars(console))
        stack.callback(shutil.rmtree, sound.made)
        found, losses = {}, []
        for name in flags.only:
            found[name] = dict.fromkeys((SURVIVED, HARMLESS, LOST), 0)
            for i in range(flags.rounds):
                on_progress(name, i, flags.rounds)
                verdict, line = play(sound, name, flags.seed, flags.first + i)
                if line:
                    console.print(line, markup=False)
                if verdict == SKIPPED:
                    break
                found[name][verdict] += 1
                losses += [line] if verdict == LOST else []
            on_progress(name, flags.rounds, flags.rounds)
    console.print(table(found))
    record.write(flags, {"seed": flags.seed, "faults": found, "losses": losses}, draw)
    return 1 if losses else 0


def parser() -> argparse.ArgumentParser:
    """The flags."""
    out = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = f"{', '.join(FAULTS)} (default: all)"
    out.add_argument("--rounds", type=int, default=200, help="of each fault (default 200)")
    out.add_argument("--first", type=int, default=0, help="number of the first round (default 0)")
    out.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), help=names)
    out.add_argument("--seed", type=int, default=0, help="of what is random (default 0)")
    out.add_argument("--folder", type=Path, help="work there, and leave lost rounds there")
    record.add_flags(out)
    return out


def play(sound: Sound, name: str, seed: int, number: int) -> tuple[str, str]:
    """The verdict on a round, and a line on one that is lost or skipped."""
    place = sound.folder / f"{name}-{seed}-{number}"
    shutil.rmtree(place, ignore_errors=True)  # of an earlier start
    place.mkdir(parents=True)
    this = Round(np.random.default_rng([seed, zlib.crc32(name.encode()), number]), place, [])
    try:
        verdict = FAULTS[name](sound, this)
    except Skipped as why:
        place.rmdir()
        return SKIPPED, f"{name}: skipped: {str(why).partition(chr(10))[0]}"
    except Lost as error:
        seen = f"{'; '.join(this.done)}: {' '.join(str(error).split())[:300]}"
        again = f"--only {name} --seed {seed} --first {number} --rounds 1"
        return LOST, f"lost ({again}): {seen}"
    shutil.rmtree(place)
    return verdict, ""


def table(found: dict[str, dict[str, int]]) -> Table:
    """Rounds by fault and verdict."""
    out = Table(title="Faults")
    for name in ("fault", "rounds", SURVIVED, f"of these {HARMLESS}", LOST):
        out.add_column(name, justify="left" if name == "fault" else "right")
    for name, counts in found.items():
        survived = counts[SURVIVED] + counts[HARMLESS]
        numbers = sum(counts.values()), survived, counts[HARMLESS], counts[LOST]
        out.add_row(name, *map(str, numbers))
    return out


def draw(found: dict[str, Any]):
    """Rounds by fault, stacked by verdict."""
    figure = page.make_figure(7, 3)
    axes, names = figure.subplots(), list(found["faults"])
    left = np.zeros(len(names))
    for verdict, color in ((SURVIVED, "C0"), (HARMLESS, "C9"), (LOST, "C3")):
        rounds = [found["faults"][name][verdict] for name in names]
        axes.barh(names, rounds, left=left, label=verdict, color=color)
        left += rounds
    axes.invert_yaxis()
    axes.set_xlabel("rounds")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


# --- what is there undisturbed ------------------------------------------------------------------


class Sound:
    """Undisturbed programs and their results, each made when it is first needed."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.made = Path(tempfile.mkdtemp(prefix="sound-", dir=folder))
        self._jobs: dict[str, Job] = {}
        cache = {"jax_compilation_cache_dir": str(folder / "xla")}
        cache["jax_persistent_cache_min_compile_time_secs"] = 0
        for name, value in cache.items():
            jax.config.update(name, value)
        variables = {name.upper(): str(value) for name, value in cache.items()}
        self._environment = os.environ | {"PYTHONPATH": str(record.ROOT)} | variables

    def run(
        self,
        words: Sequence[str],
        place: Path,
        *,
        after: float = LIMIT_S,
        until: Path = Path("/"),
        number: int = signal.SIGKILL,
    ) -> tuple[int, str]:
        """Exit code and stderr of a command; it gets a signal some time after a path is there."""
        process = self._start(words, place)
        latest = time.monotonic() + LIMIT_S
        try:
            while process.poll() is None and not until.exists() and time.monotonic() < latest:
                time.sleep(0.0005)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return _end(process, after)
            os.killpg(process.pid, number)
            return _end(process, LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Lost(f"{words[0]} has not ended {LIMIT_S} s after the signal") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, words: Sequence[str], place: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "sensorium_jax", *words],
            cwd=place,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that its children get the signal too
        )

    def job(self, name: str) -> Job:
        """A job by name, run twice undisturbed: the first time compiles."""
        if name not in self._jobs:
            words, before = self._commands(name)
            first, second = (self._measure(words, before, name, turn) for turn in "12")
            if changed := difference(first.results, second.results):
                raise SystemExit(f"{' '.join(words)} leaves other files each time: {changed}")
            shutil.rmtree(first.place)
            self._jobs[name] = second
        return self._jobs[name]

    def _commands(self, name: str) -> tuple[tuple[str, ...], dict[str, Path]]:
        """Words of a job's command, and the folders that it needs beside it."""
        convert = "prepare", "raw", f"--raw={self.raw}", "--out=store"
        match name:
            case "conversion":
                return convert, {}
            case "float16":
                return (*convert, "--response=float16"), {}
            case "replacement":
                return convert, {"store": self.job("float16").place / "store"}
            case "report":
                return ("report", "run"), {"run": self.trained}
            case "evaluation":
                return ("evaluate", "run", "--json=scores.json"), {"run": self.trained}
        data = f"--data={self.store}", f"--tiers={self.tiers}"
        sets = (f"--set={setting}" for setting in SETTINGS)
        flags = f"--config={CONFIG}", "--size=demo", "--workdir=run", "--devices=1"
        return ("train", *flags, *data, *sets), {}

    def _measure(self, words: tuple[str, ...], before: dict, name: str, turn: str) -> Job:
        place = self.made / f"{name}-{turn}"
        place.mkdir()
        copy_into(place, before)
        began = time.monotonic()
        code, error = self.run(words, place)
        if code:
            raise SystemExit(f"{' '.join(words)}, undisturbed: exit code {code}: {error}")
        return Job(words, before, place, time.monotonic() - began, self.observe(place))

    def observe(self, place: Path) -> dict[str, Any]:
        """What a job left in its folder: names of files, their contents, weights of a run."""
        paths = {p.relative_to(place).as_posix(): p for p in sorted(place.rglob("*"))}
        # Names of orbax's files of numbers are random, and TensorBoard's hold the time.
        masked = {re.sub("[0-9a-f]{32}", "*", name): path for name, path in paths.items()}
        found = {k: content(path) for k, path in masked.items() if "/tensorboard" not in k}
        if (place / "run").exists():
            found |= self.weights(place / "run")
        return found

    def weights(self, workdir: Path) -> dict[str, np.ndarray]:
        """The best weights of a run, and its last state."""
        best = load_run(workdir, data=self.recordings).params
        last = Checkpoints(workdir).restore_last(self.like)
        return flat({"best": best, "last": last})

    @functools.cached_property
    def raw(self) -> Path:
        """Recordings of two simulated mice."""
        folder, sizes = self.made / "raw", {"clips": 1, "ood_clips": 1, "ood_repeats": 2}
        folder.mkdir()
        plan = {"letters": ("A", "B"), "neurons": (3, 4), "train": 4, "repeats": 2, **sizes}
        simulate.write_recording(folder, **plan)
        return folder

    @functools.cached_property
    def store(self) -> Path:
        """Their store."""
        return self.job("conversion").place / "store"

    @functools.cached_property
    def tiers(self) -> Path:
        """A table of the tiers that are trained and scored: few, so that rounds are short."""
        path = self.made / "tiers.csv"
        rows = tiers.table_of(open_store(self.store))
        rows = [r if r.tier in ("train", "oracle") else r._replace(tier="none") for r in rows]
        tiers.write_table(path, rows)
        return path

    @functools.cached_property
    def trained(self) -> Path:
        """A finished run."""
        return self.job("training").place / "run"

    @functools.cached_property
    def exported(self) -> Path:
        """The weights of that run."""
        folder = self.made / "exported" / "weights"
        load_run(self.trained, data=self.recordings).export(folder)
        return folder

    @functools.cached_property
    def recordings(self):
        """The store, open, with those tiers."""
        return load_recordings(self.store, tiers=self.tiers)

    @functools.cached_property
    def experiment(self):
        """What is trained."""
        return functools.reduce(override, SETTINGS, load_config(CONFIG, "demo"))

    @functools.cached_property
    def like(self):
        """A state of the training, for its shapes."""
        programs = Programs(self.experiment, self.recordings, parallel.make_mesh(1))
        console = make_console(quiet=True)
        scratch = self.made / "scratch"
        return Member(self.experiment, scratch, self.recordings, programs, console).state


def _end(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """Exit code and stderr of a process that ends within some seconds."""
    error = process.communicate(timeout=seconds)[1]
    return process.returncode, error


def copy_into(place: Path, folders: dict[str, Path]) -> None:
    """Copy folders into another, by their names there."""
    for name, source in folders.items():
        shutil.copytree(source, place / name)


def content(path: Path) -> Any:
    """What must be equal of a file: its bytes, unless they hold the time or random names."""
    if path.is_dir() or "checkpoints" in path.parts or path.name == "report.html":
        return "present"
    if path.name == "metrics.jsonl":
        lines = map(json.loads, path.read_text().splitlines())
        return [{k: v for k, v in line.items() if k != "time"} for line in lines]
    return path.read_bytes()


def flat(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree by their paths."""
    return {jax.tree_util.keystr(k): np.asarray(x) for k, x in jax.tree.leaves_with_path(tree)}


def difference(found: dict[str, Any], expected: dict[str, Any], skip: str = "^$") -> str:
    """What differs, bit for bit, leaving out names that match ``skip``; nothing if all is equal."""
    wrong = []
    for name in sorted(found.keys() | expected.keys()):
        if re.match(skip, name):
            continue
        if name not in found or name not in expected:
            wrong.append(f"{name} is {'left over' if name in found else 'missing'}")
        elif _bits(found[name]) != _bits(expected[name]):
            wrong.append(f"{name} differs")
    return wrong[0] + (f" (and {len(wrong) - 1} more)" if wrong[1:] else "") if wrong else ""


def _bits(value: Any) -> Any:
    return (str(value.dtype), value.shape, value.tobytes()) if hasattr(value, "dtype") else value


# --- killed and stopped programs, full disks ----------------------------------------------------


def kill(sound: Sound, this: Round, *, jobs: Sequence[str]) -> str:
    """One of these programs is killed up to three times, then run to its end."""
    job = sound.job(this.rng.choice(jobs))
    copy_into(this.place, job.before)
    for _ in range(this.rng.integers(1, 4)):
        interrupt(sound, this, job, signal.SIGKILL)
        if "--out=store" in job.words:
            check_sessions(job, this.place / "store")
    return finish(sound, this, job)


def interrupt(sound: Sound, this: Round, job: Job, number: int) -> tuple[int, str]:
    """Send a job a signal at a random moment; its exit code and stderr.

    That is any moment, or just after a file appears: what lies between two files is short.
    """
    names = [n for n in job.results if not set(n) & set("[*") and not (this.place / n).exists()]
    options: dict[str, Any] = {"after": this.rng.uniform(0, 1.1 * job.seconds)}
    moment = f"{job.words[0]} began ({job.seconds:.1f} s in all)"
    if names and this.rng.random() < 0.5:
        moment = this.rng.choice(names)
        options = {"after": this.rng.exponential(0.01), "until": this.place / moment}
    name = signal.Signals(number).name
    this.done.append(f"{name} {options['after']:.3f} s after {moment}")
    return sound.run(job.words, this.place, number=number, **options)


def finish(sound: Sound, this: Round, job: Job, *, skip: str = "^$") -> str:
    """Run a job to its end, and compare what it leaves."""
    code, error = sound.run(job.words, this.place)
    if code:
        raise Lost(f"exit code {code} of the same command, run again: {error}")
    found = attempt(lambda: sound.observe(this.place))
    if changed := difference(found, job.results, skip):
        raise Lost(f"after the same command, run again, {changed}")
    return SURVIVED


def attempt(read: Callable[[], T], *allowed: type[Exception]) -> T:
    """What ``read`` gives; ``Lost`` where it fails in a way that is not allowed."""
    try:
        return read()
    except (KeyboardInterrupt, *allowed):
        raise
    except BaseException as error:  # panics of libraries in Rust are no Exception
        raise Lost(f"{type(error).__name__}: {error}") from None


def check_sessions(job: Job, store: Path) -> None:
    """Check that every session of a store is whole, an earlier or a later one, or is refused."""

    def read() -> dict[str, dict[str, np.ndarray]]:
        return {session.name: read_session(session) for session in open_store(store).sessions}

    try:
        sessions = attempt(read, UserError)
    except UserError as error:
        return check_line(str(error))
    for name, values in sessions.items():
        known = [folder / name for folder in (job.place / "store", *job.before.values())]
        if all(difference(values, read_session(Session(folder))) for folder in known):
            raise Lost(f"{name} is neither the earlier session nor the later one")


def stop(sound: Sound, this: Round, *, jobs: Sequence[str]) -> str:
    """One of these programs is told to stop, at a random moment, then run to its end."""
    job = sound.job(this.rng.choice(jobs))
    copy_into(this.place, job.before)
    code, error = interrupt(sound, this, job, int(this.rng.choice(STOP_SIGNALS)))
    if code not in (DONE, STOPPED) or "Traceback" in error:
        raise Lost(f"exit code {code}: {error}")
    if code == STOPPED:
        check_line(error.removesuffix("\n"), "resume")
    return finish(sound, this, job, skip=EARLIER_STEPS)  # training saved where it stopped


def full_disk(sound: Sound, this: Round, *, jobs: Sequence[str]) -> str:
    """The disk of the output fills up, and gets larger."""
    job = sound.job(this.rng.choice(jobs))
    needed = sum(p.stat().st_blocks * 512 for p in job.place.rglob("*"))
    size = max(4096, int(this.rng.uniform(0, 2) * needed))
    this.done.append(f"{job.words[0]} on a disk of {size:,} bytes, {needed:,} needed")
    with small_disk(this.place, size):
        copy_into(this.place, job.before)
        code, error = sound.run(job.words, this.place)
        if code not in (DONE, USER_ERROR):
            raise Lost(f"exit code {code}: {error}")
        if code == USER_ERROR:
            check_line(error.removesuffix("\n"), "space")
        mount("-o", f"remount,size={size + 20 * needed}", this.place)
        return finish(sound, this, job)


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes, mounted at a folder."""
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def mount(*words: str | Path) -> None:
    """Mount; ``Skipped`` where that is refused."""
    try:
        subprocess.run(["mount", *words], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Skipped(getattr(error, "stderr", "").strip() or str(error)) from None


def check_line(text: str, word: str = "") -> None:
    """Raise ``Lost`` unless a message is one line, with a word in it."""
    if not text or "\n" in text or word not in text:
        raise Lost(f"expected one line{word and ' with the word '}{word}, found {text!r}")


# --- damaged files ------------------------------------------------------------------------------


def damage_files(sound: Sound, this: Round, *, name: str) -> str:
    """A file of what has this name in ``READERS`` is damaged; of a run, one of its records."""
    copy = shutil.copytree(getattr(sound, name), this.place / name)
    damage(this, copy, [copy / file for file in RECORDS] if name == "trained" else files_of(copy))
    return judge(lambda: READERS[name](sound, copy), sound_values(sound, name))


def damage_checkpoint(sound: Sound, this: Round) -> str:
    """A file of a run's checkpoints is damaged; they are opened, and the run is resumed."""
    copy = shutil.copytree(sound.trained, this.place / "run")
    damage(this, copy / "checkpoints", files_of(copy / "checkpoints"))
    expected = {k: x for k, x in sound.job("training").results.items() if k.startswith("[")}
    best = {k: x for k, x in expected.items() if k.startswith("['best']")}

    def resume() -> dict[str, np.ndarray]:
        claim(copy, sound.experiment, sound.recordings)
        options = {"mesh": parallel.make_mesh(1), "console": make_console(quiet=True)}
        params = train(sound.experiment, copy, sound.recordings, **options)
        return flat({"best": params, "last": Checkpoints(copy).restore_last(sound.like)})

    opened = judge(lambda: flat({"best": load_run(copy, data=sound.recordings).params}), best)
    resumed = judge(resume, expected)
    return HARMLESS if {opened, resumed} == {HARMLESS} else SURVIVED


def files_of(folder: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def damage(this: Round, folder: Path, files: list[Path]) -> None:
    """Flip a bit of a random file, cut it, remove it, or swap it with one whose path is alike.

    Kinds of files, such as an array or a record, are equally likely: most files are those of films.
    """
    parts = {path: path.relative_to(folder).parts for path in files}
    kinds = {path: p[1] if len(p) > 2 else p[-1] for path, p in parts.items()}
    kind = this.rng.choice(sorted(set(kinds.values())))
    path = this.rng.choice([p for p in files if kinds[p] == kind])
    alike = [p for p in files if is_alike(parts[p], parts[path])]
    way = this.rng.choice(["flipped", "cut", "removed", *(["swapped"] if alike else [])])
    data, other = path.read_bytes(), this.rng.choice(alike or [path])
    where, bit = int(this.rng.integers(max(1, len(data)))), 1 << int(this.rng.integers(8))
    detail = f" with {other.relative_to(folder)}" if way == "swapped" else f" at byte {where}"
    this.done.append(f"{path.relative_to(folder)} {way}{'' if way == 'removed' else detail}")
    if way == "removed":
        path.unlink()
    elif way == "swapped":
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        flipped = bytes([(data or b"\0")[where] ^ bit]) + data[where + 1 :]
        path.write_bytes(data[:where] + (flipped if way == "flipped" else b""))


def is_alike(a: Sequence[str], b: Sequence[str]) -> bool:
    """Whether two paths differ in one part: chunks of an array, files of one name."""
    return len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1


def judge(read: Callable[[], dict[str, Any]], expected: dict[str, Any]) -> str:
    """The verdict on a damage: what is read must be as it was, or be refused in one line."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = attempt(read, UserError)
        except UserError as error:
            check_line(str(error))
            return SURVIVED
    words = [str(w.message) for w in told if issubclass(w.category, UserWarning)]
    if changed := difference(found, expected):
        raise Lost(f"{changed}, {f'with the warning {words[0]}' if words else 'without a word'}")
    return SURVIVED if words else HARMLESS


@functools.cache
def sound_values(sound: Sound, name: str) -> dict[str, Any]:
    """All that is read where nothing is damaged."""
    return READERS[name](sound, getattr(sound, name))


def read_store(sound: Sound, folder: Path) -> dict[str, Any]:
    """Everything that is read of a store."""
    recordings = load_recordings(folder)
    return flat(
        {
            "sessions": {session.name: read_session(session) for session in recordings.sessions},
            "neurons": recordings.neurons,
            "digests": recordings.neuron_digests,
            "statistics": {kind: recordings.statistics(kind) for kind in KINDS},
            "simulated": recordings.simulated,
        }
    )


def read_session(session: Session) -> dict[str, np.ndarray]:
    """The table, the trials and the true rates of a session, and what tells its clips apart."""
    frames = session.trials.frames.tolist()
    return flat(
        {
            "table": session.trials,
            "trials": [session.read(row, 0, length) for row, length in enumerate(frames)],
            "rates": [session.read_rate(row, 0, length) for row, length in enumerate(frames)],
            "stills": session.load("stills"),
        }
    )


def read_weights(sound: Sound, folder: Path) -> dict[str, Any]:
    """Exported weights, their model, and their training."""
    trained = load_weights(folder)
    experiment = load_weights_run(folder, data=sound.recordings).experiment
    parts = trained.params, trained.neurons, trained.sessions
    return flat((*parts, to_record(trained.model), to_record(experiment)))


def read_records(sound: Sound, folder: Path) -> dict[str, Any]:
    """A run, its tiers, and its scores."""
    run = load_run(folder)
    tables = [(s.name, s.trials) for s in run.recordings.sessions]
    moments = [results.read_moments(folder, field) for field in INTERVAL_SCORES]
    report = results.read_report(folder)
    return flat((to_record(run.experiment), run.params, tables, report, moments))


# --- the table of faults ------------------------------------------------------------------------

READERS = {"store": read_store, "exported": read_weights, "trained": read_records}
CONVERSIONS = "conversion", "replacement"
FAULTS: dict[str, Callable[[Sound, Round], str]] = {
    "kill-training": functools.partial(kill, jobs=["training"]),
    "kill-conversion": functools.partial(kill, jobs=CONVERSIONS),
    "kill-evaluation": functools.partial(kill, jobs=["report", "evaluation"]),
    "signal": functools.partial(stop, jobs=["training", *CONVERSIONS, "report"]),
    "full-disk": functools.partial(full_disk, jobs=["training", "conversion"]),
    "damage-store": functools.partial(damage_files, name="store"),
    "damage-checkpoint": damage_checkpoint,
    "damage-weights": functools.partial(damage_files, name="exported"),
    "damage-records": functools.partial(damage_files, name="trained"),
}


def enter_namespace() -> None:
    """Start again where this process may mount, if that is allowed to it; mounts end with it."""
    if NAMESPACE in os.environ or not shutil.which("unshare"):
        return
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0:
        os.environ[NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    enter_namespace()
    sys.exit(main())
