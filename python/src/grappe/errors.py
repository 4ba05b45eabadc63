"""What can go wrong, by what there is to do about it; and the one translation of the driver's errors.

The kinds are those of the server. `UnavailableError` is the one that can be tried again as it is.
"""

from __future__ import annotations

import re

POSITION_KEY = "grappe-error-position"


class Error(Exception):
    """Base of all errors of this package."""


class InvalidError(Error, ValueError):
    """The statement or an argument is wrong: change it.

    `position` is the line and column in the SQL text, both from 1, where the server named one.
    """

    position: tuple[int, int] | None = None


class NotFoundError(Error, LookupError):
    """A table, a file or something else that was named is not there."""


class AlreadyExistsError(Error):
    """There is one of that name already."""


class DeniedError(Error, PermissionError):
    """The server does not know who this is, or they may not do it."""


class UnavailableError(Error, ConnectionError):
    """The server cannot be reached, or lost what it needed on the way: the same call may work again."""


class ExhaustedError(Error):
    """A limit of the server was met; the message names it."""


class CancelledError(Error):
    """The query was stopped, by this client or by another."""


class InternalError(Error):
    """A fault of the server's."""


class BinaryNotFoundError(NotFoundError, FileNotFoundError):
    """The program `grappe`, which an embedded server is, was not found."""


class VersionMismatchError(Error):
    """The package and the server do not fit together; the message has both versions."""


class UnsupportedTypeError(InvalidError, TypeError):
    """A column cannot be sent to the server.

    `column` is its name.
    """

    column: str = ""


# Codes of gRPC, which the driver gives as a number for a call and by name for a stream.
_BY_CODE: dict[int, type[Error]] = {
    1: CancelledError,
    3: InvalidError,
    4: UnavailableError,
    5: NotFoundError,
    6: AlreadyExistsError,
    7: DeniedError,
    8: ExhaustedError,
    9: InvalidError,
    12: InvalidError,
    13: InternalError,
    14: UnavailableError,
    16: DeniedError,
}
# As Go writes them; C++ writes INVALID_ARGUMENT.
_CODE_OF_NAME = {
    "Canceled": 1,
    "InvalidArgument": 3,
    "DeadlineExceeded": 4,
    "NotFound": 5,
    "AlreadyExists": 6,
    "PermissionDenied": 7,
    "ResourceExhausted": 8,
    "FailedPrecondition": 9,
    "Unimplemented": 12,
    "Internal": 13,
    "Unavailable": 14,
    "Unauthenticated": 16,
}
# What the client's side finds out by itself has a status of ADBC's only, or a class of Arrow Flight's.
_BY_STATUS: dict[str, type[Error]] = {
    "FlightCancelledError": CancelledError,
    "FlightTimedOutError": UnavailableError,
    "FlightUnauthenticatedError": DeniedError,
    "FlightUnauthorizedError": DeniedError,
    "FlightUnavailableError": UnavailableError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "CANCELLED": CancelledError,
    "INVALID_ARGUMENT": InvalidError,
    "NOT_FOUND": NotFoundError,
    "NOT_IMPLEMENTED": InvalidError,
    "UNAUTHENTICATED": DeniedError,
    "UNAUTHORIZED": DeniedError,
}
# What a coordinator says that was started again, of what the one before it gave out.
_GIVEN_BY_ANOTHER = (
    "the ticket was not made by this server",
    "the token is unknown or has expired",
    "the prepared statement is unknown",
)
# What the driver says when a connection breaks while it says who it is.
_BROKEN = "Could not finish writing before closing"
_FLIGHT_ERROR = re.compile(
    r"^Flight .*?, with message: (.*?)\. (?:gRPC client debug context: ([A-Z_]+):.*)?(?:Client context: .*)?$", re.DOTALL
)
_CALL_ERROR = re.compile(
    r"^[A-Z_]+: (?:\[FlightSQL\] )?(.*?)(?: \((\w+); [^()]*(?:\[\])?\))?(?:\. Vendor code: \d+)?$", re.DOTALL
)


def of_driver(error: BaseException) -> Error:
    """The error of ours that says what an error of the driver's means."""
    text = str(error)
    code = getattr(error, "vendor_code", None)
    if in_stream := _FLIGHT_ERROR.search(text):
        name = (in_stream[2] or "").replace("_", "").lower().replace("cancelled", "canceled")
        text = in_stream[1]
        code = next((number for known, number in _CODE_OF_NAME.items() if known.lower() == name), None)
    elif in_call := _CALL_ERROR.match(text):
        code, text = code or _CODE_OF_NAME.get(in_call[2] or ""), in_call[1]
    status = getattr(getattr(error, "status_code", None), "name", type(error).__name__)
    kind = _BY_CODE.get(code or 0) or _BY_STATUS.get(status) or (UnavailableError if _BROKEN in text else None)
    translated = (kind or InternalError)(text)
    if isinstance(translated, InvalidError):
        translated.position = _position(error)
    return translated


def is_standby(error: Error) -> bool:
    """Whether a coordinator says that it only stands by for another one."""
    return isinstance(error, UnavailableError) and "standby" in str(error)


def is_of_another_start(error: Error) -> bool:
    """Whether a coordinator does not know what the one at its address gave out before it was started again."""
    return any(text in str(error) for text in _GIVEN_BY_ANOTHER)


def unsupported(column: str, reason: str) -> UnsupportedTypeError:
    """The error for a column that cannot be sent."""
    error = UnsupportedTypeError(f'column "{column}" cannot be sent: {reason}')
    error.column = column
    return error


def _position(error: BaseException) -> tuple[int, int] | None:
    for key, value in getattr(error, "details", None) or []:
        name = key.decode() if isinstance(key, bytes) else key
        text = value.decode() if isinstance(value, bytes) else str(value)
        if name == POSITION_KEY and (found := re.fullmatch(r"(\d+):(\d+)", text)):
            return int(found[1]), int(found[2])
    return None
