"""Limits and times of a client: each has its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of a client, for `grappe.connect(options=grappe.Options(...))`.

    Raises `ValueError` for a number below zero.
    """

    connect_seconds_max: float = 20.0
    """How long `connect` waits for the server's first answer, and for an embedded server to be ready."""
    stop_seconds_max: float = 10.0
    """How long `close` waits for an embedded server before it is killed, and an interrupt for a call to return."""
    read_retries_max: int = 4
    """How often a query that only reads is run again after an `UnavailableError`."""
    retry_seconds_first: float = 0.2
    """The pause before the first of them; each further pause is twice as long."""
    message_bytes_max: int = 256 << 20
    """The largest message; the server has a limit of the same name."""
    batch_bytes_max: int = 8 << 20
    """What an upload has in memory of a frame or file at a time, and sends at once."""
    preview_rows_max: int = 20
    """Rows in the preview of a result."""
    category_bytes_max: int = 64 << 10
    """Categories of a column that a table remembers; a column with more of them comes back as its values."""
    progress_after_seconds: float = 0.5
    """How long a call takes before its progress is shown."""
    map_queries_max: int = 4
    """Queries that `map` runs at once where each input is a query."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, but cannot be below zero")
