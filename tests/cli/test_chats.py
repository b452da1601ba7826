"""chats: found, changed, written to files and read from them without a screen."""

from __future__ import annotations

import asyncio
import io
import json
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chat.files import CANARY, example
from tests.cli.conftest import Run, Typed, controls, provider
from tests.support.fault_server import FaultServer
from tui.cli.completions import words
from tui.core.chat import AnswerState, Message, Role
from tui.services.chat import transfer
from tui.services.chat.conversation_file import ConversationFile
from tui.store.conversations import Conversations
from tui.store.db import Database
from tui.store.identity import Identity, myself


@pytest.fixture
def stored(home: Path) -> Iterator[Path]:
    """Two conversations: 1 with files, branches and tags, 2 plain."""
    (home / "data").mkdir()
    database = Database(home / "data" / "paddock.db")
    store = Conversations(database)

    async def fill() -> None:
        await transfer.keep(store, example())
        question = Message(1, 0, 1, Role.USER, "Why do trains have wheels of iron?")
        await transfer.keep(store, ConversationFile("Trains", model="gemma3:4b", messages=(question,)))

    asyncio.run(fill())
    database.close()
    yield home


def test_they_are_listed_with_tags_the_pinned_first(stored: Path, run: Run) -> None:
    said = run("chats")
    assert said.lines == run("chats", "list").lines and said.lines[0].split() == ["ID", "CHANGED", "MODEL", "MESSAGES", "TITLE"]
    assert [line.split()[0] for line in said.lines[1:]] == ["1", "2"] and "Ships and trains  #work" in said.lines[1]
    assert run("chats", "--json").json["chats"][0]["tags"] == ["work"]


def test_all_of_them_are_listed(stored: Path, run: Run) -> None:
    database = Database(stored / "data" / "paddock.db")
    query = "INSERT INTO conversation (title, provider, model, created_at, updated_at, settings) VALUES ('x', 'a', 'm', 1, 1, '{}')"
    database.run_sync(lambda connection: [connection.execute(query) for _ in range(5500)], ("conversations",))
    database.close()
    assert len(run("chats", "--json").json["chats"]) == 5502


def test_they_are_found_by_words_and_tags_with_an_excerpt(stored: Path, run: Run) -> None:
    said = run("chats", "search", "wheels", "iron")
    assert said.code == 0 and len(said.lines) == 2 and "Why do trains have wheels of iron?" in said.lines[1]
    assert [one["id"] for one in run("chats", "search", "#work", "--json").json["chats"]] == [1]
    found = run("chats", "search", "trains", "--json").json["chats"]
    assert {one["id"] for one in found} == {1, 2} and any("wheels" in one["excerpt"] for one in found)
    assert run("chats", "search", "#zzz").code == 1


