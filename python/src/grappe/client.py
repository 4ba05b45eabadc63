"""A session with a server, and what a user does in it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grappe._version import __version__
from grappe.errors import Error
from grappe.extras import needed
from grappe.progress import Progress, is_wanted
from grappe.result import Result
from grappe.statements import TEMPORARY_SCHEMA, quoted
from grappe.table import Table
from grappe.upload import upload

if TYPE_CHECKING:
    from grappe.driver import Driver
    from grappe.embedded import EmbeddedServer
    from grappe.options import Options
    from grappe.session import Session

DEFAULT_SCHEMA = "public"


class Client:
    """Made by `grappe.connect`. It can be used by several threads, and as a context manager."""

    def __init__(
        self, session: Session, server: EmbeddedServer | None, dashboard_url: str | None, progress: bool | None,
        options: Options,
    ) -> None:
        self._session: Session | None = session
        self._url = session.driver.url
        self._server = server
        self._progress = progress
        self.options = options
        self.dashboard_url = dashboard_url
        # Also when a program ends without a word.
        self._ending = weakref.finalize(self, _end, session, server, os.getpid())

    @property
    def url(self) -> str:
        """Where the server is: of several, the one that answered last."""
        return self._url if self._session is None else self._session.driver.url

    @property
    def session(self) -> Session:
        """What outlives a connection. Raises `Error` after `close`."""
        if self._session is None:
            raise Error("this client is closed; connect again")
        return self._session

    @property
    def driver(self) -> Driver:
        """The present connection below. Raises `Error` after `close`."""
        return self.session.driver

    @property
    def adbc(self) -> Any:
        """The same session as a DB-API connection of ADBC, for pandas, polars and whatever takes one."""
        return self.driver.dbapi

    def sql(self, query: str, params: Sequence[Any] | None = None) -> Result:
        """A query, which runs when its rows are asked for; any other statement runs at once.

        `params` are the values of `$1`, `$2` or of `?` in order. Raises `Error`.
        """
        self.session  # noqa: B018: a closed client says so here, not when rows are asked for.
        return Result(self, query, params)

    def table(self, name: str, *, schema: str | None = None) -> Table:
        """A table or view, by its name letter by letter. Raises `NotFoundError` if there is none."""
        self.session.run(lambda driver: driver.table_schema(name, schema), quoted(schema, name))
        return Table(self, name, schema)

    def tables(self, *, schema: str | None = None) -> list[str]:
        """The names of the tables and views in a schema; without one, of the session's own and of those in `public`."""
        schemas = [DEFAULT_SCHEMA, TEMPORARY_SCHEMA] if schema is None else [schema, schema]
        found = self.sql(
            "SELECT DISTINCT table_name FROM information_schema.tables WHERE table_schema IN ($1, $2) ORDER BY 1", schemas
        )
        return [str(name) for (name,) in found]

    def upload(
        self, data: Any, name: str, mode: str = "create", *, schema: str | None = None, temporary: bool = False,
        index: bool | None = None,
    ) -> Table:
        """Sends a dataframe to the server as a table: all of its rows, or none.

        `data` is a frame of pandas or polars (lazy too), an Arrow table, batch, reader or dataset, or the path of a
        Parquet file or of a directory of them; what does not fit in memory is never there at once. `mode` is "create",
        "append", "replace" or "create_append". A `temporary` table ends with the session. `index` sends the index of a
        pandas frame as columns, or not; by default it is sent unless it is 0, 1, 2 and so on without a name.

        Raises `AlreadyExistsError`, `NotFoundError`, `UnsupportedTypeError` which names the column, and `InvalidError`.
        """
        return upload(self, data, name, mode, schema=schema, temporary=temporary, index=index)

    def map(self, function: str, inputs: Any, *, queries_max: int | None = None) -> Any:
        """Applies a SQL function to each of many inputs, on all executors, and gives the results as a frame.

        `inputs` is a list of values, or a frame, whose columns are an input together. `function` is

        - an expression over the columns of the inputs, or over `input` for a list: "sqrt(input) + 1",
        - the name of a function, which gets the columns as its arguments: "upper",
        - the name of a table function, or a query with `$1`, `$2` for the columns: "SELECT count(*) FROM t WHERE day = $1".

        The first two are one query over all inputs, split into as many parts as the executors have cores. The last is a
        query for each input, `queries_max` at a time, and its rows are put below each other. The frame has the columns of
        the input, and `result` or the columns of the query; it is of the library of the inputs, and of pandas (or Arrow,
        where that is not installed) for a list. What can be tried again is. Functions in Python come later.

        Raises the `Error` of the first input that fails, and names the input.
        """
        from grappe.mapping import run

        return run(self, function, inputs, queries_max)

    def ibis(self) -> Any:
        """This session as a backend of ibis: dataframe verbs. Raises `ImportError` without ibis."""
        with needed("ibis"):
            from grappe.ibis_backend import Backend

        backend = Backend()
        backend.use(self)
        return backend

    def another(self) -> Client:
        """A client of the same server for the same user, with settings and temporary tables of its own."""
        return Client(self.session.another(), None, self.dashboard_url, self._progress, self.options)

    def cancel(self, query_id: str) -> None:
        """Stops a query of yours by its id in `system.queries`; nothing happens if it has ended."""
        self.driver.cancel(query_id)

    def progress(
        self, title: str, total: int | None = None, *, noun: str = "rows", shows: bool = True
    ) -> Progress:
        """A bar for a call of this client's, over `total` of what `noun` says."""
        return Progress(title, self.options, enabled=shows and is_wanted(self._progress), total=total, noun=noun)

    def close(self) -> None:
        """Ends the session, and the embedded server; nothing happens if it is closed."""
        self._url, self._session = self.url, None
        self._ending()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = f"embedded server, process {self._server.pid}" if self._server else "server"
        state = "closed" if self._session is None else f"{kind} at {self.url}"
        return f"<grappe.Client {__version__}: {state}>"

    def _repr_html_(self) -> str:
        from html import escape

        link = f' <a href="{escape(self.dashboard_url)}">dashboard</a>' if self.dashboard_url else ""
        return f"<div>{escape(repr(self))}{link}</div>"


def _end(session: Session, server: EmbeddedServer | None, owner_pid: int) -> None:
    if os.getpid() != owner_pid:
        return  # In a forked process the session is the parent's.
    try:
        session.close()
    except (Error, RuntimeError, OSError):
        pass  # Results that are still being read keep it open; it ends with them, or with the process.
    if server is not None:
        server.stop()
