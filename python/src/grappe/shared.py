"""A thing that several threads use, and that is closed when none of them does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from grappe.errors import UnavailableError

T = TypeVar("T")


class Shared(Generic[T]):
    """Counts those who use it. The Go driver of ADBC panics where a connection is closed that somebody uses."""

    def __init__(self, value: T, close: Callable[[], object]) -> None:
        self._value = value
        self._close = close
        self._users = 0
        self._is_left = False
        # One thread can come twice: what the garbage collector finds uses it as well.
        self._lock = threading.RLock()

    @contextmanager
    def used(self) -> Iterator[T]:
        """The thing, which stays as long. Raises `UnavailableError` when it is to be closed."""
        with self._lock:
            if self._is_left:
                raise UnavailableError("this connection has ended")
            self._users += 1
        try:
            yield self._value
        finally:
            with self._lock:
                self._users -= 1
                is_last = self._is_left and not self._users
            if is_last:
                self._close_aside()

    def close(self) -> None:
        """Closes it: now, or when those who use it have done."""
        if self._leave():
            self._close()

    def abandon(self) -> None:
        """As `close`, and waits for nothing."""
        if self._leave():
            self._close_aside()

    def _leave(self) -> bool:
        """Whether nobody uses it any more, and nobody has closed it."""
        with self._lock:
            was_left, self._is_left = self._is_left, True
            return not was_left and not self._users

    def _close_aside(self) -> None:
        try:
            threading.Thread(target=self._close, daemon=True, name="grappe-close").start()
        except RuntimeError:
            pass  # The program ends, and the thing with it.
