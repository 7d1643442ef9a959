"""One mouse of the release's size: converting it, and reading random crops of it.

    python benchmarks/recordings.py [--neurons 8000] [--train 14] [--rounds 5]
        [--json FILE] [--plot FILE]

A simulated mouse, float64 as the release's new mice, of a few trials (a real one has 700). First
the conversion, against its floors: reading the raw files, and compressing the finished arrays.
Then training's reads: random 80-frame crops from the store against the public loaders' way, which
reads the four whole .npy files of a trial, casts and crops them; and against the starter kit's,
which also normalises the whole arrays, frame by frame, and looks for their first NaN. All ways in
turn, medians over rounds; once with all files in the page cache, and once read from the disk, as a
release of 148 GB is on most machines. Bytes are those that a way asks the system for. Last the
digests of the store's files: writing them, and comparing one when its file is first used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
from rich.console import Console
from rich.table import Table

from sensorium_jax import protocol, simulate
from sensorium_jax.data import digests
from sensorium_jax.data.format import Session, Trial, open_store
from sensorium_jax.data.writer import SessionWriter
from sensorium_jax.pages import page
from sensorium_jax.prepare import raw, recording
from sensorium_jax.prepare.convert import Options, convert

CROP_FRAMES, CROPS = 80, 40
STORE, CACHED, FROM_DISK = "the store", "cached", "from disk"


def main() -> None:
    """Make the mouse, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--neurons", type=int, default=8000)
    parser.add_argument("--train", type=int, default=14, help="train trials; 10 more are made")
    parser.add_argument("--rounds", type=int, default=5)
    record.add_flags(parser)
    flags = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        console.print("simulating ...")
        plan = simulate.SessionPlan("F", flags.neurons, flags.train, 1, 2, 1, 1)
        folder = simulate.write_session(place / "raw", plan, dtype="float64")
        shutil.rmtree(folder / "truth")  # as in a real recording
        found = {
            "conversion": conversion(folder, place, flags.rounds),
            "crops": crops(folder, place, flags.rounds),
            "digests": compare_digests(place / "float32", flags.rounds),
        }
    console.print(conversion_table(found["conversion"]))
    console.print(crops_table(found["crops"]))
    console.print(
        "Digests of {files} files: written in {write_s:.3f} s, then {compare_us:.0f} us a file at "
        "its first use".format(**found["digests"])
    )
    record.write(flags, found, draw)


def conversion(folder: Path, place: Path, rounds: int) -> dict:
    """Seconds, bytes and memory of the conversion, beside what it cannot do without."""
    session = raw.RawSession(folder)
    files = [p for field in raw.FOLDERS.values() for p in (folder / "data" / field).iterdir()]
    raw_bytes = sum(p.stat().st_size for p in files)
    seen = list(recording.trials(session, session.numbers))
    ways = {
        "read the raw files": lambda: [p.read_bytes() for p in files],
        "compress finished arrays": lambda: compress(session, seen, place / "compressed"),
        "convert, float32": lambda: convert(folder, fresh(place / "float32")),
        "convert, float16": lambda: convert(
            folder, fresh(place / "float16"), options=Options(response="float16")
        ),
    }
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    return {
        "trials": len(seen),
        "neurons": len(session.unit_ids),
        "raw_bytes": raw_bytes,
        "stored_bytes": {name: stored_bytes(place / name) for name in ("float32", "float16")},
        "peak_mib": peak_memory(folder, place),
        "seconds": seconds,
    }


def conversion_table(found: dict) -> Table:
    """One row a way."""
    raw_bytes, trials = found["raw_bytes"], found["trials"]
    table = Table(title=f"{trials} trials, {found['neurons']} neurons, float64")
    for column in ("", "s", "range", "MB/s of raw", "ms a trial", "store / raw"):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, times in found["seconds"].items():
        middle = statistics.median(times)
        size = ""
        if name.startswith("convert"):
            size = f"{found['stored_bytes'][name.split()[-1]] / raw_bytes:.3f}"
        table.add_row(
            name,
            f"{middle:.2f}",
            f"{min(times):.2f}-{max(times):.2f}",
            f"{raw_bytes / middle / 1e6:.0f}",
            f"{1e3 * middle / trials:.0f}",
            size,
        )
    table.caption = f"peak memory of a process that converts: {found['peak_mib']:.0f} MiB"
    return table


def crops(folder: Path, place: Path, rounds: int) -> dict:
    """Seconds and bytes of random crops: from the store, from whole files, normalised on top."""
    session, half = (open_store(place / name).sessions[0] for name in ("float32", "float16"))
    recorded = raw.RawSession(folder).released()
    rng = np.random.default_rng(0)
    rows = rng.choice(np.flatnonzero(session.trials.tier == protocol.TRAIN), CROPS)
    starts = rng.integers(0, protocol.CLIP_FRAMES - CROP_FRAMES, CROPS)

    def from_store(session: Session) -> None:
        for row, start in zip(rows, starts, strict=True):
            session.read(int(row), start, start + CROP_FRAMES)

    def files(row: int) -> list[Path]:
        number = session.trials.number[row]
        return [folder / "data" / field / f"{number}.npy" for field in raw.FOLDERS.values()]

    def from_files() -> None:
        for row, start in zip(rows, starts, strict=True):
            for path in files(row):
                np.load(path).astype(np.float32)[..., start : start + CROP_FRAMES].copy()

    def like_the_starter_kit() -> None:
        for row, start in zip(rows, starts, strict=True):
            whole = {}
            for field, path in zip(raw.FOLDERS, files(row), strict=True):
                x = np.moveaxis(np.load(path), -1, 0)
                mean, std = (recorded[f"{field}_{m}"] for m in ("mean", "std"))
                whole[field] = x / std if field in ("response", "behavior") else (x - mean) / std
            end = min(len(x) - np.isnan(x).reshape(len(x), -1).any(1).sum() for x in whole.values())
            for x in whole.values():
                x[:end][start : start + CROP_FRAMES].astype(np.float32)

    ways = {
        STORE: (lambda: from_store(session), list(session.folder.rglob("c/*/*"))),
        f"{STORE}, float16": (lambda: from_store(half), list(half.folder.rglob("c/*/*"))),
        "whole .npy files": (from_files, list(folder.glob("data/*/*.npy"))),
        "like the starter kit": (like_the_starter_kit, list(folder.glob("data/*/*.npy"))),
    }
    seconds = {name: {CACHED: [], FROM_DISK: []} for name in ways}
    for cached in (CACHED, FROM_DISK):
        for _ in range(rounds):
            for name, (way, touched) in ways.items():
                if cached == FROM_DISK:
                    forget(touched)
                seconds[name][cached].append(timed(way))
    read = {name: bytes_read(way) / CROPS for name, (way, _) in ways.items()}
    return {"crops": CROPS, "frames": CROP_FRAMES, "bytes_a_crop": read, "seconds": seconds}


