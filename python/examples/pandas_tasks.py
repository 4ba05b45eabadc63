"""Everyday work with pandas, and the same in SQL on a Grappe server: each task twice, with equal results.

`tests/test_pandas_tasks.py` runs both and compares them; `scripts/render-docs` writes them into `docs/python.md`.
In the texts `sales` and `stores` are frames and tables, `days` is sold units by day, `folder` a directory of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 2_000
SEED = 1858


@dataclass(frozen=True)
class Task:
    """What there is to do, an expression of pandas that does it, and a query that gives the same."""

    title: str
    pandas: str
    sql: str


def frames() -> dict[str, pd.DataFrame]:
    """The data, the same each time."""
    dice = np.random.default_rng(SEED)
    sales = pd.DataFrame({
        "id": np.arange(ROWS),
        "day": pd.Timestamp("2025-01-01") + pd.to_timedelta(np.sort(dice.integers(0, 120, ROWS)), unit="D"),
        "store": dice.choice(["Aix", "Brest", "Caen", "Dijon"], ROWS),
        "product": dice.choice(["apple", "grape", "pear"], ROWS),
        "units": dice.integers(1, 20, ROWS),
        "price": dice.integers(4, 80, ROWS) / 4,
        "rating": np.where(dice.random(ROWS) < 0.3, np.nan, dice.integers(1, 6, ROWS)),
        "note": np.where(dice.random(ROWS) < 0.5, None, dice.choice(["Gift for Ada", "late delivery", "gift: Bob"], ROWS)),
    })
    stores = pd.DataFrame({
        "store": ["Aix", "Brest", "Caen", "Dijon", "Évian"],
        "region": ["South", "West", "North", "East", "East"],
        "opened": pd.to_datetime(["2019-03-01", "2020-07-15", "2018-01-31", "2021-12-24", "2024-02-29"]),
    })
    days = sales.groupby("day", as_index=False)["units"].sum()
    return {"sales": sales, "stores": stores, "days": days}


def write_files(folder: Path) -> None:
    """The same data as files."""
    data = frames()
    data["sales"].to_parquet(folder / "sales.parquet", index=False)
    data["stores"].to_csv(folder / "stores.csv", index=False)


def by_pandas(task: Task, folder: Path) -> Any:
    """The task done here."""
    return eval(task.pandas, {"pd": pd, "np": np, "folder": folder, **frames()})


def by_grappe(task: Task, client: Any, folder: Path) -> Any:
    """The task done by the server."""
    return client.sql(task.sql.replace("{folder}", str(folder))).to_pandas()


TASKS = [
    Task(
        "Read a Parquet file",
        'pd.read_parquet(f"{folder}/sales.parquet")',
        "SELECT * FROM '{folder}/sales.parquet' ORDER BY id",
    ),
    Task(
        "Read columns of a CSV file",
        'pd.read_csv(f"{folder}/stores.csv", usecols=["store", "region"])',
        "SELECT store, region FROM '{folder}/stores.csv' ORDER BY store",
    ),
    Task("The first rows", "sales.head(5)", "SELECT * FROM sales ORDER BY id LIMIT 5"),
    Task("Some columns", 'sales[["id", "price"]]', "SELECT id, price FROM sales ORDER BY id"),
    Task(
        "Filter rows",
        'sales[(sales.price > 15) & (sales.store == "Aix")].reset_index(drop=True)',
        "SELECT * FROM sales WHERE price > 15 AND store = 'Aix' ORDER BY id",
    ),
    Task(
        "Filter by a list and a range",
        'sales[sales.store.isin(["Aix", "Caen"]) & sales.units.between(5, 7)].reset_index(drop=True)',
        "SELECT * FROM sales WHERE store IN ('Aix', 'Caen') AND units BETWEEN 5 AND 7 ORDER BY id",
    ),
    Task(
        "A computed column",
        "sales.assign(total=sales.units * sales.price)",
        "SELECT *, units * price AS total FROM sales ORDER BY id",
    ),
    Task(
        "Apply an expression with cases",
        'sales[["id"]].assign(size=sales.units.apply(lambda n: "large" if n >= 15 else "medium" if n >= 5 else "small"))',
        "SELECT id, CASE WHEN units >= 15 THEN 'large' WHEN units >= 5 THEN 'medium' ELSE 'small' END AS size\n"
        "FROM sales ORDER BY id",
    ),
    Task(
        "Sort",
        'sales.sort_values(["store", "price", "id"], ascending=[True, False, True], ignore_index=True)',
        "SELECT * FROM sales ORDER BY store, price DESC, id",
    ),
    Task(
        "The dearest three",
        'sales.sort_values(["price", "id"], ascending=[False, True]).head(3).reset_index(drop=True)',
        "SELECT * FROM sales ORDER BY price DESC, id LIMIT 3",
    ),
    Task(
        "Drop duplicates, keep the first",
        'sales.drop_duplicates(["store", "product"]).sort_values(["store", "product"], ignore_index=True)',
        "SELECT DISTINCT ON (store, product) * FROM sales ORDER BY store, product, id",
    ),
    Task(
        "Different values",
        'pd.DataFrame({"store": sorted(sales.store.unique())})',
        "SELECT DISTINCT store FROM sales ORDER BY store",
    ),
    Task(
        "Count missing values",
        'sales[["rating", "note"]].isna().sum().to_frame().T',
        "SELECT count(*) - count(rating) AS rating, count(*) - count(note) AS note FROM sales",
    ),
    Task(
        "Fill missing values",
        'sales[["id"]].assign(note=sales.note.fillna("none"), rating=sales.rating.fillna(0))',
        "SELECT id, coalesce(note, 'none') AS note, coalesce(rating, 0) AS rating FROM sales ORDER BY id",
    ),
    Task(
        "Fill with the value before",
        'sales[["id"]].assign(rating=sales.rating.ffill())',
        "SELECT id, last_value(rating) IGNORE NULLS OVER (ORDER BY id) AS rating FROM sales ORDER BY id",
    ),
    Task(
        "Drop rows with missing values",
        'sales.dropna(subset=["rating", "note"]).reset_index(drop=True)',
        "SELECT * FROM sales WHERE rating IS NOT NULL AND note IS NOT NULL ORDER BY id",
    ),
    Task(
        "Group and sum",
        'sales.groupby("store", as_index=False)["units"].sum()',
        "SELECT store, sum(units) AS units FROM sales GROUP BY store ORDER BY store",
    ),
    Task(
        "Several aggregates",
        'sales.groupby(["store", "product"], as_index=False).agg(\n'
        '    n=("id", "count"), mean=("price", "mean"), median=("price", "median"), last=("day", "max"))',
        "SELECT store, product, count(id) AS n, avg(price) AS mean, median(price) AS median, max(day) AS last\n"
        "FROM sales GROUP BY store, product ORDER BY store, product",
    ),
    Task(
        "Groups with a condition",
        'sales.groupby("day").filter(lambda g: len(g) > 24).groupby("day", as_index=False)["units"].sum()',
        "SELECT day, sum(units) AS units FROM sales GROUP BY day HAVING count(*) > 24 ORDER BY day",
    ),
    Task(
        "Share of the group",
        'sales[["id"]].assign(share=sales.units / sales.groupby("store").units.transform("sum"))',
        "SELECT id, units / CAST(sum(units) OVER (PARTITION BY store) AS DOUBLE) AS share FROM sales ORDER BY id",
    ),
    Task(
        "Count values",
        'sales["product"].value_counts().reset_index().sort_values(["count", "product"], ascending=[False, True], ignore_index=True)',
        "SELECT product, count(*) AS count FROM sales GROUP BY product ORDER BY count DESC, product",
    ),
    Task(
        "Merge",
        'sales.merge(stores, on="store")',
        "SELECT sales.*, region, opened FROM sales JOIN stores USING (store) ORDER BY id",
    ),
    Task(
        "Merge and keep all of the left",
        'stores.merge(sales.groupby("store", as_index=False)["units"].sum(), on="store", how="left")[["store", "units"]]',
        "SELECT stores.store, CAST(sum(units) AS DOUBLE) AS units\n"
        "FROM stores LEFT JOIN sales USING (store) GROUP BY stores.store ORDER BY 1",
    ),
    Task(
        "Rows without a partner",
        "stores[~stores.store.isin(sales.store)].reset_index(drop=True)",
        "SELECT * FROM stores WHERE store NOT IN (SELECT store FROM sales) ORDER BY store",
    ),
    Task(
        "Put frames below each other",
        'pd.concat([sales[["store"]].head(2), stores[["store"]]], ignore_index=True).sort_values("store", ignore_index=True)',
        "(SELECT store FROM sales ORDER BY id LIMIT 2) UNION ALL SELECT store FROM stores ORDER BY store",
    ),
    Task(
        "Pivot",
        'sales.pivot_table(index="store", columns="product", values="units", aggfunc="sum").reset_index().rename_axis(columns=None)',
        "SELECT store, sum(units) FILTER (WHERE product = 'apple') AS apple,\n"
        "       sum(units) FILTER (WHERE product = 'grape') AS grape, sum(units) FILTER (WHERE product = 'pear') AS pear\n"
        "FROM sales GROUP BY store ORDER BY store",
    ),
    Task(
        "Melt",
        'sales.head(3).melt(id_vars="id", value_vars=["units", "price"]).sort_values(["id", "variable"], ignore_index=True)',
        "SELECT id, 'units' AS variable, CAST(units AS DOUBLE) AS value FROM sales WHERE id < 3\n"
        "UNION ALL SELECT id, 'price', price FROM sales WHERE id < 3 ORDER BY id, variable",
    ),
    Task(
        "Resample to months",
        'sales.resample("MS", on="day")["units"].sum().reset_index()',
        "SELECT date_trunc('month', day) AS day, sum(units) AS units FROM sales GROUP BY 1 ORDER BY 1",
    ),
    Task(
        "Mean of seven days, rolling",
        "days.assign(mean=days.units.rolling(7).mean())",
        "SELECT *, CASE WHEN count(*) OVER w = 7 THEN avg(units) OVER w END AS mean\n"
        "FROM days WINDOW w AS (ORDER BY day ROWS 6 PRECEDING) ORDER BY day",
    ),
    Task(
        "Difference from the day before",
        "days.assign(change=days.units.diff())",
        "SELECT *, CAST(units - lag(units) OVER (ORDER BY day) AS DOUBLE) AS change FROM days ORDER BY day",
    ),
    Task(
        "Running total",
        "days.assign(total=days.units.cumsum())",
        "SELECT *, sum(units) OVER (ORDER BY day) AS total FROM days ORDER BY day",
    ),
    Task(
        "Rank in the group",
        'sales[["id", "store"]].assign(rank=sales.groupby("store").price.rank("dense", ascending=False).astype("uint64"))',
        "SELECT id, store, dense_rank() OVER (PARTITION BY store ORDER BY price DESC) AS rank FROM sales ORDER BY id",
    ),
    Task(
        "Work with text",
        'sales.dropna(subset="note").assign(\n'
        '    is_gift=lambda s: s.note.str.contains("gift", case=False), who=lambda s: s.note.str.extract(r"(\\S+)$", expand=False),\n'
        '    loud=lambda s: s.note.str.upper().str.replace(":", ""), n=lambda s: s.note.str.len(),\n'
        ')[["id", "is_gift", "who", "loud", "n"]].reset_index(drop=True)',
        "SELECT id, note ILIKE '%gift%' AS is_gift, split_part(note, ' ', -1) AS who,\n"
        "       replace(upper(note), ':', '') AS loud, CAST(length(note) AS BIGINT) AS n\n"
        "FROM sales WHERE note IS NOT NULL ORDER BY id",
    ),
    Task(
        "Work with dates",
        "stores.assign(\n"
        '    year=stores.opened.dt.year, weekday=stores.opened.dt.day_name(), month_end=stores.opened + pd.offsets.MonthEnd(0),\n'
        '    age=(pd.Timestamp("2025-01-01") - stores.opened).dt.days,\n'
        ').drop(columns="region")',
        "SELECT store, opened, CAST(date_part('year', opened) AS INTEGER) AS year, to_char(opened, '%A') AS weekday,\n"
        "       date_trunc('month', opened) + INTERVAL '1 month' - INTERVAL '1 day' AS month_end,\n"
        "       CAST(date_part('epoch', TIMESTAMP '2025-01-01' - opened) / 86400 AS BIGINT) AS age\n"
        "FROM stores ORDER BY store",
    ),
    Task(
        "Quantiles and correlation",
        'pd.DataFrame({"median": [sales.price.median()], "spread": [sales.price.std()], "corr": [sales.price.corr(sales.units)]})',
        "SELECT median(price) AS median, stddev(price) AS spread, corr(price, units) AS corr FROM sales",
    ),
]
