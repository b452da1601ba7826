"""What is being composed: the text, what is attached to it, and prompts that wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tui.core.capabilities import Ability
from tui.core.chat import Attachment
from tui.core.models import Severity
from tui.core.threads import in_daemon_thread
from tui.services.chat import attachments, sending
from tui.services.chat.desk import Desk
from tui.services.chat.host import ChatHost
from tui.services.chat.session import Session
from tui.services.chat.shelf import Drafts
from tui.text import clean_door

READING: Final = 5.0
"""Seconds that sending waits for files to be read."""


class Composing:
    """Verbs on what is not sent yet in the open conversation; on the engine's thread."""

    def __init__(self, host: ChatHost, drafts: Drafts, desk: Desk) -> None:
        self._host, self._drafts, self._desk = host, drafts, desk
        self._reading: list[asyncio.Future[None]] = []

    async def settled(self) -> bool:
        """Wait until the files attached before now were read; False where a disk takes longer than `READING`."""
        reading = tuple(self._reading)
        return not reading or not (await asyncio.wait(reading, timeout=READING))[1]

    async def note_draft(self, text: str, turn: int) -> None:
        """Keep what is typed, unless that was in a conversation that is no longer shown."""
        session = self._desk.opened
        if turn not in (-1, self._desk.turn):
            return
        session.draft = clean_door(text)
        self._drafts.soon(session)
        self._desk.check_soon()

    async def attach(self, paths: Sequence[str]) -> None:
        """Read files and attach them."""
        session = self._desk.opened
        abilities = sending.abilities_of(self._host, session.provider, session.model)
        sees = Ability.VISION in abilities if abilities else None
        read: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading.append(read)
        async with self._desk.using(session):
            try:
                found, refused = await in_daemon_thread(lambda: attachments.read(paths, sees=sees))
            finally:
                read.set_result(None)  # who waits goes on once this coroutine has attached what was read
                self._reading.remove(read)
            for failure in refused:
                self._host.notice(failure.sentence(), Severity.WARNING, failure)
            self._attached(session, found)

    async def attach_text(self, name: str, text: str) -> None:
        """Attach a large paste."""
        self._attached(self._desk.opened, [attachments.from_text(name, clean_door(text))])

    def _attached(self, session: Session, found: Sequence[Attachment]) -> None:
        known = {(file.name, file.digest) for file in session.attached}
        session.attached = (*session.attached, *(file for file in found if (file.name, file.digest) not in known))
        self._desk.show(session)
        self._drafts.soon(session)
        self._desk.check_soon()

    async def detach(self, index: int) -> None:
        """Take an attachment away."""
        session = self._desk.opened
        session.attached = tuple(file for at, file in enumerate(session.attached) if at != index % max(1, len(session.attached)))
        self._desk.show(session)
        self._drafts.soon(session)
        self._desk.check_soon()

    async def unqueue(self, index: int, text: str | None) -> None:
        """Take a queued prompt back, or change it."""
        session = self._desk.opened
        if not 0 <= index < len(session.queued):
            return
        if text is not None and text.strip():
            session.queued[index] = replace(session.queued[index], text=clean_door(text))
        else:
            session.queued.pop(index)
        self._desk.show(session)
        self._drafts.soon(session)
