"""Dataframe verbs: a backend of ibis, at `ibis.grappe.connect(...)` or `Client.ibis()`.

ibis makes SQL of an expression, the server runs it. Frames in memory go up as temporary tables when they are used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import ParseResult, urlunparse

import ibis
import ibis.common.exceptions as com
import ibis.expr.operations as ops
import ibis.expr.schema as sch
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot as sg
import sqlglot.expressions as sge
from ibis import util
from ibis.backends import (
    CanCreateCatalog,
    CanCreateDatabase,
    DirectPyArrowExampleLoader,
    HasCurrentCatalog,
    HasCurrentDatabase,
    SupportsTempTables,
)
from ibis.backends.datafusion import as_nullable
from ibis.backends.sql import SQLBackend
from ibis.backends.sql.compilers.base import C
from ibis.expr.operations.udf import InputType
from ibis.formats.pyarrow import PyArrowSchema

from grappe.connecting import connect
from grappe.errors import NotFoundError
from grappe.ibis_compiler import compiler
from grappe.statements import literal, quoted

if TYPE_CHECKING:
    import pandas as pd

    from grappe.client import Client
    from grappe.result import Result


class Backend(
    SupportsTempTables, SQLBackend, CanCreateCatalog, CanCreateDatabase, HasCurrentCatalog, HasCurrentDatabase,
    DirectPyArrowExampleLoader,
):
    """A session with a Grappe server, for ibis. What ibis calls a database is a schema here."""

    name = "grappe"
    compiler = compiler
    supports_arrays = True
    con: Client

    def do_connect(self, url: str | None = None, **arguments: Any) -> None:
        """Connects as `grappe.connect` does, with its arguments."""
        self.con = connect(url, **arguments)

    @util.experimental
    @classmethod
    def from_connection(cls, con: Client, /) -> Backend:
        """A backend in the session of a client, which stays the caller's to close."""
        backend = cls()
        backend.use(con)
        return backend

    def use(self, client: Client) -> None:
        """Works in the session of a client."""
        self.con = client

    def _from_url(self, url: ParseResult, **arguments: Any) -> Backend:
        """`grappe://USER:PASSWORD@HOST:PORT` or `grappe+tls://...`; `grappe://` is a server of one's own."""
        self._convert_kwargs(arguments)
        return self.connect(urlunparse(url._replace(query="")) if url.netloc else None, **arguments)

    @property
    def version(self) -> str:
        """The version of the server."""
        return self.con.driver.server()[1]

    def disconnect(self) -> None:
        """Ends the session."""
        self.con.close()

    # Where things are.

    @property
    def current_catalog(self) -> str:
        [(_, value)] = self.con.sql("SHOW datafusion.catalog.default_catalog")
        return str(value)

    @property
    def current_database(self) -> str:
        [(_, value)] = self.con.sql("SHOW datafusion.catalog.default_schema")
        return str(value)

    def list_catalogs(self, *, like: str | None = None) -> list[str]:
        return self._filter_with_like([name for (name,) in self.con.sql("SHOW CATALOGS")], like)

    def create_catalog(self, name: str, /, *, force: bool = False) -> None:
        self.con.sql(f"CREATE CATALOG {'IF NOT EXISTS ' if force else ''}{quoted(name)}")

    def drop_catalog(self, name: str, /, *, force: bool = False) -> None:
        self.con.sql(f"DROP CATALOG {'IF EXISTS ' if force else ''}{quoted(name)}")

    def list_databases(self, *, like: str | None = None, catalog: str | None = None) -> list[str]:
        schemata = quoted(catalog, "information_schema", "schemata")
        found = self.con.sql(f"SELECT DISTINCT schema_name FROM {schemata} ORDER BY 1")
        return self._filter_with_like([name for (name,) in found], like)

    def create_database(self, name: str, /, *, catalog: str | None = None, force: bool = False) -> None:
        self.con.sql(f"CREATE SCHEMA {'IF NOT EXISTS ' if force else ''}{quoted(catalog, name)}")

    def drop_database(self, name: str, /, *, catalog: str | None = None, force: bool = False) -> None:
        self.con.sql(f"DROP SCHEMA {'IF EXISTS ' if force else ''}{quoted(catalog, name)}")

    def list_tables(self, *, like: str | None = None, database: tuple[str, str] | str | None = None) -> list[str]:
        catalog, schema = self._place(database)
        if catalog is None:
            return self._filter_with_like(self.con.tables(schema=schema), like)
        tables = quoted(catalog, "information_schema", "tables")
        found = self.con.sql(f"SELECT table_name FROM {tables} WHERE table_schema = $1 ORDER BY 1", [schema])
        return self._filter_with_like([str(name) for (name,) in found], like)

    def _place(self, database: tuple[str, str] | str | None) -> tuple[str | None, str | None]:
        """Catalog and schema, as far as they are said."""
        location = self._to_sqlglot_table(database)
        return location.catalog or None, location.db or None

    def get_schema(
        self, table_name: str, *, catalog: str | None = None, database: str | None = None
    ) -> sch.Schema:
        try:
            name = quoted(catalog, database, table_name)
            found = self.con.session.run(lambda driver: driver.schema(f"SELECT * FROM {name}"), name)
        except NotFoundError as error:
            raise com.TableNotFound(table_name) from error
        return PyArrowSchema.to_ibis(found)

    # Running SQL.

    def raw_sql(self, query: str | sge.Expression, **_: Any) -> Result:
        """Runs a statement as it is."""
        text = str(query) if isinstance(query, str) else query.sql(dialect=self.dialect)
        self._log(text)
        return self.con.sql(text)

    @contextlib.contextmanager
    def _safe_raw_sql(self, query: str | sge.Expression, **_: Any) -> Iterator[Result]:
        yield self.raw_sql(query)

    def _get_schema_using_query(self, query: str) -> sch.Schema:
        return PyArrowSchema.to_ibis(self.con.sql(query).schema)

    def _register_udfs(self, expr: ir.Expr) -> None:
        for node in expr.op().find((ops.ScalarUDF, ops.AggUDF)):
            if node.__input_type__ != InputType.BUILTIN:
                raise com.UnsupportedOperationError(
                    f"the function {node.__func_name__} is Python, which the server does not run; "
                    "use expressions, or ibis.udf.scalar.builtin for a function that the server has"
                )

    def to_pyarrow_batches(
        self, expr: ir.Expr, /, *, params: Mapping[ir.Scalar, Any] | None = None, limit: int | str | None = None,
        chunk_size: int = 1_000_000, **_: Any,
    ) -> pa.ipc.RecordBatchReader:
        """The rows as they come from the server, in batches of at most `chunk_size` rows."""
        self._run_pre_execute_hooks(expr)
        table = expr.as_table()
        schema = sch.Schema({name: as_nullable(kind) for name, kind in table.schema().items()})
        wanted = schema.to_pyarrow()
        reader = self.con.sql(self.compile(table, params=params, limit=limit)).to_reader()

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                columns = [_cast(array, field.type) for array, field in zip(batch.columns, wanted)]
                whole = pa.RecordBatch.from_arrays(columns, schema=wanted)
                for start in range(0, max(1, whole.num_rows), chunk_size):
                    yield whole.slice(start, chunk_size)

        return pa.ipc.RecordBatchReader.from_batches(wanted, batches())

    def to_pyarrow(
        self, expr: ir.Expr, /, *, params: Mapping[ir.Scalar, Any] | None = None, limit: int | str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The value of an expression as Arrow."""
        return expr.__pyarrow_result__(self.to_pyarrow_batches(expr, params=params, limit=limit, **kwargs).read_all())

    def execute(
        self, expr: ir.Expr, /, *, params: Mapping[ir.Scalar, Any] | None = None, limit: int | str | None = None,
        **kwargs: Any,
    ) -> pd.DataFrame | pd.Series | Any:
        """The value of an expression as pandas."""
        rows = self.to_pyarrow_batches(expr, params=params, limit=limit, **kwargs).read_all()
        return expr.__pandas_result__(rows.to_pandas(timestamp_as_object=True))

    # Making tables.

    def _register_in_memory_table(self, op: ops.InMemoryTable) -> None:
        self.con.upload(op.data.to_pyarrow(op.schema), op.name, "replace", temporary=True)

    def create_table(
        self, name: str, /, obj: Any = None, *, schema: sch.IntoSchema | None = None,
        database: tuple[str, str] | str | None = None, temp: bool = False, overwrite: bool = False,
    ) -> ir.Table:
        """Makes a table of an expression, of a frame, or without rows.

        A frame goes up in a stream; the table is there when all of its rows are. It goes to the session's catalog.
        """
        if obj is None and schema is None:
            raise ValueError("Either `obj` or `schema` must be specified")
        schema = None if schema is None else ibis.schema(schema)
        catalog, db = self._place(database)
        place = quoted(catalog, db, name)
        if schema is not None and obj is None:
            # ibis knows the names of types by its own dialects only.
            columns = sge.Schema(expressions=schema.to_sqlglot_column_defs("datafusion")).sql(dialect=self.dialect)
            self.con.sql(f"{_create('TABLE', temp, overwrite)} {place} {columns}")
        elif isinstance(obj, ir.Expr):
            self._create_as(place, obj, schema, temp, overwrite)
        elif catalog not in (None, self.current_catalog):
            raise com.UnsupportedOperationError(f'frames go to the catalog of the session: USE CATALOG "{catalog}" first')
        else:
            mode = "replace" if overwrite else "create"
            self.con.upload(_frame(obj, schema), name, mode, schema=db, temporary=temp)
        return self.table(name, database=None if temp else database)

    def _create_as(
        self, place: str, obj: ir.Table, schema: sch.Schema | None, temp: bool, overwrite: bool
    ) -> None:
        self._run_pre_execute_hooks(obj)
        wanted = (schema or obj.schema()).items()
        columns = [
            self.compiler.cast(sg.column(name, table="_", quoted=True), kind).as_(name, quoted=True)
            for name, kind in wanted
        ]
        rows = sg.select(*columns).from_(self.compiler.to_sqlglot(obj).subquery(sg.to_identifier("_", quoted=True)))
        self.con.sql(f"{_create('TABLE', temp, overwrite)} {place} AS {rows.sql(dialect=self.dialect)}")

    def drop_table(self, name: str, /, *, database: tuple[str, str] | str | None = None, force: bool = False) -> None:
        """Removes a table; with `force` also one that is not there."""
        self._drop("TABLE", name, database, force)

    def drop_view(self, name: str, /, *, database: tuple[str, str] | str | None = None, force: bool = False) -> None:
        """Removes a view; with `force` also one that is not there."""
        self._drop("VIEW", name, database, force)

    def _drop(self, kind: str, name: str, database: tuple[str, str] | str | None, force: bool) -> None:
        self.con.sql(f"DROP {kind} {'IF EXISTS ' if force else ''}{quoted(*self._place(database), name)}")

    def rename_table(self, old_name: str, new_name: str) -> None:
        """Gives a table another name."""
        self.con.sql(f"ALTER TABLE {quoted(old_name)} RENAME TO {quoted(new_name)}")

    def truncate_table(self, name: str, /, *, database: str | None = None) -> None:
        """Removes all rows of a table."""
        self.con.sql(f"TRUNCATE TABLE {quoted(*self._place(database), name)}")

    def read_parquet(self, path: str | Path, /, *, table_name: str | None = None, **options: Any) -> ir.Table:
        """Files that the server can read, as a view of this session. There are no options."""
        return self._read("read_parquet", path, table_name, options)

    def read_csv(self, path: str | Path, /, *, table_name: str | None = None, **options: Any) -> ir.Table:
        """Files that the server can read, as a view of this session. There are no options."""
        return self._read("read_csv", path, table_name, options)

    def read_json(self, path: str | Path, /, *, table_name: str | None = None, **options: Any) -> ir.Table:
        """Files that the server can read, as a view of this session. There are no options."""
        return self._read("read_json", path, table_name, options)

    def _read(self, what: str, path: str | Path, table_name: str | None, options: dict[str, Any]) -> ir.Table:
        if options:
            raise com.UnsupportedOperationError(
                f"{what} takes no {', '.join(options)}; use CREATE EXTERNAL TABLE ... OPTIONS (...) in raw_sql"
            )
        name = table_name or util.gen_name(what)
        where = util.normalize_filename(path)
        self.con.sql(f"{_create('VIEW', temp=True, overwrite=True)} {quoted(name)} AS SELECT * FROM {literal(where)}")
        return self.table(name)

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        return self.create_table(name, expr, schema=expr.schema(), temp=True)


def _create(kind: str, temp: bool, overwrite: bool) -> str:
    return f"CREATE {'OR REPLACE ' if overwrite else ''}{'TEMPORARY ' if temp else ''}{kind}"


def _frame(obj: Any, schema: sch.Schema | None) -> Any:
    """Data in memory, with the types that were asked for."""
    if isinstance(obj, (list, dict)) or schema is not None:
        table = ibis.memtable(obj, schema=schema)
        return table.op().data.to_pyarrow(table.schema())
    return obj


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(array))
    return array if array.type == kind else array.cast(kind, safe=False)
