"""Models kept under a name of ours: what was deleted (the trash) and what an update replaced (versions).

A kept model is a copy that shares its blobs, so it costs no disk. Its name tells everything, so that no database is
needed to bring it back: `trash-1763769600.paddock/library/qwen3:8b` was `qwen3:8b` until that second.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from tui.core.errors import PaddockError
from tui.core.names import DEFAULT_HOST, ModelName, parse
from tui.core.record import record
from tui.text import clean_name

_HOST: Final = re.compile(r"(trash|version)-([0-9]{1,12})(?:\.(.+))?\.paddock\Z", re.IGNORECASE)


class KeptKind(StrEnum):
    """Why a model is kept."""

    TRASH = "trash"
    VERSION = "version"


@record(frozen=True)
class Kept:
    """What a kept model's name says.

    Attributes:
        original: The name it had, in its shortest form.
        at: Epoch seconds, whole: when it was deleted or replaced.
    """

    kind: KeptKind
    original: str
    at: int


def kept_name(kind: KeptKind, original: str, at: float) -> str:
    """The name under which a model is kept.

    Raises:
        PaddockError: `original` is no model name.
    """
    name = parse(original)
    host = "" if name.host.lower() == DEFAULT_HOST else f".{name.host}"
    return str(ModelName(f"{kind}-{int(at)}{host}.paddock", name.namespace, name.model, name.tag))


def kept_of(name: str) -> Kept | None:
    """What a name says where it is one of ours; None for every other name."""
    if ".paddock/" not in name.lower():
        return None
    try:
        parsed = parse(name)
    except PaddockError:
        return None
    match = _HOST.match(parsed.host)
    if match is None:
        return None
    original = ModelName(match[3] or DEFAULT_HOST, parsed.namespace, parsed.model, parsed.tag)
    return Kept(KeptKind(match[1].lower()), str(original), int(match[2]))


def kept_words(name: str) -> str:
    """A model's name, cleaned; of a kept one what it is: `qwen3:8b in the trash`, `an earlier qwen3:8b`."""
    kept = kept_of(name)
    if kept is None:
        return clean_name(name)
    original = clean_name(kept.original)
    return f"{original} in the trash" if kept.kind is KeptKind.TRASH else f"an earlier {original}"
