"""What can be told of a statement from its text, and names in SQL."""

from __future__ import annotations

import re

_COMMENTS = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_READS = {"SELECT", "VALUES", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "FROM", "WITH"}
_RELATIONS = {"SELECT", "VALUES", "FROM", "WITH"}
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|INTO)\b", re.IGNORECASE)


def quoted(*names: str | None) -> str:
    """A name in SQL, taken letter by letter; several are its parts."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names if name is not None)


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def only_reads(sql: str) -> bool:
    """Whether a statement surely has no effect, so that it can wait, and can be run again.

    In doubt it has one: EXPLAIN ANALYZE runs what it explains, and WITH can stand before an INSERT.
    """
    word = _first_word(sql)
    if word in {"WITH", "EXPLAIN"}:
        return not _WRITES.search(sql)
    return word in _READS


def is_relation(sql: str) -> bool:
    """Whether a statement can stand in parentheses after FROM."""
    return _first_word(sql) in _RELATIONS and only_reads(sql)


def subquery(sql: str, name: str = "q") -> str:
    """A statement as it stands after FROM; the new line ends a comment at its end."""
    return f"({sql.rstrip().rstrip(';')}\n) AS {quoted(name)}"


def _first_word(sql: str) -> str:
    at = 0
    while (skipped := _COMMENTS.match(sql, at)) or sql.startswith("(", at):
        at = skipped.end() if skipped else at + 1
    word = _WORD.match(sql, at)
    return word[0].upper() if word else ""
