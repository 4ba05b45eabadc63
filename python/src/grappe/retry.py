"""How long, and with which pauses, a call is run again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from grappe.errors import CancelledError, Error, UnavailableError
from grappe.preview import shortened

if TYPE_CHECKING:
    from grappe.options import Options


# What a coordinator gets at least, to answer.
ANSWER_SECONDS_MIN = 1.0


class Retries:
    """The runs of one call: the limit counts from the first that failed."""

    def __init__(self, options: Options, stopped: threading.Event) -> None:
        """`stopped` ends a pause, and all further ones."""
        self._options = options
        self._stopped = stopped
        self._pause = options.retry_pause_seconds_first
        self._failed_at: float | None = None
        self._count = 0

    @property
    def seconds_left(self) -> float:
        """How long a coordinator may take to answer; not far beyond the limit."""
        if self._failed_at is None:
            return self._options.connect_seconds_max
        left = self._failed_at + self._options.retry_seconds_max - time.monotonic()
        return min(self._options.connect_seconds_max, max(left, ANSWER_SECONDS_MIN))

    def again(self) -> bool:
        """After a failure: whether there is another run, when the pause before it is over."""
        now = time.monotonic()
        self._failed_at = now if self._failed_at is None else self._failed_at
        left = self._failed_at + self._options.retry_seconds_max - now
        if left <= 0 or self._stopped.wait(min(self._pause, left)):
            return False
        self._pause = min(self._pause * 2, self._options.retry_pause_seconds_max)
        self._count += 1
        return True

    def last(self, error: UnavailableError, text: str) -> Error:
        """What to raise for the last error: it says what was tried, and for how long."""
        if self._stopped.is_set():
            return CancelledError("the query was cancelled while its coordinator was looked for")
        if self._failed_at is None or not self._count:
            return error
        times = "once" if self._count == 1 else f"{self._count} times"
        seconds = time.monotonic() - self._failed_at
        what = f": {shortened(text)}" if text else ""
        return UnavailableError(f"{error}; it was tried again {times} in {seconds:.1f} s (retry_seconds_max){what}")
