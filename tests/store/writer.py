"""A process that writes until it is killed: prints one line after each commit."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tui.core.chat import AnswerState, Message, Role
from tui.store.conversations import Conversations
from tui.store.db import Database


async def main(path: Path) -> None:
    database = Database(path)
    chats = Conversations(database)
    await chats.mark_open_answers_interrupted()
    number = 0
    while True:
        number += 1
        head = await chats.create("box", "qwen3:8b", title=f"chat {number}")
        prompt = Message(0, head.id, 0, Role.USER, f"prompt {head.id}")
        answer = Message(0, head.id, 0, Role.ASSISTANT, "", state=AnswerState.WAITING)
        _, answer = await chats.add_messages((prompt, answer))
        print(f"prompt {head.id}", flush=True)
        for piece in range(5):
            await chats.append_answer(answer.id, f"piece {piece} ")
            print(f"piece {head.id} {piece}", flush=True)
        await chats.rename(head.id, f"renamed {head.id}")
        if number % 3 == 0:
            await chats.delete(head.id)
            print(f"deleted {head.id}", flush=True)
        if number % 7 == 0:
            database.back_up()


asyncio.run(main(Path(sys.argv[1])))
