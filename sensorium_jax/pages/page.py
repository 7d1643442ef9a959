"""Self-contained HTML pages, for small and large screens, in light and dark mode."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium_jax.files import whole_file
from sensorium_jax.tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK = "#010203"  # colour of text and axes in figures; pages replace it by their text colour
STYLE: dict[RcKeyType, Any] = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "legend.frameon": False,
}


def render(title: str, *body: str) -> str:
    """A page of HTML fragments; the title is plain text."""
    return "\n".join([_START, f"<title>{html.escape(title)}</title>", _STYLE, *body, _END])


def write(path: Path, title: str, *body: str) -> None:
    """Write a page of HTML fragments, complete or not at all."""
    with whole_file(path) as partial:
        partial.write_text(render(title, *body), encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text, which scrolls if it is wider than the screen."""
    return Table(tuple(header), tuple(Row(tuple(row)) for row in rows))._repr_html_()


def figure(plot, caption: str) -> str:
    """A matplotlib figure as inline SVG in the page's text colour, with a caption."""
    import matplotlib

    settings = STYLE.copy()
    settings["svg.hashsalt"] = caption  # figures of one page must have different clip path ids
    with matplotlib.rc_context(settings), io.StringIO() as file:
        plot.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', svg, count=1)
    text = html.escape(caption)
    return f'<figure class="wide">{svg}<figcaption>{text}</figcaption></figure>'


def picture(png: bytes, caption: str) -> str:
    """A small PNG, enlarged without smoothing, with a caption."""
    data, text = base64.b64encode(png).decode(), html.escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the style of pages, and restore matplotlib's settings afterwards.

    A context manager, or, as ``@style()``, a decorator of functions that make figures.
    """
    import matplotlib  # slow to import, and only for figures

    with matplotlib.rc_context(STYLE):
        yield


def make_figure(width: float, height: float):
    """An empty matplotlib figure of this size in inches; draw it within ``style``."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


GENERATOR = '<meta name="generator" content="sensorium_jax">'
_START = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
{GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">"""
_STYLE = """<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { white-space: nowrap; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
.error b { color: #d33; } .warning b { color: #b80; } .note { opacity: .75; }
.banner { border-left: .3rem solid #d80; padding: .25rem .75rem; background: #d802; }
.stills { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0 0 1rem; } figure svg { width: 100%; min-width: 34rem; height: auto; }
img { width: 192px; image-rendering: pixelated; display: block; }
figcaption { font-size: .9rem; opacity: .85; max-width: 46rem; }
</style></head><body>"""
_END = "</body></html>\n"
