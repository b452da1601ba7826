"""chat, complete and chats: the answer on standard output, saved while it comes, and never more complete than it is."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import Run, provider
from tests.support.fault_server import Exchange, FaultServer
from tests.support.replay import Replay
from tui.cli import chat
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat import answer
from tui.store.conversations import Conversations


def piece(text: str, **more: object) -> bytes:
    return json.dumps({"model": "tiny", "message": {"role": "assistant", "content": text}, "done": False, **more}).encode() + b"\n"


END = b'{"model":"tiny","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":0}\n'


def stored(home: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(f"file:{home}/data/paddock.db?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT state, content FROM message ORDER BY id").fetchall()
    connection.close()
    return rows


def test_an_answer_on_stdout_alone_and_saved(server: FaultServer, run: Run) -> None:
    said = run("chat", "tiny", "hello")
    assert said.code == 0 and said.out == "hi \u241b[31mred\n" and said.err == ""
    assert run("chats", "--json").json["chats"][0]["title"] == "hello"
    messages = run("chats", "export", "1", "--json").json["messages"]
    assert [message["state"] for message in messages] == ["complete", "complete"]
    assert messages[1]["content"] == "hi \x1b[31mred"
    assert "## you" in run("chats", "export", "1").out


def test_H07_a_cut_answer_is_1_said_and_kept_as_interrupted(server: FaultServer, run: Run, home: Path) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.stream(piece("half"))

    server.routes["POST /api/chat"] = cut
    said = run("chat", "tiny", "hello")
    assert said.code == 1 and said.out == "half\n" and said.err
    assert stored(home)[1] == ("interrupted", "half")
    last = json.loads(run("chat", "tiny", "hello", "--json").lines[-1])
    assert last["state"] == "interrupted" and last["failure"]["what"]


def test_H05_a_connection_that_breaks_is_1_and_keeps_what_came(server: FaultServer, run: Run, home: Path) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(piece("some "))
        exchange.reset()

    server.routes["POST /api/chat"] = reset
    said = run("chat", "tiny", "hello")
    assert said.code == 1 and said.err and stored(home)[1][0] in ("interrupted", "failed")


def test_an_answer_cut_at_its_length_is_1_and_says_so(ollama: str, run: Run, home: Path) -> None:
    said = run("chat", "gemma3:4b", "hello", "--option", "num_predict=3")
    assert said.code == 1 and said.out and "cut" in said.err and "num_predict" in said.err
    assert stored(home)[1][0] == "length"


def test_a_prompt_that_the_server_cut_is_said(ollama: str, run: Run) -> None:
    long, small = " ".join(f"word{number}" for number in range(900)), ("--option", "num_ctx=256")
    said = run("chat", "gemma3:4b", long, *small)
    assert said.out and "The model saw " in said.err and "oldest dropped. Send less, or set num_ctx" in said.err
    told = json.loads(run("chat", "gemma3:4b", long, *small, "--json").lines[-1])
    assert told["alarm"].startswith("the model saw ") and told["reported"]["prompt_tokens"] <= 256
    said = run("chat", "gemma3:4b", "hello", "--json", "--option", "num_ctx=4096")
    assert json.loads(said.lines[-1])["alarm"] == "" and not said.err


def test_an_error_in_the_stream_is_1(server: FaultServer, run: Run, home: Path) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.stream(piece("so "), b'{"error":"the runner has died"}\n')

    server.routes["POST /api/chat"] = broken
    said = run("chat", "tiny", "hello")
    assert said.code == 1 and said.out == "so \n" and said.err.strip()
    assert stored(home)[1][1] == "so "


def test_an_empty_answer_is_said(server: FaultServer, run: Run) -> None:
    async def empty(exchange: Exchange) -> None:
        await exchange.stream(END)

    server.routes["POST /api/chat"] = empty
    said = run("chat", "tiny", "hello")
    assert said.code == 0 and not said.out and "empty" in said.err


def test_recorded_thoughts_stay_off_stdout_and_are_kept(server: FaultServer, run: Run, home: Path) -> None:
    server.routes["/api/chat"] = Replay("ollama-0.24/chat_thinking", pick=lambda scene: len(scene.chunks) > 2)
    said = run("chat", "tiny", "hello", "--json")
    parts = [json.loads(line) for line in said.lines]
    thoughts, text = ("".join(part.get(kind, "") for part in parts) for kind in ("thinking", "text"))
    assert thoughts and parts[-1]["state"] in ("complete", "length")
    server.routes["/api/chat"] = Replay("ollama-0.24/chat_thinking", pick=lambda scene: len(scene.chunks) > 2)
    assert thoughts not in run("chat", "tiny", "hello").out
    assert stored(home)[1][1] == text


def test_P01_text_is_on_disk_while_it_still_comes_and_ctrl_c_keeps_it(
    server: FaultServer, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends a part, waits until that part is in the database, and only then presses ctrl+c for us."""
    monkeypatch.setattr(answer, "SAVE_EVERY", 0.02)
    seen: list[tuple[str, str]] = []

    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(piece("the first part"))
        while not seen:
            await asyncio.sleep(0.01)
            seen.extend(row for row in stored(home) if row[1] == "the first part")
        os.kill(os.getpid(), signal.SIGINT)
        await exchange.gone()

    server.routes["POST /api/chat"] = slow
    said = run("chat", "tiny", "hello")
    assert said.code == 130 and said.out == "the first part\n" and not said.err
    assert seen == [("writing", "the first part")]
    assert stored(home)[1] == ("stopped", "the first part")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_end_from_outside_keeps_the_part_as_interrupted(server: FaultServer, run: Run, home: Path) -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(piece("a part"))
        await exchange.raw(b"")
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        await exchange.gone()

    server.routes["POST /api/chat"] = slow
    assert run("chat", "tiny", "hello").code == 143
    assert stored(home)[1][0] == "interrupted"


