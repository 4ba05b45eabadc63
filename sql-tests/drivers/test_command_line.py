"""The command line: options, exit codes, settings, bad input."""

import re
import socket

import pytest


def test_one_statement(grappe):
    done = grappe("-A", "-t", "-c", "SELECT 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_statements_from_standard_input(grappe):
    assert grappe("-A", "-t", stdin="SELECT 1; SELECT 2;\n").stdout == "1\n2\n"


def test_aligned_csv_and_json(grappe):
    sql = "SELECT 1 AS a, 'x,y' AS b"
    assert grappe("-c", sql).stdout == " a |  b  \n---+-----\n 1 | x,y\n(1 row)\n\n"
    assert grappe("--csv", "-c", sql).stdout == 'a,b\n1,"x,y"\n'
    assert grappe("--json", "-c", sql).stdout == '{"a":1,"b":"x,y"}\n'


def test_scripts_variables_and_output_files(grappe, tmp_path):
    (tmp_path / "script.sql").write_text("SELECT :'who' AS who;\n")
    done = grappe("-A", "-t", "-v", "who=you", "-o", "out.txt", "-f", "script.sql")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "out.txt").read_text() == "you\n"


def test_exit_codes(grappe, tmp_path):
    (tmp_path / "bad.sql").write_text("SELECT 1;\nSELECT nope;\nSELECT 2;\n")
    assert grappe("-c", "SELECT nope").returncode == 1
    failed = grappe("-A", "-t", "-f", "bad.sql")
    assert (failed.returncode, failed.stdout) == (3, "1\n2\n")
    assert "bad.sql:2: ERROR:" in failed.stderr
    assert grappe("-v", "ON_ERROR_STOP=1", "-f", "bad.sql").stdout.count("(1 row)") == 1
    assert grappe("-f", "missing.sql").returncode == 1
    assert grappe("--connect", "grpc://127.0.0.1:1", "-c", "SELECT 1").returncode == 2


def test_the_same_shell_over_a_connection(server, grappe):
    done = grappe("--connect", server.flight, "-A", "-t", "-c", "SELECT 40 + 2")
    assert (done.returncode, done.stdout) == (0, "42\n")


def test_the_place_of_a_mistake_is_shown(grappe):
    failed = grappe("-c", "SELECT 1,\n  nam FROM (VALUES (1)) t(name)")
    lines = failed.stderr.splitlines()
    assert lines[1] == "LINE 2:   nam FROM (VALUES (1)) t(name)"
    assert lines[2].index("^") == lines[1].index("nam")


def test_explain_says_where_a_statement_runs(grappe):
    assert "local: " in grappe("-A", "-t", "-c", "EXPLAIN SELECT 1").stdout


def test_nothing_is_kept_in_memory_only_mode(grappe, tmp_path):
    assert grappe("--data-dir", ":memory:", "-A", "-t", "-c", "SELECT 1").stdout == "1\n"
    assert not (tmp_path / ":memory:").exists()


def test_settings_beat_each_other_in_order(grappe, tmp_path):
    (tmp_path / "grappe.toml").write_text('partitions = 3\nmemory = "1GB"\n[server]\nflight_port = 1111\n')
    environment = {"GRAPPE_CONFIG": "grappe.toml", "GRAPPE_SERVER__FLIGHT_PORT": "2222", "GRAPPE_PARTITIONS": "4"}
    shown = grappe("server", "--print-config", "--partitions", "5", **environment).stdout
    assert 'memory = "953.7 MiB"' in shown and "flight_port = 2222" in shown and "partitions = 5" in shown


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"GRAPPE_FOO": "1"}, "foo"),
        ({"GRAPPE_SERVER__FLIGHT_PORT": "many"}, "FLIGHT_PORT"),
        ({"GRAPPE_CONFIG": "missing.toml"}, "missing.toml"),
        ({"GRAPPE_STORAGE__S3__COLOUR": "red"}, "colour"),
    ],
)
def test_bad_settings_are_refused_by_name(grappe, environment, says):
    refused = grappe("-c", "SELECT 1", **environment)
    assert refused.returncode == 1 and says in refused.stderr


def test_a_port_in_use_is_named(grappe):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = grappe("server", "--flight-port", str(port))
    assert refused.returncode == 1
    assert re.search(rf"127\.0\.0\.1:{port}.*--flight-port", refused.stderr)


def test_an_open_address_is_refused(grappe):
    refused = grappe("server", "--listen", "0.0.0.0", "--flight-port", "0", "--http-port", "0", "--cluster-port", "0")
    assert refused.returncode == 1 and "--insecure" in refused.stderr


def test_a_data_directory_that_cannot_be_written_is_named(grappe, tmp_path):
    (tmp_path / "file").write_text("")
    refused = grappe("--data-dir", str(tmp_path / "file" / "x"), "-c", "SELECT 1")
    assert refused.returncode == 1 and "--data-dir" in refused.stderr


def test_damaged_files_are_named(grappe, tmp_path):
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    assert grappe("-c", "COPY (SELECT 1 AS a) TO 'dir/good.parquet'").returncode == 0
    whole = (tmp_path / "dir/good.parquet").read_bytes()
    (tmp_path / "dir/bad.parquet").write_bytes(whole[: len(whole) // 2])
    for file, culprit in [("ragged.csv", "ragged.csv"), ("dir/", "dir/bad.parquet"), ("none.parquet", "none.parquet")]:
        failed = grappe("-c", f"SELECT * FROM '{file}'")
        assert failed.returncode == 1
        assert culprit in failed.stderr and "panicked" not in failed.stderr


def test_a_join_goes_to_disk_and_what_cannot_says_what_to_change(grappe):
    text = "SELECT repeat(md5(value::text), 4) AS text FROM range(0, 2000000)"
    join = f"SELECT count(*) FROM ({text}) AS a JOIN ({text}) AS b ON a.text = b.text"
    assert grappe("--memory", "100MB", "-A", "-t", "-c", join).stdout == "2000000\n"
    held = "SELECT cardinality(array_agg(value)) FROM range(0, 20000000)"
    assert grappe("--memory", "2GB", "-A", "-t", "-c", held).stdout == "20000000\n"
    refused = grappe("--memory", "100MB", "-c", held)
    assert refused.returncode == 1 and "raise --memory" in refused.stderr


def test_a_sort_that_does_not_fit_in_memory_goes_to_disk(grappe):
    sort = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY repeat(md5(value::text), 4)) n FROM range(0, 2000000)) t"
    assert grappe("--memory", "100MB", "-A", "-t", "-c", sort).stdout == "2000000\n"