@pytest.mark.parametrize("form", ["md", "json", "html"])
def test_what_is_exported_is_imported(stored: Path, run: Run, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"chat.{form}"
    said = run("chats", "export", "1", "--output", str(path))
    assert said.code == 0 and not said.out and str(path) in said.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    printed = run("chats", "export", "1", "--form", form)
    assert printed.out == path.read_text("utf-8")
    said = run("chats", "import", str(path))
    assert said.code == 0 and "conversation 3: Ships and trains" in said.err
    messages = run("chats", "export", "3", "--json").json["messages"]
    assert [one["content"] for one in messages] == ["hello", "# Title\n\n**bold** `code`"]
    assert messages[1]["state"] == "stopped" and "data" not in messages[0]["attachments"][0]
    if form != "md":
        assert run("chats", "export", "3", "--form", "json").json["messages"][2]["content"] == "another answer"


def test_json_of_an_export_names_form_and_file(stored: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert run("chats", "export", "1", "--json", "--form", "html", "--output", str(path)).json["file"] == str(path)
    assert path.read_bytes().startswith(b"<!doctype html>")
    said = run("chats", "export", "1", "--json", "--form", "md", "--output", "-").json
    assert said["form"] == "md" and said["chat"]["id"] == 1 and "## you" in said["text"]
    assert run("chats", "import", str(path), "--json").json["chats"][0]["id"] == 3


def test_C17_a_file_is_replaced_only_with_a_yes(stored: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.md"
    path.write_text("mine")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    said = run("chats", "export", "1", "--output", str(path))
    assert said.code == 1 and "--yes" in said.err and path.read_text() == "mine"
    monkeypatch.setattr("sys.stdin", Typed("n\n"))
    assert run("chats", "export", "1", "--output", str(path)).code == 1 and path.read_text() == "mine"
    monkeypatch.setattr("sys.stdin", Typed("y\n"))
    assert run("chats", "export", "1", "--output", str(path)).code == 0 and "## you" in path.read_text()
    assert run("chats", "export", "2", "--output", str(path), "--yes").code == 0 and "iron" in path.read_text()
    assert run("chats", "export", "1", "--output", str(tmp_path), "--yes").code == 2
    assert run("chats", "export", "1", "--output", "/dev/null", "--yes").code == 2
    said = run("chats", "export", "1", "--output", str(tmp_path / "nowhere" / "x.md"))
    assert said.code == 1 and "nowhere" in said.err and "could not be written" in said.err


def test_titles_tags_and_pins(stored: Path, run: Run) -> None:
    assert "is now called Iron wheels" in run("chats", "rename", "2", "Iron", "wheels").err
    assert "#rail #Old-things" in run("chats", "tag", "2", "#rail", "Old things", "RAIL").err
    assert [one["id"] for one in run("chats", "search", "#old-things", "--json").json["chats"]] == [2]
    assert run("chats", "pin", "2", "--json").json["chats"][0]["pinned"]
    assert [one["id"] for one in run("chats", "--json").json["chats"]] == [2, 1]
    assert run("chats", "unpin", "1", "2").code == 0
    head = run("chats", "tag", "2", "none", "--json").json["chats"][0]
    assert (head["title"], head["tags"], head["pinned"]) == ("Iron wheels", [], False)


def test_deleting_asks_and_is_undone(stored: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("chats", "delete", "1").code == 3
    monkeypatch.setattr("sys.stdin", Typed("n\n"))
    said = run("chats", "delete", "1")
    assert said.code == 1 and "Ships and trains, 3 messages" in said.err and "Nothing was deleted" in said.err
    said = run("chats", "delete", "1", "99", "--yes")
    assert said.code == 1 and "Conversation 1 was deleted" in said.err and "no conversation 99" in said.err
    assert [one["id"] for one in run("chats", "--json").json["chats"]] == [2]
    assert run("chats", "export", "1").code == 1
    assert run("chats", "undelete", "1").code == 0 and "## you" in run("chats", "export", "1").out
    assert run("chats", "undelete", "77").code == 1


def test_one_that_is_open_elsewhere_is_not_deleted(stored: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conversations, "lease_holder", lambda _store, _number: Identity(4711, "x", myself().boot))
    said = run("chats", "delete", "1", "--yes")
    assert said.code == 1 and "pid 4711" in said.err and len(run("chats", "--json").json["chats"]) == 2


def test_readonly_reads_and_changes_nothing(stored: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    assert run("chats", "export", "1", "--output", str(path), readonly=True).code == 0
    for line in ("rename 1 x", "tag 1 x", "pin 1", "unpin 1", "delete 1 --yes", "undelete 1", f"import {path}"):
        said = run("chats", *line.split(), readonly=True)
        assert said.code == 3 and "security.access" in said.err, line
    assert len(run("chats", "--json", readonly=True).json["chats"]) == 2


@pytest.mark.parametrize(
    "line",
    [
        "list x", "search", "export", "export x", "export 1 2", "export ²", "import", "rename 1", "rename x y", "tag 1", "pin", "pin x",
        "delete", "delete -1", "undelete", "search x --form md", "--output x", "export 1 --form pdf", "vanish 1",
    ],
)  # fmt: skip
def test_wrong_usage_is_2(stored: Path, run: Run, line: str) -> None:
    said = run("chats", *line.split())
    assert said.code == 2 and said.err.strip() and not said.out and "Traceback" not in said.err


@pytest.mark.parametrize("verb", ["export", "rename", "tag", "pin", "unpin", "delete", "undelete"])
def test_numbers_that_nobody_has_are_1(stored: Path, run: Run, verb: str) -> None:
    for number in ("99", "9" * 30):
        extra = ["x"] if verb in ("rename", "tag") else ["--yes"] if verb == "delete" else []
        said = run("chats", verb, number, *extra)
        assert said.code == 1 and f"no conversation {number}" in said.err and not said.out


def test_C19_files_that_are_none_are_said_and_the_others_imported(home: Path, run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('[{"role": "user", "content": "hi"}]')
    bad.write_text('{"paddock": 1, "messages": [{"role": "user", "content": 5}]}')
    said = run("chats", "import", str(bad), str(good), str(tmp_path / "nothing"), "--json")
    assert said.code == 1 and [one["title"] for one in said.json["chats"]] == ["hi"]
    assert f"{bad}: messages[0].content" in said.err and "cannot be read" in said.err
    assert len(run("chats", "--json").json["chats"]) == 1


def test_standard_input_is_imported(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('[{"role": "user", "content": "from a pipe"}]'))
    said = run("chats", "import", "-")
    assert said.code == 0 and "standard input is conversation 1: from a pipe" in said.err
    monkeypatch.setattr("sys.stdin", io.StringIO("nonsense"))
    assert run("chats", "import", "-").code == 1


def test_P60_exports_imports_and_deletions_are_in_the_audit_log(stored: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    run("chats", "export", "1", "--output", str(path))
    run("chats", "import", str(path))
    run("chats", "delete", "1", "--yes")
    noted = "".join(one.read_text() for one in (stored / "state").rglob("audit*"))
    for what in ("export chat", "import chat", "delete chat"):
        assert what in noted


def test_P52_no_key_or_header_is_in_an_export(server: FaultServer, run: Run, configure: Callable[[str], None]) -> None:
    configure(provider("box", server.url, api_key='"sk-secret-1234567890"', headers='{X-Token = "tok-secret-987"}'))
    assert run("chat", "tiny", "hello", "--on", "box").code == 0
    for form in transfer.FORMS:
        said = run("chats", "export", "1", "--form", form)
        assert said.code == 0 and "box" in said.out and "secret" not in said.out and server.url not in said.out


def test_X01_no_canary_reaches_the_terminal(home: Path, run: Run, tmp_path: Path) -> None:
    message = Message(1, 0, 1, Role.ASSISTANT, CANARY, CANARY, model=CANARY, note=CANARY)
    file = ConversationFile(CANARY, messages=(message,))
    path = tmp_path / "bad.json"
    path.write_bytes(transfer.render("json", file))
    said = run("chats", "import", str(path))
    assert said.code == 0 and not controls(said.err)
    for line in ("list", "search script", *(f"export 1 {more}".strip() for more in ("", "--json", "--form json", "--form html")), "pin 1"):
        said = run("chats", *line.split())
        assert said.code == 0 and not controls(said.out + said.err), line
    assert not controls(run("chats", "tag", "1", CANARY).err) and not controls(run("chats").out)


def test_a_pipe_gets_the_bytes_of_the_file_in_any_language(stored: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    from tui.cli import main
    from tui.core.options import AppOptions

    assert main(["chats", "export", "1"], AppOptions()) == 0
    data = stdout.buffer.getvalue()  # type: ignore[attr-defined]
    assert "·".encode() in data and b"\treturn" in data and transfer.read(data).title == "Ships and trains"


def test_completions_know_the_verbs() -> None:
    assert {"import", "export", "undelete", "--form", "html", "--output", "--yes"} <= set(words()["chats"])


def test_an_export_of_one_that_crashed_says_interrupted_in_every_form(home: Path, run: Run) -> None:
    (home / "data").mkdir()
    database = Database(home / "data" / "paddock.db")
    store = Conversations(database)

    async def fill() -> None:
        head = await store.create("lab", "m", title="t")
        await store.add_message(Message(0, head.id, 0, Role.ASSISTANT, "half", state=AnswerState.WRITING))
        await store.release_lease(head.id)

    asyncio.run(fill())
    database.close()
    assert "*interrupted*" in run("chats", "export", "1").out and ">interrupted<" in run("chats", "export", "1", "--form", "html").out
    assert json.loads(run("chats", "export", "1", "--form", "json").out)["messages"][0]["state"] == "interrupted"
