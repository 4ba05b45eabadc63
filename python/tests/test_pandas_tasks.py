"""The tasks of `examples/pandas_tasks.py`, done by both, and as the docs have them."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PYTHON = Path(__file__).parent.parent
sys.path.insert(0, str(PYTHON / "examples"))

import pandas_tasks  # noqa: E402

TASKS_MIN = 30


@pytest.fixture(scope="module")
def data(client, tmp_path_factory):
    """The tables on the server; the directory with the files."""
    for name, frame in pandas_tasks.frames().items():
        client.upload(frame, name, "replace")
    folder = tmp_path_factory.mktemp("files")
    pandas_tasks.write_files(folder)
    yield folder
    for name in pandas_tasks.frames():
        client.sql(f"DROP TABLE {name}")


@pytest.mark.parametrize("task", pandas_tasks.TASKS, ids=lambda task: task.title)
def test_both_give_the_same(client, data, task):
    expected = pandas_tasks.by_pandas(task, data)
    assert len(expected), "a task without rows compares nothing"
    pd.testing.assert_frame_equal(pandas_tasks.by_grappe(task, client, data), expected)


def test_there_are_enough_tasks_and_no_two_of_one_name():
    titles = [task.title for task in pandas_tasks.TASKS]
    assert len(set(titles)) == len(titles) >= TASKS_MIN


def test_the_docs_have_the_tasks_as_they_are():
    ran = subprocess.run([sys.executable, PYTHON / "scripts" / "render-docs", "--check"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
