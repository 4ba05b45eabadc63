"""A connection of the soak: statements, what they may end with, and when it hangs."""

import re
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager

RETRYABLE, EXHAUSTED, CANCELLED = "Unavailable", "ResourceExhausted", "Canceled"
ERRORS = (adbc_driver_manager.Error, RuntimeError)


class Wrong(Exception):
    """Other rows than the right ones, or another error than the statement deserves."""


def code_of(error):
    """The gRPC code in an error of the driver, such as Unavailable."""
    found = re.search(r"\((\w+); ", str(error))
    return found[1] if found else type(error).__name__


class Session:
    """One connection, opened when it is needed."""

    def __init__(self, flight):
        self.flight, self.connection, self.mode = flight, None, None
        # Whether rows of the statement have come, and since when it runs.
        self.delivered, self.began, self.text = False, None, ""

    def close(self):
        connection, self.connection, self.mode = self.connection, None, None
        if connection is not None:
            try:
                connection.close()
            except ERRORS:
                pass  # Nobody may be there to be told.

    def cursor(self, mode):
        if self.connection is None:
            self.connection = flightsql.connect(self.flight, autocommit=True)
        cursor = self.connection.cursor()
        if mode != self.mode:
            cursor.execute(f"SET grappe.execution_mode = '{mode}'")
            cursor.fetchall()
            self.mode = mode
        return cursor

    def ask(self, sql, mode="auto"):
        return self.read(sql, mode, lambda cursor: cursor.fetchall())

    def read(self, sql, mode, fetch, opened=lambda cursor: None):
        """What `fetch` makes of a statement's cursor."""
        self.delivered, self.began, self.text = False, time.monotonic(), sql
        try:
            with self.cursor(mode) as cursor:
                opened(cursor)
                cursor.execute(sql)
                return fetch(cursor)
        finally:
            self.began = None

    def expect(self, sql, wanted, mode="auto"):
        found = sorted(self.ask(sql, mode))
        if found != sorted(wanted):
            raise Wrong(f"{sql}: {str(found)[:300]}, not {str(sorted(wanted))[:300]}")
