"""What a notebook and a terminal show: previews, progress, the magic; and the example as a whole."""

import base64
import io
from pathlib import Path

import nbclient
import nbformat
import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import grappe
from grappe.driver import Described
from grappe.progress import Progress, is_wanted
from servers import BINARY

NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_steps.ipynb"
CELL_SECONDS_MAX = 60


@pytest.fixture
def shell(client):
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "grappe")
    yield shell
    InteractiveShell.clear_instance()


def test_the_magic_runs_a_cell_and_shows_or_keeps_it(shell, client):
    shell.user_ns["client"] = client
    shown = shell.run_cell_magic("sql", "", "SELECT value AS n FROM range(0, 3)")
    bundle, _ = shell.display_formatter.format(shown)
    assert "3 rows × 1 column" in bundle["text/html"]
    assert bundle["text/plain"].splitlines() == ["n (int64)", "---------", "0", "1", "2", "3 rows × 1 column"]
    assert shell.run_cell_magic("sql", "kept << [2]", "SELECT $1 * 21 AS answer") is None
    assert list(shell.user_ns["kept"]) == [(42,)]
    assert list(shell.run_line_magic("sql", "SELECT 1 + 1")) == [(2,)]
    with pytest.raises(UsageError, match="no name of a variable"):
        shell.run_cell_magic("sql", "not a name", "SELECT 1")


def test_the_magic_connects_when_it_is_told_to(shell, server, monkeypatch):
    there = shell.run_line_magic("grappe", server.url)
    assert there.url == server.url and list(shell.run_line_magic("sql", "SELECT 1")) == [(1,)]
    there.close()
    monkeypatch.setenv("GRAPPE_BINARY", BINARY)
    own = shell.run_line_magic("grappe", "")
    assert "embedded" in repr(own) and list(shell.run_line_magic("sql", "SELECT 1")) == [(1,)]
    own.close()


def shown(monkeypatch, act, **arguments):
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with Progress("the title", grappe.Options(progress_after_seconds=0), enabled=True, **arguments) as progress:
        act(progress)
        return out.getvalue()


def test_a_bar_shows_a_share_where_one_is_known(monkeypatch):
    assert "the title:  25%" in shown(monkeypatch, lambda bar: bar.advance(1_000), total=4_000)
    assert "1,000 of 4,000 rows" in shown(monkeypatch, lambda bar: bar.advance(1_000), total=4_000)
    by_tasks = shown(monkeypatch, lambda bar: bar.tick(Described(tasks_done=3, tasks_total=4, rows_scanned=1234)))
    assert " 75%" in by_tasks and "3 of 4 tasks" in by_tasks and "1,234 rows scanned" in by_tasks
    assert " 50%" in shown(monkeypatch, lambda bar: bar.tick(Described(fraction=0.5)))


def test_a_bar_without_a_share_shows_time_and_rows(monkeypatch):
    text = shown(monkeypatch, lambda bar: bar.advance(7))
    assert "%" not in text and "7 rows" in text and "00:00" in text


def test_a_short_call_shows_nothing(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with Progress("short", grappe.Options(), enabled=True) as progress:
        progress.advance(1)
    with Progress("off", grappe.Options(progress_after_seconds=0), enabled=False) as progress:
        progress.advance(1)
    assert out.getvalue() == "" and not is_wanted(None) and is_wanted(True)


def test_a_query_on_a_cluster_shows_its_tasks(cluster, monkeypatch):
    out = io.StringIO()
    options = grappe.Options(progress_after_seconds=0)
    with grappe.connect(cluster.url, progress=True, options=options) as client:
        client.sql("SET grappe.execution_mode = 'staged'")
        monkeypatch.setattr("sys.stderr", out)
        client.sql("SELECT sum(sin(value)) FROM range(0, 250000000)").to_arrow()
    assert "SELECT sum(sin(value))" in out.getvalue() and "tasks" in out.getvalue()


def test_the_example_runs_and_draws_a_picture():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the file has no results in it"
    nbclient.NotebookClient(notebook, timeout=CELL_SECONDS_MAX, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    pictures = [base64.b64decode(output["data"]["image/png"]) for output in outputs if "image/png" in output["data"]]
    assert pictures and all(picture.startswith(b"\x89PNG") and len(picture) > 5_000 for picture in pictures)
    assert any("rows × " in output["data"].get("text/html", "") for output in outputs)
