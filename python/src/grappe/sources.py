"""What can be uploaded: each kind of data as a stream of batches of a bounded size."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from grappe.arrow_types import sent_batch, sent_schema
from grappe.errors import CancelledError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from grappe.options import Options

# Of files whose rows are nearly nothing.
BATCH_ROWS_MAX = 1 << 20
PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
KINDS = (
    "a frame of pandas or polars, an Arrow table, record batch, reader or dataset, "
    "or the path of a Parquet file or of a directory of them"
)


class Source:
    """Batches that go to the server, once."""

    def __init__(
        self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], batch_bytes_max: int, rows_total: int | None = None
    ) -> None:
        self._schema = sent_schema(schema)
        self._batches = batches
        self._batch_bytes_max = batch_bytes_max
        self._is_stopped = False
        self.rows_total = rows_total
        self.error: BaseException | None = None
        self.on_rows: Callable[[int], object] = lambda _count: None

    def reader(self) -> pa.RecordBatchReader:
        """The stream; `error` has what ended it early."""
        return pa.RecordBatchReader.from_batches(self._schema, self._guarded())

    def stop(self) -> None:
        """Lets the stream end with an error when its next batch is asked for."""
        self._is_stopped = True

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._sent()
        except Exception as error:
            self.error = error
            raise

    def _sent(self) -> Iterator[pa.RecordBatch]:
        is_empty = True
        for batch in self._batches:
            for piece in pieces(batch, self._batch_bytes_max):
                if self._is_stopped:
                    raise CancelledError("the upload was stopped")
                is_empty = False
                yield sent_batch(piece, self._schema)
                self.on_rows(piece.num_rows)
        if is_empty:
            # ADBC would send nothing at all, and no table would come of it.
            yield pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self._schema], schema=self._schema)


def source(data: Any, options: Options, *, index: bool | None) -> Source:
    """The batches of `data`. Raises `InvalidError` for what is no dataframe, `UnsupportedTypeError`, `NotFoundError`."""
    limit = options.batch_bytes_max
    if isinstance(data, (str, os.PathLike)):
        return _of_files(Path(data), limit)
    if _is_of("pandas", "DataFrame", data) or _is_of("pandas", "Series", data):
        from grappe.pandas_frames import batches_of

        schema, batches = batches_of(data, options, index=index)
        return Source(schema, batches, limit, len(data))
    if index is not None:
        raise InvalidError(f"index is for frames of pandas; this is a {type(data).__name__}")
    if _is_of("polars", "DataFrame", data) or _is_of("polars", "LazyFrame", data):
        from grappe.polars_frames import batches_of as polars_batches

        schema, batches, rows = polars_batches(data, options)
        return Source(schema, batches, limit, rows)
    return _of_arrow(data, limit)


def pieces(batch: pa.RecordBatch, bytes_max: int) -> Iterator[pa.RecordBatch]:
    """A batch in slices of about `bytes_max`."""
    rows = max(1, batch.num_rows * bytes_max // max(1, batch.nbytes))
    for start in range(0, max(1, batch.num_rows), rows):
        yield batch.slice(start, rows)


def _of_arrow(data: Any, limit: int) -> Source:
    if isinstance(data, pa.RecordBatch):
        return Source(data.schema, [data], limit, data.num_rows)
    if isinstance(data, pa.Table):
        return Source(data.schema, data.to_batches(), limit, data.num_rows)
    if isinstance(data, pa.RecordBatchReader):
        return Source(data.schema, data, limit)
    if _is_of("pyarrow", "Dataset", data) or _is_of("pyarrow", "Scanner", data):
        scanner = data.scanner() if hasattr(data, "scanner") else data
        return Source(scanner.projected_schema, scanner.to_batches(), limit)
    if hasattr(data, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(data)
        return Source(reader.schema, reader, limit)
    raise InvalidError(f"a {type(data).__name__} cannot be uploaded; give {KINDS}")


def _of_files(path: Path, limit: int) -> Source:
    from pyarrow import parquet

    if not path.exists():
        raise NotFoundError(f'there is no file or directory "{path}" here')
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in PARQUET_SUFFIXES)
        if not files:
            raise NotFoundError(f'there is no Parquet file in the directory "{path}"')
    try:
        schema = parquet.read_schema(files[0])
        rows = sum(parquet.read_metadata(file).num_rows for file in files)
    except pa.ArrowException as error:
        raise InvalidError(f'"{path}" cannot be read as Parquet: {error}; give {KINDS}') from error
    return Source(schema.remove_metadata(), _batches_of_files(files, schema, limit), limit, rows)


def _batches_of_files(files: list[Path], schema: pa.Schema, limit: int) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    for path in files:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise InvalidError(f'the columns of "{path}" are not those of "{files[0]}"; upload them one by one')
            yield from file.iter_batches(batch_size=_rows_in(file.metadata, limit))


def _rows_in(metadata: Any, limit: int) -> int:
    """How many rows of a file make about `limit` bytes."""
    total: int = sum(metadata.row_group(at).total_byte_size for at in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, min(BATCH_ROWS_MAX, rows * limit // max(1, total)))


def _is_of(library: str, kind: str, data: Any) -> bool:
    """Whether `data` is of a class of a library, which need not be there."""
    return library in sys.modules and any(
        base.__name__ == kind and base.__module__.partition(".")[0] == library for base in type(data).__mro__
    )
