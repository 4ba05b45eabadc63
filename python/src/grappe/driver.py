"""The only module that knows ADBC: one connection, and what can be done over it. Rows are read by `reading`.

`adbc_driver_manager.dbapi` is not used here, because it imports pandas and polars wherever they are installed. Queries
are started by `ExecutePartitions` in small steps (`PollFlightInfo`), which give a query's id before its rows.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import adbc_driver_flightsql
import adbc_driver_manager
import pyarrow as pa
from adbc_driver_manager._reader import AdbcRecordBatchReader

from grappe.errors import (
    CancelledError,
    DeniedError,
    Error,
    InvalidError,
    UnavailableError,
    is_of_another_start,
    is_standby,
    of_driver,
)
from grappe.reading import Reader, Reading
from grappe.shared import Shared
from grappe.statements import literal, quoted
from grappe.waiting import TICK_SECONDS, wait_for

if TYPE_CHECKING:
    from grappe.address import Address
    from grappe.options import Options

LAST_FLIGHT_INFO = "adbc.flight.sql.statement.exec.last_flight_info"
# What the server says of a query stands at the end of its FlightInfo, as JSON.
_DESCRIBED = re.compile(rb'\{"query_id":.*\}', re.DOTALL)
# The codes of ADBC's GetInfo.
_VENDOR_NAME, _VENDOR_VERSION = 0, 1

INGEST_MODES = ("create", "append", "replace", "create_append")

Tick = Callable[["Described"], object]


@dataclass(frozen=True)
class Described:
    """What the server says of a query: its id, the kind of statement, and how far it is."""

    query_id: str = ""
    tag: str = ""
    rows_affected: int | None = None
    rows_scanned: int = 0
    tasks_done: int = 0
    tasks_total: int = 0
    fraction: float = 0.0


class Driver:
    """A connection, which is a session of the server's. Several threads may use it."""

    def __init__(self, address: Address, options: Options, seconds_max: float | None = None) -> None:
        """Opens it. `seconds_max` is how long it may take, if that is not `Options.connect_seconds_max`.

        Raises `UnavailableError` if nobody answers in time, `DeniedError` for a user that is not known.
        """
        seconds_max = options.connect_seconds_max if seconds_max is None else seconds_max
        self.options = options
        self.url = address.url
        self._address = address
        settings = address.driver_options()
        settings["adbc.flight.sql.client_option.with_max_msg_size"] = str(options.message_bytes_max)
        # The session outlives a broken TCP connection.
        settings["adbc.flight.sql.rpc.with_cookie_middleware"] = "true"
        self._dbapi: Any = None
        self._dbapi_lock = threading.Lock()
        self._reader = Reader(address)
        self._observer: Driver | None = None
        try:
            # The handshake with a user and a password takes place here.
            database, connection = wait_for(lambda: _open(address.url, settings), seconds_max=seconds_max)
        except TimeoutError:
            self._refuse(f"no answer in {seconds_max:.3g} s")
        except adbc_driver_manager.Error as error:
            self._refuse_because(error)
        self._database = database
        self._connection = Shared(connection, lambda: _close(database, connection))

    def server(self, seconds_max: float | None = None) -> tuple[str, str]:
        """What the server calls itself, and its version. Raises `Error` if it is no server of ours."""
        seconds_max = self.options.connect_seconds_max if seconds_max is None else seconds_max
        try:
            return wait_for(self._server, on_interrupt=self._interrupt, seconds_max=seconds_max)
        except TimeoutError:
            self._refuse(f"no answer in {seconds_max:.3g} s")
        except adbc_driver_manager.Error as error:
            self._refuse_because(error)

    def _server(self) -> tuple[str, str]:
        # Where it gets no answer, the driver gives that of the server it asked before: the query finds that out.
        with self._connection.used() as connection:
            handle = connection.get_info([_VENDOR_NAME, _VENDOR_VERSION])
            told = {row["info_name"]: row["info_value"] for row in _import(handle).read_all().to_pylist()}
        with self._statement() as statement:
            statement.set_sql_query("SELECT count(*) FROM system.executors")
            _import(statement.execute_query()[0]).read_all()
        return told.get(_VENDOR_NAME, ""), told.get(_VENDOR_VERSION, "")

    def _interrupt(self) -> None:
        with self._connection.used() as connection:
            connection.cancel()

    @property
    def dbapi(self) -> Any:
        """The same session as a DB-API connection (`adbc_driver_manager.dbapi.Connection`)."""
        from adbc_driver_manager import dbapi

        with self._dbapi_lock:
            if self._dbapi is None:
                with self._connection.used() as connection:
                    self._dbapi = dbapi.Connection(self._database, connection, autocommit=True)
            return self._dbapi

    def submit(
        self, sql: str, parameters: Sequence[Any] | pa.RecordBatch | None, on_tick: Tick | None,
        check: Callable[[], None] | None = None,
    ) -> Submitted:
        """Starts a statement and waits until its rows can be read, or its effect is there.

        With a `check`, which may raise, the statement runs in the session that there was at that time, or not at all.
        Raises an `Error` of the kind that says what to do. When interrupted it stops the query.
        """
        with _translated(), self._statement() as statement:
            statement.set_options(**{"adbc.statement.exec.incremental": "true"})
            statement.set_sql_query(sql)
            if parameters is not None or check is not None:
                # What is prepared belongs to one session.
                statement.prepare()
            if parameters is not None:
                statement.bind(_bound(parameters))
            if check is not None:
                check()
            start = _Start(statement)
            parts = wait_for(
                start, on_interrupt=lambda: self._stop(start),
                on_tick=None if on_tick is None else lambda: on_tick(start.described()),
                stop_seconds_max=self.options.stop_seconds_max,
            )
            return Submitted(self, start.described(), parts)

    def read(self, part: bytes) -> Reading:
        """The rows of a part of a result, as they come."""
        with _translated():
            return self._reader.read(part)

    def cancel(self, query_id: str) -> None:
        """Stops a query on the server; nothing happens if it has ended."""
        if not query_id:
            return
        try:
            self.execute(f"CANCEL QUERY {literal(query_id)}")
        except (InvalidError, LookupError):
            pass  # It has ended, or was forgotten.

    def observe(self, query_id: str) -> Described:
        """How far a query is whose rows are being waited for. What cannot be told is left out."""
        try:
            # In a session of its own: the settings of this one may be none that this statement runs with.
            self._observer = self._observer or self.another()
            found = self._observer.execute(
                "SELECT tasks, tasks_done, rows_scanned, progress FROM system.queries "
                f"WHERE id = {literal(query_id)}"
            )
        except Error:
            return Described(query_id)  # Whoever reads the rows will hear of it.
        if not found.num_rows:
            return Described(query_id)
        [facts] = found.to_pylist()
        return Described(
            query_id, rows_scanned=facts["rows_scanned"], tasks_done=facts["tasks_done"], tasks_total=facts["tasks"],
            fraction=facts["progress"] or 0.0,
        )

    def execute(self, sql: str) -> pa.Table:
        """Runs a small statement to its end."""
        with _translated(), self._statement() as statement:
            statement.set_sql_query(sql)
            handle, _ = wait_for(
                statement.execute_query, on_interrupt=statement.cancel, stop_seconds_max=self.options.stop_seconds_max
            )
            reader = _import(handle)
            return wait_for(
                reader.read_all, on_interrupt=statement.cancel, stop_seconds_max=self.options.stop_seconds_max
            )

    def ingest(
        self, table: str, schema: str | None, rows: pa.RecordBatchReader, mode: str, temporary: bool,
        on_tick: Callable[[], object] | None,
    ) -> int:
        """Sends rows to a table, which has them all at the end or none. The value is how many."""
        prefix = "adbc.ingest."
        settings = {f"{prefix}target_table": table, f"{prefix}mode": f"{prefix}mode.{mode}"}
        if schema is not None:
            settings[f"{prefix}target_db_schema"] = schema
        if temporary:
            settings[f"{prefix}temporary"] = "true"
        with _translated(), self._statement() as statement:
            statement.set_options(**settings)
            statement.bind_stream(rows)
            return int(wait_for(
                statement.execute_update, on_interrupt=statement.cancel, on_tick=on_tick,
                stop_seconds_max=self.options.stop_seconds_max,
            ))

    def schema(self, sql: str, parameters: Sequence[Any] | pa.RecordBatch | None = None) -> pa.Schema:
        """The columns that a query would give; it does not run."""
        with _translated(), self._statement() as statement:
            statement.set_sql_query(sql)
            if parameters is not None:
                statement.prepare()
                statement.bind(_bound(parameters))
            handle = statement.execute_schema()
            return pa.Schema._import_from_c(handle.address)

    def table_schema(self, table: str, schema: str | None) -> pa.Schema:
        """The columns of a table or view. Raises `NotFoundError` if there is none of the name."""
        return self.schema(f"SELECT * FROM {quoted(schema, table)}")

    def another(self) -> Driver:
        """A session of its own with the same server, for the same user."""
        return Driver(self._address, self.options)

    def close(self) -> None:
        """Ends the session: now, or after the calls of other threads."""
        self._reader.close()
        if self._observer is not None:
            self._observer.close()
        if self._dbapi is not None:
            self._dbapi.close()
            return
        self._connection.close()

    def abandon(self) -> None:
        """Ends the session of a server that may be gone, without waiting for it. What is read of it goes on."""
        # The caller of `dbapi` has it, and its errors.
        if self._dbapi is None:
            self._connection.abandon()

    @contextmanager
    def _statement(self) -> Iterator[Any]:
        """A statement of ADBC's, closed at the end."""
        with self._connection.used() as connection:
            statement = adbc_driver_manager.AdbcStatement(connection)
            try:
                yield statement
            finally:
                try:
                    statement.close()
                except adbc_driver_manager.Error:
                    pass  # A server that is gone cannot be told to forget it.

    def _stop(self, start: _Start) -> None:
        """Stops a query whose start was interrupted, as soon as the server has told its id."""
        end = time.monotonic() + self.options.stop_seconds_max
        while not start.returned.wait(TICK_SECONDS) and not start.described().query_id and time.monotonic() < end:
            pass
        self.cancel(start.described().query_id)

    def _refuse(self, why: str) -> NoReturn:
        raise UnavailableError(f"cannot connect to {self.url}: {why}; is a Grappe server listening there?") from None

    def _refuse_because(self, error: Exception) -> NoReturn:
        translated = of_driver(error)
        # Nobody but a coordinator that ends cancels what is asked here, and one that began since knows no token.
        was_lost = isinstance(translated, (UnavailableError, CancelledError)) or (
            is_of_another_start(translated) and self._address.token is None
        )
        if was_lost and not is_standby(translated):
            self._refuse(str(translated))
        raise type(translated)(f"cannot connect to {self.url}: {translated}") from error