def compare_digests(store: Path, rounds: int) -> dict:
    """Seconds to write the digests of a session, and microseconds to compare one."""
    (session,) = open_store(store).sessions
    write_s = [timed(lambda: digests.write(session.folder)) for _ in range(rounds)]
    compare_s = []
    for _ in range(rounds):
        fresh_digests = digests.Digests(session.folder, advice="")
        names = [name for name in fresh_digests.names() if "/c/" in name]
        compare_s.append(timed(lambda d=fresh_digests, names=names: list(map(d.check, names))))
    return {
        "files": len(names),
        "write_s": statistics.median(write_s),
        "compare_us": 1e6 * statistics.median(compare_s) / len(names),
    }


def crops_table(found: dict) -> Table:
    """One row a way."""
    table = Table(title=f"{CROPS} random crops of {CROP_FRAMES} frames, one reader")
    columns = "cached, trials/s", "store is", "from disk, trials/s", "store is", "MB a crop"
    for column in ("", *columns, "times the store's"):
        table.add_column(column, justify="right" if table.columns else "left")
    first, read = found["seconds"][STORE], found["bytes_a_crop"]
    for name, times in found["seconds"].items():
        cells = []
        for cached in (CACHED, FROM_DISK):
            ratios = [t / own for t, own in zip(times[cached], first[cached], strict=True)]
            cells.append(f"{CROPS / statistics.median(times[cached]):.1f}")
            spread = f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"
            cells.append("" if name == STORE else spread)
        cells += [f"{read[name] / 1e6:.2f}", f"{read[name] / read[STORE]:.1f}x"]
        table.add_row(name, *cells)
    return table


def bytes_read(way) -> int:
    """Bytes that a call reads, from the cache or from the disk, as Linux counts them."""

    def so_far() -> int:
        counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counters["rchar"])

    before = so_far()
    way()
    return so_far() - before


def draw(found: dict):
    """Seconds of the conversion; crops a second and bytes a crop."""
    figure = page.make_figure(9, 3.5)
    panels = figure.subplots(2, 2)
    made, crops = found["conversion"], found["crops"]
    groups = (
        ("conversion, s", made["seconds"]),
        ("MB read a crop", {n: [b / 1e6] for n, b in crops["bytes_a_crop"].items()}),
        *(
            (f"crops/s, {how}", {n: CROPS / np.array(t[how]) for n, t in crops["seconds"].items()})
            for how in (CACHED, FROM_DISK)
        ),
    )
    for axes, (label, bars) in zip(panels.ravel(), groups, strict=True):
        for i, values in enumerate(bars.values()):
            axes.barh(i, np.median(values), color="C0", alpha=0.4)
            axes.plot(values, [i] * len(values), "k.", markersize=4)
        axes.set(yticks=range(len(bars)), yticklabels=bars, xlabel=label)
        axes.invert_yaxis()
    return figure


def forget(paths: list[Path]) -> None:
    """Drop files from the page cache, as a release that does not fit in memory would be."""
    for path in paths:
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def compress(session: raw.RawSession, seen: list, place: Path) -> None:
    """Write trials that are ready, and nothing else."""
    with SessionWriter(
        fresh(place),
        session.name,
        trials=len(seen),
        frames=session.frames,
        neurons=len(session.unit_ids),
        image=(protocol.HEIGHT, protocol.WIDTH),
        video_dtype="uint8",
        response_dtype="float32",
        simulated=False,
    ) as writer:
        for row, one in enumerate(seen):
            writer.write(row, Trial(*one.trial))
        writer._wait()


def peak_memory(folder: Path, place: Path) -> float:
    """Largest resident set, MiB, of a process that converts the mouse."""
    program = (
        "import re, sys; from pathlib import Path; from sensorium_jax.data.convert import convert;"
        "convert(Path(sys.argv[1]), Path(sys.argv[2]));"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    command = [sys.executable, "-c", program, folder, fresh(place / "memory")]
    root = Path(__file__).parents[1]
    return int(subprocess.run(command, check=True, cwd=root, capture_output=True).stdout) / 1024


def stored_bytes(store: Path) -> int:
    """Bytes of the trials in a store."""
    fields = [d for name in Trial._fields for d in store.glob(f"*/{name}")]
    return sum(p.stat().st_size for d in fields for p in d.rglob("*") if p.is_file())


def fresh(place: Path) -> Path:
    """An empty place."""
    shutil.rmtree(place, ignore_errors=True)
    return place


def timed(way) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
