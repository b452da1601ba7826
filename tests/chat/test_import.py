"""Reading conversations that anybody made: all of a file or nothing, with what is wrong and where, and never a fault of ours (C19)."""

from __future__ import annotations

import base64
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from tests.chat.files import PNG, conversations, example, free
from tui.core.chat import AnswerState, AttachmentKind, Role
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat import conversation_file, transfer
from tui.services.chat.conversation_file import MAX_BYTES, MAX_MESSAGES, MAX_PAGE, ConversationFile

QUICK = how(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def refused(data: bytes | Path | dict[str, Any] | list[Any]) -> str:
    """What is said of a file that is not read."""
    with pytest.raises(PaddockError) as caught:
        transfer.read(json.dumps(data).encode() if isinstance(data, dict | list) else data)
    failure = caught.value.failure
    assert failure.what and failure.remedy and failure.kind is FailureKind.BAD_REQUEST
    return f"{failure.sentence()}. {failure.remedy}."


def of(**message: Any) -> dict[str, Any]:
    """A file with one message."""
    return {"paddock": 1, "messages": [{"role": "user", "content": "x", **message}]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no conversation that Paddock knows"),
        (b"\x00\xff\x00\xff", "no conversation that Paddock knows"),
        (b"%PDF-1.7", "JSON list of messages"),
        (b"# A heading", "no conversation that Paddock knows"),
        (b"<html><body>hi</body></html>", "page holds no conversation"),
        (b"{", "no JSON"),
        (b'{"paddock": 1,\n\n "x": }', "line 3"),
        (b'{"paddock": 1, "paddock": 1}', "twice in one object (paddock)"),
        (b'{"paddock": 1, "messages": [NaN]}', "NaN is no number"),
        (b'{"paddock": 1, "tip": ' + b"9" * 5000 + b"}", "out of range"),
        (b'{"paddock": 1, "created_at": 1e999}', "out of range (created_at)"),
        (b"[" * 100_000, "stand inside each other"),
        (b'{"a":' * 100_000, "stand inside each other"),
        ({}, "no conversation"),
        ({"chats": []}, "no conversation"),
        ({"paddock": 2}, "form 2 of a newer Paddock; this one knows 1"),
        ({"paddock": 0}, "no form 0"),
        ({"paddock": True}, "a number (paddock)"),
        ({"paddock": "1"}, "a number (paddock)"),
        ({"paddock": 1, "messages": {}}, "a list (messages)"),
        ({"paddock": 1, "messages": [1]}, "an object (messages[0])"),
        ({"paddock": 1, "title": 5}, "a text (title)"),
        ({"paddock": 1, "tip": 3}, "no message 3 (tip)"),
        ({"paddock": 1, "tags": ["a", 1]}, "a text (tags[1])"),
        ({"paddock": 1, "created_at": -1}, "calendar"),
        ({"paddock": 1, "settings": {"think": "hard"}}, "settings.think"),
        ({"paddock": 1, "settings": {"format": 3}}, "schema"),
        ({"paddock": 1, "settings": {"options": []}}, "an object (settings.options)"),
        (of(role="root"), "Nobody is called root"),
        (of(role=None), "Nobody is called nothing"),
        (of(content=["x"]), "a text (messages[0].content)"),
        (of(state="done", role="assistant"), "No answer can be done"),
        (of(parent=7), "No message 7 stands above (messages[0].parent)"),
        (of(id=1, parent=1), "No message 1 stands above"),
        (of(keep_from=9), "messages[0].keep_from"),
        (of(id=0), "taken"),
        (of(id=1.5), "a number (messages[0].id)"),
        (of(id=1 << 70), "out of range"),
        (of(at=1e15), "calendar"),
        (of(pinned=1), "true or false"),
        (of(metrics={"output_tokens": "many"}), "messages[0].metrics.output_tokens"),
        (of(timeline={"wrote": []}), "messages[0].timeline.wrote"),
        (of(failure="bad"), "messages[0].failure"),
        (of(attachments=[{"name": "x", "kind": "video"}]), "kind video"),
        (of(attachments=[{"name": "x", "kind": "image", "data": "?"}]), "not base64"),
        (of(attachments=[{"name": "x", "kind": "image", "data": "PHN2Zz4="}]), "no PNG"),
        (of(tool_calls=[{"function": {"name": "f", "arguments": "{"}}]), "no JSON"),
        (of(tool_calls=[{"function": {"name": "f", "arguments": [1]}}]), "an object"),
        (b"<!--paddock:conversation {}-->", "no form 0"),
        (b'<!--paddock:conversation {"paddock": 2}-->', "form 2 of a newer Paddock"),
        (b'<!--paddock:conversation {"paddock": 1}-->\n\n<!--paddock:message {"role": }-->', "no JSON: Expecting value (line 3)"),
        (b'<!--paddock:conversation {"paddock": 1}-->\n<!--paddock:end-->', "without a beginning (line 2)"),
        (b'<!--paddock:conversation {"paddock": 1}-->\n<!--paddock:text-->', "before the first message (line 2)"),
        (b'<!--paddock:conversation {"paddock": 1}-->\n<!--paddock:magic-->', "mark magic (line 2)"),
        (b'<!--paddock:conversation {"paddock": 1}-->\n<!--paddock:message {"role": "x"}-->', "assistant or tool (line 2: role)"),
        (
            b'<!--paddock:conversation {"paddock": 1}-->\n<!--paddock:message {"role": "user"}-->\n<!--paddock:text-->\nhalf',
            "no end (line 3)",
        ),
    ],
)
def test_C19_what_is_wrong_and_where_is_said(data: Any, words: str) -> None:
    assert words in refused(data)


