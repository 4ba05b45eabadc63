"""A server with users, and what an administrator sets for them: for the tests in this folder."""

import contextlib

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pytest

from lake import rows
from servers import Server

PASSWORD = "vine"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$ESaXi9xlDOyjwzKr8oXlXQ$N/kxpwyylVYauCkwDuJ493fCukoM4ZFaJ0Iimlz6jZI"
USERS = "".join(f"{user} = '{HASH}'\n" for user in ["root", "ana", "bob", "eve", "max"])
SETTINGS = f"""
[server]
admins = ["root"]
[server.groups]
etl = ["ana", "bob"]
[server.users]
{USERS}
"""

EXHAUSTED, DENIED, INVALID = "(ResourceExhausted;", "(PermissionDenied;", "(InvalidArgument;"


def server_with_users(folder):
    """Root may set things for others, ana and bob are a group, eve and max are not."""
    (folder / "grappe.toml").write_text(SETTINGS)
    server = Server(folder / "data", "--config", str(folder / "grappe.toml"), "--pg-port", "0", "--memory", "1GB")
    yield server
    assert server.stop() == 0


@contextlib.contextmanager
def as_user(server, user):
    credentials = {"username": user, "password": PASSWORD}
    with flightsql.connect(server.flight, db_kwargs=credentials, autocommit=True) as connection:
        with connection.cursor() as cursor:
            yield cursor


@contextlib.contextmanager
def altered(server, scope, **limits):
    """Limits that hold for others as long as the block runs."""
    with as_user(server, "root") as root:
        for limit, value in limits.items():
            rows(root, f"ALTER {scope} SET grappe.{limit} = {value}")
        try:
            yield root
        finally:
            rows(root, f"ALTER {scope} RESET ALL")


def refusal(cursor, sql):
    """What the error says that the statement must end with."""
    with pytest.raises(adbc_driver_manager.Error) as refused:
        rows(cursor, sql)
    return str(refused.value)
