"""Sending a dataframe to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grappe.driver import INGEST_MODES
from grappe.errors import Error, InvalidError
from grappe.sources import Source, source
from grappe.table import Table

if TYPE_CHECKING:
    from grappe.client import Client


def upload(
    client: Client, data: Any, name: str, mode: str, *, schema: str | None, temporary: bool, index: bool | None
) -> Table:
    """See `Client.upload`."""
    if mode not in INGEST_MODES:
        raise InvalidError(f'mode is "{mode}"; use one of {", ".join(INGEST_MODES)}')
    if not isinstance(name, str) or not name:
        raise InvalidError(f"the name of a table is a text that is not empty, not {name!r}")
    rows = source(data, client.options, index=index)
    with client.progress(f"upload {name}", rows.rows_total) as progress:
        rows.on_rows = progress.advance
        _send(client, rows, name, mode, schema, temporary)
    return Table(client, name, schema)


def _send(client: Client, rows: Source, name: str, mode: str, schema: str | None, temporary: bool) -> None:
    try:
        client.session.ingest(rows.reader(), name, mode, schema, temporary)
    except Error as error:
        # The driver knows the text of what our side raised; we have the error itself.
        if rows.error is not None:
            raise rows.error from None
        raise error
    finally:
        # An interrupted upload ends where the next batch is asked for.
        rows.stop()
