"""`kill -9` at many moments of a chat: streaming, renaming, deleting, editing, branching. No message is lost."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.store.in_step import check_index
from tui.core.chat import AnswerState, Role
from tui.store.conversations import Conversations
from tui.store.db import Database

ROOT: Final = Path(__file__).resolve().parents[2]
MISSING: Final = 1.0
"""Seconds of a stream that may be lost."""
TYPING: Final = 2.0
"""Seconds of typing that may be lost."""
AT_ONCE: Final = 2
Line = dict[str, Any]


class Life:
    """One home whose person is killed again and again."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.kills: list[float] = []

    def safe(self, line: Line, seconds: float) -> bool:
        """Whether this was said longer before the kill that followed."""
        return bool(line["at"] < self.kills[bisect.bisect_left(self.kills, line["at"])] - seconds)

    def lines(self) -> list[Line]:
        """What was said; a last line that the kill cut is not there."""
        said = self.home / "said"
        return [json.loads(line) for line in said.read_bytes().split(b"\n")[:-1]] if said.exists() else []

    async def kill(self, seed: int, chance: random.Random) -> None:
        """Let a person live for a while."""
        before, wanted = len(self.lines()), chance.choice((1, 2, 5, 20, 80, 200, 400))
        with (self.home / "errors").open("ab") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.sweep.chatter", str(self.home), str(seed)], cwd=ROOT, stderr=errors, stdin=subprocess.DEVNULL
            )
        try:
            until = time.monotonic() + 30
            while len(self.lines()) < before + wanted and child.poll() is None and time.monotonic() < until:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.03), chance.uniform(0, 0.6))))
            assert child.poll() is None and len(self.lines()) >= before + wanted, (self.home / "errors").read_text()[-3000:]
        finally:
            self.kills.append(time.monotonic())
            child.kill()
            child.wait(10)
        self.kills[-1] = max(self.kills[-1], self.lines()[-1]["at"])  # something may have been said between these two calls

    # --- what must be true -----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """After a kill, first as it lies there, then after the next start."""
        with contextlib.closing(sqlite3.connect(self.home / "paddock.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        database = Database(self.home / "paddock.db")
        assert database.opened.damaged is None
        chats = Conversations(database)
        await chats.mark_open_answers_interrupted()
        check_index(database)
        rows = database.read(
            lambda connection: connection.execute("SELECT id, conversation, parent, role, content, state FROM message").fetchall()
        )
        said = self.lines()
        self.trees_hang_together(database, rows)
        self.nothing_sent_is_missing(said, rows)
        self.no_more_than_a_second_is_missing(said, rows)
        self.what_was_shown_is_there(said, chats)
        self.what_was_typed_is_there(said, chats, [row[4] for row in rows])
        await database.aclose()

    @staticmethod
    def trees_hang_together(database: Database, rows: list[Any]) -> None:
        """Parents and tips exist, in the same conversation; nobody writes any more (P03)."""
        homes = {row[0]: row[1] for row in rows}
        assert all(not parent or (homes[parent] == conversation and parent < number) for number, conversation, parent, *_ in rows)
        assert not [row for row in rows if row[5] in (AnswerState.WAITING, AnswerState.WRITING)]
        tips = database.read(lambda connection: connection.execute("SELECT id, tip FROM conversation").fetchall())
        assert all(not tip or homes[tip] == number for number, tip in tips)

    @staticmethod
    def nothing_sent_is_missing(said: list[Line], rows: list[Any]) -> None:
        """P01: what the model was asked is on disk."""
        prompts = {row[4] for row in rows if row[3] == Role.USER}
        assert {line["prompt"] for line in said if line["what"] == "request"} <= prompts

    def no_more_than_a_second_is_missing(self, said: list[Line], rows: list[Any]) -> None:
        """P02, P03: pieces are there from the first one on, without a gap; a complete answer has them all."""
        words = {word: row for row in rows for word in row[4].split() if ":" in word}
        for line in said:
            if line["what"] == "piece" and self.safe(line, MISSING):
                assert f"{line['tag']}:{line['number']}" in words, f"{line} is missing, kills at {self.kills}"
        wholes = {line["tag"]: line["pieces"] for line in said if line["what"] == "whole"}
        for row in rows:
            tags = [word.split(":") for word in row[4].split() if ":" in word]
            counts: dict[str, int] = {}
            for tag, number in tags:
                assert int(number) == counts.get(tag, 0), row
                counts[tag] = int(number) + 1
            if row[5] == AnswerState.COMPLETE and tags:
                assert wholes.get(tags[-1][0]) == counts[tags[-1][0]], row

    @staticmethod
    def what_was_shown_is_there(said: list[Line], chats: Conversations) -> None:
        """The last view of each chat in which nothing was asked for since."""
        shown: dict[int, Line] = {}
        for line in said:
            if line["what"] == "shown":
                shown[line["chat"]] = line
            elif line["what"] in ("asks", "sends"):
                shown.pop(line["chat"], None)
            elif line["what"] == "deleted":
                assert line["chat"] not in shown
        for number, line in shown.items():
            head = chats.head(number)
            assert head is not None and (head.title, list(head.tags)) == (line["title"], line["tags"])
            found = [[one.id, one.parent, one.role, one.content, one.state, one.pinned] for one in chats.branch(number)]
            assert found == line["rows"]

    def what_was_typed_is_there(self, said: list[Line], chats: Conversations, contents: list[str]) -> None:
        """P04: drafts are at most two seconds old."""
        typed: dict[int, list[Line]] = {}
        for line in said:
            if line["what"] == "typed":
                typed.setdefault(line["chat"], []).append(line)
            elif line["what"] == "sends":
                typed.pop(line["chat"], None)
                if not line["chat"]:
                    typed.pop(0, None)
        for number, lines in typed.items():
            old = [index for index, line in enumerate(lines) if self.safe(line, TYPING)]
            if old:
                assert chats.draft(f"chat:{number or 'new'}") in [line["text"] for line in lines[old[-1] :]], (number, lines)


async def lives(folder: Path, seeds: range, kills: int) -> None:
    """Some homes beside each other, each killed several times."""
    places = asyncio.Semaphore(AT_ONCE)

    async def live(seed: int) -> None:
        async with places:
            life, chance = Life(folder / str(seed)), random.Random(seed)
            for kill in range(kills):
                await life.kill(seed * 1000 + kill, chance)
                await life.check()

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(live(seed), name=f"seed {seed}")


async def test_D01_P01_P02_P03_P04_a_chat_is_killed_at_ten_moments(tmp_path: Path) -> None:
    await lives(tmp_path, range(2), 5)


@pytest.mark.sweep
@pytest.mark.parametrize("part", range(10))
async def test_D01_P01_P02_P03_P04_a_chat_is_killed_at_five_hundred_moments(tmp_path: Path, part: int) -> None:
    await lives(tmp_path, range(100 + part * 5, 105 + part * 5), 10)
