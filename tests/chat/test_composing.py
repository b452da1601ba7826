"""What is typed, attached and queued: kept, counted, and sent once."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.chat.host import DONE, Bench, Scripted, until
from tui.core.capabilities import Ability
from tui.core.chat import AttachmentKind
from tui.core.events import Delta
from tui.core.models import Model
from tui.services.chat import attachments, composing

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (4).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"\x08\x06\0\0\0" + b"\0" * 40


async def start(folder: Path | None, *answers: list[Any]) -> Bench:
    one = await Bench(folder, Scripted(*answers)).begin()
    one.host.listed = (Model("lab", "qwen3:8b", "qwen3:8b", abilities=frozenset({Ability.COMPLETION, Ability.VISION})),)
    return one


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.md").write_text("# Notes\nforty-two\n")
    (folder / "cat.png").write_bytes(PNG)
    (folder / "odd.bin").write_bytes(b"\xff\x00\xfe")
    return [str(folder / name) for name in ("notes.md", "cat.png", "odd.bin")]


async def test_files_go_with_the_prompt_and_stay_with_it(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("read"), DONE], [Delta("again"), DONE])
    one.chat.attach(files)
    await until(lambda: len(one.chat.view.value.attached) == 2 and one.host.notices)
    assert "odd.bin" in one.host.notices[0]
    one.chat.attach(files[:1])
    await until(lambda: not one.host.tasks)
    assert len(one.chat.view.value.attached) == 2, "the same file twice is once"
    await one.say("what is in it?")
    sent = one.host.lab.requests[0].messages[0].attachments
    assert [(file.name, file.kind) for file in sent] == [("notes.md", AttachmentKind.TEXT), ("cat.png", AttachmentKind.IMAGE)]
    assert sent[0].text == "# Notes\nforty-two\n" and sent[1].data == PNG
    assert one.chat.view.value.attached == () and one.chat.view.value.messages[0].attachments[1].data == b""
    number = one.chat.view.value.id
    await one.end()
    two = await start(tmp_path, [Delta("more"), DONE])
    two.chat.open(number)
    await until(lambda: two.chat.view.value.id == number)
    await two.say("and now?")
    assert two.host.lab.requests[0].messages[0].attachments[1].data == PNG
    await two.end()


async def test_a_prompt_waits_for_the_files_attached_just_before_it(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("read"), DONE])
    one.chat.attach(files[:1])
    one.chat.send("what is in it?")
    await until(lambda: one.host.lab.requests)
    assert [file.name for file in one.host.lab.requests[0].messages[0].attachments] == ["notes.md"]
    await one.end()


async def test_P20_a_file_that_cannot_be_read_holds_nothing_but_its_prompt(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, real = threading.Event(), attachments.read

    def hang(*args: Any, **more: Any) -> Any:
        go.wait(30)
        return real(*args, **more)

    monkeypatch.setattr(composing, "READING", 0.01)
    monkeypatch.setattr(attachments, "read", hang)
    one = await start(tmp_path, [Delta("read"), DONE])
    one.chat.attach(files[:1])
    one.chat.send("what is in it?")
    await until(lambda: one.host.notices)
    assert "still being read" in one.host.notices[0]
    assert one.chat.view.value.draft == "what is in it?" and not one.host.lab.requests
    go.set()
    await until(lambda: one.chat.view.value.attached)
    await one.end()


async def test_P04_what_is_attached_and_queued_comes_back_as_a_draft(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("a"), asyncio.Event()])
    one.chat.send("first")
    await until(lambda: one.chat.live.value and one.chat.live.value.buffer.text)
    number = one.chat.view.value.id
    one.chat.attach(files[:1])
    await until(lambda: one.chat.view.value.attached)
    one.chat.send("second")
    await until(lambda: one.chat.view.value.queued == ("second",) and not one.chat.view.value.attached)
    one.chat.attach(files[1:2])
    one.chat.save_draft("third")
    await until(lambda: one.stored.draft(f"chat:{number}") == "second\n\nthird")
    await until(lambda: len(one.stored.draft_attachments(f"chat:{number}")) == 2)
    one.engine._closing = True  # as after a crash: nothing more is written
    await one.end()
    two = await start(tmp_path, [Delta("b"), DONE])
    two.chat.open(number)
    await until(lambda: two.chat.view.value.draft == "second\n\nthird")
    assert [file.name for file in two.chat.view.value.attached] == ["notes.md", "cat.png"]
    two.chat.detach(0)
    await until(lambda: [file.name for file in two.chat.view.value.attached] == ["cat.png"])
    await two.say("third")
    assert two.host.lab.requests[0].messages[-1].attachments[0].data == PNG
    await two.end()


async def test_queued_prompts_can_be_changed_and_taken_back(tmp_path: Path) -> None:
    hold = asyncio.Event()
    one = await start(tmp_path, [Delta("a"), hold, DONE], [Delta("b"), DONE])
    one.chat.send("first")
    await until(lambda: one.chat.live.value)
    for text in ("second", "third"):
        one.chat.send(text)
    await until(lambda: one.chat.view.value.queued == ("second", "third"))
    one.chat.unqueue(0)
    one.chat.unqueue(0, "third, better")
    one.chat.unqueue(7)
    await until(lambda: one.chat.view.value.queued == ("third, better",))
    hold.set()
    await one.idle()
    assert [message.content for message in one.chat.view.value.messages] == ["first", "a", "third, better", "b"]
    await one.end()


async def test_a_large_paste_is_attached_and_counted(tmp_path: Path) -> None:
    one = await start(tmp_path, [Delta("a"), DONE])
    one.chat.save_draft("look")
    await until(lambda: one.chat.view.value.check is not None)
    small = one.chat.view.value.check.tokens
    one.chat.attach_text("paste.txt", "word " * 10_000)
    await until(lambda: one.chat.view.value.check.tokens > small + 5000)
    assert one.chat.view.value.check.over and one.chat.view.value.check.window == 4096
    (file,) = one.chat.view.value.attached
    assert (file.name, file.size, file.path) == ("paste.txt", 50_000, "")
    await one.end()


async def test_files_alone_are_a_prompt(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("a"), DONE])
    one.chat.attach(files[:1])
    await until(lambda: one.chat.view.value.attached)
    await one.say("")
    assert one.chat.view.value.title == "notes.md" and one.chat.history() == ()
    await one.end()


async def test_an_export_is_read_in_again(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("a"), DONE], [Delta("b"), DONE])
    one.chat.attach(files[:2])
    await until(lambda: one.chat.view.value.attached)
    await one.say("look")
    one.chat.edit(one.chat.view.value.messages[0].id, "look again")
    await until(lambda: [message.content for message in one.chat.view.value.messages] == ["look again", "b"])
    await one.idle()
    first = one.chat.view.value
    for form in ("json", "html"):
        one.host.notices.clear()
        one.chat.export(first.id, form)
        await until(lambda: one.host.notices)
        path = one.host.notices[0].removeprefix("Exported to ")
        one.chat.read_in(path)
        await until(lambda: one.chat.view.value.id not in (0, first.id) and not one.host.tasks)
        view = one.chat.view.value
        assert [(message.content, message.model) for message in view.messages] == [("look again", ""), ("b", "qwen3:8b")]
        assert len(view.branches[view.messages[0].id]) == 2 and one.stored.image(view.messages[0].attachments[1].id) == PNG
        one.chat.delete(view.id)
        await until(lambda: one.chat.view.value.id == 0)
    assert ("export chat", str(first.id), "ok") in one.host.audited
    await one.end()


async def test_a_model_that_cannot_see_is_not_sent_the_images_before(tmp_path: Path, files: list[str]) -> None:
    one = await start(tmp_path, [Delta("a cat"), DONE], [Delta("what cat?"), DONE])
    one.host.listed = (*one.host.listed, Model("lab", "phi4:14b", "phi4:14b", abilities=frozenset({Ability.COMPLETION})))
    one.chat.attach(files[:2])
    await until(lambda: len(one.chat.view.value.attached) == 2)
    await one.say("who is this?")
    one.chat.use_model("lab", "phi4:14b")
    answer = await one.say("and now?")
    sent = one.host.lab.requests[1].messages[0].attachments
    assert [file.name for file in sent] == ["notes.md"]
    assert answer.note == "1 image was not sent: phi4:14b cannot see"
    await one.end()
