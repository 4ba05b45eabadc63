"""The first rows of a result, as a notebook shows them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from grappe import statements
from grappe.errors import InvalidError

if TYPE_CHECKING:
    from grappe.result import Result

TITLE_CHARS_MAX = 60
CELL_CHARS_MAX = 80


@dataclass(frozen=True)
class Preview:
    """The first rows of a result, and how many there are if that could be told."""

    first: pa.Table
    rows_total: int | None
    query_id: str | None


def of(result: Result, rows_max: int) -> Preview:
    """Reads the first `rows_max` rows and stops the query; the server counts the others."""
    batches, count = [], 0
    stream = result.to_batches()
    for batch in stream:
        batches.append(batch)
        count += batch.num_rows
        if count > rows_max:
            break
    stream.close()  # type: ignore[attr-defined]
    query_id = result.query_id
    schema = batches[0].schema if batches else result.schema
    first = pa.Table.from_batches(batches, schema).slice(0, rows_max)
    return Preview(first, count if count <= rows_max else _count(result), query_id)


def html(shown: Preview, dashboard_url: str | None) -> str:
    """A table with its schema as the head, and a line below that says what it is part of."""
    head = "".join(
        f"<th>{escape(field.name)}<br><small>{escape(str(field.type))}</small></th>" for field in shown.first.schema
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(shortened(_text(value), CELL_CHARS_MAX))}</td>" for value in row) + "</tr>"
        for row in zip(*(column.to_pylist() for column in shown.first.columns))
    )
    parts = [*_extent(shown), *([_link(shown.query_id, dashboard_url)] if shown.query_id else [])]
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{', '.join(parts)}</p></div>"


def text(shown: Preview) -> str:
    """The same for a terminal."""
    names = [f"{field.name} ({field.type})" for field in shown.first.schema]
    cells = [[shortened(_text(value), CELL_CHARS_MAX) for value in column.to_pylist()] for column in shown.first.columns]
    widths = [max(map(len, [name, *column])) for name, column in zip(names, cells)]
    lines = [names, ["-" * width for width in widths], *zip(*cells)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([*table, ", ".join(_extent(shown))])


def shortened(text: str, chars_max: int = TITLE_CHARS_MAX) -> str:
    """A text on one line, cut where it gets long."""
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def _extent(shown: Preview) -> list[str]:
    """How many rows and columns, and how many of them are shown."""
    total = f"{shown.rows_total:,}" if shown.rows_total is not None else f"more than {shown.first.num_rows:,}"
    noun = "row" if shown.rows_total == 1 else "rows"
    width = "1 column" if shown.first.num_columns == 1 else f"{shown.first.num_columns:,} columns"
    is_all = shown.rows_total is not None and shown.rows_total <= shown.first.num_rows
    return [f"{total} {noun} × {width}", *([] if is_all else [f"the first {shown.first.num_rows:,}"])]


def _link(query_id: str, dashboard_url: str | None) -> str:
    """Without a page to go to, what to ask the server for."""
    name = f"query {escape(query_id)}"
    if dashboard_url is None:
        return f'<span title="SELECT * FROM system.queries WHERE id = \'{escape(query_id)}\'">{name}</span>'
    return f'<a href="{escape(dashboard_url.rstrip("/"))}/queries/{escape(query_id)}">{name}</a>'


def _text(value: Any) -> str:
    return "NULL" if value is None else str(value)


def _count(result: Result) -> int | None:
    """None where the statement cannot be asked for a count, as SHOW."""
    if not statements.is_relation(result.sql):
        return None
    try:
        return result.count()
    except InvalidError:
        return None
