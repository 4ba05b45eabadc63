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
    retry_seconds_max: float = 60.0
    """How long a query that only reads is run again after an `UnavailableError`, from the first one on; 0 is not at all."""
    retry_pause_seconds_first: float = 0.1
    """The pause before it is run again; each further pause is twice as long."""
    retry_pause_seconds_max: float = 2.0
    """The longest of these pauses."""
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
