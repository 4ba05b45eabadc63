"""Who may ask: users, tokens and TLS."""

import pytest
import trustme
from pyarrow import flight

import grappe
from servers import PASSWORD, Server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, settings):
    server = Server(tmp_path_factory.mktemp("guarded"), "--config", str(settings))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, and the files of a certificate of its."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = authority.issue_cert("127.0.0.1", "localhost")
    made.private_key_pem.write_to_path(folder / "key.pem")
    for pem in made.cert_chain_pems:
        pem.write_to_path(folder / "certificate.pem", append=True)
    return folder


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, settings, authority):
    files = ["--tls-certificate", str(authority / "certificate.pem"), "--tls-key", str(authority / "key.pem")]
    server = Server(tmp_path_factory.mktemp("encrypted"), "--config", str(settings), *files)
    yield server
    assert server.stop() == 0


def who(client):
    return list(client.sql("SELECT user_name FROM system.queries ORDER BY started DESC LIMIT 1"))


def test_a_user_with_a_password_is_let_in(guarded, monkeypatch):
    with grappe.connect(guarded.url, user="ada", password=PASSWORD) as client:
        assert who(client) == [("ada",)]
    monkeypatch.setenv("GRAPPE_PASSWORD", PASSWORD)
    with grappe.connect(guarded.url, user="ada") as client:
        assert who(client) == [("ada",)]


def test_user_and_password_may_stand_in_the_url(guarded):
    from urllib.parse import quote

    with grappe.connect(guarded.url.replace("://", f"://ada:{quote(PASSWORD, safe='')}@")) as client:
        assert who(client) == [("ada",)]
        assert "lovelace" not in repr(client)


def test_a_token_is_enough(guarded):
    plain = flight.connect(guarded.url.replace("grpc://", "grpc+tcp://"))
    _, header = plain.authenticate_basic_token("ada", PASSWORD)
    with grappe.connect(guarded.url, token=header.decode().removeprefix("Bearer ")) as client:
        assert who(client) == [("ada",)]


@pytest.mark.parametrize("arguments", [{}, {"user": "ada", "password": "wrong"}, {"user": "eve", "password": "x"}, {"token": "x"}])
def test_nobody_else_is(guarded, arguments):
    with pytest.raises(grappe.DeniedError, match="cannot connect to grpc://"):
        grappe.connect(guarded.url, **arguments)


def test_tls_trusts_what_it_is_told_to_and_nothing_else(encrypted, authority):
    login = {"user": "ada", "password": PASSWORD}
    assert encrypted.url.startswith("grpc+tls://")
    with grappe.connect(encrypted.url, tls_ca=authority / "ca.pem", **login) as client:
        assert who(client) == [("ada",)]
    with grappe.connect(encrypted.url, tls_skip_verify=True, **login) as client:
        assert who(client) == [("ada",)]
    with pytest.raises(grappe.UnavailableError, match="certificate"):
        grappe.connect(encrypted.url, **login)
    with pytest.raises(grappe.UnavailableError, match="cannot connect"):
        grappe.connect(encrypted.url.replace("+tls", ""), **login)
