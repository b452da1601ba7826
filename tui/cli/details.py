"""What servers tell of many models, for commands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from tui.core.errors import PaddockError
from tui.core.models import Model, ModelDetail, ModelKey
from tui.providers.base import Provider

AT_ONCE: Final = 8


async def details_of(wanted: Iterable[tuple[Provider, Model]]) -> dict[ModelKey, ModelDetail]:
    """By provider and exact name, in the order of `wanted`; nothing of a model that cannot be asked about."""
    some = asyncio.Semaphore(AT_ONCE)

    async def ask(provider: Provider, model: Model) -> tuple[ModelKey, ModelDetail] | None:
        async with some:
            try:
                return (model.provider, model.key), await provider.show(model.key)
            except PaddockError:
                return None

    asked = await asyncio.gather(*(ask(*one) for one in wanted))
    return dict(one for one in asked if one is not None)
