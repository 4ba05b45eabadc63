"""SQL in notebooks: `%load_ext grappe`, then `%%sql`."""

from __future__ import annotations

import shlex
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class

from grappe.client import Client
from grappe.connecting import connect
from grappe.result import Result


@magics_class
class SqlMagics(Magics):
    """The magics `%grappe` and `%%sql`."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._client: Client | None = None

    @line_magic
    def grappe(self, line: str) -> Client:
        """`%grappe` starts a server of its own for `%%sql`, `%grappe grpc://HOST:PORT` takes one that runs."""
        words = shlex.split(line)
        if len(words) > 1:
            raise UsageError("%grappe takes one URL, or nothing; use grappe.connect(...) for more")
        self._client = connect(*words)
        return self._client

    @line_cell_magic
    def sql(self, line: str, cell: str | None = None) -> Result | None:
        """`%sql SELECT ...`, or `%%sql [NAME] [<< EXPRESSION]` with the query in the lines below.

        The result is shown, or kept as the variable NAME. EXPRESSION is Python: a list with the values of $1, $2. The
        query goes to the client of `%grappe`, else to the variable `client`, else to a server of its own.
        """
        if cell is None:
            return self._found_client().sql(line)
        name, _, expression = (part.strip() for part in line.partition("<<"))
        if name and not name.isidentifier():
            raise UsageError(f'"{name}" is no name of a variable; write %%sql [NAME] [<< PARAMETERS]')
        params = self.shell.ev(expression) if expression else None
        result = self._found_client().sql(cell, params)
        if not name:
            return result
        self.shell.user_ns[name] = result
        return None

    def _found_client(self) -> Client:
        theirs = self.shell.user_ns.get("client")
        if self._client is None and isinstance(theirs, Client):
            return theirs
        if self._client is None:
            self._client = connect()
        return self._client


def load_ipython_extension(ipython: Any) -> None:
    """What `%load_ext grappe` calls."""
    ipython.register_magics(SqlMagics(ipython))
