"""Our dataclasses as JSON columns and back; fields unknown to this version are left out when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from tui.core.errors import Failure, FailureKind
from tui.core.models import Endpoint
from tui.text import clean_door

T = TypeVar("T")


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
    found = mapping(text)
    return kind(**{field.name: found[field.name] for field in fields(kind) if field.name in found})  # type: ignore[arg-type]


def mapping(text: str | None) -> dict[str, Any]:
    """A JSON object, empty where there is none."""
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def dump_failure(failure: Failure | None) -> str | None:
    """A failure as JSON."""
    return None if failure is None else dump(failure)


def load_failure(text: str | None) -> Failure | None:
    """A failure from JSON."""
    if not text:
        return None
    found = mapping(text)
    known = {field.name for field in fields(Failure)}
    found = {key: value for key, value in found.items() if key in known}
    try:
        found["kind"] = FailureKind(found.get("kind", "internal"))
    except ValueError:
        found["kind"] = FailureKind.INTERNAL
    return Failure(**found)


def load_endpoint(text: str) -> Endpoint:
    """The snapshot of a provider."""
    return load(Endpoint, text)
