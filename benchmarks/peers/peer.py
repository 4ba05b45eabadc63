"""An engine beside Grappe in a benchmark: answers one query after the other, and says how long each took.

The harness starts one process an engine (benchmarks/src/suites/python.rs) and speaks lines of JSON with it:

    {"engine": "duckdb", "threads": 2, "tables": {"nation": ["/data/nation/part-0001.parquet"], ...}}
        -> {"version": "2.0.0"}
    {"query": 5, "sql": "select ..."}
        -> {"seconds": 0.123, "columns": [{"name": "n_name", "kind": "text", "places": null}], "rows": [["CHINA"]]}
        -> {"unsupported": "why the engine cannot plan this SQL"}
        -> {"error": "why it failed"}

Cells are text, and null for NULL. The seconds are those from the text of the query to its last row in Arrow memory;
start-up and the writing of the reply are not among them.
"""

import json
import os
import signal
import sys
import time


class Unsupported(Exception):
    """The engine cannot plan this SQL."""


class DuckDB:
    """DuckDB with views over the files."""

    def __init__(self, threads, tables):
        import duckdb

        self.version = duckdb.__version__
        self.db = duckdb.connect()
        self.db.execute(f"SET threads = {threads}")
        # It would be drawn into the table that the harness prints.
        self.db.execute("SET enable_progress_bar = false")
        for name, files in tables.items():
            paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
            self.db.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{paths}])")

    def run(self, sql):
        # Not `execute`, which copies the rows once more on their way to Arrow.
        return self.db.sql(sql).to_arrow_table()


class Polars:
    """Polars' SQL context, with lazy frames over the files."""

    def __init__(self, threads, tables):
        # Read when the module is loaded.
        os.environ["POLARS_MAX_THREADS"] = str(threads)
        import polars

        self.version = polars.__version__
        frames = {name: polars.scan_parquet(files, glob=False) for name, files in tables.items()}
        self.context = polars.SQLContext(frames)

    def run(self, sql):
        plan = self.planned(lambda: self.context.execute(sql, eager=False))
        try:
            return plan.collect().to_arrow()
        except Exception:
            # Names and types are looked up late. Whether that failed is asked here, as asking first would cost time.
            self.planned(plan.collect_schema)
            raise

    @staticmethod
    def planned(step):
        """What a step of planning gives; files at fault are no fault of the SQL."""
        try:
            return step()
        except OSError:
            raise
        except Exception as error:
            raise Unsupported(describe(error)) from error


class Spark:
    """Spark in local mode, with views over the files; its defaults, but for as much memory as half of the machine's."""

    def __init__(self, threads, tables):
        if not self.has_java():
            raise RuntimeError("Spark runs on Java and there is none: install Java 17 or 21, or set JAVA_HOME")
        import logging

        import pyspark
        from pyspark.errors import AnalysisException, ParseException
        from pyspark.sql import SparkSession

        # What an error says is in the reply.
        logging.disable(logging.CRITICAL)
        self.version = pyspark.__version__
        self.refusals = (AnalysisException, ParseException)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 >> 20
        builder = SparkSession.builder.master(f"local[{threads}]").config("spark.driver.memory", f"{memory}m")
        # Neither a web page nor progress bars, and nothing but errors in the log.
        quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
        self.session = builder.config(map=quiet).getOrCreate()
        for name, files in tables.items():
            self.session.read.parquet(*files).createOrReplaceTempView(name)

    @staticmethod
    def has_java():
        import shutil

        home = os.environ.get("JAVA_HOME")
        return shutil.which(os.path.join(home, "bin", "java") if home else "java") is not None

    def run(self, sql):
        try:
            frame = self.session.sql(sql)
        except self.refusals as error:
            raise Unsupported(describe(error)) from error
        return frame.toArrow()


ENGINES = {"duckdb": DuckDB, "polars": Polars, "spark": Spark}


def describe(error):
    return f"{type(error).__name__}: {error}"


def answer(engine, sql):
    """The reply to one query."""
    start = time.perf_counter()
    try:
        table = engine.run(sql)
    except Unsupported as error:
        return {"unsupported": str(error)}
    # Not `Exception`: a panic inside polars is none.
    except BaseException as error:
        return {"error": describe(error)}
    seconds = time.perf_counter() - start
    columns = [column(field) for field in table.schema]
    cells = [[text(value) for value in values.to_pylist()] for values in table.columns]
    return {"seconds": seconds, "columns": columns, "rows": list(zip(*cells))}


def column(field):
    """How the cells of a column are compared; the kinds are those of the answer files."""
    from pyarrow import types

    kind, places = "text", None
    if types.is_decimal(field.type):
        kind, places = "decimal", field.type.scale
    elif types.is_integer(field.type):
        kind = "int"
    elif types.is_floating(field.type):
        kind = "float"
    elif types.is_date(field.type):
        kind = "date"
    return {"name": field.name, "kind": kind, "places": places}


def text(value):
    """A cell in the spelling of the answer files."""
    from decimal import Decimal

    if value is None:
        return None
    if isinstance(value, float):
        return repr(value)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def main():
    # The harness says when to end, by closing the input; an interrupt from the terminal ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What an engine prints must not come between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(message):
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    setup = json.loads(sys.stdin.readline())
    try:
        # All engines hand their rows to it: the first query shall not pay for loading it.
        import pyarrow  # noqa: F401

        engine = ENGINES[setup["engine"]](setup["threads"], setup["tables"])
    except Exception as error:
        return reply({"error": describe(error)})
    reply({"version": engine.version})
    for line in sys.stdin:
        reply(answer(engine, json.loads(line)["sql"]))


if __name__ == "__main__":
    main()
