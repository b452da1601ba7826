"""Where a model is from and what deleting it would free, for show: by the folder where it can be read, else by what its server tells."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tui.cli.context import CAP, Context
from tui.cli.details import details_of
from tui.core.capabilities import Capability
from tui.core.errors import PaddockError
from tui.core.library import DiskShare, EventKind, ModelEvent, ModelOrigin, UpdateState
from tui.core.models import Model, ModelDetail
from tui.core.record import record
from tui.providers.base import Provider
from tui.services.library import disk_use, disk_words
from tui.services.library.disk_origin import origin_of
from tui.services.library.keeping_trash import kept_models
from tui.services.library.keeping_words import versions_in

MOST: Final = 32
"""Models that may have the same weights and are asked about."""


@record(frozen=True)
class Place:
    """Where a model is from, what it shares, None where its server does not tell, and how many earlier versions are kept."""

    origin: ModelOrigin
    share: DiskShare | None = None
    kept: int = 0

    def rows(self, events: Sequence[ModelEvent], *, binary: bool = False) -> tuple[tuple[str, str], ...]:
        """For people; the words of the Library's page."""
        pulled = next((event for event in events if event.kind in (EventKind.PULLED, EventKind.UPDATED)), None)
        day = disk_words.day(pulled.at, time.time()) if pulled is not None else ""
        disk = disk_words.frees(self.share, binary=binary) if self.share is not None else ""
        return (("origin", disk_words.origin(self.origin, day, kept=self.kept)), ("disk", disk))

    def told(self) -> dict[str, object]:
        """For JSON; `frees` is what deleting it for good frees."""
        share = self.share
        if share is None:
            return {"origin": self.origin, "disk": None}
        disk = {"size": share.size, "frees": share.own, "shared": share.shared, "shared_with": share.shared_with, "exact": share.exact}
        return {"origin": self.origin, "disk": disk}


async def place_of(
    context: Context, provider: Provider, model: Model, detail: ModelDetail, events: Sequence[ModelEvent], update: UpdateState | None
) -> Place:
    """What is known of it; a server or a folder that does not answer leaves out what it would have told.

    Args:
        context: Of the command.
        provider: Its server.
        model: As it lists it.
        detail: What it says of it.
        events: What happened to it here, newest first.
        update: What its registry said last.
    """
    found = Place(origin_of(model, events, update))
    with contextlib.suppress(PaddockError, TimeoutError):
        async with asyncio.timeout(CAP):
            models = await provider.models()
            kept = kept_models(model.provider, models, (), 0)
            found = replace(found, kept=len(versions_in(kept, model.key)))
            found = replace(found, share=await _share(context, provider, model, detail, models))
    return found


async def _share(context: Context, provider: Provider, model: Model, detail: ModelDetail, models: Sequence[Model]) -> DiskShare | None:
    from tui.cli.library_disk import look_of
    from tui.services.library.disk_read import DiskReader

    if model.remote or Capability.DELETE not in provider.capabilities:
        return None
    look = await look_of(context, DiskReader(os.environ), provider, models)
    if look.folder is not None:
        parts = disk_use.parts_by_folder(models, look.folder)
    else:
        parts = disk_use.parts_by_digest(models, await _weights(provider, model, detail, models))
    return disk_use.shares([model], parts).get(model.key)


async def _weights(provider: Provider, model: Model, detail: ModelDetail, models: Sequence[Model]) -> dict[str, str]:
    """Digests of the weights of a model and of those that may have the same: they are of one family, size and quantization."""
    if not detail.weights_digest:
        return {}
    alike = [
        one
        for one in models
        if one.digest != model.digest
        and not one.remote
        and (one.family, one.parameters, one.quantization) == (model.family, model.parameters, model.quantization)
    ]
    asked = await details_of((provider, one) for one in alike[:MOST])
    found = {key: other.weights_digest for (_provider, key), other in asked.items() if other.weights_digest}
    return {model.key: detail.weights_digest} | found
