"""A session that outlives its connection: a coordinator that is lost is looked for, and what was set is set again.

The way of a statement: `Session.run` -> `_ready`, which sees to the connection -> the call -> `check`, whether it was still
the same session. After an `UnavailableError` what only reads goes that way again, with `Retries` between; what writes never
does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from grappe.coordinators import first_to_answer
from grappe.errors import (
    CancelledError,
    DeniedError,
    Error,
    InvalidError,
    NotFoundError,
    UnavailableError,
    is_of_another_start,
    is_standby,
)
from grappe.remembered import Remembered, leaves_something
from grappe.retry import Retries
from grappe.statements import TEMPORARY_SCHEMA, quoted

if TYPE_CHECKING:
    from grappe.address import Address
    from grappe.driver import Driver
    from grappe.options import Options

T = TypeVar("T")

# A prepared statement by which a session is told from one that a coordinator opened in its place.
_MARKS, _ASKS = "PREPARE grappe_session AS SELECT 1", "EXECUTE grappe_session"


class Session:
    """A user's conversation with whichever coordinator answers. Several threads may use it."""

    def __init__(
        self, addresses: Sequence[Address], options: Options, has_ended: Callable[[], bool] = lambda: False
    ) -> None:
        """Connects. `has_ended` says that there is nobody to wait for.

        Raises `Error` as `first_to_answer` does.
        """
        self.options = options
        self._addresses = list(addresses)
        self._has_ended = has_ended
        self._remembered = Remembered()
        self._lock = threading.Lock()
        # Those who renew the connection take turns; the others are not kept.
        self._renewing = threading.Lock()
        self._driver = first_to_answer(self._addresses, options)
        self._suspicion: Error | None = None

    @property
    def driver(self) -> Driver:
        """The present connection, which may be lost."""
        return self._driver

    def another(self) -> Session:
        """A session of its own, for the same user."""
        return Session(self._addresses, self.options, self._has_ended)

    def run(
        self, call: Callable[[Driver], T], text: str, *, may_repeat: bool = True, stopped: threading.Event | None = None
    ) -> T:
        """The value of `call` with the connection; when it cannot be reached, that of a later call with another one.

        `text` is the statement. `stopped` ends the waiting. Raises the last `UnavailableError`, and any other error at once.
        """
        stopped = stopped or threading.Event()
        retries = Retries(self.options, stopped)
        while True:
            try:
                return self._once(call, text, retries.seconds_left, may_repeat, leaves_something(text))
            except UnavailableError as error:
                if may_repeat and not self._has_ended() and retries.again():
                    continue
                last = retries.last(error, text) if may_repeat else error
                if last is error:
                    raise
                raise last from error

    def ingest(self, rows: pa.RecordBatchReader, name: str, mode: str, schema: str | None, temporary: bool) -> None:
        """Sends rows to a table, once."""
        # A table that is made new is no other than the one that is meant.
        text = "" if mode == "create" else quoted(name)
        temporary = temporary or schema == TEMPORARY_SCHEMA
        self._once(
            lambda driver: driver.ingest(name, schema, rows, mode, temporary, None), text,
            self.options.connect_seconds_max, may_repeat=False, leaves=temporary,
        )
        with self._lock:
            self._remembered.table(name, is_temporary=temporary)

    def note(self, sql: str) -> None:
        """Notes a statement that has run, for what it left in the session."""
        with self._lock:
            self._remembered.statement(sql)

    def check(self, driver: Driver) -> None:
        """Raises `UnavailableError` if there was something in the session, and the coordinator has another in its place."""
        if not self._remembered.is_empty and not _has_mark(driver):
            raise UnavailableError("the session was lost: its coordinator was started again, or has forgotten it")

    def check_before(self, driver: Driver) -> Callable[[], None] | None:
        """`check` for a statement that must not run in another session; none if any would do."""
        return None if self._remembered.is_empty else lambda: self.check(driver)

    def lost(self, driver: Driver, error: Error, seconds_max: float | None = None) -> UnavailableError | None:
        """Whether an error means that the coordinator was lost; then the next statement looks for it first."""
        if isinstance(error, UnavailableError):
            means = error
        elif is_of_another_start(error) or (isinstance(error, CancelledError) and not _answers(driver, seconds_max)):
            # One that ends cancels what it has.
            means = UnavailableError(f"{error}; the coordinator was lost")
        else:
            return None
        # Unless another thread has found it already.
        if driver is self._driver:
            self._suspicion = means
        return means

    def close(self) -> None:
        """Ends it."""
        self._driver.close()

    def _once(
        self, call: Callable[[Driver], T], text: str, seconds_max: float, may_repeat: bool, leaves: bool
    ) -> T:
        driver = self._ready(seconds_max, may_repeat)
        try:
            if leaves:
                self._mark(driver)
            self._refuse_others_tables(driver, text)
            return self._checked(call, driver) if may_repeat else call(driver)
        except Error as error:
            lost = self.lost(driver, error, seconds_max)
            if lost is None or lost is error:
                raise
            raise lost from error

    def _checked(self, call: Callable[[Driver], T], driver: Driver) -> T:
        """The value of `call`, or its error, if it was in the session: it is seen to afterwards, which leaves no gap."""
        try:
            value = call(driver)
        except UnavailableError:
            raise
        except Error:
            self.check(driver)
            raise
        self.check(driver)
        return value

    def _ready(self, seconds_max: float, may_repeat: bool) -> Driver:
        """The connection, with the session as it was left, as far as that is known."""
        driver = self._driver
        if self._is_intact(driver, seconds_max, may_repeat):
            return driver
        with self._renewing:
            # Unless another thread was first.
            if self._driver is driver:
                self._renew(seconds_max)
            return self._driver

    def _is_intact(self, driver: Driver, seconds_max: float, may_repeat: bool) -> bool:
        """Whether coordinator and session are there; what may be repeated finds out by itself, unless there is doubt."""
        suspicion = self._suspicion
        if suspicion is not None:
            if is_standby(suspicion) or not _answers(driver, seconds_max):
                return False
        elif may_repeat:
            return True
        try:
            self.check(driver)
        except UnavailableError:
            return False
        # Unless there is a newer one.
        if self._suspicion is suspicion:
            self._suspicion = None
        return True

    def _renew(self, seconds_max: float) -> None:
        """Connects to the next coordinator that answers, or to the same one."""
        lost = self._driver
        driver = first_to_answer(self._after(lost.url), self.options, seconds_max)
        try:
            self._restore(driver)
        except BaseException as error:
            driver.abandon()
            if isinstance(error, (CancelledError, DeniedError)):
                raise UnavailableError(f"{error}; the coordinator was lost once more") from error
            raise
        self._driver, self._suspicion = driver, None
        lost.abandon()

    def _after(self, url: str) -> list[Address]:
        """All addresses; the one that was lost is the last."""
        at = next((at + 1 for at, address in enumerate(self._addresses) if address.url == url), 0)
        return [*self._addresses[at:], *self._addresses[:at]]

    def _restore(self, driver: Driver) -> None:
        """Makes the settings again. Raises `Error` for one that cannot be made any more, which is forgotten."""
        with self._lock:
            for name, statement in self._remembered.settings():
                try:
                    driver.execute(statement)
                except (InvalidError, NotFoundError) as error:
                    self._remembered.forget_setting(name)
                    raise type(error)(f'the session was lost, and "{statement}" fails in a new one: {error}') from error
            self._remembered.session_was_lost()
            if not self._remembered.is_empty:
                driver.execute(_MARKS)

    def _mark(self, driver: Driver) -> None:
        """Marks the session, before there is anything in it that can be lost."""
        self.check(driver)
        with self._lock:
            if self._remembered.is_empty and not _has_mark(driver):
                driver.execute(_MARKS)

    def _refuse_others_tables(self, driver: Driver, text: str) -> None:
        """Raises `NotFoundError` if a temporary table was lost and another table of its name would be taken for it."""
        with self._lock:
            names = self._remembered.lost_in(text)
        for name in names:
            try:
                driver.table_schema(name, None)
            except NotFoundError:
                continue  # The server says so better.
            raise NotFoundError(
                f'the temporary table "{name}" went with a session that was lost, and "{name}" would now be another '
                "table: make the temporary one again, or connect again"
            )


def _answers(driver: Driver, seconds_max: float | None) -> bool:
    try:
        driver.server(seconds_max)
    except Error:
        return False
    return True


def _has_mark(driver: Driver) -> bool:
    """Whether the coordinator still has the session; it is asked for the columns of a query, which does not run."""
    try:
        driver.schema(_ASKS)
    except (NotFoundError, UnavailableError, DeniedError, CancelledError):
        return False
    return True
