"""What can be told of a statement from its text, and names in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Comments may stand in comments.
_BLANK = re.compile(r"\s+|--[^\n]*(?:\n|$)")
_COMMENT_ENDS = re.compile(r"/\*|\*/")
# Where text begins that is no SQL: comments, literals, names in quotes.
_HIDDEN = re.compile(
    r"""--[^\n]*|/\*|\bE'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$""", re.DOTALL | re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z]+")
_READS = {"SELECT", "VALUES", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "FROM", "WITH", "TABLE"}
_RELATIONS = {"SELECT", "VALUES", "FROM", "WITH"}
# SELECT ... INTO makes a table.
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE|MERGE|INTO)\b", re.IGNORECASE)
_NAME = r"""(?:"(?:[^"]|"")+"|\w+)"""
_NAMES = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_SETTING = re.compile(rf"(?:SET|RESET)\s+(TIME\s+ZONE|{_NAMES})", re.IGNORECASE)
_CREATE = re.compile(
    rf"CREATE\s+(?:OR\s+REPLACE\s+)?(TEMP(?:ORARY)?\s+)?(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?({_NAMES})",
    re.IGNORECASE,
)
_DROP = re.compile(rf"DROP\s+(?:TABLE|VIEW)\s+(?:IF\s+EXISTS\s+)?({_NAMES})", re.IGNORECASE)

TEMPORARY_SCHEMA = "temp"


@dataclass(frozen=True)
class Created:
    """A table or view that a statement makes."""

    name: str
    is_temporary: bool
    end: int
    """Where the statement goes on after the name."""


def quoted(*names: str | None) -> str:
    """A name in SQL, taken letter by letter; several are its parts."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names if name is not None)


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def only_reads(sql: str) -> bool:
    """Whether a statement surely has no effect, so that it can wait, and can be run again.

    In doubt it has one: EXPLAIN ANALYZE runs what it explains, WITH can stand before an INSERT, and SELECT before INTO.
    """
    return _first_word(sql) in _READS and not _WRITES.search(_bare(sql))


def setting(sql: str) -> str | None:
    """The setting of the session that a statement makes, or takes back."""
    found = _SETTING.match(sql, _start(sql))
    return "".join(found[1].lower().split()) if found else None


def created(sql: str) -> Created | None:
    """The table or view that a statement makes."""
    found = _CREATE.match(sql, _start(sql))
    if found is None:
        return None
    schema, name = _parts(found[2])
    return Created(name, found[1] is not None or schema == TEMPORARY_SCHEMA, found.end())


def dropped(sql: str) -> str | None:
    """The table or view that a statement drops, if it can be a temporary one."""
    found = _DROP.match(sql, _start(sql))
    schema, name = _parts(found[1]) if found else (None, None)
    return name if schema in (None, TEMPORARY_SCHEMA) else None


def is_relation(sql: str) -> bool:
    """Whether a statement can stand in parentheses after FROM."""
    return _first_word(sql) in _RELATIONS and only_reads(sql)


def subquery(sql: str, name: str = "q") -> str:
    """A statement as it stands after FROM; the new line ends a comment at its end."""
    return f"({sql.rstrip().rstrip(';')}\n) AS {quoted(name)}"


def _parts(names: str) -> tuple[str | None, str]:
    """The schema, if there is one, and the name at the end, letter by letter."""
    parts = [
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower() for part in re.findall(_NAME, names)
    ]
    return parts[-2] if len(parts) > 1 else None, parts[-1]


def _first_word(sql: str) -> str:
    word = _WORD.match(sql, _start(sql))
    return word[0].upper() if word else ""


def _start(sql: str) -> int:
    """Where a statement begins, after blanks, comments and parentheses."""
    at = 0
    while at < len(sql):
        if blank := _BLANK.match(sql, at):
            at = blank.end()
        elif sql.startswith("/*", at):
            at = _comment_end(sql, at)
        elif sql[at] == "(":
            at += 1
        else:
            break
    return at


def _bare(sql: str) -> str:
    """A statement without its comments, its literals and its names in quotes."""
    kept, at = [], 0
    while hidden := _HIDDEN.search(sql, at):
        kept.append(sql[at : hidden.start()])
        at = _comment_end(sql, hidden.start()) if hidden[0] == "/*" else hidden.end()
    return " ".join([*kept, sql[at:]])


def _comment_end(sql: str, at: int) -> int:
    """Where a comment ends that begins at `at`, with those inside of it."""
    depth = 0
    for mark in _COMMENT_ENDS.finditer(sql, at):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)
