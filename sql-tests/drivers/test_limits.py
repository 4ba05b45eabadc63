"""Limits: what a session, a user, a group and all together may take, and who sets it."""

import adbc_driver_flightsql.dbapi as flightsql
import psycopg
import pytest

from lake import assert_soon, rows
from servers import Server
from users import DENIED, EXHAUSTED, INVALID, PASSWORD, altered, as_user, refusal, server_with_users

LARGE = "SELECT count(*) FROM range(0, 900000000000) WHERE sin(value) > 2"
QUICK = "SELECT sum(value) FROM range(0, 1000)"


def in_force(cursor, limit):
    """A limit's value and who has set it."""
    limits = {name: (value, set_by) for name, value, _, _, set_by, _ in rows(cursor, "SHOW LIMITS")}
    return limits[f"grappe.{limit}"]


# What a session sets for itself.

CHAIN_OF_TABLES = "WITH c0 AS (SELECT value x FROM range(9))" + "".join(
    f", c{n + 1} AS (SELECT x + 1 AS x FROM c{n} WHERE x < {n + 900})" for n in range(300)
) + " SELECT count(*) FROM c300"
SORT = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY md5(value::text)) AS n FROM range({})) AS t"
GATHER = "SELECT length(string_agg(md5(value::text), '')) FROM range({})"

# The limit, its value, a statement that just keeps to it, one that does not.
SIDES = [
    ("query_runtime_seconds_max", 1, QUICK, LARGE),
    ("query_runtime_seconds_max", 1, QUICK, "SELECT value FROM range(0, 100000000000) WHERE sin(value) > 2"),
    ("query_planning_seconds_max", 1, QUICK, CHAIN_OF_TABLES),
    ("result_rows_max", 10, "SELECT * FROM range(10)", "SELECT * FROM range(11)"),
    ("result_rows_max", 10, "SELECT count(*) FROM range(11)", "SELECT unnest(range(11))"),
    ("result_bytes_max", 800, "SELECT value FROM range(100)", "SELECT value FROM range(101)"),
    ("query_memory_bytes_max", "'20MB'", GATHER.format(50_000), GATHER.format(1_000_000)),
    ("select_columns_max", 2, "SELECT 1, 2", "SELECT 1, 2, 3"),
    ("select_columns_max", 2, "SELECT * FROM (VALUES (1, 2)) AS t", "SELECT * FROM (SELECT 1, 2, 3) AS t"),
    ("plan_nodes_max", 3, "SELECT 1", "SELECT 1 UNION ALL SELECT 2"),
    ("statement_tokens_max", 7, "SELECT 1 + 2", "SELECT 1 + -2"),
    ("expression_depth_max", 10, f"SELECT 1{' + 1' * 10}", f"SELECT 1{' + 1' * 11}"),
    ("expression_depth_max", 3, "SELECT 1 IS NULL OR 1 > 2 OR 1 < 2", "SELECT 1 IS NULL IS NULL IS NULL IS NULL"),
    ("subquery_depth_max", 2, "SELECT (SELECT (SELECT 1))", "SELECT (SELECT (SELECT (SELECT 1)))"),
    ("function_result_bytes_max", 1000, "SELECT repeat('x', 1000)", "SELECT repeat('x', 1001)"),
    ("function_result_bytes_max", 1000, "SELECT repeat('x', 1) FROM range(1000)", "SELECT generate_series(1, 1000)"),
]
# Those with a test of their own, here or with the queue.
OTHERS = {"query_queue_seconds_max", "scan_bytes_max", "query_spill_bytes_max", "shuffle_bytes_max"}


def test_every_limit_of_a_session_is_tried(cursor):
    cursor.execute("SHOW LIMITS")
    shown = cursor.fetch_arrow_table().to_pylist()
    assert {row["name"] for row in shown if row["limits_a"] == "query"} == {
        f"grappe.{limit}" for limit in {*OTHERS, *(limit for limit, *_ in SIDES)}
    }
    assert {row["set_by"] for row in shown} == {"default"}


