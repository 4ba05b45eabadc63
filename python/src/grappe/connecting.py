"""`grappe.connect`: to a server that runs, or to one of one's own."""

from __future__ import annotations

import os
from dataclasses import replace

from grappe.address import target
from grappe.client import Client
from grappe.embedded import EmbeddedServer
from grappe.errors import InvalidError
from grappe.options import Options
from grappe.session import Session

IN_MEMORY = ":memory:"


def connect(
    url: str | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_skip_verify: bool = False,
    binary: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    memory: str | None = None,
    dashboard_url: str | None = None,
    progress: bool | None = None,
    retry_seconds_max: float | None = None,
    options: Options | None = None,
) -> Client:
    """A client of the server at `url`: `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`.

    Of several coordinators, `grpc://HOST:PORT,HOST:PORT`, the first that answers and is no standby is taken, now and when
    it is lost. `retry_seconds_max`, or `?retry_seconds_max=SECONDS` in the URL, is how long statements that only read are
    run again then: 60 by default, 0 for not at all.

    Without a URL the program `grappe` is started as a server of this process alone, and ends with it: `binary` is its
    path if it is not on PATH, `data_dir` the directory of tables that shall last (else they go with the server), and
    `memory` what its queries may hold, such as "4GB".

    `user` and `password` (or GRAPPE_PASSWORD), or a `token`, say who you are. `tls_ca` is a PEM file of certificates to
    trust. `dashboard_url` is where links to queries go. `progress` shows a bar for what takes long: by default in a
    terminal and in a notebook.

    Raises `BinaryNotFoundError`, `VersionMismatchError`, `UnavailableError` if nobody answers, `DeniedError`, and
    `InvalidError` for arguments that do not fit together.
    """
    options = options or Options()
    if retry_seconds_max is not None:
        options = replace(options, retry_seconds_max=float(retry_seconds_max))
    if url is None:
        return _embedded(user, password, token, tls_ca, binary, data_dir, memory, dashboard_url, progress, options)
    if binary is not None or data_dir is not None or memory is not None:
        raise InvalidError("binary, data_dir and memory are for a server of one's own; leave out the URL, or them")
    there = target(url, user, password, token, tls_ca, tls_skip_verify)
    if retry_seconds_max is None and there.retry_seconds_max is not None:
        options = replace(options, retry_seconds_max=there.retry_seconds_max)
    return Client(Session(there.addresses, options), None, dashboard_url, progress, options)


def _embedded(
    user: str | None, password: str | None, token: str | None, tls_ca: str | os.PathLike[str] | None,
    binary: str | os.PathLike[str] | None, data_dir: str | os.PathLike[str] | None, memory: str | None,
    dashboard_url: str | None, progress: bool | None, options: Options,
) -> Client:
    server = EmbeddedServer(binary, os.fspath(data_dir or IN_MEMORY), memory, options)
    try:
        there = target(server.url, user, password, token, tls_ca, False)
        # Nobody starts it again.
        session = Session(there.addresses, options, has_ended=server.has_ended)
        return Client(session, server, dashboard_url, progress, options)
    except BaseException:
        server.stop()
        raise
