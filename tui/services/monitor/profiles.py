"""How each model does, kept over time: read from what answers cost, and again when another one was measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tui.core.errors import PaddockError
from tui.core.monitor import Profile
from tui.core.observe import Observable
from tui.store.measurements import MEASUREMENTS, Measurements

if TYPE_CHECKING:
    from tui.core.models import ModelKey
    from tui.store.db import Database


EVERY: Final = 1.0
"""Seconds between two readings: a program may ask a hundred times a second."""


class Profiles:
    """Keeps `view` true; what cannot be read leaves it as it was.

    Args:
        view: Where they are shown, by provider and exact name, both cleaned.
        post: Runs a coroutine function on the loop, without waiting for it.
    """

    def __init__(self, database: Database, view: Observable[Mapping[ModelKey, Profile]], post: Callable[..., Any]) -> None:
        self.measurements = Measurements(database)
        self._view, self._post = view, post
        self._reading = False
        self._again = False

    def changed(self, topics: frozenset[str]) -> None:
        """Something of the database moved, here or in another process."""
        if MEASUREMENTS in topics:
            self._post(self.read)

    async def read(self) -> None:
        """Read all of them, off the loop; while that is under way, once more at its end."""
        self._again = True
        if self._reading:
            return
        self._reading = True
        try:
            while self._again:
                self._again = False
                try:
                    self._view.set(await self.measurements.profiles())
                except PaddockError:
                    return  # the banner of the database says it
                await asyncio.sleep(EVERY)
        finally:
            self._reading = False
