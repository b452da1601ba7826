"""What terminals answer is never typed; keys, pastes and the mouse pass, however they are split."""

from __future__ import annotations

import random
import re

import pytest
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

from tests.app.test_chat_faults import REPLIES
from tui.ui import keyfix
from tui.ui.replies import Parser, Replies

keyfix.apply()
PASTE = "\x1b[200~a\x1b]52;c;x\x07b\x1b[?1uc\x9b\x1b[201~"
TYPED = (
    "a",
    "\r",
    "ü",
    "\x1b[A",
    "\x1b[1;5A",
    "\x1bOP",
    "\x1b[15~",
    "\x1b[[A",
    "\x1b[97;5u",
    "\x1b[<35;3;4M",
    "\x1b[M !!",
    "\x1b[I",
    "\x1b[12;4R",
    "\x1b[?2026;2$y",
)


IGNORED = [reply.decode() for reply in REPLIES if reply not in (b"\x1b[12;40R", b"\x1b[?2026;2$y", b"\x1b[I", b"\x1b[O")]
"""Those that nobody waits for."""


def known(sequence: str) -> bool:
    return sequence in ANSI_SEQUENCES_KEYS or re.fullmatch(r"\x1b\[[\d;]+[uA]", sequence) is not None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def keys(parser: Parser, *pieces: str) -> str:
    """What was typed."""
    found = [event for piece in pieces for event in parser.feed(piece)]
    return "".join(event.character or f"<{event.key}>" for event in found if isinstance(event, events.Key))


@pytest.fixture
def parser() -> tuple[Parser, Clock]:
    found, clock = Parser(), Clock()
    found._replies._clock = clock
    return found, clock


@pytest.mark.parametrize("reply", [reply.decode() for reply in REPLIES] + ["\x1b[?62;2\x1b[A"[:7], "\x1b[48;9999;9999;1;1t"])
def test_X20_no_reply_is_typed_however_it_is_split(parser: tuple[Parser, Clock], reply: str) -> None:
    one, clock = parser
    assert keys(one, reply + "x") in ("x", "\x1bx") or reply.startswith("\x1b[?62;2")
    for at in range(1, len(reply)):
        one._replies.feed("\x18")
        typed = keys(one, reply[:at], reply[at:])
        clock.now += 2
        typed += "".join(str(event.key) for event in one.tick() if isinstance(event, events.Key))
        assert typed in ("", "\x1b", "escape") or (at == 1 and typed in ("\x1b", "escape")), (at, typed)


def test_X20_what_is_typed_passes() -> None:
    for typed in (*TYPED, *(sequence for sequence in ANSI_SEQUENCES_KEYS if sequence != "\x9b")):
        clock = Clock()
        replies = Replies(known, clock)
        got = replies.feed(typed)
        clock.now += 0.11
        assert got + replies.tick() == typed, repr(typed)


@pytest.mark.parametrize("seed", range(20))
def test_X20_pieces_between_replies_arrive_whole(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    replies = Replies(known, clock)
    sent, wanted = "", ""
    for _ in range(200):
        kind = chance.random()
        if kind < 0.4:
            sent += chance.choice(IGNORED)
        else:
            typed = PASTE if kind > 0.9 else chance.choice(TYPED)
            sent, wanted = sent + typed, wanted + typed
    sent, wanted = sent + "end", wanted + "end"
    got = ""
    while sent:
        size = chance.choice((1, 2, 3, 7, 50, 4096))
        got, sent = got + replies.feed(sent[:size]), sent[size:]
    assert got.replace("\x1b", "") == wanted.replace("\x1b", "")


def test_X20_the_beginning_of_a_reply_is_a_key_where_nothing_follows() -> None:
    clock = Clock()
    replies = Replies(lambda sequence: False, clock)
    for typed in ("\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1b["):
        assert replies.feed(typed) == ""
        assert replies.tick() == ""
        clock.now += 0.11
        assert replies.tick() == typed
    assert replies.feed("\x1b") == "\x1b"
    clock.now += 0.11
    assert replies.tick() == "" and replies.feed("[") == "["
    assert replies.feed("\x1b]52;c;never ends") == ""
    clock.now += 1.1
    assert replies.tick() == "" and replies.feed("typed") == "typed"
    assert replies.feed("\x1b]52;c;cut\x1b[200~by a paste\x1b[201~") == "\x1b[200~by a paste\x1b[201~"


def test_T17_bytes_that_are_no_text_become_marks() -> None:
    from textual.drivers import linux_driver

    decode = linux_driver.getincrementaldecoder("utf-8")().decode
    assert decode(b"a\xff\xc3") + decode(b"\xbc\x9b", final=True) == "a\ufffdü\ufffd"
    assert linux_driver.XTermParser is Parser
    assert Replies(lambda sequence: False).feed("a\x9b31mb") == "a\ufffd31mb"
