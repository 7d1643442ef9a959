"""The diagnosis of an examination, in the terminal and as a self-contained HTML page."""

from __future__ import annotations

import html
import struct
import zlib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.text import Text

from sensorium_jax import protocol
from sensorium_jax.pages import page, terminal
from sensorium_jax.pages.terminal import Console
from sensorium_jax.prepare.doctor.findings import ERROR, NOTE, WARNING, Diagnosis, Finding
from sensorium_jax.tables import Row, Table

COLOURS = {ERROR: "bold red", WARNING: "yellow", NOTE: "dim"}
SHORT = {  # tiers, as column headers
    "train": "train",
    "oracle": "oracle",
    "live_test_main": "live",
    "final_test_main": "final",
    "live_test_bonus": "live+",
    "final_test_bonus": "final+",
}
MOST_ALIKE = 5  # findings of one mouse with the same first word that are shown


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print a diagnosis."""
    header, rows = _counts(diagnosis)
    if rows:
        caption = "T: frames of an array. live+, final+: the out-of-domain tiers."
        cells = tuple(Row(tuple(row)) for row in rows)
        terminal.show(Table(tuple(header), cells, diagnosis.path, caption), console)
    for finding in _condense(diagnosis):
        level = Text(finding.level, style=COLOURS[finding.level])
        console.print(level, Text(f"{finding.where}: {finding.what}"), soft_wrap=True)
    console.print(_verdict(diagnosis), highlight=False)


def write(diagnosis: Diagnosis, path: Path) -> None:
    """Write a diagnosis as an HTML page."""
    header, rows = _counts(diagnosis)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = [
        f"<h1>{html.escape(diagnosis.path)}</h1>",
        f"<p><strong>{html.escape(_verdict(diagnosis))}</strong></p>",
        page.table(header, rows),
        "<h2>Findings</h2>",
        *(
            f'<p class="{finding.level}"><b>{finding.level}</b> {html.escape(finding.where)}: '
            f"{html.escape(finding.what)}</p>"
            for finding in _condense(diagnosis)
        ),
        "<h2>What the mice saw</h2>",
        *map(_stills, diagnosis.sessions),
    ]
    page.write(path, "Recordings examined", *body)


def _counts(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    """Header and rows, one a mouse: neurons, frames, trials by tier, dtype of the responses."""
    header = ["mouse", "neurons", "T", *SHORT.values(), "type"]
    rows = []
    for mouse in diagnosis.sessions:
        counts = [mouse.neurons, mouse.frames, *(mouse.tiers()[tier] for tier in SHORT)]
        name = protocol.short_name(mouse.name)
        rows.append([name, *map(str, counts), mouse.types["response"]])
    return header, rows


def _verdict(diagnosis: Diagnosis) -> str:
    counts = [f"{len(diagnosis.select(level))} {level}s" for level in (ERROR, WARNING, NOTE)]
    return f"{len(diagnosis.sessions)} mice, {', '.join(counts)}"


def _condense(diagnosis: Diagnosis) -> Iterable[Finding]:
    """The findings by level; of similar findings in one mouse only the first few."""
    for level in (ERROR, WARNING, NOTE):

        def kind(finding: Finding) -> tuple[str, str]:
            return finding.where.partition(",")[0], finding.what.partition(" ")[0]

        for _, group in groupby(sorted(diagnosis.select(level), key=kind), key=kind):
            similar = list(group)
            yield from similar[:MOST_ALIKE]
            if len(similar) > MOST_ALIKE:
                session = similar[0].where.partition(",")[0]
                yield Finding(level, session, f"... and {len(similar) - MOST_ALIKE} like these")


def _stills(mouse) -> str:
    """A still of every stimulus family of a mouse, as HTML."""
    figures = [
        page.picture(_png(still), f"{family}: {mouse.families()[family]} trials")
        for family, still in sorted(mouse.examples.items())
    ]
    return f"<h3>{html.escape(mouse.name)}</h3><div class='stills'>{''.join(figures)}</div>"


def _png(grey: np.ndarray) -> bytes:
    """A PNG of grey levels uint8 [H W]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = grey.shape
    lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(grey))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
