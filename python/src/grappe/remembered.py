"""What a session has that another connection does not: settings, and temporary tables and views."""

from __future__ import annotations

import re

from grappe import statements
from grappe.statements import quoted


class Remembered:
    """Notes what statements leave behind in a session. Not for several threads at once."""

    def __init__(self) -> None:
        self._settings: dict[str, str] = {}
        self._temporary: set[str] = set()
        self._lost: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Whether another connection would be as good."""
        return not self._settings and not self._temporary

    def statement(self, sql: str) -> None:
        """Notes a statement that has run."""
        if (setting := statements.setting(sql)) is not None:
            # By its last place: two names can be of one setting.
            self._settings.pop(setting, None)
            self._settings[setting] = sql
        elif (made := statements.created(sql)) is not None:
            self.table(made.name, is_temporary=made.is_temporary)
        elif (name := statements.dropped(sql)) is not None:
            self._temporary.discard(name)

    def table(self, name: str, *, is_temporary: bool) -> None:
        """Notes a table or view that was made."""
        self._lost.discard(name)
        if is_temporary:
            self._temporary.add(name)

    def settings(self) -> list[tuple[str, str]]:
        """The settings by name, each with the statement that makes it, in their order."""
        return list(self._settings.items())

    def forget_setting(self, name: str) -> None:
        """Forgets one that cannot be made any more."""
        self._settings.pop(name, None)

    def session_was_lost(self) -> None:
        """Temporary tables went with it."""
        self._lost |= self._temporary
        self._temporary.clear()

    def lost_in(self, sql: str) -> list[str]:
        """The temporary tables that went with a session and may be meant in a statement."""
        if not self._lost:
            return []
        made = statements.created(sql)
        text = sql if made is None else sql[made.end :]
        return sorted(name for name in self._lost if _is_named(name, text))


def leaves_something(sql: str) -> bool:
    """Whether a statement leaves something behind in the session."""
    made = statements.created(sql)
    return statements.setting(sql) is not None or (made is not None and made.is_temporary)


def _is_named(name: str, sql: str) -> bool:
    inside = re.escape(quoted(name)[1:-1])
    return re.search(rf"(?<!\w){inside}(?!\w)", sql, re.IGNORECASE) is not None
