"""Waiting for a call that blocks, so that an interrupt gets through and progress can be shown."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

TICK_SECONDS = 0.1


class _Call(threading.Thread, Generic[T]):
    """A call on a thread of its own. It is a daemon: a server that never answers does not keep the program alive."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(daemon=True, name="grappe-call")
        self._function = function
        self._value: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._value.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]


def wait_for(
    function: Callable[[], T],
    *,
    on_interrupt: Callable[[], object] | None = None,
    on_tick: Callable[[], object] | None = None,
    seconds_max: float | None = None,
    stop_seconds_max: float = 10.0,
) -> T:
    """The value of `function()`, or its error.

    When this thread is interrupted, `on_interrupt` is called, the call gets `stop_seconds_max` to return, and the
    interrupt is raised. `on_tick` is called every tenth of a second. Raises `TimeoutError` after `seconds_max`.
    """
    call = _Call(function)
    call.start()
    try:
        _wait(call.done, on_tick, seconds_max)
    except BaseException:
        if on_interrupt is not None:
            on_interrupt()
            call.done.wait(stop_seconds_max)
        raise
    return call.outcome()


def _wait(done: threading.Event, on_tick: Callable[[], object] | None, seconds_max: float | None) -> None:
    if on_tick is None:
        if not done.wait(seconds_max):
            raise TimeoutError
        return
    while not done.wait(TICK_SECONDS):
        on_tick()
