"""Judging replies by the catalogue's decision table. Pure functions.

The status alone proves nothing (one server says 200 to anything): headers and body decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tui.core.record import record
from tui.providers.catalogue import Expect, Kind, Probe, Rule
from tui.providers.probe import Reply

MISSING: Final = object()
MAX_PROBES: Final = 8
"""Questions to one port beyond the first."""
_GENERAL_RANK: Final = 80


@record(frozen=True)
class Verdict:
    """The row that matched; where it is not `sure`, the probes of all `suspects` decide."""

    kind: Kind
    sure: bool
    suspects: tuple[Kind, ...]


@record(frozen=True)
class Question:
    """One path to ask, and which kinds each answer would prove; `port` 0 is the port in question."""

    path: str
    port: int
    proves: tuple[tuple[Kind, Probe], ...]


def dig(value: Any, dotted: str) -> Any:
    """The value under a dotted key (numbers index arrays), or `MISSING`; any shape of JSON is fine."""
    for part in dotted.split(".") if dotted else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def entries(body: Any) -> list[Any] | None:
    """The models of an OpenAI-style list: `data[]`, else `models[]`, else a bare array; None where there is none."""
    if isinstance(body, list):
        return body
    for key in ("data", "models"):
        if isinstance(body, dict) and isinstance(body.get(key), list):
            found: list[Any] = body[key]
            return found
    return None


def matches(expects: Sequence[Expect], reply: Reply) -> bool:
    """Whether everything expected is in the reply."""
    body = reply.json() if any(expect.where in ("json", "first") for expect in expects) else None
    return all(_holds(expect, reply, body) for expect in expects)


def _holds(expect: Expect, reply: Reply, body: Any) -> bool:
    scope: Any = None
    found: Any = MISSING
    match expect.where:
        case "status":
            found = reply.status
        case "port":
            found = reply.port
        case "header":
            found = reply.headers.get(expect.key.lower()) or MISSING
        case "text":
            found = reply.text.strip()
        case "json":
            scope, found = body, dig(body if body is not None else MISSING, expect.key)
        case "first":
            listed = entries(body)
            scope = listed[0] if listed else MISSING
            found = dig(scope, expect.key)
            if not isinstance(scope, dict):
                return False
    return _compare(expect, found, scope)


def _compare(expect: Expect, found: Any, scope: Any) -> bool:
    value = expect.value
    match expect.op:
        case "is":
            return type(found) is type(value) and bool(found == value)
        case "starts":
            return isinstance(found, str) and found.startswith(str(value))
        case "contains":
            return isinstance(found, str) and str(value) in found
        case "present":
            return found is not MISSING
        case "absent":
            return found is MISSING or found is None
        case "same":
            other = dig(scope, str(value))
            return found is not MISSING and other is not MISSING and bool(found == other)
        case "only":
            return isinstance(found, dict) and set(found) == {value}


def judge(reply: Reply, kinds: Mapping[str, Kind]) -> Verdict | None:
    """What the reply to `GET /v1/models` proves, by the lowest row that matches."""
    rows: list[tuple[int, Rule, Kind]] = []
    for kind in kinds.values():
        table = kind.fingerprint
        refused = table.refusals if reply.status in (400, 401, 403) else ()
        rows += [(0 if rule in refused else 1, rule, kind) for rule in (*table.models, *table.anywhere, *refused)]
    hits = [(rule, kind) for _, rule, kind in sorted(rows, key=lambda row: (row[0], row[1].row)) if matches(rule.expect, reply)]
    if not hits:
        return None
    rule, kind = hits[0]
    return Verdict(kind, rule.sure, tuple(suspect for other, suspect in hits if not other.sure))


def betrayed(reply: Reply, kinds: Mapping[str, Kind]) -> Kind | None:
    """The kind that gives itself away in any answer, whatever was asked."""
    return next((kind for kind in kinds.values() for rule in kind.fingerprint.anywhere if matches(rule.expect, reply)), None)


def questions(port: int, kinds: Mapping[str, Kind], suspects: Sequence[Kind] = ()) -> tuple[Question, ...]:
    """What to ask at a port in which order: first what suspects and the kinds of this port answer to, then the general ones.

    Equal paths are one question. A kind that others imitate (`needs`) takes part with its first need.
    """
    local = {kind.id for kind in (*suspects, *(kind for kind in kinds.values() if port in kind.ports))}
    found: list[tuple[bool, int, Kind, Probe]] = []
    for kind in kinds.values():
        near = kind.id in local
        for probe in kind.fingerprint.probes:
            if near or (probe.rank <= _GENERAL_RANK and not probe.port):
                found.append((not near, probe.rank, kind, probe))
        for need in kind.fingerprint.needs[:1]:
            found.append((not near, need.rank if near else 50, kind, need))
    grouped: dict[tuple[str, int], list[tuple[Kind, Probe]]] = {}
    for _, _, kind, probe in sorted(found, key=lambda entry: entry[:2]):
        grouped.setdefault((probe.path, probe.port), []).append((kind, probe))
    return tuple(Question(path, at, tuple(proves)) for (path, at), proves in list(grouped.items())[:MAX_PROBES])
