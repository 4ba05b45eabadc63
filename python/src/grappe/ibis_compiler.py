"""ibis expressions as SQL: ibis's compiler for DataFusion, with SQL where that one calls Python functions of its own."""

from __future__ import annotations

from typing import Any

import ibis.expr.operations as ops
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.datafusion import DataFusionCompiler
from ibis.backends.sql.dialects import DataFusion

# Groups of RFC 3986, appendix B, and of an authority.
_URL = r"^(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$"
_SCHEME, _AUTHORITY, _PATH, _QUERY, _FRAGMENT = range(1, 6)


class Grappe(DataFusion):
    """The dialect under our name, which `sql(..., dialect="grappe")` asks for."""


class GrappeCompiler(DataFusionCompiler):
    """The SQL of a Grappe server."""

    __slots__ = ()

    dialect = Grappe

    # What is not set here would be set again as DataFusion has it, over the methods below.
    SIMPLE_OPS: dict[Any, str] = {}
    UNSUPPORTED_OPS = (ops.RegexSplit,)

    def visit_Sign(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.signum(arg)

    def visit_BitwiseXor(self, op: Any, *, left: Any, right: Any) -> Any:
        # The bits of either less those of both; the operator has no spelling that all dialects share.
        either, both = sge.BitwiseOr(this=left, expression=right), sge.BitwiseAnd(this=left, expression=right)
        return sge.paren(sge.paren(either) - sge.paren(both))

    def visit_BitwiseNot(self, op: Any, *, arg: Any) -> Any:
        return sge.paren(sge.convert(-1) - sge.paren(arg))

    def visit_ExtractMinute(self, op: Any, *, arg: Any) -> Any:
        return self.f.date_part("minute", arg)

    def visit_ExtractHour(self, op: Any, *, arg: Any) -> Any:
        return self.f.date_part("hour", arg)

    def visit_ExtractSecond(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.floor(self.f.date_part("second", arg))

    def visit_ExtractMillisecond(self, op: Any, *, arg: Any) -> Any:
        return sge.Mod(this=self.f.date_part("millisecond", arg), expression=sge.convert(1_000))

    def visit_ExtractMicrosecond(self, op: Any, *, arg: Any) -> Any:
        return sge.Mod(this=self.f.date_part("microsecond", arg), expression=sge.convert(1_000_000))

    def visit_ExtractEpochSeconds(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.floor(self.f.date_part("epoch", arg))

    def visit_ExtractProtocol(self, op: Any, *, arg: Any) -> Any:
        return self._url_part(arg, _SCHEME)

    def visit_ExtractAuthority(self, op: Any, *, arg: Any) -> Any:
        return self._url_part(arg, _AUTHORITY)

    def visit_ExtractPath(self, op: Any, *, arg: Any) -> Any:
        return self._url_part(arg, _PATH)

    def visit_ExtractFragment(self, op: Any, *, arg: Any) -> Any:
        return self._url_part(arg, _FRAGMENT)

    def visit_ExtractHost(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.regexp_replace(self._url_part(arg, _AUTHORITY), r"^(?:.*@)?([^:]*)(?::\d*)?$", r"\1")

    def visit_ExtractUserInfo(self, op: Any, *, arg: Any) -> Any:
        return self.f.anon.regexp_replace(self._url_part(arg, _AUTHORITY), r"^(?:(.*)@)?[^@]*$", r"\1")

    def visit_ExtractQuery(self, op: Any, *, arg: Any, key: Any) -> Any:
        query = self._url_part(arg, _QUERY)
        if key is None:
            return query
        pattern = self.f.concat("(?:^|&)", key, "=([^&]*)")
        return sge.Bracket(this=self.f.anon.regexp_match(query, pattern), expressions=[sge.convert(1)], offset=1)

    def _url_part(self, arg: Any, group: int) -> Any:
        return self.f.anon.regexp_replace(arg, _URL, f"\\{group}")


compiler = GrappeCompiler()