class Submitted:
    """A query that the server has: its rows can be read once."""

    def __init__(self, driver: Driver, described: Described, parts: list[bytes]) -> None:
        self._driver = driver
        self._parts = parts
        self._reading: Reading | None = None
        self._is_finished = False
        self.described = described

    def schema(self) -> pa.Schema:
        """The columns of the result."""
        with _translated():
            return wait_for(
                lambda: self._open().schema, on_interrupt=self.cancel,
                stop_seconds_max=self._driver.options.stop_seconds_max,
            )

    def batches(self, on_tick: Tick | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, as they come. Stops the query when it is left before the end."""
        try:
            while self._parts:
                reading = self._open()
                while (batch := self._next(reading, on_tick)) is not None:
                    yield batch
                self._reading = None
                self._parts.pop(0)
                reading.close()
            self._is_finished = True
        finally:
            self.close()

    def collect(self, on_rows: Callable[[int], object], on_tick: Tick) -> list[pa.RecordBatch]:
        """All rows. `on_rows` hears on another thread how many came; `on_tick` is called on this one."""
        collected: list[pa.RecordBatch] = []

        def read() -> None:
            while self._parts:
                reading = self._open()
                while (batch := reading.next()) is not None:
                    collected.append(batch)
                    on_rows(batch.num_rows)
                self._reading = None
                self._parts.pop(0)
                reading.close()

        try:
            with _translated():
                wait_for(
                    read, on_interrupt=self.cancel, on_tick=lambda: on_tick(self.described),
                    stop_seconds_max=self._driver.options.stop_seconds_max,
                )
            self._is_finished = True
        finally:
            self.close()
        return collected

    def cancel(self) -> None:
        """Stops it on the server."""
        if not self._is_finished:
            self._driver.cancel(self.described.query_id)

    def close(self) -> None:
        """Lets it go; the server stops what has not been read."""
        reading, self._reading = self._reading, None
        self._parts = []
        if reading is not None:
            reading.close()
        if not self._is_finished:
            self._is_finished = True
            try:
                self._driver.cancel(self.described.query_id)
            except (UnavailableError, DeniedError):
                pass  # A server that is gone, or was started again, runs it no more.

    def __del__(self) -> None:
        try:
            self.close()
        except (Error, adbc_driver_manager.Error, RuntimeError):
            pass  # The connection went first, and the query with it.

    def _open(self) -> Reading:
        if self._reading is None:
            self._reading = self._driver.read(self._parts[0])
        return self._reading

    def _next(self, reading: Reading, on_tick: Tick | None) -> pa.RecordBatch | None:
        with _translated():
            return wait_for(
                reading.next,
                on_interrupt=self.cancel,
                on_tick=None if on_tick is None else lambda: on_tick(self.described),
                stop_seconds_max=self._driver.options.stop_seconds_max,
            )


class _translated:
    """Turns the driver's errors into ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (adbc_driver_manager.Error, pa.ArrowException, OSError)) and not isinstance(error, Error):
            raise of_driver(error) from error


class _Start:
    """A query's start, which can take long. The driver asks the server again and again how far it is."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self.returned = threading.Event()

    def __call__(self) -> list[bytes]:
        try:
            parts, _schema, _rows = self._statement.execute_partitions()
            return list(parts)
        finally:
            self.returned.set()

    def described(self) -> Described:
        """What the server said last, also while the start goes on."""
        found = _DESCRIBED.search(self._statement.get_option_bytes(LAST_FLIGHT_INFO))
        fraction = self._statement.get_option_float("adbc.statement.exec.progress")
        return Described(**json.loads(found[0]), fraction=fraction) if found else Described()


def _open(url: str, settings: dict[str, str]) -> tuple[Any, Any]:
    database = adbc_driver_flightsql.connect(url, db_kwargs=settings)
    try:
        return database, adbc_driver_manager.AdbcConnection(database)
    except BaseException:
        database.close()
        raise


def _close(database: Any, connection: Any) -> None:
    try:
        connection.close()
        database.close()
    except (adbc_driver_manager.Error, RuntimeError):
        pass  # A server that is gone cannot be told.


def _import(handle: Any) -> pa.RecordBatchReader:
    return AdbcRecordBatchReader._import_from_c(handle.address)


def _bound(parameters: Sequence[Any] | pa.RecordBatch) -> pa.RecordBatch:
    if isinstance(parameters, pa.RecordBatch):
        return parameters
    columns = [pa.array([value]) for value in parameters]
    return pa.record_batch(columns, names=[str(at) for at in range(1, len(columns) + 1)])
