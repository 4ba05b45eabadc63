"""Running a call again that may work the next time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from grappe.errors import UnavailableError

if TYPE_CHECKING:
    from grappe.options import Options

T = TypeVar("T")


def with_retries(function: Callable[[], T], options: Options, *, may_repeat: bool) -> T:
    """The value of `function()`; after an `UnavailableError` it is called again, if it may be.

    Raises its last error when `Options.read_retries_max` further calls failed that way too.
    """
    pause = options.retry_seconds_first
    for _ in range(options.read_retries_max if may_repeat else 0):
        try:
            return function()
        except UnavailableError:
            time.sleep(pause)
            pause *= 2
    return function()
