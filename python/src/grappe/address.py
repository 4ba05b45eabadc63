"""Where a server is, and what is said to it on connecting."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from grappe.errors import InvalidError, NotFoundError

PORT = 7470
SCHEMES = {"grpc": "grpc", "grpc+tcp": "grpc", "grpc+tls": "grpc+tls", "grappe": "grpc", "grappe+tls": "grpc+tls"}


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


def address(
    url: str, user: str | None, password: str | None, token: str | None, tls_ca: str | os.PathLike[str] | None,
    tls_skip_verify: bool,
) -> Address:
    """Reads a URL: `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`, with `USER:PASSWORD@` before the host if wanted.

    A user without a password has that of `GRAPPE_PASSWORD`. Raises `InvalidError` for any other URL, and for a token
    beside a user.
    """
    form = "use grpc://HOST:PORT or grpc+tls://HOST:PORT"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError as error:
        raise InvalidError(f'"{_without_secrets(url)}" is not the URL of a server ({error}); {form}') from None
    if parts.scheme not in SCHEMES or not host or parts.path.strip("/") or parts.query:
        raise InvalidError(f'"{_without_secrets(url)}" is not the URL of a server; {form}')
    user = user if user is not None else (unquote(parts.username) if parts.username else None)
    if password is None:
        password = unquote(parts.password) if parts.password else os.environ.get("GRAPPE_PASSWORD")
    if token is not None and user is not None:
        raise InvalidError("a user and a token were given; use one of them")
    host = f"[{host}]" if ":" in host else host
    clean = f"{SCHEMES[parts.scheme]}://{host}:{port}"
    return Address(clean, user, password, token, None if tls_ca is None else os.fspath(tls_ca), tls_skip_verify)


def _certificates(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise NotFoundError(f'the certificates for TLS cannot be read from "{path}": {error.strerror}') from error


def _without_secrets(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else url
