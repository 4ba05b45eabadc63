#!/usr/bin/env python3
"""How fast frames travel, beside pyarrow with the same rows as a Parquet file on the same disk.

    GRAPPE_BINARY=.../grappe python benchmarks/transfer.py [--gigabytes 1] [--tries 3]

Prints a line of JSON. The ratios are of the best try of each side: above 1, Grappe is faster. A server of its own runs
on this machine and shares its cores; one connection, one session.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

import grappe

BYTES_A_ROW = 48
SEED = 3


def frame(gigabytes: float) -> pd.DataFrame:
    """Numbers, times and short texts, as tables of events have them."""
    rows, dice = int(gigabytes * 1e9 / BYTES_A_ROW), np.random.default_rng(SEED)
    return pd.DataFrame({
        "id": np.arange(rows),
        "at": pd.Timestamp("2025-01-01").as_unit("us") + pd.to_timedelta(np.sort(dice.integers(0, 1 << 44, rows)), unit="us"),
        "amount": dice.integers(0, 1_000_000, rows) / 100,
        "value": dice.random(rows),
        "kind": pd.array(np.array(["order", "return", "gift", "transfer"])[dice.integers(0, 4, rows)], dtype="str"),
    })


def best(action: Callable[[], object], tries: int) -> float:
    """Seconds of the fastest of some tries."""
    taken = []
    for _ in range(tries):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--gigabytes", type=float, default=1.0)
    arguments.add_argument("--tries", type=int, default=3)
    asked = arguments.parse_args()
    data = frame(asked.gigabytes)
    with tempfile.TemporaryDirectory() as folder, grappe.connect(data_dir=Path(folder) / "data", progress=False) as client:
        file = Path(folder) / "data.parquet"

        def write() -> None:
            pa.parquet.write_table(pa.Table.from_pandas(data, preserve_index=False), file, compression="zstd")

        seconds = {
            "pyarrow_write": best(write, asked.tries),
            "upload": best(lambda: client.upload(data, "data", "replace"), asked.tries),
            "pyarrow_read": best(lambda: pa.parquet.read_table(file), asked.tries),
            "download": best(lambda: client.table("data").to_arrow(), asked.tries),
        }
        rows = list(client.sql("SELECT count(*) FROM data"))[0][0]
        assert rows == len(data)
    report = {
        "arrow_megabytes": round(pa.Table.from_pandas(data.head(100_000)).nbytes / 100_000 * len(data) / 1e6), "rows": rows,
        **{f"{name}_seconds": round(value, 2) for name, value in seconds.items()},
        "upload_ratio": round(seconds["pyarrow_write"] / seconds["upload"], 2),
        "download_ratio": round(seconds["pyarrow_read"] / seconds["download"], 2),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
