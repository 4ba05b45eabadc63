"""A query, and its rows when they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from grappe import preview, statements
from grappe.errors import Error, InvalidError, UnavailableError
from grappe.extras import needed
from grappe.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from grappe.client import Client
    from grappe.driver import Described, Driver, Submitted

T = TypeVar("T")


class Result:
    """What a statement gives.

    A query that only reads runs when its rows are asked for, and again each time: nothing is kept here. Any other
    statement has run when this object is there. Letting go of a result that is being read stops its query.
    """

    def __init__(
        self, client: Client, sql: str, params: Sequence[Any] | None, *, shows_progress: bool = True
    ) -> None:
        self._client = client
        self._sql = str(sql)
        self._params = _checked(params)
        self._is_read = statements.only_reads(sql)
        # What is set twice is set.
        self._may_repeat = self._is_read or statements.setting(sql) is not None
        self._shows_progress = shows_progress
        self._cancelled = threading.Event()
        self._kept: pa.Table | None = None
        self._last_id: str | None = None
        if not self._is_read:
            self._kept = self._run(self._collected)
            client.session.note(self._sql)

    @property
    def sql(self) -> str:
        """The text of the statement."""
        return self._sql

    @property
    def query_id(self) -> str | None:
        """The id under which `system.queries` has its last run; None before the first."""
        return self._last_id

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; the query does not run for them."""
        if self._kept is not None:
            return self._kept.schema
        return self._client.session.run(lambda driver: driver.schema(self._sql, self._params), self._sql)

    @property
    def rows_affected(self) -> int | None:
        """How many rows a statement wrote; None for others."""
        is_count = self._kept is not None and self._kept.column_names == ["count"] and self._kept.num_rows == 1
        return int(self._kept["count"][0].as_py()) if is_count and self._kept is not None else None

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table. Raises `Error`."""
        return self._kept if self._kept is not None else self._run(self._collected)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow batches, as they come: for results larger than memory. Raises `Error`.

        Leaving the loop, or forgetting the iterator, stops the query.
        """
        if self._kept is not None:
            yield from self._kept.to_batches()
            return
        yield from self._run(self._begun)[1]

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows as a stream that other Arrow libraries read. Raises `Error`."""
        if self._kept is not None:
            return self._kept.to_reader()
        return pa.RecordBatchReader.from_batches(*self._run(self._begun))

    def to_pandas(
        self, *, index: str | Sequence[str] | None = None, dtype_backend: str | None = None
    ) -> pd.DataFrame:
        """All rows as a pandas frame, with the dtypes of the frame that a column was uploaded from.

        `index` names columns that become the index. `dtype_backend` is that of pandas: "numpy_nullable" or "pyarrow",
        for all columns. Raises `Error`.
        """
        with needed("pandas"):
            from grappe.pandas_frames import frame

        return frame(self.to_arrow(), index=index, dtype_backend=dtype_backend, restore_index=False)

    def to_polars(self) -> pl.DataFrame:
        """All rows as a polars frame, with the dtypes of the frame that a column was uploaded from. Raises `Error`."""
        with needed("polars"):
            from grappe.polars_frames import frame

        return frame(self.to_arrow())

    def count(self) -> int:
        """How many rows there are; the server counts them. Raises `InvalidError` for what is not a query."""
        counted = self._client.sql(f"SELECT count(*) FROM {statements.subquery(self._sql)}", self._params)
        return int(counted.to_arrow().column(0)[0].as_py())

    def explain(self, *, analyze: bool = False) -> str:
        """How the server goes about it; with `analyze` it runs the query, and tells times and row counts."""
        words = "EXPLAIN ANALYZE" if analyze else "EXPLAIN"
        rows = self._client.sql(f"{words} {self._sql}", self._params).to_arrow().to_pylist()
        return "\n".join(f"{row['plan_type']}\n{row['plan'].rstrip()}\n" for row in rows)

    def cancel(self) -> None:
        """Stops it on the server, from another thread than the one that reads it; nothing happens if it has ended."""
        self._cancelled.set()
        if self._last_id is not None:
            self._client.cancel(self._last_id)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for any library that takes Arrow streams."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of Python values."""
        for batch in self.to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {preview.shortened(self._sql)!r}>"

    def _repr_html_(self) -> str:
        return preview.html(preview.of(self, self._client.options.preview_rows_max), self._client.dashboard_url)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """What IPython shows, in a notebook and in a terminal, from one run of the query."""
        shown = preview.of(self, self._client.options.preview_rows_max)
        return {"text/html": preview.html(shown, self._client.dashboard_url), "text/plain": preview.text(shown)}

    def _run(self, call: Callable[[Driver], T]) -> T:
        """Runs it: again, after it was lost, if it only reads and has given nothing away."""
        self._cancelled.clear()
        return self._client.session.run(call, self._sql, may_repeat=self._may_repeat, stopped=self._cancelled)

    def _submitted(self, driver: Driver, progress: Progress | None) -> Submitted:
        self._last_id = None

        def tick(described: Described) -> None:
            self._started_as(described)
            if progress is not None:
                progress.tick(described)

        check = None if self._may_repeat else self._client.session.check_before(driver)
        submitted = driver.submit(self._sql, self._params, tick, check)
        self._started_as(submitted.described)
        return submitted

    def _started_as(self, described: Described) -> None:
        """Notes the id; who cancelled before it was known is served now."""
        if self._last_id is None and described.query_id:
            self._last_id = described.query_id
            if self._cancelled.is_set():
                self._client.cancel(self._last_id)

    def _begun(self, driver: Driver) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The columns, and the rows, the first of which are there: until then it can be begun again."""
        submitted = self._submitted(driver, None)
        schema, rows = submitted.schema(), submitted.batches()
        return schema, self._streamed(driver, submitted, next(rows, None), rows)

    def _streamed(
        self, driver: Driver, submitted: Submitted, first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        try:
            if first is not None:
                yield first
                yield from rest
        except Error as error:
            lost = self._client.session.lost(driver, error)
            if lost is None:
                raise
            raise UnavailableError(f"{lost}; rows were given away before, so the query was not run again") from error
        finally:
            submitted.close()

    def _collected(self, driver: Driver) -> pa.Table:
        with self._client.progress(preview.shortened(self._sql), shows=self._shows_progress) as progress:
            submitted = self._submitted(driver, progress)
            schema = submitted.schema()
            latest = [submitted.described]

            def tick(described: Described) -> None:
                if progress.is_due:
                    latest[0] = driver.observe(described.query_id)
                progress.tick(latest[0])

            return pa.Table.from_batches(submitted.collect(progress.count, tick), schema)


def _checked(params: Sequence[Any] | None) -> Sequence[Any] | None:
    """Parameters go by place: $1, $2, or ? in order."""
    if params is None:
        return None
    if isinstance(params, (str, bytes, dict)) or not isinstance(params, Sequence):
        raise InvalidError(f"params is a {type(params).__name__}; give a list: its values are $1, $2 and so on")
    return list(params) or None
