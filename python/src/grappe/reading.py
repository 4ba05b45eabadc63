"""Reading the rows of a result by pyarrow's own Flight client.

ADBC's driver would do it too, with a copy of all rows more on the way, and one stream at a time for a connection.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyarrow import flight

    from grappe.address import Address


class Reader:
    """Opens streams; several threads may use it. It connects when the first is asked for."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client: flight.FlightClient | None = None
        self._headers: list[tuple[bytes, bytes]] = []

    def read(self, part: bytes) -> Reading:
        """The rows of a part of a result, by the FlightInfo that tells of it. Tickets are good on any connection."""
        from pyarrow import flight

        client = self._connected()
        ticket = flight.FlightInfo.deserialize(part).endpoints[0].ticket
        return Reading(client.do_get(ticket, flight.FlightCallOptions(headers=self._headers)))

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> flight.FlightClient:
        from pyarrow import flight

        with self._lock:
            if self._client is None:
                there = self._address
                location = there.url.replace("grpc://", "grpc+tcp://")
                client = flight.connect(location, **there.flight_options())
                if there.user is not None:
                    self._headers = [client.authenticate_basic_token(there.user, there.password or "")]
                elif there.token is not None:
                    self._headers = [(b"authorization", f"Bearer {there.token}".encode())]
                self._client = client
            return self._client


class Reading:
    """The rows of a part of a result."""

    def __init__(self, stream: flight.FlightStreamReader) -> None:
        self._stream = stream
        self._is_ended = False

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._stream.schema

    def next(self) -> pa.RecordBatch | None:
        """The next rows; None at the end."""
        while True:
            try:
                chunk = self._stream.read_chunk()
            except StopIteration:
                self._is_ended = True
                return None
            if chunk.data is not None:
                return chunk.data

    def close(self) -> None:
        """Ends it; the server stops if there were more rows."""
        if not self._is_ended:
            self._is_ended = True
            self._stream.cancel()
