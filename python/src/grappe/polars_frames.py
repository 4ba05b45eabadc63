"""polars frames as batches, and tables as polars frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from grappe import origins
from grappe.arrow_types import check_names, sent_type
from grappe.errors import unsupported

if TYPE_CHECKING:
    from grappe.options import Options

LIBRARY = "polars"


def batches_of(
    data: pl.DataFrame | pl.LazyFrame, options: Options
) -> tuple[pa.Schema, Iterator[pa.RecordBatch], int | None]:
    """A frame as batches, with what its columns were; and its rows, if they are known.

    A lazy frame runs in polars's streaming engine, and is never there as a whole. Raises `UnsupportedTypeError`.
    """
    columns = data.collect_schema()
    schema = pa.schema([_field(name, dtype, options) for name, dtype in columns.items()])
    if isinstance(data, pl.LazyFrame):
        return schema, _batches(data.collect_batches(maintain_order=True), schema), None
    rows = max(1, data.height * options.batch_bytes_max // max(1, int(data.estimated_size())))
    return schema, _batches(data.iter_slices(rows), schema), data.height


def frame(table: pa.Table) -> pl.DataFrame:
    """Rows as a frame. Raises `InvalidError` for columns of the same name, which polars does not have."""
    check_names([name for name in table.column_names if table.column_names.count(name) > 1])
    made = pl.DataFrame(pl.from_arrow(table.replace_schema_metadata(None)))
    restored = []
    for field in table.schema:
        was = origins.origin(field, LIBRARY)
        if was is not None and (dtype := _dtype(was)) is not None:
            column = made[field.name]
            if not isinstance(dtype, pl.Enum) or column.drop_nulls().is_in(dtype.categories.to_list()).all():
                restored.append(column.cast(dtype))
    return made.with_columns(restored) if restored else made


def _field(name: str, dtype: pl.DataType, options: Options) -> pa.Field:
    try:
        kind = pl.Series(name, [], dtype=dtype).to_arrow().type
    except (pl.exceptions.PolarsError, pa.ArrowException, NotImplementedError, TypeError, ValueError) as error:
        raise unsupported(name, f"its dtype {dtype} is none that tables have ({error})") from error
    if isinstance(dtype, pl.Object):
        raise unsupported(name, "its dtype is Object; cast it to one that Arrow knows")
    sent = sent_type(name, kind)
    was: dict[str, Any] = {"library": LIBRARY, "dtype": type(dtype).__name__}
    if isinstance(dtype, pl.Enum):
        was["categories"] = origins.categories_noted(dtype.categories.to_list(), options.category_bytes_max)
    if not isinstance(dtype, (pl.Enum, pl.Categorical, pl.Null)):
        return pa.field(name, kind)
    return origins.noted(pa.field(name, kind), sent, was)


def _batches(frames: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in frames:
        for batch in part.to_arrow().to_batches():
            yield batch.cast(schema) if batch.schema.types != schema.types else batch


def _dtype(was: dict[str, Any]) -> Any:
    if was["dtype"] == "Enum" and was.get("categories") is not None:
        return pl.Enum(was["categories"])
    return {"Categorical": pl.Categorical(), "Null": pl.Null()}.get(was["dtype"])
