"""Where a server is, and what is said to it on connecting."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from grappe.errors import InvalidError, NotFoundError

PORT = 7470
OPTION = "retry_seconds_max"
SCHEMES = {"grpc": "grpc", "grpc+tcp": "grpc", "grpc+tls": "grpc+tls", "grappe": "grpc", "grappe+tls": "grpc+tls"}
_URL = re.compile(
    r"(?P<scheme>[A-Za-z+]+)://(?:(?P<user>[^:/]*)(?::(?P<password>[^/]*))?@)?(?P<hosts>[^/?#@]+)/*(?:\?(?P<query>.*))?"
)


@dataclass(frozen=True)
class Address:
    """A URL without secrets, and the secrets."""

    url: str
    user: str | None = None
    password: str | None = None
    token: str | None = None
    tls_ca: str | None = None
    tls_skip_verify: bool = False

    def driver_options(self) -> dict[str, str]:
        """What the ADBC driver wants to know.

        Raises `NotFoundError` if there is no file `tls_ca`.
        """
        options: dict[str, str] = {}
        if self.user is not None:
            options["username"], options["password"] = self.user, self.password or ""
        if self.token is not None:
            options["adbc.flight.sql.authorization_header"] = f"Bearer {self.token}"
        if self.tls_ca is not None:
            options["adbc.flight.sql.client_option.tls_root_certs"] = _certificates(self.tls_ca)
        if self.tls_skip_verify:
            options["adbc.flight.sql.client_option.tls_skip_verify"] = "true"
        return options

    def flight_options(self) -> dict[str, Any]:
        """What `pyarrow.flight.connect` wants to know.

        Raises `NotFoundError` if there is no file `tls_ca`.
        """
        options: dict[str, Any] = {}
        if self.tls_ca is not None:
            options["tls_root_certs"] = _certificates(self.tls_ca)
        if self.tls_skip_verify:
            options["disable_server_verification"] = True
        return options


@dataclass(frozen=True)
class Target:
    """What a URL says: one address or several, of which the first that answers is taken."""

    addresses: tuple[Address, ...]
    retry_seconds_max: float | None = None
    """As it stands in the URL; None if it does not."""


def target(
    url: str, user: str | None, password: str | None, token: str | None, tls_ca: str | os.PathLike[str] | None,
    tls_skip_verify: bool,
) -> Target:
    """Reads a URL: `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`, with `USER:PASSWORD@` before the host if wanted.

    More `HOST:PORT` may follow after commas, and `?retry_seconds_max=SECONDS` at the end. A user without a password has
    that of `GRAPPE_PASSWORD`. Raises `InvalidError` for any other URL, and for a token beside a user.
    """
    parts = _URL.fullmatch(url)
    scheme = SCHEMES.get(parts["scheme"].lower()) if parts else None
    if parts is None or scheme is None:
        raise _not_a_url(url)
    user = user if user is not None else (unquote(parts["user"]) if parts["user"] else None)
    if password is None:
        password = unquote(parts["password"]) if parts["password"] else os.environ.get("GRAPPE_PASSWORD")
    if token is not None and user is not None:
        raise InvalidError("a user and a token were given; use one of them")
    trusted = None if tls_ca is None else os.fspath(tls_ca)
    return Target(
        tuple(
            Address(f"{scheme}://{_host_and_port(host.strip(), url)}", user, password, token, trusted, tls_skip_verify)
            for host in parts["hosts"].split(",")
        ),
        _retry_seconds_max(parts["query"], url),
    )


def _host_and_port(text: str, url: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise _not_a_url(url, str(error)) from None
    if not host:
        raise _not_a_url(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _retry_seconds_max(query: str | None, url: str) -> float | None:
    """The one option that a URL may have."""
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != OPTION:
        raise _not_a_url(url, f'its only option is {OPTION}, not "{name}"')
    try:
        seconds = float(value)
    except ValueError:
        raise _not_a_url(url, f'{OPTION} is "{value}", which is no number') from None
    if not seconds >= 0:
        raise _not_a_url(url, f"{OPTION} is {value}, but cannot be below zero")
    return seconds


def _not_a_url(url: str, why: str | None = None) -> InvalidError:
    form = "use grpc://HOST:PORT or grpc+tls://HOST:PORT; more HOST:PORT may follow after commas"
    reason = f" ({why})" if why else ""
    return InvalidError(f'"{_without_secrets(url)}" is not the URL of a server{reason}; {form}')


def _certificates(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise NotFoundError(f'the certificates for TLS cannot be read from "{path}": {error.strerror}') from error


def _without_secrets(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else url