@pytest.mark.parametrize("limit, value, within, beyond", SIDES)
def test_what_keeps_to_a_limit_works_and_what_does_not_is_refused_by_its_name(cursor, limit, value, within, beyond):
    rows(cursor, f"SET grappe.{limit} = {value}")
    assert rows(cursor, within)
    says = refusal(cursor, beyond)
    assert EXHAUSTED in says and f"grappe.{limit}" in says, says
    rows(cursor, f"RESET grappe.{limit}")
    assert rows(cursor, within)


def test_files_are_counted_to_the_byte(cursor, tmp_path):
    file = tmp_path / "counted.parquet"
    rows(cursor, f"COPY (SELECT value FROM range(100000)) TO '{file}'")
    count = f"SELECT count(DISTINCT value) FROM '{file}'"
    rows(cursor, f"SET grappe.scan_bytes_max = {file.stat().st_size}")
    assert rows(cursor, count) == [(100_000,)]
    rows(cursor, f"SET grappe.scan_bytes_max = {file.stat().st_size - 1}")
    for statement in (count, f"CREATE TABLE never AS SELECT * FROM '{file}'"):
        says = refusal(cursor, statement)
        assert EXHAUSTED in says and "grappe.scan_bytes_max" in says, says


def test_a_query_spills_as_much_as_it_may(cursor):
    rows(cursor, "SET grappe.query_memory_bytes_max = '100MB'")
    rows(cursor, "SET grappe.query_spill_bytes_max = '1GB'")
    assert rows(cursor, SORT.format(2_000_000)) == [(2_000_000,)]


def test_a_query_that_spills_more_is_refused_by_the_limits_name(cursor):
    rows(cursor, "SET grappe.query_memory_bytes_max = '100MB'")
    rows(cursor, "SET grappe.query_spill_bytes_max = '1MB'")
    says = refusal(cursor, SORT.format(2_000_000))
    assert EXHAUSTED in says and "grappe.query_spill_bytes_max" in says, says


def test_a_sort_goes_to_disk_with_little_memory_in_a_large_process(grappe):
    limit = "SET grappe.query_memory_bytes_max = '20MB'"
    for memory in ("512MB", "16GB"):
        ran = grappe("--memory", memory, "-q", "-A", "-t", "-c", limit, "-c", SORT.format(500_000))
        assert ran.stdout.endswith("500000\n"), (memory, ran.stderr)


