"""A plugin for pytest: in ibis's own tests, Grappe stands where ibis's DataFusion backend would.

ibis's tests know the backends by name, and what each cannot do. Ours speaks DataFusion's SQL, so it is measured as
"datafusion": a test that is marked as failing there and passes here is reported as failed by pytest ("XPASS(strict)").
"""

import os
import pathlib

import ibis
import ibis.backends.datafusion.tests.conftest as theirs
import ibis.conftest
import pytest
from ibis.backends.conftest import TEST_TABLES
from ibis.backends.tests.data import array_types, topk, win
from pyarrow import parquet

import grappe.ibis_backend

DATA = pathlib.Path(os.environ["IBIS_TESTING_DATA"])


class Backend(grappe.ibis_backend.Backend):
    """Ours, under the name that the marks of the tests are for."""

    name = "datafusion"


class TestConf(theirs.TestConf):
    """How the tests connect and what they find."""

    __test__ = False
    deps = ("grappe",)
    supports_tpch = False
    supports_tpcds = False

    @classmethod
    def name(cls):
        return "datafusion"

    @staticmethod
    def connect(*, tmpdir, worker_id, **arguments):
        backend = Backend()
        backend.do_connect(binary=os.environ["GRAPPE_BINARY"], progress=False, **arguments)
        return backend

    def _load_data(self, **_):
        for table_name in TEST_TABLES:
            self.connection.create_table(table_name, parquet.read_table(DATA / "parquet" / f"{table_name}.parquet"))
        self.connection.create_table("array_types", array_types)
        self.connection.create_table("win", win)
        self.connection.create_table("topk", topk)


@pytest.fixture(scope="session")
def data_dir():
    return DATA


@pytest.fixture(scope="session")
def worker_id():
    return "master"


ibis.conftest.data_dir = data_dir
theirs.TestConf = TestConf
ibis.backends.datafusion.Backend = Backend