def test_C19_parents_that_go_in_circles_are_none() -> None:
    circle = [{"id": 1, "parent": 2, "role": "user", "content": ""}, {"id": 2, "parent": 1, "role": "assistant", "content": ""}]
    assert "No message 2 stands above (messages[0].parent)" in refused({"paddock": 1, "messages": circle})


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


def test_C19_deep_values_are_refused_and_others_kept() -> None:
    assert transfer.read(json.dumps(of(options={"a": deep(50)})).encode()).messages[0].options == {"a": deep(50)}
    assert "64 values" in refused(of(options={"a": deep(70)}))


def test_C19_a_million_messages_and_50_MB_are_refused(tmp_path: Path) -> None:
    many = b'{"paddock": 1, "messages": [' + b",".join([b'{"role":"user","content":""}'] * 1_000_000) + b"]}"
    assert "more values than any conversation" in refused(many)
    some = b'{"paddock": 1, "messages": [' + b",".join([b"{}"] * (MAX_MESSAGES + 1)) + b"]}"
    assert f"{MAX_MESSAGES + 1:,} messages; {MAX_MESSAGES:,} can be read" in refused(some)
    plain = b"[" + b",".join([b'{"role":"user","content":""}'] * (MAX_MESSAGES + 1)) + b"]"
    assert "can be read" in refused(plain)
    marks = b'<!--paddock:conversation {"paddock": 1}-->\n' + b'<!--paddock:message {"role":"user"}-->\n' * (MAX_MESSAGES + 1)
    assert "can be read" in refused(marks)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "larger than 50 MB" in refused(large) and str(large) in refused(large)


def test_a_page_may_hold_what_a_file_may_and_draw_it_too(tmp_path: Path) -> None:
    page = transfer.render("html", example()).replace(b"<body>", b"<body>" + b" " * MAX_BYTES)
    path = tmp_path / "page.html"
    path.write_bytes(page)
    assert transfer.read(path) == example()
    with path.open("ab") as file:
        file.truncate(MAX_PAGE + 1)
    assert "larger than 200 MB" in refused(path)
    assert "in this page is larger than 50 MB" in refused(page.replace(b'{"paddock"', b" " * MAX_BYTES + b'{"paddock"'))


def test_C19_more_values_than_memory_has_room_for_are_refused_before_they_are_made() -> None:
    assert "more values" in refused(b'{"paddock": 1, "messages": [' + b"[]," * 5_000_000 + b"1]}")


