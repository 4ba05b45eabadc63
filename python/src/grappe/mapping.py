"""One SQL function, many inputs: `Client.map`."""

from __future__ import annotations

import datetime
import decimal
import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from grappe import statements
from grappe.errors import CancelledError, Error, InvalidError
from grappe.preview import shortened
from grappe.result import Result
from grappe.sources import Source, source
from grappe.statements import quoted

if TYPE_CHECKING:
    from grappe.client import Client

INPUT, RESULT, PLACE = "input", "result", "grappe_map_place"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def run(client: Client, function: str, inputs: Any, queries_max: int | None) -> Any:
    """See `Client.map`."""
    rows = _rows(inputs, client)
    if RESULT in rows.column_names:
        raise InvalidError(f'the inputs have a column "{RESULT}", which is the name of what comes out; rename it')
    kind = _kind_of_function(client, function)
    if statements.is_relation(function):
        made = _by_query(client, rows, lambda values: (function, values), queries_max)
    elif kind == "TABLE":
        made = _by_query(client, rows, lambda values: (_call(function, map(_literal, values)), None), queries_max)
    else:
        expression = function if kind is None else f"{function}({', '.join(map(quoted, rows.column_names))})"
        made = _by_expression(client, rows, expression)
    return _as(inputs, made)


def _by_expression(client: Client, rows: pa.Table, expression: str) -> pa.Table:
    """One query over a table of the inputs, which lies in as many files as there are cores to share it."""
    name = f"grappe_map_{uuid.uuid4().hex}"
    with client.another() as own:
        cores = _cores(own)
        placed = rows.append_column(PLACE, pa.array(range(rows.num_rows), pa.int64()))
        try:
            for part in _parts(placed, cores):
                own.upload(part, name, "create_append", temporary=not cores)
            if cores:
                own.sql("SET grappe.execution_mode = 'staged'")
            columns = ", ".join(map(quoted, rows.column_names))
            query = f"SELECT {columns}, ({expression}\n) AS {quoted(RESULT)} FROM {quoted(name)} ORDER BY {quoted(PLACE)}"
            return own.sql(query).to_arrow()
        finally:
            own.sql(f"DROP TABLE IF EXISTS {quoted(name)}")


def _by_query(client: Client, rows: pa.Table, statement_for: Any, queries_max: int | None) -> pa.Table:
    """A query for each input, some at a time."""
    at_once = queries_max or max(client.options.map_queries_max, _cores(client))
    results: list[Result] = []
    stopped = threading.Event()

    def one(at: int) -> pa.Table:
        if stopped.is_set():
            raise CancelledError("another input failed, or the call was interrupted")
        row = rows.slice(at, 1)
        try:
            sql, params = statement_for([column[0].as_py() for column in row.columns])
            result = Result(client, sql, params, shows_progress=False)
            results.append(result)
            return _beside(row, result.to_arrow())
        except Error as error:
            values = shortened(", ".join(str(column[0].as_py()) for column in row.columns))
            raise type(error)(f"input {at} ({values}): {error}") from error

    with client.progress("map", rows.num_rows, noun="inputs") as progress, ThreadPoolExecutor(at_once) as pool:
        try:
            futures = [pool.submit(one, at) for at in range(rows.num_rows)]
            for future in futures:
                future.add_done_callback(lambda _: progress.advance(1))
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            # The first input that failed by itself, not one that was stopped for it.
            failed = [future for future in futures if future in done and future.exception() is not None]
            if failed:
                failed[0].result()
            return pa.concat_tables([future.result() for future in futures], promote_options="permissive")
        except BaseException:
            stopped.set()
            for result in results:
                result.cancel()
            raise


def _rows(inputs: Any, client: Client) -> pa.Table:
    """The inputs as a table. Raises `InvalidError` if there is none."""
    if isinstance(inputs, dict):
        rows = pa.table(inputs)
    elif isinstance(inputs, (list, tuple, range, set)) or isinstance(inputs, Iterator):
        try:
            rows = pa.table({INPUT: pa.array(list(inputs))})
        except (pa.ArrowException, TypeError) as error:
            raise InvalidError(f"the inputs are not of one type: {error}") from error
    elif isinstance(inputs, str):
        raise InvalidError("the inputs are a text; give a list of values or a frame")
    else:
        rows = _frame_rows(source(inputs, client.options, index=None if not _is_pandas(inputs) else False))
    if rows.num_rows == 0:
        raise InvalidError("there are no inputs")
    return rows


def _frame_rows(frame: Source) -> pa.Table:
    return frame.reader().read_all().replace_schema_metadata(None)


def _kind_of_function(client: Client, function: str) -> str | None:
    """SCALAR or TABLE if it is the name of a function, else None."""
    if not isinstance(function, str) or not function.strip():
        raise InvalidError("function is SQL: an expression, a query, or the name of a function; Python comes later")
    if not _NAME.fullmatch(function):
        return None
    found = client.sql(
        "SELECT DISTINCT function_type FROM information_schema.routines WHERE routine_name = $1", [function.lower()]
    ).to_arrow()["function_type"].to_pylist()
    if function.lower() in _TABLE_FUNCTIONS or "TABLE" in found:
        return "TABLE"
    if "SCALAR" in found:
        return "SCALAR"
    kinds = f", but one of kind {found[0]}" if found else ""
    raise InvalidError(f'"{function}" is no function of one input{kinds}; SHOW FUNCTIONS lists them')


# Of these names there are scalar functions too, which make lists.
_TABLE_FUNCTIONS = {"range", "generate_series"}


def _cores(client: Client) -> int:
    counted = client.sql("SELECT coalesce(sum(vcores), 0) FROM system.executors").to_arrow()
    return int(counted.column(0)[0].as_py())


def _parts(rows: pa.Table, count: int) -> Iterable[pa.Table]:
    size = -(-rows.num_rows // max(1, count))
    return (rows.slice(start, size) for start in range(0, rows.num_rows, size))


def _beside(row: pa.Table, found: pa.Table) -> pa.Table:
    """An input beside each row of what came of it."""
    twice = set(row.column_names) & set(found.column_names)
    if twice:
        raise InvalidError(f'the inputs and the query both have a column "{min(twice)}"; rename one')
    inputs = row.take(pa.array([0] * found.num_rows, pa.int64()))
    return pa.table([*inputs.columns, *found.columns], names=[*row.column_names, *found.column_names])


def _call(function: str, arguments: Iterable[str]) -> str:
    return f"SELECT * FROM {function}({', '.join(arguments)})"


def _literal(value: Any) -> str:
    """A value in SQL: table functions take no parameters."""
    if value is None:
        return "NULL"
    if isinstance(value, (bool, int, float, decimal.Decimal)):
        return str(value)
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if isinstance(value, datetime.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return statements.literal(value)
    raise InvalidError(f"a {type(value).__name__} cannot be an argument of a table function; use a query with $1")


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas"


def _as(inputs: Any, made: pa.Table) -> Any:
    """The results in the library that the inputs are of."""
    library = type(inputs).__module__.partition(".")[0]
    if library == "pyarrow":
        return made
    if library == "polars":
        from grappe.polars_frames import frame as polars_frame

        return polars_frame(made)
    try:
        from grappe.pandas_frames import frame
    except ModuleNotFoundError:
        return made
    return frame(made, index=None, dtype_backend=None, restore_index=False)
