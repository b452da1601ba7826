"""Where models are from, as far as anybody can tell: their names, what was done to them here, what registries said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tui.core.errors import PaddockError
from tui.core.library import EventKind, ModelEvent, ModelOrigin, OriginKind, UpdateStatus
from tui.core.names import DEFAULT_HOST, ModelName, parse
from tui.text import clean_name

if TYPE_CHECKING:
    from tui.core.library import UpdateState
    from tui.core.models import Model

_HUGGING_FACE: Final = ("hf.co", "huggingface.co")
_THERE: Final = (UpdateStatus.CURRENT, UpdateStatus.METADATA, UpdateStatus.WEIGHTS)
_FETCHED: Final = (EventKind.PULLED, EventKind.UPDATED)
_OURS: Final = {
    EventKind.CREATED: "made here",
    EventKind.CONFIGURED: "made here",
    EventKind.IMPORTED: "a file of this machine",
    EventKind.COPIED: "a copy made here",
    EventKind.RENAMED: "renamed here",
}


def origin_of(model: Model, events: Sequence[ModelEvent] = (), state: UpdateState | None = None) -> ModelOrigin:
    """Where a model is from.

    Args:
        model: As its server lists it.
        events: What happened to it here, newest first: the newest that says where from decides.
        state: What the registry said of it last; of another digest it says nothing.
    """
    if model.remote:
        return ModelOrigin(OriginKind.OTHER, "runs in a cloud: its weights are not here", scanned=True)
    try:
        name = parse(model.key)
    except PaddockError:
        return ModelOrigin(OriginKind.UNKNOWN, "its server does not say")
    known = state if state is not None and state.digest == model.digest else None
    made = next((event for event in events if event.kind in _FETCHED or event.kind in _OURS), None)
    if made is not None and made.kind in _OURS and (known is None or known.status is not UpdateStatus.CURRENT):
        kind = OriginKind.FILE if made.kind is EventKind.IMPORTED else OriginKind.UNKNOWN
        return ModelOrigin(kind, f"{_OURS[made.kind]}{f': {made.text}' if made.text else ''}")
    fetched = made is not None or (known is not None and known.status in _THERE)
    if not fetched and known is not None and known.status is UpdateStatus.GONE:
        return ModelOrigin(OriginKind.UNKNOWN, f"made or copied here: {_place(name)} has no model of this name")
    if not fetched and not model.digest:
        return ModelOrigin(OriginKind.UNKNOWN, "its server does not say")
    sure = "" if fetched else ", by its name"
    host = name.host.lower()
    if host == DEFAULT_HOST:
        if name.official:
            return ModelOrigin(OriginKind.REGISTRY, f"{DEFAULT_HOST}{sure}", scanned=True)
        return ModelOrigin(OriginKind.REGISTRY, f"{DEFAULT_HOST}, of its user {clean_name(name.namespace, 80)}{sure}")
    place = f"{_place(name)}/{clean_name(name.namespace, 80)}/{clean_name(name.model, 80)}"
    return ModelOrigin(OriginKind.HUGGING_FACE if host in _HUGGING_FACE else OriginKind.OTHER, f"{place}{sure}")


def _place(name: ModelName) -> str:
    return clean_name(name.host, 80)
