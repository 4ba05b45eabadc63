"""`grappe.connect`: to a server that runs, or to one of one's own."""

from __future__ import annotations

import os

from grappe._version import __version__
from grappe.address import Address, address
from grappe.client import Client
from grappe.driver import Driver
from grappe.embedded import EmbeddedServer
from grappe.errors import Error, InvalidError, VersionMismatchError
from grappe.options import Options

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
    options: Options | None = None,
) -> Client:
    """A client of the server at `url`: `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`.

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
    if url is None:
        return _embedded(user, password, token, tls_ca, binary, data_dir, memory, dashboard_url, progress, options)
    if binary is not None or data_dir is not None or memory is not None:
        raise InvalidError("binary, data_dir and memory are for a server of one's own; leave out the URL, or them")
    there = address(url, user, password, token, tls_ca, tls_skip_verify)
    return Client(_driver(there, options), None, dashboard_url, progress, options)


def _embedded(
    user: str | None, password: str | None, token: str | None, tls_ca: str | os.PathLike[str] | None,
    binary: str | os.PathLike[str] | None, data_dir: str | os.PathLike[str] | None, memory: str | None,
    dashboard_url: str | None, progress: bool | None, options: Options,
) -> Client:
    server = EmbeddedServer(binary, os.fspath(data_dir or IN_MEMORY), memory, options)
    try:
        there = address(server.url, user, password, token, tls_ca, False)
        return Client(_driver(there, options), server, dashboard_url, progress, options)
    except BaseException:
        server.stop()
        raise


def _driver(there: Address, options: Options) -> Driver:
    driver = Driver(there, options)
    try:
        name, version = driver.server()
        if name != "Grappe":
            raise Error(f'cannot connect to {there.url}: what is there is no Grappe server (it says "{name}")')
        check_versions(__version__, version)
    except BaseException:
        driver.close()
        raise
    return driver


def check_versions(package: str, server: str) -> None:
    """Package and server fit if the first two numbers of their versions are the same.

    Raises `VersionMismatchError`, which names both.
    """
    if package.split(".")[:2] != server.split(".")[:2]:
        series = ".".join(server.split(".")[:2])
        raise VersionMismatchError(
            f"the package grappe is version {package}, the server is version {server}; "
            f'install the package of the server: pip install "grappe=={series}.*", or another server'
        )
