"""SQLAlchemy URLs: `grappe://HOST:PORT`, on top of `sqlalchemy-adbc`.

Its own `adbc+flightsql://HOST:PORT?tls=false` works as well; this one knows users with passwords, that there are no
transactions, and where a server lists its tables.
"""

from __future__ import annotations

from typing import Any

from adbc_driver_flightsql import DatabaseOptions
from sqlalchemy import text
from sqlalchemy.engine.url import URL
from sqlalchemy_adbc.flightsql import ADBCFlightSQLDialect

from grappe.address import PORT

DEFAULT_SCHEMA = "public"


class GrappeDialect(ADBCFlightSQLDialect):
    """`grappe://[USER:PASSWORD@]HOST[:PORT][?tls=true&tls_ca=FILE&token=TOKEN]`."""

    name = "grappe"
    supports_statement_cache = True
    supports_native_boolean = True
    insert_returning = False
    default_schema_name = DEFAULT_SCHEMA

    def build_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """The address and what the driver is told. Raises `NotFoundError` if there is no file `tls_ca`."""
        from grappe.address import target

        known = {key: str(url.query[key]) for key in ("tls", "tls_ca", "token") if key in url.query}
        scheme = "grpc+tls" if known.get("tls", "false").lower() in {"1", "true", "yes", "on"} else "grpc"
        [there] = target(
            f"{scheme}://{url.host or 'localhost'}:{url.port or PORT}", url.username, url.password, known.get("token"),
            known.get("tls_ca"), False,
        ).addresses
        others = {key: str(value) for key, value in url.query.items() if key not in known}
        settings = {**there.driver_options(), DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true", **others}
        return [there.url], {"db_kwargs": settings, "autocommit": True}

    def do_begin(self, dbapi_connection: Any) -> None:
        """Nothing: each statement stands for itself."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """Nothing: what was written stays."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing: what was written stays."""

    def get_schema_names(self, connection: Any, **_: Any) -> list[str]:
        found = connection.execute(text("SELECT DISTINCT schema_name FROM information_schema.schemata ORDER BY 1"))
        return [name for (name,) in found]

    def get_table_names(self, connection: Any, schema: str | None = None, **_: Any) -> list[str]:
        return self._names(connection, schema, "BASE TABLE")

    def get_view_names(self, connection: Any, schema: str | None = None, **_: Any) -> list[str]:
        return self._names(connection, schema, "VIEW")

    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        return super().get_columns(connection, table_name, schema or DEFAULT_SCHEMA, **kw)

    def _names(self, connection: Any, schema: str | None, kind: str) -> list[str]:
        asked = text(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = :schema AND table_type = :kind ORDER BY 1"
        )
        return [name for (name,) in connection.execute(asked, {"schema": schema or DEFAULT_SCHEMA, "kind": kind})]
