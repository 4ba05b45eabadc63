"""What a column was in the frame that it was uploaded from, kept in the metadata of the table's column.

The server hands the metadata of a column on where a query selects it, and where it casts it: an origin counts only as
long as the column has the Arrow type that it was sent with.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

KEY = b"grappe.dtype"


def noted(field: pa.Field, sent: pa.DataType, origin: dict[str, Any]) -> pa.Field:
    """The field with `origin`, which JSON must be able to hold."""
    return field.with_metadata({KEY: json.dumps({**origin, "arrow": str(sent)}).encode()})


def origin(field: pa.Field, library: str) -> dict[str, Any] | None:
    """What `noted` was told, if it was about a frame of `library` and still holds."""
    text = (field.metadata or {}).get(KEY)
    if text is None:
        return None
    found = json.loads(text)
    is_ours = isinstance(found, dict) and found.get("library") == library and found.get("arrow") == str(field.type)
    return found if is_ours else None


def categories_noted(values: list[Any], bytes_max: int) -> list[Any] | None:
    """Categories as an origin keeps them; None for those of other kinds than text and numbers, or too many."""
    if not all(isinstance(value, (str, int, float, bool)) for value in values):
        return None
    return values if len(json.dumps(values)) <= bytes_max else None