def test_stages_write_as_much_for_each_other_as_they_may(two_executors):
    exchange = "SELECT count(*) FROM (SELECT value % 100000 AS k, count(*) FROM range(0, 1000000) GROUP BY 1) AS t"
    with flightsql.connect(two_executors, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SET grappe.execution_mode = 'staged'")
        rows(cursor, "SET grappe.shuffle_bytes_max = '100MB'")
        assert rows(cursor, exchange) == [(100_000,)]
        rows(cursor, "SET grappe.shuffle_bytes_max = '100KB'")
        says = refusal(cursor, exchange)
        assert EXHAUSTED in says and "grappe.shuffle_bytes_max = 100000" in says, says
        rows(cursor, "RESET grappe.shuffle_bytes_max")
        assert rows(cursor, exchange) == [(100_000,)]


@pytest.mark.parametrize(
    "limit, text, value",
    [
        ("scan_bytes_max", "'10GB'", 10_000_000_000),
        ("scan_bytes_max", "'2 MiB'", 2 << 20),
        ("scan_bytes_max", "7", 7),
        ("query_runtime_seconds_max", "'90s'", 90),
        ("query_runtime_seconds_max", "'5min'", 300),
        ("query_runtime_seconds_max", "'2h'", 7_200),
        ("query_queue_seconds_max", "'1d'", 86_400),
        ("result_rows_max", "'120'", 120),
        ("result_rows_max", "0", None),
    ],
)
def test_values_have_units(cursor, limit, text, value):
    rows(cursor, f"SET grappe.{limit} = {text}")
    assert in_force(cursor, limit) == (value, "session")
    assert rows(cursor, f"SHOW grappe.{limit}") == [(f"grappe.{limit}", str(value or 0))]


@pytest.mark.parametrize(
    "limit, text, says",
    [
        ("result_rows_max", "'many'", "such as 100"),
        ("result_rows_max", "-1", "such as 100"),
        ("result_rows_max", "'1GB'", "such as 100"),
        ("scan_bytes_max", "'10 apples'", "'10GB'"),
        ("query_runtime_seconds_max", "'5GB'", "'5min'"),
        ("query_runtime_seconds_max", "'99999999999999999999d'", "'5min'"),
        ("result_row_max", "1", "did you mean grappe.result_rows_max"),
    ],
)
def test_bad_values_are_refused_with_good_ones(cursor, limit, text, says):
    for alter in ("SET", "ALTER SYSTEM SET", "ALTER USER ana SET"):
        refused = refusal(cursor, f"{alter} grappe.{limit} = {text}")
        assert INVALID in refused and says in refused, refused
    assert in_force(cursor, "result_rows_max") == (None, "default")


def test_no_limit_is_none(cursor):
    deep = f"SELECT {'(SELECT ' * 15}1{')' * 15}"
    assert "grappe.subquery_depth_max = 14" in refusal(cursor, deep)
    rows(cursor, "SET grappe.subquery_depth_max = 0")
    assert rows(cursor, deep) == [(1,)]
    rows(cursor, "RESET grappe.subquery_depth_max")
    assert in_force(cursor, "subquery_depth_max") == (14, "default")
    refusal(cursor, deep)


@pytest.mark.parametrize(
    "limit, hint",
    [
        ("queries_running_max", "ALTER SYSTEM"),
        ("large_queries_running_max", "ALTER SYSTEM"),
        ("queries_queued_max", "ALTER SYSTEM"),
        ("user_queries_running_max", "ALTER USER"),
        ("group_queries_running_max", "ALTER GROUP"),
        ("user_sessions_max", "ALTER USER"),
    ],
)
def test_what_is_not_a_sessions_to_set_says_whose(cursor, limit, hint):
    says = refusal(cursor, f"SET grappe.{limit} = 1")
    assert DENIED in says and hint in says, says


# What others set.


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    yield from server_with_users(tmp_path_factory.mktemp("shared"))


def test_the_smallest_that_anybody_sets_holds_at_once_for_open_sessions(shared):
    with as_user(shared, "ana") as ana, as_user(shared, "bob") as bob, as_user(shared, "eve") as eve:
        with altered(shared, "SYSTEM", result_rows_max=400), altered(shared, "GROUP etl", result_rows_max=300):
            with altered(shared, "USER ana", result_rows_max=200):
                rows(ana, "SET grappe.result_rows_max = 100")
                held = [in_force(cursor, "result_rows_max") for cursor in (ana, bob, eve)]
                assert held == [(100, "session"), (300, "group"), (400, "system")]
                rows(ana, "RESET grappe.result_rows_max")
                assert in_force(ana, "result_rows_max") == (200, "user")
                assert len(rows(ana, "SELECT * FROM range(200)")) == 200
                assert "grappe.result_rows_max = 200" in refusal(ana, "SELECT * FROM range(201)")
            assert in_force(ana, "result_rows_max") == (300, "group")
        assert in_force(ana, "result_rows_max") == (None, "default")


def test_a_session_asks_for_less_and_not_for_more(shared):
    with altered(shared, "USER ana", result_rows_max=20), as_user(shared, "ana") as ana:
        for more in (21, 0):
            says = refusal(ana, f"SET grappe.result_rows_max = {more}")
            assert DENIED in says and "at most 20 here, which is set for the user" in says, says
        rows(ana, "SET grappe.result_rows_max = 20")
        rows(ana, "SET grappe.result_rows_max = 19")
        assert "grappe.result_rows_max = 19" in refusal(ana, "SELECT * FROM range(20)")


def test_what_was_set_before_is_no_way_around_a_limit(shared):
    with as_user(shared, "ana") as ana:
        rows(ana, "SET grappe.result_rows_max = 500")
        rows(ana, "PREPARE all_of_it AS SELECT * FROM range(30)")
        with altered(shared, "USER ana", result_rows_max=25):
            assert in_force(ana, "result_rows_max") == (25, "user")
            assert "grappe.result_rows_max = 25" in refusal(ana, "EXECUTE all_of_it")


def test_other_settings_are_those_of_new_sessions(shared):
    with as_user(shared, "root") as root, as_user(shared, "ana") as before:
        rows(before, "SELECT 1")
        rows(root, "ALTER USER ana SET grappe.execution_mode = 'local'")
        rows(root, "ALTER SYSTEM SET datafusion.execution.target_partitions = 3")
        try:
            with as_user(shared, "ana") as ana, as_user(shared, "bob") as bob:
                assert rows(before, "SHOW grappe.execution_mode") == [("grappe.execution_mode", "auto")]
                assert rows(ana, "SHOW grappe.execution_mode") == [("grappe.execution_mode", "local")]
                assert rows(bob, "SHOW grappe.execution_mode") == [("grappe.execution_mode", "auto")]
                [(_, partitions)] = rows(bob, "SHOW datafusion.execution.target_partitions")
                assert partitions == "3"
        finally:
            rows(root, "ALTER ROLE ana RESET grappe.execution_mode")
            rows(root, "ALTER SYSTEM RESET ALL")
        with as_user(shared, "ana") as ana:
            assert rows(ana, "SHOW grappe.execution_mode") == [("grappe.execution_mode", "auto")]


@pytest.mark.parametrize("what", ["SET grappe.result_rows_max = 1", "RESET grappe.result_rows_max", "RESET ALL"])
def test_only_admins_set_things_for_others(shared, what):
    with as_user(shared, "ana") as ana:
        for scope in ("SYSTEM", "GROUP etl", "USER bob", "USER ana"):
            says = refusal(ana, f"ALTER {scope} {what}")
            assert DENIED in says and "only root may" in says, says


@pytest.mark.parametrize(
    "statement, kind, says",
    [
        ("ALTER GROUP etl SET grappe.queries_running_max = 3", INVALID, "use ALTER SYSTEM SET"),
        ("ALTER USER ana SET datafusion.runtime.memory_limit = '1T'", DENIED, "belongs to the process"),
        ("ALTER SYSTEM SET grappe.execution_mode = 'fast'", INVALID, "'streamed'"),
        ("ALTER SYSTEM SET datafusion.execution.batch_size = 100000000", INVALID, "at most"),
        ("ALTER SYSTEM SET grappe.result_rows_max", INVALID, "write ALTER SYSTEM"),
    ],
)
def test_what_nobody_can_set_for_others(shared, statement, kind, says):
    with as_user(shared, "root") as root:
        refused = refusal(root, statement)
        assert kind in refused and says in refused, refused


def test_settings_outlive_the_server_and_reach_others_on_the_same_catalog(tmp_path):
    first, second = Server(tmp_path), Server(tmp_path)
    with first.connect() as connection, connection.cursor() as cursor, second.connect() as other, other.cursor() as far:
        assert in_force(far, "result_rows_max") == (None, "default")
        rows(cursor, "ALTER SYSTEM SET grappe.result_rows_max = 77")
        assert in_force(cursor, "result_rows_max") == (77, "system")
        seen = lambda: in_force(far, "result_rows_max")
        assert_soon(lambda: seen() == (77, "system"), seen)
    assert [server.stop() for server in (first, second)] == [0, 0]
    third = Server(tmp_path)
    with third.connect() as connection, connection.cursor() as cursor:
        assert in_force(cursor, "result_rows_max") == (77, "system")
    assert third.stop() == 0


# What the process brings.


def test_a_process_brings_limits_that_alter_system_goes_before(tmp_path):
    settings = tmp_path / "grappe.toml"
    limits = ['scan_bytes_max = "2GB"', "result_rows_max = 8", 'query_queue_seconds_max = "2min"']
    settings.write_text("\n".join(["[server.limits]", *limits]))
    server = Server(tmp_path / "data", "--config", str(settings), GRAPPE_SERVER__LIMITS__RESULT_ROWS_MAX="70")
    with server.connect() as connection, connection.cursor() as cursor:
        assert in_force(cursor, "scan_bytes_max") == (2_000_000_000, "system")
        assert in_force(cursor, "query_queue_seconds_max") == (120, "system")
        assert in_force(cursor, "result_rows_max") == (70, "system")
        assert DENIED in refusal(cursor, "SET grappe.result_rows_max = 71")
        rows(cursor, "ALTER SYSTEM SET grappe.result_rows_max = 100")
        assert in_force(cursor, "result_rows_max") == (100, "system")
        rows(cursor, "ALTER SYSTEM RESET grappe.result_rows_max")
        assert in_force(cursor, "result_rows_max") == (70, "system")
    assert server.stop() == 0


@pytest.mark.parametrize(
    "file, environment, says",
    [
        ("", {"GRAPPE_SERVER__LIMITS__RESULT_ROW_MAX": "1"}, "did you mean result_rows_max"),
        ("", {"GRAPPE_SERVER__LIMITS__SCAN_BYTES_MAX": "much"}, "such as 1000000 or '10GB'"),
        ("[server.limits]\nnothing_max = 1\n", {}, "there is no limit nothing_max"),
        ("[server.groups]\na = ['x']\nb = ['x']\n", {}, "a user has one group"),
    ],
)
def test_bad_limits_of_a_process_are_refused_at_its_start(grappe, tmp_path, file, environment, says):
    (tmp_path / "grappe.toml").write_text(file)
    ran = grappe("--config", "grappe.toml", "-c", "SELECT 1", **environment)
    assert ran.returncode == 1 and says in ran.stderr, ran.stderr


# Other ports.


@pytest.mark.parametrize(
    "limit, value, statement, code",
    [
        ("result_rows_max", 10, "SELECT * FROM range(11)", "53000"),
        ("query_runtime_seconds_max", 1, LARGE, "53000"),
        ("expression_depth_max", 10, f"SELECT 1{' + 1' * 11}", "53000"),
        ("query_memory_bytes_max", "'20MB'", GATHER.format(1_000_000), "53200"),
        ("queries_running_max", 1, "SELECT 1", "42501"),
    ],
)
def test_postgresql_clients_learn_the_class_of_what_is_exhausted(shared, limit, value, statement, code):
    with psycopg.connect(shared.postgres, user="ana", password=PASSWORD, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match=f"grappe.{limit}") as refused:
            connection.execute(f"SET grappe.{limit} = {value}")
            connection.execute(statement).fetchall()
        assert refused.value.sqlstate == code
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_the_shell_says_what_was_exceeded(grappe):
    ran = grappe("-A", "-t", "-c", "SET grappe.result_rows_max = 2", "-c", "SELECT * FROM range(3)")
    assert ran.returncode == 1 and "grappe.result_rows_max = 2" in ran.stderr, ran.stderr


# Sessions.


def test_a_user_has_so_many_sessions_and_no_more(shared):
    with altered(shared, "USER max", user_sessions_max=2), as_user(shared, "ana") as ana:
        with as_user(shared, "max") as first, as_user(shared, "max") as second:
            assert rows(first, "SELECT 1") == rows(second, "SELECT 1") == [(1,)]
            with as_user(shared, "max") as third:
                says = refusal(third, "SELECT 1")
            assert EXHAUSTED in says and "grappe.user_sessions_max" in says, says
            assert rows(ana, "SELECT 1") == rows(first, "SELECT 1") == [(1,)]
        with as_user(shared, "max") as fourth:
            assert rows(fourth, "SELECT 1") == [(1,)]
