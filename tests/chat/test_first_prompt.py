"""The first prompt of a chat leaves its draft for its message, and is on disk as one of them at every moment."""

from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Scripted
from tui.core.chat import Attachment, AttachmentKind
from tui.core.events import Delta
from tui.store.conversations import Conversations
from tui.store.db import Database

IMAGE = Attachment("cat.png", AttachmentKind.IMAGE, 4, digest="ab" * 32, data=b"\x89PNG", media="image/png")


async def test_P04_the_draft_goes_when_the_prompt_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(tmp_path / "paddock.db")
    await Conversations(database).set_draft("chat:new", "look at this")
    await Conversations(database).set_draft_attachments("chat:new", (IMAGE,))
    await database.aclose()
    one = await Bench(tmp_path, Scripted([Delta("a cat"), DONE])).begin()
    drafts: list[Any] = []
    add = Conversations.add_messages

    async def watched(self: Conversations, *args: Any, **more: Any) -> Any:
        drafts.append((self.draft("chat:new"), len(self.draft_attachments("chat:new"))))
        return await add(self, *args, **more)

    monkeypatch.setattr(Conversations, "add_messages", watched)
    await one.say("look at this")
    assert drafts[0] == ("look at this", 1)
    assert (one.stored.draft("chat:new"), one.stored.draft_attachments("chat:new")) == ("", ())
    (file,) = one.stored.branch(one.chat.view.value.id)[0].attachments
    assert one.stored.image(file.id) == IMAGE.data
    assert not one.host.errors
    await one.end()
