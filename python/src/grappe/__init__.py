"""Dataframes as distributed tables.

    import grappe

    with grappe.connect() as client:                  # a server of its own; or connect("grpc://HOST:PORT")
        client.upload(frame, "sales")                 # pandas, polars, Arrow, Parquet
        client.sql("SELECT day, sum(price) FROM sales GROUP BY day").to_pandas()

The way of a call: `client` -> `result` or `upload` -> `session` (which finds a coordinator that is lost) -> `driver` (the
only module that knows ADBC) -> the server.
Nothing heavy is imported before it is used, so that `import grappe` costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from grappe._version import __version__
from grappe.errors import (
    AlreadyExistsError,
    BinaryNotFoundError,
    CancelledError,
    DeniedError,
    Error,
    ExhaustedError,
    InternalError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedTypeError,
    VersionMismatchError,
)
from grappe.options import Options

if TYPE_CHECKING:
    from grappe.client import Client
    from grappe.connecting import connect
    from grappe.magic import load_ipython_extension
    from grappe.result import Result
    from grappe.table import Table

__all__ = [
    "AlreadyExistsError",
    "BinaryNotFoundError",
    "CancelledError",
    "Client",
    "DeniedError",
    "Error",
    "ExhaustedError",
    "InternalError",
    "InvalidError",
    "NotFoundError",
    "Options",
    "Result",
    "Table",
    "UnavailableError",
    "UnsupportedTypeError",
    "VersionMismatchError",
    "__version__",
    "connect",
    "load_ipython_extension",
]

_LAZY = {
    "Client": "grappe.client",
    "Result": "grappe.result",
    "Table": "grappe.table",
    "connect": "grappe.connecting",
    "load_ipython_extension": "grappe.magic",
}


def __getattr__(name: str) -> Any:
    """Imports what needs pyarrow when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
