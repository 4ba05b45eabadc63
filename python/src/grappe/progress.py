"""A bar that shows how far a call is, in a terminal and in a notebook, once it takes a while."""

from __future__ import annotations

import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grappe.driver import Described
    from grappe.options import Options

OBSERVE_SECONDS = 1.0
"""How often the server is asked how far a query is."""

_FORMAT_KNOWN = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}{postfix}"
_FORMAT_UNKNOWN = "{desc}: {elapsed}{postfix}"


class Progress:
    """Nothing at first, a bar after `Options.progress_after_seconds`, nothing again after `close`."""

    def __init__(self, title: str, options: Options, *, enabled: bool, total: int | None = None, noun: str = "rows") -> None:
        """`total` is of what `advance` counts, if that is known beforehand."""
        self._title = title
        self._after = time.monotonic() + options.progress_after_seconds
        self._enabled = enabled
        self._total = total
        self._noun = noun
        self._done = 0
        self._observed = 0.0
        self._bar: Any = None

    def advance(self, count: int) -> None:
        """`count` more of them are done."""
        self.count(count)
        self.tick()

    def count(self, count: int) -> None:
        """Notes that `count` more are done, from any thread; the next tick shows it."""
        self._done += count

    def tick(self, described: Described | None = None) -> None:
        """Shows the present state."""
        if not self._enabled or time.monotonic() < self._after:
            return
        share, notes = self._state(described)
        if self._bar is None:
            self._bar = _new_bar(self._title, share is not None)
        if share is not None:
            self._bar.bar_format = _FORMAT_KNOWN
            self._bar.n = round(min(share, 1.0), 3)
        self._bar.set_postfix_str(notes, refresh=False)
        self._bar.refresh()

    @property
    def is_due(self) -> bool:
        """Whether somebody sees the bar, and its state is older than a second."""
        if not self._enabled or time.monotonic() < self._after:
            return False
        is_old = time.monotonic() - self._observed >= OBSERVE_SECONDS
        self._observed = time.monotonic() if is_old else self._observed
        return is_old

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state(self, described: Described | None) -> tuple[float | None, str]:
        """The share that is done, if it is known, and what else is known."""
        known = f"{self._done:,} of {self._total:,}" if self._total else f"{self._done:,}"
        notes = [f"{known} {self._noun}"] if self._done else []
        if self._total:
            return self._done / self._total, ", ".join(notes)
        if described is None:
            return None, ", ".join(notes)
        if described.rows_scanned:
            notes.append(f"{described.rows_scanned:,} rows scanned")
        if described.tasks_total:
            notes.append(f"{described.tasks_done} of {described.tasks_total} tasks")
            return max(described.fraction, described.tasks_done / described.tasks_total), ", ".join(notes)
        return described.fraction or None, ", ".join(notes)


def is_wanted(asked: bool | None) -> bool:
    """What the caller said; if nothing, whether somebody is there to see it: a terminal or a notebook."""
    if asked is not None:
        return asked
    return sys.stderr is not None and sys.stderr.isatty() or in_notebook()


def in_notebook() -> bool:
    """Whether this runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def _new_bar(title: str, share_is_known: bool) -> Any:
    with warnings.catch_warnings():
        # Without ipywidgets a notebook has the bar as text, which is fine.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    form = _FORMAT_KNOWN if share_is_known else _FORMAT_UNKNOWN
    return tqdm(desc=title, total=1.0, leave=False, bar_format=form, file=sys.stderr)