def test_ctrl_c_before_anything_came_is_130(server: FaultServer, run: Run) -> None:
    async def hang(exchange: Exchange) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await exchange.gone()

    server.routes["/api/tags"] = hang
    said = run("chat", "tiny", "hello")
    assert said.code == 130 and not said.out and "Traceback" not in said.err


def test_a_reader_that_leaves_stops_the_answer_quietly(server: FaultServer, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(piece("a part"))
        await exchange.gone()

    server.routes["POST /api/chat"] = slow
    monkeypatch.setattr("sys.stdout", Left())
    said = run("chat", "tiny", "hello")
    assert said.code == 1 and not said.err
    assert stored(home)[1][0] == "stopped"


def test_what_is_sent_is_what_settings_and_flags_say(server: FaultServer, run: Run, configure, tmp_path: Path) -> None:
    configure(
        '[chat]\npreset = "precise"\nsystem = "be brief"\n[chat.options]\ntop_k = 7\n' + provider("box", server.url, keep_alive='"3m"')
    )
    note = tmp_path / "note.txt"
    note.write_text("from the file\n", "utf-8")
    said = run("chat", "tiny", "sum up", "--attach", str(note), "--option", "seed=5", "--option", "stop=END")
    assert said.code == 0
    sent = server.requests[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "be brief"}
    assert sent["messages"][1]["content"] == "sum up\n\nnote.txt:\n```txt\nfrom the file\n```"
    assert sent["options"]["top_k"] == 7 and sent["options"]["seed"] == 5 and sent["options"]["stop"] == "END"
    assert sent["keep_alive"] == "3m"
    run("chat", "tiny", "x", "--system", "other")
    assert server.requests[-1].json["messages"][0]["content"] == "other"


def test_nothing_is_stored_where_saving_is_off(server: FaultServer, run: Run, configure, home: Path) -> None:
    configure("[chat]\nsave = false\n")
    assert run("chat", "tiny", "hello").code == 0
    assert not (home / "data" / "paddock.db").exists()


@pytest.mark.parametrize("content", [b"\x80\x81", b"a\0b", None])
def test_files_that_cannot_be_attached(server: FaultServer, run: Run, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    said = run("chat", "tiny", "x", "--attach", str(path))
    assert said.code == 2 and str(path) in said.err and not server.requests


def test_no_prompt_is_2(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("chat", "tiny").code == 2
    assert run("chat", "tiny", "  ").code == 2
    assert run("chat", "tiny", "-").code == 2


def test_a_missing_model_is_fetched_only_where_that_is_set(
    server: FaultServer, run: Run, configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[list[str]] = []

    async def fetch(_context: object, models: list[str], _on: str) -> int:
        fetched.append(models)
        return 0

    monkeypatch.setattr("tui.cli.pull.fetch", fetch)
    assert run("chat", "zzz", "hello").code == 1
    configure('[models]\nauto_pull = "always"\n')
    assert run("chat", "zzz", "hello").code == 1
    assert fetched == [["zzz"]]


def test_offline_nothing_goes_to_a_cloud_model(server: FaultServer, run: Run, configure) -> None:
    async def tags(exchange: Exchange) -> None:
        cloud = {
            "name": "big:cloud",
            "model": "big:cloud",
            "size": 300,
            "remote_host": "https://ollama.com:443",
            "remote_model": "big",
            "details": {},
        }
        await exchange.json({"models": [cloud]})

    server.routes["/api/tags"] = tags
    configure('[general]\nnetwork = "offline"\n')
    said = run("chat", "big:cloud", "secret")
    assert said.code == 3 and "cloud" in said.err
    assert [request.path for request in server.requests] == ["/api/tags"]


def test_chats_are_listed_searched_and_exported(server: FaultServer, run: Run) -> None:
    assert "No conversations yet" in run("chats").err
    assert run("chats", "export", "1").code == 1
    for prompt in ("about ships", "about trains and 100% more"):
        run("chat", "tiny", prompt)
    said = run("chats")
    assert said.lines[0].split() == ["ID", "CHANGED", "MODEL", "MESSAGES", "TITLE"] and len(said.lines) == 3
    assert run("chats", "search", "100%", "trains", "--json").json["chats"][0]["id"] == 2
    assert run("chats", "search", "zzz").code == 1
    assert run("chats", "export", "99").code == 1


def test_an_answer_whose_writer_died_is_exported_as_interrupted(server: FaultServer, run: Run, home: Path) -> None:
    run("chat", "tiny", "hello")
    with sqlite3.connect(home / "data" / "paddock.db") as connection:
        connection.execute("UPDATE message SET state = 'writing' WHERE seq = 2")
    connection.close()
    assert "*interrupted*" in run("chats", "export", "1").out


def test_piped_text_is_added_to_the_prompt_and_waiting_for_it_is_said(
    server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "WAITS", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdin", stdin)
        pipe.write("the text\n")
        pipe.flush()
        timer = threading.Timer(0.5, pipe.close)
        timer.start()
        said = run("chat", "tiny", "sum up:")
        timer.join()
    assert said.code == 0 and "Waiting for standard input" in said.err
    assert server.requests[-1].json["messages"][-1]["content"] == "sum up:\n\nthe text"


def test_D03_a_full_disk_is_said_and_ctrl_c_ends_the_wait(server: FaultServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_store: Conversations, _message: object) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        raise PaddockError.of("The disk is full", "/data", "Make room", FailureKind.DISK)

    monkeypatch.setattr(Conversations, "finish_answer", full)
    said = run("chat", "tiny", "hello")
    assert said.code == 130 and said.out == "hi \u241b[31mred\n" and "Not saved: The disk is full (/data)" in said.err
