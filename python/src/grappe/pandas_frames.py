"""pandas frames as batches, and tables as pandas frames."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from grappe import origins
from grappe.arrow_types import sent_type
from grappe.errors import InvalidError, unsupported

if TYPE_CHECKING:
    from grappe.options import Options

LIBRARY = "pandas"
# dtypes that are spans or have holes, which tables do not know.
_REFUSED = {
    "period": "convert it with .dt.to_timestamp() or .astype(str)",
    "interval": "send its ends as two columns, or .astype(str)",
    "Sparse": "convert it with .sparse.to_dense()",
    "complex": "send its real and imaginary parts as two columns",
}


def batches_of(data: Any, options: Options, *, index: bool | None) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """A frame (or a series) as batches of about `Options.batch_bytes_max`, with what its columns were.

    Raises `UnsupportedTypeError`, which names the column, and `InvalidError` for columns without plain names.
    """
    data = data.to_frame() if isinstance(data, pd.Series) else data
    if isinstance(data.columns, pd.MultiIndex):
        raise InvalidError(
            "the frame has columns in several levels; give them plain names: "
            "frame.columns = ['_'.join(map(str, name)) for name in frame.columns]"
        )
    levels = _index_levels(data, index)
    columns: list[Any] = [*levels, *(data.iloc[:, at] for at in range(data.shape[1]))]
    fields = [
        _field(column, options, level=at if at < len(levels) else None, index=data.index)
        for at, column in enumerate(columns)
    ]
    row_bytes = sum(column.memory_usage(index=False) for column in columns) // max(1, len(data))
    rows = max(1, options.batch_bytes_max // max(1, row_bytes))
    schema = pa.schema(fields)
    return schema, (_batch(columns, schema, start, rows) for start in range(0, len(data), rows))


def frame(
    table: pa.Table, *, index: str | Sequence[str] | None, dtype_backend: str | None, restore_index: bool
) -> pd.DataFrame:
    """Rows as a frame. `restore_index`: its index and the names of its columns are those that were uploaded, too."""
    if dtype_backend is not None:
        made = table.to_pandas(types_mapper=_backend(dtype_backend))
    else:
        made = table.to_pandas()
        for field in table.schema:
            if (was := origins.origin(field, LIBRARY)) is not None:
                made[field.name] = _restored(made[field.name], table[field.name], was)
    if index is not None:
        return made.set_index([index] if isinstance(index, str) else list(index))
    return _with_index(made, table.schema) if restore_index else made


def _index_levels(data: pd.DataFrame, index: bool | None) -> list[pd.Series]:
    """The index as columns: none if it only counts the rows, or the caller says so."""
    counts = isinstance(data.index, pd.RangeIndex) and data.index.equals(pd.RangeIndex(len(data)))
    is_plain = counts and data.index.name is None
    if index is False or (index is None and is_plain):
        return []
    # As reset_index() names them.
    unnamed = ["level_0" if "index" in data.columns else "index"]
    if data.index.nlevels > 1:
        unnamed = [f"level_{at}" for at in range(data.index.nlevels)]
    names = [name if name is not None else unnamed[at] for at, name in enumerate(data.index.names)]
    return [pd.Series(data.index.get_level_values(at), name=name) for at, name in enumerate(names)]


def _field(column: pd.Series, options: Options, *, level: int | None, index: pd.Index) -> pa.Field:
    name = str(column.name)
    kind = _arrow_type(column, name)
    sent = sent_type(name, kind)
    was: dict[str, Any] = {"library": LIBRARY, "dtype": str(column.dtype)}
    if isinstance(column.dtype, pd.CategoricalDtype):
        was["ordered"] = bool(column.cat.ordered)
        was["categories"] = origins.categories_noted(column.cat.categories.tolist(), options.category_bytes_max)
    if level is not None:
        was.update(level=level, name=index.names[level], freq=getattr(index, "freqstr", None))
    elif isinstance(column.name, int) and not isinstance(column.name, bool):
        was["name"] = int(column.name)
    return origins.noted(pa.field(name, kind), sent, was)


def _arrow_type(column: pd.Series, name: str) -> pa.DataType:
    """The type of a column: of objects, what fits all of them."""
    for dtype, what_to_do in _REFUSED.items():
        if str(column.dtype).startswith(dtype):
            raise unsupported(name, f"its dtype {column.dtype} is none that tables have; {what_to_do}")
    is_known = column.dtype != object
    try:
        return pa.array(column.iloc[:0] if is_known else column, from_pandas=True).type
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise unsupported(name, f"its dtype is {column.dtype}, and {error}; give it one type with .astype(...)") from error


def _batch(columns: list[pd.Series], schema: pa.Schema, start: int, rows: int) -> pa.RecordBatch:
    arrays = []
    for column, field in zip(columns, schema):
        try:
            array = pa.array(column.iloc[start : start + rows], type=field.type, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise unsupported(field.name, f"its dtype is {column.dtype}, and {error}") from error
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _restored(column: pd.Series, arrow: pa.ChunkedArray, was: dict[str, Any]) -> pd.Series:
    """A column with the dtype that it had, if its values still fit it."""
    dtype = was["dtype"]
    if dtype == str(column.dtype) and not pa.types.is_nested(arrow.type):
        return column
    with contextlib.suppress(TypeError, ValueError, pa.ArrowException):
        if dtype == "category":
            return _category(column, was)
        if dtype == "object":
            return pd.Series(arrow.to_pylist(), index=column.index, dtype=object)
        if dtype.endswith("[pyarrow]") and dtype != "string[pyarrow]":
            return pd.Series(pd.arrays.ArrowExtensionArray(arrow), index=column.index)
        made = pd.api.types.pandas_dtype(dtype)
        if hasattr(made, "__from_arrow__"):
            return pd.Series(made.__from_arrow__(arrow), index=column.index)
        return column.astype(made)
    return column


def _category(column: pd.Series, was: dict[str, Any]) -> pd.Series:
    categories = was.get("categories")
    if categories is None:
        return column.astype(pd.CategoricalDtype(ordered=was["ordered"]))
    known = pd.Index(categories)
    known = known.astype(column.dtype) if len(known) and known.dtype != column.dtype and not column.isna().any() else known
    if not column.dropna().isin(known).all():
        return column
    return column.astype(pd.CategoricalDtype(known, ordered=was["ordered"]))


def _with_index(made: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
    found = {field.name: was for field in schema if (was := origins.origin(field, LIBRARY)) is not None}
    levels = sorted((was["level"], name) for name, was in found.items() if "level" in was)
    renamed = {name: was["name"] for name, was in found.items() if "name" in was and "level" not in was}
    if levels:
        made = made.set_index([name for _, name in levels])
        made.index.names = [found[name]["name"] for _, name in levels]
        freq = found[levels[0][1]].get("freq")
        if freq is not None and isinstance(made.index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
            with contextlib.suppress(ValueError):
                made.index.freq = freq
    return made.rename(columns=renamed) if renamed else made


def _backend(dtype_backend: str) -> Any:
    if dtype_backend == "pyarrow":
        return pd.ArrowDtype
    if dtype_backend == "numpy_nullable":
        return _NULLABLE.get
    raise InvalidError(f'dtype_backend is "{dtype_backend}"; use "numpy_nullable" or "pyarrow"')


_NULLABLE = {
    pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(), pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(), pa.string(): pd.StringDtype(), pa.large_string(): pd.StringDtype(),
}
