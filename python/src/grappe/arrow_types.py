"""How Arrow columns go to the server: as types that a table has."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from grappe.errors import InvalidError, unsupported

NANOS_PER_MICRO = 1_000


def sent_schema(schema: pa.Schema) -> pa.Schema:
    """The columns as they are sent.

    Raises `UnsupportedTypeError` for a type that tables do not have, `InvalidError` for columns that share a name: the
    table's other readers do not tell capitals from small letters in them.
    """
    if len(schema) == 0:
        raise InvalidError("the frame has no columns; a table has one at least")
    check_names(schema.names)
    return pa.schema([field.with_type(sent_type(field.name, field.type)) for field in schema])


def check_names(names: list[str]) -> None:
    """Raises `InvalidError` for names that are there twice."""
    seen: dict[str, str] = {}
    for name in names:
        before = seen.setdefault(name.lower(), name)
        if before == name and names.count(name) > 1:
            raise InvalidError(f'the column name "{name}" is there twice; give one another name')
        if before != name:
            raise InvalidError(f'the column names "{before}" and "{name}" differ in capitals only; rename one')


def sent_type(column: str, kind: pa.DataType) -> pa.DataType:
    """The type in which a column is sent: values instead of dictionaries, offsets of 32 bits, no views of text.

    Nothing but nulls is text, as tables keep it. Raises `UnsupportedTypeError`.
    """
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name.startswith("pandas."):
            raise unsupported(column, f"tables have no {kind.extension_name.removeprefix('pandas.')}s; convert them")
        return sent_type(column, kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return sent_type(column, kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(sent_type(column, kind.value_type)), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(kind.value_field.with_type(sent_type(column, kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(sent_type(column, field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(sent_type(column, kind.key_type), sent_type(column, kind.item_type))
    if pa.types.is_union(kind) or kind == pa.month_day_nano_interval():
        raise unsupported(column, f"tables have no columns of type {kind}")
    return kind


def sent_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows as they are sent. Raises `UnsupportedTypeError` where a value would lose something."""
    columns = [_sent(array, field) for array, field in zip(batch.columns, schema)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _sent(array: pa.Array, field: pa.Field) -> pa.Array:
    if isinstance(array, pa.ExtensionArray) and not pa.types.is_extension(field.type):
        array = array.storage
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        _check_nanoseconds(array, field.name)
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    if array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise unsupported(field.name, f"{array.type} does not become {field.type} ({error})") from error


def _check_nanoseconds(array: pa.Array, column: str) -> None:
    """Tables keep microseconds: what is finer would be cut off unseen."""
    nanos = array.cast(pa.int64())
    whole = pc.multiply(pc.divide(nanos, NANOS_PER_MICRO), NANOS_PER_MICRO)
    if not pc.all(pc.equal(nanos, whole), min_count=0).as_py():
        raise unsupported(column, "it has times finer than a microsecond, which tables do not keep; round them first")
