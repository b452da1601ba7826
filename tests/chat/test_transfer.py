"""From the store to a file and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chat.files import PNG, example
from tui.core.chat import ConversationHead, Message, Role
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat import transfer
from tui.services.chat.conversation_file import ConversationFile
from tui.services.chat.memory import ChatStore, Memory
from tui.store.conversations import Conversations
from tui.store.db import Database


@pytest.fixture(params=["disk", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChatStore]:
    if request.param == "memory":
        yield Memory(SYSTEM)
        return
    database = Database(tmp_path / "paddock.db")
    yield Conversations(database)
    await database.aclose()


def plain(file: ConversationFile) -> ConversationFile:
    """Without the numbers, which are made anew."""
    order = {0: 0, **{message.id: at for at, message in enumerate(file.messages, 1)}}
    messages = tuple(
        replace(
            *(one,),
            id=order[one.id],
            conversation=0,
            seq=order[one.id],
            parent=order[one.parent],
            keep_from=order[one.keep_from],
            attachments=tuple(replace(attached, id=0) for attached in one.attachments),
        )
        for one in file.messages
    )
    return replace(file, messages=messages, tip=order[file.tip])


@pytest.mark.parametrize("form", ["json", "html"])
async def test_a_stored_conversation_comes_back_whole(store: ChatStore, form: str) -> None:
    mark = Message(4, 0, 4, Role.SYSTEM, "in short", parent=2, keep_from=2, created_at=5.0)
    file = replace(example(), messages=(*example().messages, mark), tip=4)
    first = await transfer.keep(store, file)
    gathered = transfer.gather(store, first.id)
    assert plain(gathered) == file and gathered.messages[0].attachments[0].data == PNG
    second = await transfer.keep(store, transfer.read(transfer.render(form, gathered)))
    assert second.id != first.id and (second.title, second.pinned, second.tags) == ("Ships and trains", True, ("work",))
    assert plain(transfer.gather(store, second.id)) == file
    assert [one.content for one in store.branch(second.id)] == ["hello", "# Title\n\n**bold** `code`", "in short"]


async def test_what_was_deleted_is_not_in_the_file(store: ChatStore) -> None:
    mark = Message(4, 0, 4, Role.SYSTEM, "", parent=3, keep_from=2, created_at=5.0)
    texts = [Message(n, 0, n, Role.USER, str(n), parent=n - 1) for n in (1, 2, 3)]
    number = (await transfer.keep(store, ConversationFile("x", messages=(*texts, mark)))).id
    second = transfer.gather(store, number).messages[1]
    await store.delete_messages([second.id])
    file = transfer.gather(store, number)
    assert [one.content for one in file.messages] == ["1", "3", ""]
    assert file.messages[2].keep_from == file.messages[1].id and file.messages[1].parent == file.messages[0].id
    assert transfer.read(transfer.render("json", file)).messages[2].keep_from == file.messages[1].id


async def test_what_there_is_not_is_said(store: ChatStore) -> None:
    with pytest.raises(PaddockError, match="no conversation 77") as caught:
        transfer.gather(store, 77)
    assert caught.value.failure.kind is FailureKind.NOT_FOUND
    head: ConversationHead = await store.create("lab", "m")
    with pytest.raises(PaddockError, match="nothing to export"):
        transfer.gather(store, head.id)
    with pytest.raises(PaddockError, match="no message in this file"):
        await transfer.keep(store, transfer.read(b"[]"))
    assert [one.id for one in store.heads()] == [head.id]


async def test_a_conversation_without_a_title_gets_one(store: ChatStore) -> None:
    head = await transfer.keep(store, transfer.read(b'[{"role": "user", "content": "## Why is the sky blue?\\nTell me"}]'))
    assert head.title == "Why is the sky blue?"
    head = await transfer.keep(store, transfer.read(b'[{"role": "assistant", "content": "hi"}]'))
    assert head.title == "Imported chat" and head.created_at > 1e9


@pytest.mark.parametrize("store", ["disk"], indirect=True)
async def test_C19_a_store_that_refuses_keeps_nothing(store: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.store import rows

    insert, seen = rows.insert, []

    def second_fails(connection: object, message: Message) -> Message:
        seen.append(message)
        if len(seen) == 2:
            raise PaddockError.of("The disk is full", kind=FailureKind.DISK)
        return insert(connection, message)  # type: ignore[arg-type]

    monkeypatch.setattr(rows, "insert", second_fails)
    with pytest.raises(PaddockError):
        await transfer.keep(store, example())
    assert store.heads() == ()
