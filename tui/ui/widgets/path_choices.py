"""Files that go on with a path being typed, read beside the loop: a folder may be large, or on a machine that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tui.core.threads import in_daemon_thread
from tui.services.chat import references
from tui.services.chat.references import Folder
from tui.ui.widgets.completion import Choice

FRESH: Final = 5.0
"""Seconds for which a folder's names are believed."""
AT_ONCE: Final = 2000
"""Names that are looked through without a thread."""


class PathChoices:
    """One folder at a time; what is typed meanwhile is looked up in it when it is there.

    Args:
        owner: The widget that the work belongs to.
        show: Called with the choices, and how many more there are.
    """

    def __init__(self, owner: Any, show: Callable[[Sequence[Choice], int], None]) -> None:
        self._owner, self._show = owner, show
        self._asked: tuple[str, bool] | None = None
        self._folder: tuple[Path, Folder, float] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def looking(self) -> bool:
        """Choices are still to come."""
        return self._asked is not None and self._task is not None

    def forget(self) -> None:
        """Nothing is completed any more."""
        self._asked = None

    def look(self, typed: str, *, at: bool) -> None:
        """Find what goes on with a path; with `at` it stands behind an `@`."""
        if references.has_magic(typed):
            self.forget()
            self._show((), 0)
            return
        self._asked = (typed, at)
        if not self._answer():
            self._begin()

    async def found(self, patience: float) -> None:
        """Wait until they are there, or long enough."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), patience)

    def _answer(self) -> bool:
        """Show the choices where the folder is known and small."""
        assert self._asked is not None
        path, named, prefix = references.split(self._asked[0], references.start_folder())
        if self._folder is None or self._folder[0] != path or time.monotonic() - self._folder[2] > FRESH:
            return False
        if len(self._folder[1].names) > AT_ONCE:
            return False
        self._tell(named, prefix, *self._folder[1].going_on(prefix))
        return True

    def _tell(self, named: str, prefix: str, names: Sequence[tuple[str, bool]], count: int) -> None:
        assert self._asked is not None
        sign = "@" if self._asked[1] else ""
        choices = [_choice(sign, named, name, is_folder) for name, is_folder in names if name != prefix or is_folder]
        self._show(choices, count - len(names))

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._asked is not None:
                asked = self._asked
                path, named, prefix = references.split(asked[0], references.start_folder())
                known = self._folder
                folder = known[1] if known is not None and known[0] == path and time.monotonic() - known[2] <= FRESH else None
                read, names, count = await in_daemon_thread(partial(_look_up, path, folder, prefix))
                if folder is None:
                    self._folder = (path, read, time.monotonic())
                if asked == self._asked and self._owner.is_attached:
                    self._tell(named, prefix, names, count)
                    return
        finally:
            self._task = None


def _look_up(path: Path, folder: Folder | None, prefix: str) -> tuple[Folder, Sequence[tuple[str, bool]], int]:
    folder = folder or Folder(path)
    return (folder, *folder.going_on(prefix))


def _choice(sign: str, named: str, name: str, is_folder: bool) -> Choice:
    path = f"{named}{name}"
    if not is_folder:
        return Choice(sign + references.quoted(path), f"{name}")
    text = references.quoted(f"{path}/")
    return Choice(sign + text.removesuffix('"'), f"{name}/", more=True)