def test_texts_full_of_braces_and_commas_are_no_values() -> None:
    text = '{"a": [1, 2]}, \\" \\\\' * 1_000_000
    assert transfer.read(json.dumps(of(content=text)).encode()).messages[0].content == text


def test_D12_nul_and_lone_surrogates_are_replaced_at_the_door() -> None:
    message = transfer.read(
        b'{"paddock": 1, "title": "a\\u0000", "messages": [{"role": "user", "content": "a\\u0000b\\ud800c"}]}'
    ).messages[0]
    assert message.content == "a\u2400b\ufffdc"
    assert (
        transfer.read(b'{"paddock": 1, "messages": [{"role": "user", "content": "\xff\xed\xa0\x80"}]}').messages[0].content.strip("\ufffd")
        == ""
    )


def test_X01_names_and_titles_are_cleaned() -> None:
    bad = "\x1b[31mred\u202e\n"
    file = {"paddock": 1, "title": bad, "provider": bad, "model": bad, "tags": [bad], **{"messages": []}}
    message = {"role": "assistant", "content": bad, "model": bad, "note": bad, "tool_name": bad, "failure": {"what": bad, "where": bad}}
    read = transfer.read(json.dumps({**file, "messages": [message]}).encode())
    one = read.messages[0]
    assert one.failure is not None and one.content == bad
    for text in (
        read.title,
        read.provider,
        read.model,
        *read.tags,
        one.model,
        one.note,
        one.tool_name,
        one.failure.what,
        one.failure.where,
    ):
        assert "\x1b" not in text and "\u202e" not in text and "\n" not in text and "red" in text


@pytest.mark.parametrize("state", ["waiting", "writing"])
@pytest.mark.parametrize("form", transfer.FORMS)
def test_what_was_being_written_is_interrupted(state: str, form: str) -> None:
    file = transfer.read(json.dumps(of(role="assistant", state="stopped")).encode())
    data = transfer.render(form, file).replace(b"stopped", state.encode())
    message = transfer.read(data).messages[0]
    assert message.state is AnswerState.INTERRUPTED and message.failure is not None and "being written" in message.failure.what


def test_a_prompt_has_no_state() -> None:
    assert transfer.read(json.dumps(of(state="failed")).encode()).messages[0].state is AnswerState.COMPLETE


def test_what_a_file_claims_of_attachments_is_not_believed() -> None:
    """Neither a digest, under which other bytes may be stored, nor a media type, nor a place on the disk that is read again."""
    claims = {"digest": "0" * 64, "media": "text/html", "size": 5, "path": "/etc/shadow", "id": 7, "name": "../x/a.png"}
    data = base64.b64encode(PNG).decode()
    file = of(attachments=[{**claims, "kind": "image", "data": data}, {**claims, "text": "abc"}])
    picture, text = transfer.read(json.dumps(file).encode()).messages[0].attachments
    assert (picture.kind, picture.media, picture.size, picture.data) == (AttachmentKind.IMAGE, "image/png", len(PNG), PNG)
    assert picture.name == ".._x_a.png" and not picture.path and not picture.id and picture.digest != "0" * 64
    assert (text.text, text.size, text.media, text.path) == ("abc", 3, "", "") and text.digest.startswith("ba7816bf")


def test_a_picture_that_is_not_there_is_said() -> None:
    message = transfer.read(json.dumps(of(attachments=[{"name": "cat.png", "kind": "image"}])).encode()).messages[0]
    assert not message.attachments and message.note == "not in the file: cat.png"
    assert transfer.read(transfer.render("md", example())).messages[0].note == "not in the file: a.png"


def test_parents_that_are_left_out_and_fields_of_later_times() -> None:
    file = {"paddock": 1, "future": {}, "messages": [{"role": "user", "content": "a", "new": 1}, {"role": "assistant", "content": "b"}]}
    assert [(one.id, one.parent) for one in transfer.read(json.dumps(file).encode()).messages] == [(1, 0), (2, 1)]


