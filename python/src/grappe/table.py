"""A table of the server's, as a dataframe that is not here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grappe.extras import needed
from grappe.result import Result
from grappe.statements import quoted

if TYPE_CHECKING:
    import pandas as pd

    from grappe.client import Client


class Table(Result):
    """All rows of a table, when they are asked for."""

    def __init__(self, client: Client, name: str, schema: str | None = None) -> None:
        super().__init__(client, f"SELECT * FROM {quoted(schema, name)}", None)
        self.name = name
        self.schema_name = schema

    def to_pandas(
        self, *, index: str | Sequence[str] | None = None, dtype_backend: str | None = None
    ) -> pd.DataFrame:
        """All rows as a pandas frame: with the dtypes, and with the index, of the frame that was uploaded.

        `index` names columns that become the index instead. `dtype_backend` is that of pandas. Raises `Error`.
        """
        with needed("pandas"):
            from grappe.pandas_frames import frame

        return frame(self.to_arrow(), index=index, dtype_backend=dtype_backend, restore_index=True)
