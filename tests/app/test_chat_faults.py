"""The chat of the whole program with what goes wrong around it: hostile text in every place, signals and terminals while it streams."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.app.conftest import Home, leave, wait
from tests.app.test_faults import alive, family, hostile
from tests.support.fault_server import Exchange, FaultServer
from tests.support.pty import Terminal
from tests.support.screen import CANARIES
from tests.wire.test_wire_terminal import foreign
from tui.core.chat import Attachment, ConversationSettings, Message, Role
from tui.store.conversations import Conversations
from tui.store.db import Database

EVIL = "".join(CANARIES)
BAD = "\x1b]52;c;UFdORUQ=\x07\x1b[31m\x9b31m\u202e\u200b\U000e0041\x08\x7f[/INST][b + x[@click=app.quit]x[/]$name"
"""What fits on one line."""


def unclean(path: Path) -> None:
    """Rows that no door of ours would let in: as another program, or damage, may leave them."""
    with sqlite3.connect(path) as rows:
        rows.execute("UPDATE conversation SET title = 'zebra ' || ?, tags = ?", (BAD, json.dumps([BAD])))
        rows.execute("UPDATE conversation SET provider = ?, model = ? WHERE id = 2", (BAD, BAD))
        rows.execute("UPDATE message SET note = ?, tool_name = ?", (BAD, BAD))
        rows.execute("UPDATE attachment SET name = ?, path = ?", (BAD, BAD))
        rows.execute("UPDATE vote SET provider = ?, model = ?, others = ?", (BAD, BAD, json.dumps([[BAD, BAD], ["ollama", BAD]])))
        rows.execute("INSERT INTO prompt_history (text, at) VALUES (?, 0)", (EVIL,))
        rows.execute("INSERT INTO draft (key, text, updated_at) VALUES ('chat:1', ?, 0)", (BAD,))


def history(path: Path) -> None:
    """Two conversations with everything in them, all of it hostile."""

    async def store() -> None:
        database = Database(path)
        chats = Conversations(database)
        call = {"id": EVIL, "function": {"name": EVIL, "arguments": {EVIL: EVIL}}}
        for number in (1, 2):
            settings = ConversationSettings(system=EVIL, preset=EVIL, tools=("calculator", EVIL), options={EVIL: EVIL})
            head = await chats.create("ollama", "plain:latest", title="x", settings=settings)
            files = (Attachment("x", text=EVIL, size=3),)
            rows = [
                Message(0, head.id, 0, Role.USER, f"needle {EVIL}", attachments=files),
                Message(0, head.id, 0, Role.ASSISTANT, f"needle {EVIL}", EVIL, tool_calls=(call,), model=EVIL, provider=EVIL),
                Message(0, head.id, 0, Role.TOOL, EVIL, tool_name=EVIL, tool_call_id=EVIL),
                Message(0, head.id, 0, Role.SYSTEM, EVIL, keep_from=1),
                Message(0, head.id, 0, Role.ASSISTANT, f"[{EVIL}](http://{BAD}@b/) ```{EVIL}\n{EVIL}\n```", model=EVIL, comparison=1),
            ]
            kept = await chats.add_messages(rows, chain=True)
            other = await chats.add_message(replace(rows[-1], parent=kept[-2].id))
            await chats.add_vote(head.id, kept[0].id, 1, other, [kept[-1]], bool(number % 2))
            await chats.release_lease(head.id)
        await database.aclose()

    path.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(store())
    unclean(path)


def clean(terminal: Terminal) -> None:
    """Nothing that was not ours to send has reached the terminal so far."""
    body = terminal.raw.partition(b"\x1b[?2004h")[2].partition(b"\x1b[?1049l")[0]
    assert foreign(body[: body.rfind(b"\x1b")]) == ""  # the last one may still be on its way
    for bad in (b"\x1b]52", b"UFdORUQ=\x07", b"\x1b]8", b"\xe2\x80\xae", b"\xe2\x80\x8b"):
        assert bad not in terminal.raw, bad


def keys(terminal: Terminal, *pairs: str) -> None:
    """Keys that each wait for what they show: key, text, key, text."""
    for key, shown in zip(pairs[::2], pairs[1::2], strict=True):
        terminal.send(key)
        terminal.wait_for(shown, 7)


def look(terminal: Terminal, key: str, shown: str) -> None:
    """Open something, and leave it by an escape."""
    keys(terminal, key, shown)
    clean(terminal)
    terminal.send("\x1b")
    terminal.wait_for(lambda: shown not in terminal.screen_text(), 7)


def test_X01_X02_X05_hostile_text_in_every_place_of_the_chat_is_text(home: Home, faults: FaultServer) -> None:
    hostile(faults)
    call = {"name": "calculator", "arguments": {"expression": f"6*7 {BAD}", BAD: [BAD, {BAD: BAD}]}}
    lines = [
        {"message": {"role": "assistant", "content": BAD, "tool_calls": [{"function": call}]}},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]

    async def asks(exchange: Exchange) -> None:
        told = exchange.request.json["messages"][-1]["role"] == "tool"
        await exchange.stream(*(json.dumps(line).encode() + b"\n" for line in lines[told:]))

    async def completes(exchange: Exchange) -> None:
        body = {"response": f"filled {EVIL}", "done": True, "done_reason": EVIL}
        await exchange.stream(json.dumps(body).encode() + b"\n")

    faults.routes |= {"/api/chat": asks, "/api/generate": completes}
    history(home.paths.database)
    prompts = home.paths.config_file.parent / "prompts"
    prompts.mkdir(parents=True)
    (prompts / f"odd {BAD.replace('/', '_')}.md").write_text(f"# {EVIL}\n{{{{{BAD}}}}}")
    (prompts / "plain.md").write_text(f"# plain {BAD}\n{EVIL} {{{{blank}}}}")
    (home.folder / f"a {BAD.replace('/', '_')}.txt").write_text(EVIL)
    (home.folder / "bad.json").write_text(json.dumps({"paddock": 1, "title": f"imported {EVIL}", "messages": [{"role": EVIL}]}))
    terminal = home.start(rows=50, cols=150)
    keys(terminal, "", "plain:latest", "/plain\r\r", "enter sends", "\x0f", "search every message", "needle", "needle [", "\r", "result of")
    keys(terminal, "\x1b", "enter sends", "\x0f", "search every message", "", "zebra ")
    keys(terminal, "\x1b[B\x1b[B\r", "tab leaves", "i\t", "result of")
    for _message in range(4):
        terminal.send("K\rw")
    for key, shown in (
        ("E", "Export this conversation as"),
        ("o", "only what is set is sent"),
        ("d", "Delete this"),
        ("R", "Answer again"),
        ("\x0f", "search every message"),
    ):
        look(terminal, key, shown)
    keys(terminal, "i", "tab leaves")
    look(terminal, "\x15/votes\r", "medians of compared")
    look(terminal, "/template\r", "Prompts of your own")
    look(terminal, "/template plain\r", "plain: blank")
    keys(terminal, f"\x15/attach {home.folder}/a*\r", "tab leaves", f"/import {home.folder}/bad.json\r", "messages[0]")
    keys(terminal, "\x15/tools calculator\r", "each call asks you")
    look(terminal, "\x15ask\r", "wants to use a tool")
    keys(terminal, "\x15/complete\r", "before the cursor", "def f(", "def f(", "\x13", "filled ")
    terminal.send("\x1b")
    leave(terminal)
    clean(terminal)
    assert home.read("PRAGMA integrity_check") == [("ok",)]


# --- while it streams --------------------------------------------------------------------------------------------------


def holds(faults: FaultServer) -> None:
    """A chat that says some words and then nothing more."""

    async def chat(exchange: Exchange) -> None:
        await exchange.head()
        for word in ("one ", "two ", "three "):
            await exchange.chunk(json.dumps({"message": {"role": "assistant", "content": word}, "done": False}).encode() + b"\n")
        await exchange.gone()

    faults.routes["/api/chat"] = chat


def plain(faults: FaultServer) -> None:
    """One model, and nothing else."""
    tags = {"models": [{"name": "plain:latest", "model": "plain:latest", "size": 5, "digest": "0" * 64}]}
    faults.routes |= {
        "/api/version": lambda exchange: exchange.json({"version": "0.24.0"}),
        "/api/tags": lambda exchange: exchange.json(tags),
        "/api/ps": lambda exchange: exchange.json({"models": []}),
        "/api/show": lambda exchange: exchange.json({"capabilities": ["completion"]}),
    }


def answers(home: Home) -> list[tuple[str, str]]:
    return [(str(text), str(state)) for text, state in home.read("SELECT content, state FROM message WHERE role = 'assistant'")]


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL", "the window is closed"])
def test_T01_T02_T03_P02_P03_an_end_in_mid_stream_keeps_what_came(home: Home, faults: FaultServer, end: str) -> None:
    plain(faults)
    holds(faults)
    terminal = home.start()
    keys(terminal, "", "plain:latest", "\r", "enter sends", "go\r", "one two three")
    wait(lambda: answers(home) == [("one two three ", "writing")], "the words on disk")
    processes = family(terminal)
    if end == "the window is closed":
        terminal.hang_up()
    elif end == "SIGKILL":
        processes[1].kill()
    else:
        terminal.signal(signal.Signals[end])
    wait(lambda: not alive(processes), "the end of all processes", 8)
    assert len([one for one in faults.requests if one.path == "/api/chat"]) == 1
    assert answers(home) == [("one two three ", "writing" if end == "SIGKILL" else "interrupted")]
    again = home.start()
    keys(again, "", "plain:latest", "\r", "enter sends", "\x0f", "search every message", "\x1b[B\r", "one two three")
    again.wait_for("interrupted")
    leave(again)
    assert answers(home) == [("one two three ", "interrupted")]


REPLIES = (
    b"\x1b]52;c;cm0gLXJm\x07", b"\x1b]11;rgb:1111/2222/3333\x1b\\", b"\x1b]lrm -rf\x1b\\", b"\x1b[?62;22;52c", b"\x1b[>41;354;0c",
    b"\x1b[12;40R",
    b"\x1b[?2026;2$y", b"\x1bP1+r544e=787465726d\x1b\\", b"\x1bP>|XTerm(354)\x1b\\", b"\x1b_Gi=31;OK\x1b\\", b"\x1b[8;24;80t", b"\x1b[?1u",
    b"\x1b[I", b"\x1b[O", b"\x1b[0n", b"\x1b]0;quit\x07", b"\x1b^pm\x1b\\",
)  # fmt: skip
"""What terminals answer, or what a hostile program in another pane puts there."""


def test_X20_T17_no_reply_of_a_terminal_is_typed_text_while_it_streams(home: Home, faults: FaultServer) -> None:
    plain(faults)
    holds(faults)
    terminal = home.start()
    keys(terminal, "", "plain:latest", "\r", "enter sends", "go\r", "one two three")
    for reply in REPLIES:
        terminal.send(reply)
        terminal.send(reply[:-1])
        terminal.send(reply[-1:])
    for number in range(2000):
        terminal.send(f"\x1b[<{35 + number % 2 * 29};{number % 80 + 1};{number % 22 + 2}M".encode())
    terminal.send(b"\xff\xfe\xc3(\xe2\x82")
    terminal.send("a\x15")
    keys(terminal, "i", " i ", "\x15typed", "typed")
    composer = next(line for line in terminal.screen_lines() if "typed" in line)
    assert composer.strip(" │") == "typed", terminal.screen_text()
    assert answers(home)[0][0] == "one two three " and len(home.read("SELECT id FROM message")) == 2
    clean(terminal)
    terminal.send("\x15")
    leave(terminal)
