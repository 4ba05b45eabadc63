"""Who may ask: users, tokens, TLS; and tickets, which are good for their user and for a time."""

import base64
import json
import socket
import subprocess
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import psycopg
import pyarrow as pa
import pytest
import trustme
from adbc_driver_flightsql import DatabaseOptions
from pyarrow import flight

from servers import BINARY, Server, clean_environment
from protobuf import any_message, field

PASSWORDS = {"ada": "lovelace: 1815", "bob": "b"}
DENIED = (flight.FlightUnauthenticatedError, flight.FlightUnauthorizedError)


def hash_of(password):
    ran = subprocess.run([BINARY, "hash-password"], input=password + "\n", capture_output=True, text=True, env=clean_environment())
    assert ran.returncode == 0 and ran.stdout.startswith("$argon2id$"), ran.stderr
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A settings file with two users."""
    file = tmp_path_factory.mktemp("settings") / "grappe.toml"
    users = "\n".join(f"{name} = '{hash_of(password)}'" for name, password in PASSWORDS.items())
    file.write_text(f"[server.users]\n{users}\n")
    return file


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, settings):
    server = Server(tmp_path_factory.mktemp("guarded"), "--config", str(settings))
    yield server
    assert server.stop() == 0


def as_user(server, name, password=None, **options):
    credentials = {"username": name, "password": PASSWORDS.get(name) if password is None else password}
    return flightsql.connect(server.flight, db_kwargs={**credentials, **options}, autocommit=True)


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


class Flight:
    """A Flight client that is somebody, or nobody."""

    def __init__(self, address, name=None, **options):
        self.client = flight.connect(address.replace("grpc://", "grpc+tcp://"), **options)
        token = [self.client.authenticate_basic_token(name, PASSWORDS[name])] if name else []
        self.options = flight.FlightCallOptions(headers=token)

    def info(self, sql):
        command = any_message("CommandStatementQuery", field(1, sql))
        return self.client.get_flight_info(flight.FlightDescriptor.for_command(command), self.options)

    def read(self, ticket):
        return self.client.do_get(ticket, self.options).read_all()

    def query(self, sql):
        return self.read(self.info(sql).endpoints[0].ticket).to_pylist()

    def act(self, name, body=b""):
        return list(self.client.do_action(flight.Action(name, body), self.options))


# Users.


def test_a_user_gets_in_with_the_right_password(guarded):
    with as_user(guarded, "ada") as ada, as_user(guarded, "bob") as bob:
        assert rows(ada, "SELECT 1") == rows(bob, "SELECT 1") == [(1,)]
        names = rows(ada, "SELECT DISTINCT user_name FROM system.queries ORDER BY 1")
        assert names == [("ada",), ("bob",)]


@pytest.mark.parametrize("name, password", [("ada", "wrong"), ("ada", ""), ("eve", "b"), ("bob", "b" * 5000)])
def test_others_are_told_when_they_connect(guarded, name, password):
    with pytest.raises(adbc_driver_manager.Error, match="wrong user or password"):
        as_user(guarded, name, password)


def test_every_call_asks_who_it_is_from(guarded):
    nobody = Flight(guarded.flight)
    catalogs = any_message("CommandGetCatalogs")
    table = pa.table({"a": [1]})
    for call in (
        lambda: nobody.query("SELECT 1"),
        lambda: nobody.client.get_schema(flight.FlightDescriptor.for_command(catalogs)),
        lambda: nobody.read(flight.Ticket(catalogs)),
        lambda: nobody.act("GetSessionOptions"),
        lambda: list(nobody.client.list_actions()),
        lambda: list(nobody.client.list_flights()),
        lambda: nobody.client.do_put(flight.FlightDescriptor.for_command(catalogs), table.schema)[1].read(),
        lambda: nobody.client.do_exchange(flight.FlightDescriptor.for_command(catalogs))[1].read_chunk(),
    ):
        with pytest.raises((flight.FlightUnauthenticatedError, OSError), match="asks for a user"):
            call()


@pytest.mark.parametrize("value", ["Bearer none", "Basic ?", "Basic " + base64.b64encode(b"ada").decode(), "Negotiate x", ""])
def test_a_header_that_proves_nothing_is_refused(guarded, value):
    call = flight.FlightCallOptions(headers=[(b"authorization", value.encode())])
    with pytest.raises(flight.FlightUnauthenticatedError):
        list(flight.connect(guarded.flight.replace("grpc://", "grpc+tcp://")).list_actions(call))


def test_a_password_may_come_with_every_call(guarded):
    text = f"ada:{PASSWORDS['ada']}".encode()
    for encoded in (base64.b64encode(text), base64.b64encode(text).rstrip(b"=")):
        header = {DatabaseOptions.AUTHORIZATION_HEADER.value: "Basic " + encoded.decode()}
        with flightsql.connect(guarded.flight, db_kwargs=header, autocommit=True) as connection:
            assert rows(connection, "SELECT 2") == [(2,)]


def test_a_token_is_a_session_until_it_is_closed(guarded):
    ada = Flight(guarded.flight, "ada")
    ada.query("SET grappe.local_scan_bytes_max = 77")
    [shown] = ada.query("SHOW grappe.local_scan_bytes_max")
    assert shown["value"] == "77"
    # As JDBC does with its `token` setting: the token is proof enough for a handshake, and stays.
    again = flight.connect(guarded.flight.replace("grpc://", "grpc+tcp://"))
    assert list(again.list_actions(ada.options))
    ada.act("CloseSession")
    with pytest.raises(flight.FlightUnauthenticatedError, match="connect again"):
        ada.query("SELECT 1")


def test_a_token_that_nobody_uses_expires(tmp_path, settings):
    server = Server(tmp_path, "--config", str(settings), GRAPPE_SERVER__SESSION_IDLE_SECONDS_MAX="1")
    ada = Flight(server.flight, "ada")
    assert ada.query("SELECT 1")
    # Time is what is tested: nothing announces that a second has passed.
    time.sleep(1.2)
    with pytest.raises(flight.FlightUnauthenticatedError, match="expired"):
        ada.query("SELECT 1")
    assert server.stop() == 0


def test_the_shell_says_who_it_is(guarded, grappe):
    def shell(*arguments, **environment):
        return grappe("--connect", guarded.flight, *arguments, "-A", "-t", "-c", "SELECT 3", **environment)

    ran = shell("--user", "ada", GRAPPE_PASSWORD=PASSWORDS["ada"])
    assert (ran.returncode, ran.stdout) == (0, "3\n"), ran.stderr
    ran = shell("--user", "ada", GRAPPE_PASSWORD="wrong")
    assert ran.returncode == 2 and "wrong user or password" in ran.stderr
    ran = shell()
    assert ran.returncode != 0 and "asks for a user" in ran.stderr


def test_a_cluster_asks_the_same_users(tmp_path, settings):
    command = [BINARY, "cluster", "run", "--executors", "1", "--config", str(settings), "--data-dir", str(tmp_path)]
    command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    )
    address = json.loads(process.stdout.readline())["flight"]
    with pytest.raises(flight.FlightUnauthenticatedError):
        Flight(address).query("SELECT 1")
    ada = Flight(address, "ada")
    ada.query("SET grappe.execution_mode = 'staged'")
    assert ada.query("SELECT count(*) AS n FROM range(0, 1000)") == [{"n": 1000}]
    process.terminate()
    assert process.wait(90) == 0


def test_passwords_in_settings_are_hashes_and_never_shown(grappe, settings, tmp_path):
    ran = grappe("server", "--config", str(settings), "--print-config")
    assert "ada" in ran.stdout and "$argon2" not in ran.stdout
    clear = tmp_path / "clear.toml"
    clear.write_text("[server.users]\nada = 'hush'\n")
    ran = grappe("server", "--config", str(clear), "--flight-port", "0", "--http-port", "0", "--cluster-port", "0")
    assert ran.returncode != 0 and "hash-password" in ran.stderr and "hush" not in ran.stderr


def test_a_statement_can_be_cancelled_by_its_user_only(guarded):
    ada, bob = Flight(guarded.flight, "ada"), Flight(guarded.flight, "bob")
    info = ada.info("SELECT sum(sin(value)) FROM range(1000000000000) -- guarded")
    found = ada.query("SELECT id FROM system.queries WHERE statement LIKE '%-- guarded' AND state = 'ready'")
    with pytest.raises(DENIED, match="another user"):
        bob.query(f"CANCEL QUERY '{found[0]['id']}'")
    with pytest.raises(DENIED, match="another user"):
        bob.act("CancelFlightInfo", field(1, info.serialize()))
    ada.act("CancelFlightInfo", field(1, info.serialize()))
    [left] = ada.query(f"SELECT state FROM system.queries WHERE id = '{found[0]['id']}'")
    assert left["state"] == "cancelled"


def test_the_temporary_tables_of_one_are_not_those_of_another(guarded):
    table = pa.table({"n": [1, 2, 3]})
    with as_user(guarded, "ada") as ada, as_user(guarded, "ada") as again:
        with ada.cursor() as cursor:
            assert cursor.adbc_ingest("mine", table, mode="create", temporary=True) == 3
            assert cursor.adbc_ingest("mine", table, mode="append", temporary=True) == 3
        assert rows(ada, "SELECT count(*), sum(n) FROM mine") == [(6, 12)]
        with pytest.raises(adbc_driver_manager.Error, match='"mine" not found'):
            rows(again, "SELECT * FROM mine")
        with ada.cursor() as cursor, pytest.raises(adbc_driver_manager.Error, match="already exists"):
            cursor.adbc_ingest("mine", table, mode="create", temporary=True)


# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(folder / "certificate.pem", append=number > 0)
    return folder


def test_a_port_with_tls_and_users_may_be_open_to_others(tmp_path, settings, certificates, grappe):
    files = ("--tls-certificate", str(certificates / "certificate.pem"), "--tls-key", str(certificates / "key.pem"))
    inside = ("--http-listen", "127.0.0.1", "--cluster-listen", "127.0.0.1")
    server = Server(tmp_path, "--listen", "0.0.0.0", "--config", str(settings), *files, *inside)
    assert server.flight.startswith("grpc+tls://0.0.0.0:")
    address = server.flight.replace("0.0.0.0", "localhost")
    authority = (certificates / "ca.pem").read_text()
    trust = {DatabaseOptions.TLS_ROOT_CERTS.value: authority, "username": "ada", "password": PASSWORDS["ada"]}
    with flightsql.connect(address, db_kwargs=trust, autocommit=True) as connection:
        assert rows(connection, "SELECT 4") == [(4,)]
    connect = ("--connect", address, "--user", "ada", "-A", "-t", "-c", "SELECT 5")
    ran = grappe(*connect, "--tls-ca", str(certificates / "ca.pem"), GRAPPE_PASSWORD=PASSWORDS["ada"])
    assert (ran.returncode, ran.stdout) == (0, "5\n"), ran.stderr
    # A stranger's certificate, and no TLS at all.
    ran = grappe(*connect, GRAPPE_PASSWORD=PASSWORDS["ada"])
    assert ran.returncode == 2 and "could not connect" in ran.stderr
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=10) as plain:
        plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"HTTP" not in plain.recv(1024)
    assert server.stop() == 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--listen", "0.0.0.0"], "a TLS certificate and users"),
        (["--tls-key", "key.pem"], "both --tls-certificate and --tls-key"),
        (["--tls-certificate", "none.pem", "--tls-key", "none.pem"], "none.pem"),
        (["--tls-certificate", "/etc/hostname", "--tls-key", "/etc/hostname"], "certificate or key cannot be used"),
    ],
)
def test_a_port_that_would_not_be_safe_is_not_opened(grappe, arguments, says):
    ran = grappe("server", *arguments, "--flight-port", "0", "--http-port", "0", "--cluster-port", "0")
    assert ran.returncode != 0 and says in ran.stderr, ran.stderr


@pytest.mark.parametrize("with_tls", [False, True])
def test_the_postgresql_port_asks_for_the_same_passwords(tmp_path, settings, certificates, with_tls):
    files = ("--tls-certificate", str(certificates / "certificate.pem"), "--tls-key", str(certificates / "key.pem"))
    server = Server(tmp_path, "--config", str(settings), "--pg-port", "0", *(files if with_tls else ()))
    verified = {"sslmode": "verify-full", "sslrootcert": str(certificates / "ca.pem")} if with_tls else {"sslmode": "disable"}

    def connect(password):
        return psycopg.connect(server.postgres, user="ada", password=password, autocommit=True, **verified)

    with connect(PASSWORDS["ada"]) as connection:
        seen = connection.execute("SELECT DISTINCT user_name FROM system.queries").fetchall()
        assert seen == [("ada",)]
    for wrong in ("wrong", PASSWORDS["bob"]):
        with pytest.raises(psycopg.OperationalError, match="wrong user or password"):
            connect(wrong)
    assert server.stop() == 0


# Tickets.


def test_a_ticket_is_of_one_user_and_cannot_be_made_up(guarded):
    ada, bob = Flight(guarded.flight, "ada"), Flight(guarded.flight, "bob")
    ticket = ada.info("SELECT 6 AS n").endpoints[0].ticket
    with pytest.raises(DENIED, match="another user"):
        bob.read(ticket)
    forged = bytearray(ticket.ticket)
    forged[-1] ^= 1
    with pytest.raises(DENIED, match="not made by this server"):
        ada.read(flight.Ticket(bytes(forged)))
    with pytest.raises(DENIED, match="not made by this server"):
        ada.read(flight.Ticket(any_message("TicketStatementQuery", field(1, "made up"))))
    # Another connection of the same user is as good.
    assert Flight(guarded.flight, "ada").read(ticket).to_pylist() == [{"n": 6}]


def test_a_ticket_expires(tmp_path):
    server = Server(tmp_path, GRAPPE_SERVER__RESULT_IDLE_SECONDS_MAX="1")
    nobody = Flight(server.flight)
    [endpoint] = nobody.info("SELECT 7 AS n").endpoints
    assert nobody.read(endpoint.ticket).to_pylist() == [{"n": 7}]
    # Time is what is tested: nothing announces that a second has passed.
    time.sleep(1.2)
    with pytest.raises(DENIED, match="expired"):
        nobody.read(endpoint.ticket)
    assert server.stop() == 0


def test_a_result_can_be_read_again_as_it_was(server):
    nobody = Flight(server.flight)
    nobody.query("CREATE TABLE counted AS SELECT 1 AS n")
    ticket = nobody.info("SELECT n FROM counted ORDER BY n").endpoints[0].ticket
    assert nobody.read(ticket).to_pylist() == [{"n": 1}]
    nobody.query("INSERT INTO counted VALUES (2)")
    for _ in range(2):
        assert nobody.read(ticket).to_pylist() == [{"n": 1}]
    assert nobody.query("SELECT count(*) AS n FROM counted") == [{"n": 2}]
    nobody.query("DROP TABLE counted")


def test_two_cannot_read_one_result_at_the_same_time(server):
    nobody = Flight(server.flight)
    ticket = nobody.info("SELECT value, repeat('x', 1000) FROM range(0, 300000)").endpoints[0].ticket
    reader = nobody.client.do_get(ticket, nobody.options)
    assert reader.read_chunk().data.num_rows > 0
    with pytest.raises(pa.ArrowInvalid, match="being read"):
        nobody.read(ticket)
    read = reader.read_all().num_rows
    assert 0 < read < 300_000
    assert nobody.read(ticket).num_rows == 300_000


def test_a_result_whose_reader_went_away_can_be_read_from_the_start(server):
    nobody, other = Flight(server.flight), Flight(server.flight)
    ticket = nobody.info("SELECT value, repeat('x', 1000) FROM range(0, 300000)").endpoints[0].ticket
    reader = nobody.client.do_get(ticket, nobody.options)
    reader.read_chunk()
    reader.cancel()
    end = time.monotonic() + 10
    while True:
        # The server learns of it by itself.
        try:
            assert other.read(ticket).num_rows == 300_000
            return
        except pa.ArrowInvalid as error:
            assert "being read" in str(error) and time.monotonic() < end


def test_a_cancelled_statement_is_not_run_again(server):
    nobody = Flight(server.flight)
    info = nobody.info("SELECT value FROM range(0, 10)")
    nobody.act("CancelFlightInfo", field(1, info.serialize()))
    with pytest.raises(flight.FlightCancelledError):
        nobody.read(info.endpoints[0].ticket)


def test_a_write_is_done_once_and_tells_its_count_every_time(server):
    nobody = Flight(server.flight)
    nobody.query("CREATE TABLE written(n BIGINT)")
    info = nobody.info("INSERT INTO written SELECT value FROM range(0, 5)")
    assert info.total_records == 5
    for _ in range(3):
        table = nobody.read(info.endpoints[0].ticket)
        assert table.schema.equals(info.schema) and table.to_pylist() == [{"count": 5}]
    assert nobody.query("SELECT count(*) AS n FROM written") == [{"n": 5}]
    nobody.query("DROP TABLE written")


def test_a_result_in_parts_is_read_by_many(guarded):
    with as_user(guarded, "ada") as connection, connection.cursor() as cursor:
        cursor.execute("SET grappe.result_endpoints_max = 4")
        cursor.execute("SET datafusion.execution.target_partitions = 4")
        partitions, schema = cursor.adbc_execute_partitions("SELECT value % 1000 AS k, count(*) AS n FROM range(0, 100000) GROUP BY 1")
        assert len(partitions) == 4
        tables = []
        for partition in partitions:
            with as_user(guarded, "ada") as other, other.cursor() as reader:
                reader.adbc_read_partition(partition)
                tables.append(reader.fetch_arrow_table())
        whole = pa.concat_tables(tables)
        assert whole.schema.equals(schema) and whole.num_rows == 1000 and sum(whole["n"].to_pylist()) == 100_000
        # Order is kept by having one part.
        partitions, _ = cursor.adbc_execute_partitions("SELECT value FROM range(0, 1000) ORDER BY value DESC")
        assert len(partitions) == 1
        with as_user(guarded, "bob") as other, other.cursor() as reader, pytest.raises(adbc_driver_manager.Error, match="another user"):
            reader.adbc_read_partition(partitions[0])


# Cookies.


def test_a_cookie_keeps_a_session_over_connections(server):
    class Jar(flight.ClientMiddlewareFactory):
        cookies = []

        def start_call(self, info):
            return Middleware(self)

    class Middleware(flight.ClientMiddleware):
        def __init__(self, jar):
            self.jar = jar

        def sending_headers(self):
            return {"cookie": self.jar.cookies[-1]} if self.jar.cookies else {}

        def received_headers(self, headers):
            self.jar.cookies += headers.get("set-cookie", [])

    jar = Jar()
    first = Flight(server.flight, middleware=[jar])
    first.query("SET grappe.local_scan_bytes_max = 88")
    assert len(jar.cookies) == 1
    assert first.query("SHOW grappe.local_scan_bytes_max")[0]["value"] == "88"
    first.client.close()
    second = Flight(server.flight, middleware=[jar])
    assert second.query("SHOW grappe.local_scan_bytes_max")[0]["value"] == "88"
    assert Flight(server.flight).query("SHOW grappe.local_scan_bytes_max")[0]["value"] != "88"
