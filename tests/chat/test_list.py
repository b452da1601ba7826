"""The list of conversations, on disk and in memory alike."""

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Scripted, until
from tui.core.chat import ConversationSettings
from tui.core.errors import PaddockError
from tui.core.events import Delta, Thinking


@pytest.mark.parametrize("disk", [True, False])
async def test_rename_delete_undo_search(tmp_path: Path, disk: bool) -> None:
    one = await Bench(tmp_path if disk else None, Scripted([Delta("yes"), DONE])).begin()
    await one.say("where is it")
    number = one.chat.view.value.id
    one.chat.rename(number, "a place")
    await until(lambda: [head.title for head in one.chat.heads.value] == ["a place"])
    found: list[Any] = []
    one.chat.search("where", found.extend)
    await until(lambda: [one.head.id for one in found] == [number])
    one.chat.delete(number)
    await until(lambda: one.chat.heads.value == () and one.chat.view.value.id == 0)
    one.chat.undo_delete()
    await until(lambda: [head.id for head in one.chat.heads.value] == [number])
    one.chat.open(number)
    await until(lambda: [message.content for message in one.chat.view.value.messages] == ["where is it", "yes"])
    assert not one.host.errors
    await one.end()


async def test_export_is_private_and_clean(tmp_path: Path) -> None:
    one = await Bench(tmp_path, Scripted([Thinking("hm"), Delta("a\x1b]0;x\x07"), DONE])).begin()
    await one.say("go")
    one.chat.export(one.chat.view.value.id)
    await until(lambda: one.host.notices)
    (path,) = (tmp_path / "exports").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text("utf-8")
    assert "\x1b" not in text and "> hm" in text and "## you" in text
    await one.end()


async def test_settings_of_a_conversation_are_sent_and_kept(tmp_path: Path) -> None:
    lab = Scripted([DONE])
    one = await Bench(tmp_path, lab).begin()
    chosen = ConversationSettings(system="Be brief", preset="precise", options={"top_k": 7}, keep_alive="1h")
    one.chat.configure(chosen)
    await until(lambda: one.chat.view.value.settings == chosen)
    await one.say("go")
    request = lab.requests[0]
    assert (request.system, request.keep_alive) == ("Be brief", "1h")
    assert request.options == {"temperature": 0.2, "top_p": 0.5, "top_k": 7, "repeat_penalty": 1.1}
    assert one.stored.settings(one.chat.view.value.id) == chosen
    await one.end()


async def test_P76_what_was_deleted_long_ago_is_gone_at_the_next_start(tmp_path: Path) -> None:
    one = await Bench(tmp_path, Scripted([Delta("yes"), DONE], [Delta("yes"), DONE])).begin()
    for _ in range(2):
        await one.say("go")
        one.chat.delete(one.chat.view.value.id)
        await until(lambda: one.chat.view.value.id == 0)
        one.clock.advance(4 * 86_400)
    await one.end()
    two = Bench(tmp_path, Scripted())
    two.clock.advance(8 * 86_400)
    await two.begin()
    await two.stored.undo_delete(2)
    assert [head.id for head in two.stored.heads()] == [2]
    with pytest.raises(PaddockError):
        await two.stored.undo_delete(1)
    await two.end()