def test_messages_as_programs_send_them() -> None:
    data = base64.b64encode(PNG).decode()
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    parts = [
        {"type": "text", "text": "what is"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "text", "text": "this?"},
    ]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": "and kind"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
        {"role": "user", "content": "look", "images": [data]},
    ]
    for value in (messages, {"model": "m", "messages": messages, "stream": False}):
        file = transfer.read(json.dumps(value).encode())
        assert file.settings.system == "be brief\n\nand kind"
        prompt, answer, tool, last = file.messages
        assert [one.parent for one in file.messages] == [0, 1, 2, 3]
        assert prompt.content == "what is\n\nthis?" and prompt.attachments[0].data == PNG and "example.org/cat.png" in prompt.note
        assert answer.role is Role.ASSISTANT and answer.content == "" and answer.thinking == "hm"
        assert answer.tool_calls == ({"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}},)
        assert (tool.role, tool.tool_call_id) == (Role.TOOL, "c1") and last.attachments[0].media == "image/png"
    assert "Nobody is called x" in refused([{"role": "x", "content": ""}])
    assert transfer.read(b"[]") == ConversationFile()


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/zero"), Path("a\0b")):
        assert refused(path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "no file" in refused(fifo)


def test_the_form_is_known_by_its_content(tmp_path: Path) -> None:
    for form in transfer.FORMS:
        path = tmp_path / "chat.txt"
        path.write_bytes(b"\xef\xbb\xbf" + transfer.render(form, example()))
        assert transfer.read(path).title == "Ships and trains"


_NAMES = (
    *("paddock", "title", "messages", "id", "parent", "role", "content", "state", "tip", "settings", "attachments", "kind", "data"),
    *("text", "name", "metrics", "timeline", "failure", "tool_calls", "function", "arguments", "options", "at", "pinned", "keep_from"),
    *("tags", "created_at", "type", "image_url", "url", "images"),
)
ANY = st.recursive(
    free,
    lambda some: (
        st.dictionaries(
            st.sampled_from(_NAMES),
            some | st.sampled_from(["user", "assistant", "tool", "system", 1, 0, "image", "text", "image_url"]),
            max_size=6,
        )
        | st.lists(some, max_size=3)
    ),
    max_leaves=20,
)


@QUICK
@given(ANY, st.booleans())
def test_C19_no_json_is_a_fault_of_ours(value: Any, ours: bool) -> None:
    if ours:
        value = {"paddock": 1, "messages": [{"role": "user", "content": "", **value} if isinstance(value, dict) else value]}
    _sound(json.dumps(value).encode())


@QUICK
@given(conversations(), st.sampled_from(sorted(transfer.FORMS)), st.randoms(use_true_random=False))
def test_C19_no_damaged_file_is_a_fault_of_ours(file: ConversationFile, form: str, chance: random.Random) -> None:
    data = bytearray(transfer.render(form, file))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        what = chance.randrange(4)
        if what == 0:
            data[at] = chance.randrange(256)
        elif what == 1:
            del data[at : at + chance.randrange(1, 40)]
        elif what == 2:
            data[at:at] = data[at : at + 60]
        else:
            data[at:at] = chance.choice([b"[", b"{", b'"', b"-->", b"<!--paddock:end-->\n", b"\xff", b"9" * 30, b"null"])
        if not data:
            return
    _sound(bytes(data))


def _sound(data: bytes) -> None:
    """Read with every promise kept, or refused in words."""
    try:
        file = transfer.read(data)
    except PaddockError as error:
        assert error.failure.what and error.failure.remedy
        return
    known = {0}
    for one in file.messages:
        assert one.parent in known and one.keep_from in known and one.id not in known and one.state.ended
        known.add(one.id)
    assert file.tip in known
    assert transfer.read(transfer.render("json", file)) == file
    assert transfer.render("md", file) and transfer.render("html", file)


def test_the_limit_of_depth_is_one_the_store_can_write() -> None:
    from tui.store import codec

    assert codec.mapping(codec.dump({"a": deep(conversation_file.MAX_DEPTH)})) == {"a": deep(conversation_file.MAX_DEPTH)}
