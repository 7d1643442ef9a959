"""A table as a value, which text, notebooks, pages and terminals each show in their own way."""

from __future__ import annotations

import html
from typing import NamedTuple


class Row(NamedTuple):
    """Cells of text; ``level`` 1 is a part of the row of level 0 above it."""

    cells: tuple[str, ...]
    level: int = 0


class Table(NamedTuple):
    """Text in rows and columns: the first column is words, the others are numbers.

    Attributes:
        header: titles of the columns; a line break splits one where room is scarce.
        rows: in order.
        title: above the table, in text.
        caption: below it; one remark a line.

    Examples:
        >>> print(Table(("mouse", "score"), (Row(("A", "0.45")), Row(("part", "0.5"), level=1))))
        mouse   score
        A        0.45
          part    0.5
    """

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    title: str = ""
    caption: str = ""

    def __str__(self) -> str:
        header = tuple(name.replace("\n", " ") for name in self.header)
        lines = [header, *(indent(row, "  ") for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            f"{first:<{widths[0]}}"
            + "".join(f"  {cell:>{w}}" for cell, w in zip(cells, widths[1:], strict=True))
            for first, *cells in lines
        ]
        return "\n".join(line.rstrip() for line in [self.title, *text, self.caption] if line)

    def _repr_html_(self) -> str:
        lines = [_line(self.header, "th"), *(_line(indent(r, "\u2003"), "td") for r in self.rows)]
        table = f'<div class="wide"><table>{"".join(lines)}</table></div>'
        return table + (f"<p>{html.escape(self.caption)}</p>" if self.caption else "")


def indent(row: Row, space: str) -> tuple[str, ...]:
    """The cells of a row, the first behind as much space as its level says."""
    first, *cells = row.cells
    return (space * row.level + first, *cells)


def _line(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"
