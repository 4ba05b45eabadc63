"""Which of several coordinators answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grappe._version import __version__
from grappe.driver import Driver
from grappe.errors import Error, UnavailableError, VersionMismatchError

if TYPE_CHECKING:
    from grappe.address import Address
    from grappe.options import Options


def first_to_answer(addresses: Sequence[Address], options: Options, seconds_max: float | None = None) -> Driver:
    """A connection to the first of them that is there, and no standby. Each gets `seconds_max` to answer.

    Raises the `UnavailableError` of the one that was asked, or of all; and `VersionMismatchError`, `DeniedError` and
    `Error` of the first that answers otherwise.
    """
    refusals: list[UnavailableError] = []
    for address in addresses:
        try:
            return _connected(address, options, seconds_max)
        except UnavailableError as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise UnavailableError("none of the coordinators answers: " + "; ".join(map(str, refusals))) from refusals[-1]


def _connected(address: Address, options: Options, seconds_max: float | None) -> Driver:
    driver = Driver(address, options, seconds_max)
    try:
        name, version = driver.server(seconds_max)
        if name != "Grappe":
            raise Error(f'cannot connect to {address.url}: what is there is no Grappe server (it says "{name}")')
        check_versions(__version__, version)
    except BaseException:
        driver.abandon()
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
