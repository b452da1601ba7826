"""Our dataclasses as JSON columns and back; fields unknown to this version are left out when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from tui.core.chat import ConversationSettings
from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint
from tui.text import clean_door

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


def dump(value: Any) -> str:
    """A flat dataclass, mapping or list as JSON; defaults of None are left out of dataclasses."""
    if hasattr(value, "__dataclass_fields__"):
        value = {key: item for key, item in asdict(value).items() if item is not None}
    return json.dumps(door(value), ensure_ascii=False, separators=(",", ":"))


def door(value: Any) -> Any:
    """Make every text of a JSON value storable."""
    if isinstance(value, str):
        return clean_door(value)
    if isinstance(value, Mapping):
        return {clean_door(str(key)): door(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [door(item) for item in value]
    return value


def load(kind: type[T], text: str | None) -> T:
    """A flat dataclass from JSON."""
    known = _names(kind)  # type: ignore[arg-type]  # mypy takes no generic class for hashable
    return kind(**{key: value for key, value in mapping(text).items() if key in known})


@cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))


def mapping(text: str | None) -> dict[str, Any]:
    """A JSON object, empty where there is none."""
    found = _parsed(text)
    return found if isinstance(found, dict) else {}


def texts(text: str | None) -> tuple[str, ...]:
    """A JSON list of texts, empty where there is none."""
    return tuple(str(item) for item in items(text))


def items(text: str | None) -> tuple[Any, ...]:
    """A JSON list, empty where there is none."""
    found = _parsed(text)
    return tuple(found) if isinstance(found, list) else ()


def one_of(kind: type[E], value: Any, otherwise: E) -> E:
    """A member of an enumeration by its value; `otherwise` for one that this version does not know."""
    try:
        return kind(value)
    except ValueError:
        return otherwise


def _parsed(text: str | None) -> Any:
    """A JSON column; what damage or another hand left there is nothing."""
    try:
        return json.loads(text) if text else None
    except (ValueError, TypeError, RecursionError):
        return None


def dump_failure(failure: Failure | None) -> str | None:
    """A failure as JSON."""
    return None if failure is None else dump(failure)


def load_failure(text: str | None) -> Failure | None:
    """A failure from JSON."""
    if not text:
        return None
    found = mapping(text)
    found = {key: value for key, value in found.items() if key in _names(Failure)}
    found["kind"] = one_of(FailureKind, found.get("kind"), FailureKind.INTERNAL)
    if not isinstance(found.get("what"), str):
        return None
    return Failure(**found)


def load_settings(text: str | None) -> ConversationSettings:
    """What is set for a conversation."""
    found = load(ConversationSettings, text)
    return replace(found, tools=tuple(map(str, found.tools)) if isinstance(found.tools, list) else ())


def load_endpoint(text: str) -> Endpoint:
    """The snapshot of a provider."""
    return load(Endpoint, text)
