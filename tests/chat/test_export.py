"""Conversations as files: nothing lost that is not said to be, nothing foreign that acts, and nobody else reads them."""

from __future__ import annotations

import html.parser
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how

from tests.chat.files import CANARY, conversations, example, made
from tui.core.chat import AnswerState, ConversationSettings, Message, Role, Timeline
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.events import Metrics
from tui.services.chat import transfer
from tui.services.chat.conversation_file import ConversationFile
from tui.services.chat.html_form import MAX_DRAWN

DOCUMENT = Path(__file__).parents[2] / "docs" / "conversation-files.md"
QUICK = how(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@QUICK
@given(conversations())
def test_json_brings_back_every_conversation_whole(file: ConversationFile) -> None:
    data = transfer.render("json", file)
    assert data.isascii() and json.loads(data)["paddock"] == 1
    assert transfer.read(data) == file


@QUICK
@given(conversations())
def test_html_brings_back_every_conversation_whole(file: ConversationFile) -> None:
    assert transfer.read(transfer.render("html", file)) == file


def line_of(file: ConversationFile) -> ConversationFile:
    """What Markdown keeps of a branch."""
    kept = tuple(
        replace(one, metrics=Metrics(), timeline=Timeline(), prompt_estimate=None, comparison=0, options={}) for one in file.messages
    )
    return replace(file, messages=kept)


@QUICK
@given(conversations(line=True))
def test_markdown_brings_back_the_branch_whatever_it_says(file: ConversationFile) -> None:
    data = transfer.render("md", file)
    assert transfer.read(data) == line_of(file)
    assert transfer.read(data.replace(b"\n", b"\r\n")) == line_of(file)


@QUICK
@given(conversations())
def test_markdown_of_a_tree_is_its_branch(file: ConversationFile) -> None:
    read = transfer.read(transfer.render("md", file))
    branch = file.branch()
    assert [(one.role, one.content, one.thinking, one.state, one.model, one.created_at) for one in read.messages] == [
        (one.role, one.content, one.thinking, one.state, one.model, one.created_at) for one in branch
    ]
    assert [one.parent for one in read.messages] == list(range(len(branch)))


def test_markdown_says_what_is_not_in_it_and_names_ends() -> None:
    text = transfer.render("md", example()).decode()
    assert "one message of another branch" in text and "a picture" in text and "JSON and HTML" in text
    assert "another answer" not in text and "*stopped*" in text
    assert "the server says: 10 tokens read, 20 written, 10.0 tokens/s" in text and "measured: first token after 0.4s" in text
    assert "\n## you (2025-11-21 18:33:20Z)\n" in text and "\treturn '```'" in text
    whole = ConversationFile("x", messages=(Message(1, 0, 1, Role.USER, "hi"),))
    assert "Not in this file" not in transfer.render("md", whole).decode()


def test_an_edited_markdown_counts_as_it_is_shown() -> None:
    file = ConversationFile("x", messages=(Message(1, 0, 1, Role.USER, "red \x1b[31m"),))
    text = transfer.render("md", file).decode()
    assert transfer.read(text.encode()).messages[0].content == "red \x1b[31m"
    assert transfer.read(text.replace("red ␛", "blue ␛").encode()).messages[0].content == "blue ␛[31m"


def test_what_follows_an_open_fence_is_not_drawn_as_code() -> None:
    from markdown_it import MarkdownIt

    file = ConversationFile("x", messages=(Message(1, 0, 1, Role.USER, "```\nx"), Message(2, 0, 2, Role.ASSISTANT, "end", parent=1)))
    tokens = MarkdownIt("commonmark").parse(transfer.render("md", file).decode())
    assert [token.content for token in tokens if token.type == "inline"][-1] == "end"


@pytest.mark.parametrize("state", [state for state in AnswerState if state is not AnswerState.COMPLETE])
def test_every_end_that_is_not_complete_is_named(state: AnswerState) -> None:
    failure = Failure("The line broke", "box:1", "Again", FailureKind.INTERRUPTED)
    file = ConversationFile("x", messages=(Message(1, 0, 1, Role.ASSISTANT, "half", state=state, failure=failure),))
    for form in ("md", "html"):
        text = transfer.render(form, file).decode()
        assert "The line broke (box:1)" in text
    empty = ConversationFile("x", messages=(Message(1, 0, 1, Role.ASSISTANT, ""),))
    assert "an empty answer" in transfer.render("md", empty).decode() and "an empty answer" in transfer.render("html", empty).decode()


class Page(html.parser.HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def canaries() -> ConversationFile:
    """The canary in every field that somebody else fills."""
    text = CANARY.replace("\0", "\u2400")
    answer = Message(
        *(2, 0, 2, Role.ASSISTANT, f"{text}\n\n[x](javascript:alert(1)) ![p](http://evil.example/x.png) <{text}>", text),
        tool_calls=({"id": text, "function": {"name": text, "arguments": {text: text}}},),
        state=AnswerState.FAILED,
        failure=Failure(text, text, text, FailureKind.SERVER, text),
        provider=text,
        model=text,
        parent=1,
        options={text: text},
        note=text,
    )
    tool = Message(3, 0, 3, Role.TOOL, text, parent=2, tool_name=text, tool_call_id=text)
    files = (replace(made({"name": "x", "text": text}), name=text), replace(example().messages[0].attachments[0], name=text, media=text))
    prompt = Message(1, 0, 1, Role.USER, text, attachments=files)
    settings = ConversationSettings(text, "auto", text, {text: text}, text, {text: text}, (text,))
    return ConversationFile(text, 1.0, text, text, settings, (text,), True, (prompt, answer, tool), 3)


@pytest.mark.parametrize("form", transfer.FORMS)
def test_X01_no_canary_reaches_who_prints_the_file(form: str) -> None:
    text = transfer.render(form, canaries()).decode()
    assert not [char for char in text if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\U000e0000-\U000e007f]", text)


@QUICK
@given(conversations())
def test_X01_a_page_runs_and_loads_nothing(file: ConversationFile) -> None:
    """Whatever a conversation says: one data block is the only script, and only pictures inside the page and links that are clicked."""
    _harmless(transfer.render("html", file).decode())


def test_X01_a_page_of_canaries_runs_and_loads_nothing() -> None:
    text = transfer.render("html", canaries()).decode()
    _harmless(text)
    assert "javascript:" not in "".join(str(attributes.get("href")) for _, attributes in Page(text).tags)


def _harmless(text: str) -> None:
    page = Page(text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "paddock-conversation"}]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcset", "action")]
        assert tag not in ("iframe", "object", "embed", "form", "link", "base", "svg", "video", "audio", "input")
        if "src" in attributes:
            assert tag == "img" and str(attributes["src"]).startswith("data:image/png;base64,")
        if "href" in attributes:
            assert tag == "a" and str(attributes["href"]).startswith(("http://", "https://", "mailto:", "#"))
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")


def test_the_policy_allows_the_style_sheet_of_the_page() -> None:
    import base64
    import hashlib

    text = transfer.render("html", example()).decode()
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in text
    assert "prefers-color-scheme:dark" in style and 'name="viewport"' in text


def test_a_page_has_markdown_thoughts_figures_and_pictures() -> None:
    text = transfer.render("html", example()).decode()
    assert "<strong>bold</strong> <code>code</code>" in text and "<summary>Thought for 3.2s</summary>" in text
    assert '<img src="data:image/png;base64,' in text and "measured: first token after 0.4s" in text and ">stopped<" in text
    assert "One message of another branch is in this file" in text


def test_X01_tables_and_addresses_of_a_page() -> None:
    said = (
        "| a | b |\n|--:|:-:|\n| 1 | 2 |\n\n[x](https://example.org/?a=1&b=%22) [y](https://example.org/"
        + "z" * 3000
        + ") [z](ftp://x) <data:x>"
    )
    text = transfer.render("html", ConversationFile("x", messages=(Message(1, 0, 1, Role.ASSISTANT, said),))).decode()
    _harmless(text)
    assert '<td class="right">1</td>' in text and '<th class="center">b</th>' in text
    addresses = [attributes.get("href") for tag, attributes in Page(text).tags if tag == "a"]
    assert addresses[0] == "https://example.org/?a=1&b=%22" and not any(addresses[1:])


def test_a_page_with_an_endless_text_shows_it_as_it_is() -> None:
    file = ConversationFile("x", messages=(Message(1, 0, 1, Role.ASSISTANT, "*a* " * (MAX_DRAWN // 4 + 1)),))
    assert '<pre class="text">*a* ' in transfer.render("html", file).decode()


def test_the_document_names_every_field() -> None:
    """And the form has no other: one with everything set is compared with the words of the document."""
    words = set(re.findall(r"`(\w+)`", DOCUMENT.read_text("utf-8")))
    failure = Failure("a", "b", "c", FailureKind.SERVER, "d", 1.0, 500)
    full = Message(
        *(2, 0, 2, Role.ASSISTANT, "a", "b", ({"id": "x", "function": {"name": "f", "arguments": {}}},), AnswerState.FAILED, failure),
        *("lab", "m", 1.0, Metrics(*[1] * 6), Timeline(*[1.0] * 8, True), 5, 1, example().messages[0].attachments, True, 1, 3, "f", "x"),
        *({"seed": 1}, "note"),
    )
    settings = ConversationSettings("s", "on", "p", {"seed": 1}, "5m", "json", ("time",))
    file = replace(example(), settings=settings, messages=(example().messages[0], full))
    assert transfer.read(transfer.render("json", file)) == file
    written = json.loads(transfer.render("json", file))
    names = {*written, *written["settings"], *(key for one in written["messages"] for key in one)}
    names |= {key for one in written["messages"] for part in ("metrics", "timeline", "failure") for key in one.get(part, {})}
    names |= {key for one in written["messages"][0]["attachments"] for key in one}
    assert names - words == {"paddock"}


def test_P52_no_folder_of_an_attached_file_and_no_number_that_json_does_not_know() -> None:
    code = replace(made({"name": "n.py", "text": "x"}), path="/home/someone/secret/n.py")
    message = Message(1, 0, 1, Role.USER, "x", attachments=(code,), options={"a": float("inf"), "b": [float("nan")]})
    for form in transfer.FORMS:
        assert b"secret" not in transfer.render(form, ConversationFile("x", messages=(message,)))
    assert transfer.read(transfer.render("json", ConversationFile("x", messages=(message,)))).messages[0].options == {
        "a": None,
        "b": [None],
    }


@pytest.mark.parametrize("form", transfer.FORMS)
def test_P54_a_file_is_new_whole_and_its_owners(tmp_path: Path, form: str) -> None:
    before = os.umask(0)
    try:
        paths = [transfer.write(tmp_path / "a" / "exports", 7, form, example(), 1763750000.0) for _ in range(3)]
    finally:
        os.umask(before)
    assert [path.name for path in paths] == [f"20251121-183320-7-ships-and-trains{more}.{form}" for more in ("", "-2", "-3")]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    assert stat.S_IMODE(paths[0].parent.stat().st_mode) == 0o700
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    assert transfer.read(paths[0]).title == "Ships and trains"


def test_P56_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "20251121-183320-7-ships-and-trains.md").symlink_to(victim)
    path = transfer.write(tmp_path, 7, "md", example(), 1763750000.0)
    assert path.name.endswith("-2.md") and victim.read_text() == "mine"
    link = tmp_path / "link.md"
    link.symlink_to(victim)
    transfer.write_over(link, b"new")
    assert victim.read_text() == "mine" and link.read_bytes() == b"new" and not link.is_symlink()


@pytest.mark.parametrize("title", ["", "../../etc/passwd", "a\n\x1b[31mb" * 50, "…", ".hidden", "-rf", "模型"])
def test_C17_names_of_files_are_safe(tmp_path: Path, title: str) -> None:
    path = transfer.write(tmp_path, -3, "json", ConversationFile(title), 0.0)
    assert path.parent == tmp_path and re.fullmatch(r"19700101-000000-3-[a-z0-9-]{1,40}\.json", path.name) and len(path.name) < 100


def test_a_folder_that_cannot_be_written_and_a_form_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PaddockError) as caught:
        transfer.write(tmp_path / "file" / "x", 1, "md", example(), 0.0)
    assert caught.value.failure.kind is FailureKind.DISK and caught.value.failure.remedy
    with pytest.raises(PaddockError, match="no form docx"):
        transfer.render("docx", example())


def test_D03_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PaddockError) as caught:
        transfer.write(tmp_path, 1, "md", example(), 0.0)
    assert "No space left" in caught.value.failure.details and not list(tmp_path.iterdir())
