"""A person at the chat, until killed: `python -m tests.sweep.chatter HOME SEED`.

The real engine on the real clock and database; the model is played here. What is asked for, what was seen to be done, and what was
streamed is said in a file, a line each, written at once: it is what the database must still hold after `kill -9`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tests.chat.host import Host
from tui.core.capabilities import Capability
from tui.core.chat import ChatRequest, Role
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done, Metrics
from tui.core.models import Endpoint, Model
from tui.services.chat.engine import ChatEngine
from tui.services.chat.verbs import ChatVerbs

MODELS = (("lab", "qwen3:8b"), ("lab", "phi4:14b"))


class Diary:
    """The file of what was said; a line is written by one call, so that a kill leaves it out or leaves it whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, what: str, **more: Any) -> None:
        """One line, with the time that all processes share."""
        os.write(self._file, json.dumps({"what": what, "at": time.monotonic(), **more}).encode() + b"\n")


class Teller:
    """A model whose answers are numbered pieces; some end badly."""

    endpoint = Endpoint("lab", "ollama", "http://127.0.0.1:1")
    capabilities = frozenset({Capability.CHAT})

    def __init__(self, diary: Diary, chance: random.Random) -> None:
        self._diary, self._chance, self._number = diary, chance, 0

    async def chat(self, request: ChatRequest) -> AsyncIterator[Any]:
        """Answer, and say what was asked and told."""
        asked = next((one.content for one in reversed(request.messages) if one.role is Role.USER), "")
        self._number += 1
        tag, pieces = f"t{os.getpid()}x{self._number}", self._chance.choice((0, 1, 5, 40, 150, 400))
        if request.messages[-1].role is Role.ASSISTANT:
            pieces = pieces or 1  # an answer that is continued gets something more
        self._diary.say("request", prompt=asked, tag=tag)
        for number in range(pieces):
            await asyncio.sleep(self._chance.choice((0, 0, 0.003, 0.01)))
            self._diary.say("piece", tag=tag, number=number)
            yield Delta(f"{tag}:{number} ")
            if self._chance.random() < 0.001:
                raise PaddockError.of("The line broke", kind=FailureKind.INTERRUPTED)
        self._diary.say("whole", tag=tag, pieces=pieces)
        yield Done("stop", Metrics(prompt_tokens=9, output_tokens=pieces, output_seconds=0.1))


class Person:
    """Does one thing after another."""

    def __init__(self, home: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.diary = Diary(home / "said")
        self.host = Host(home, Teller(self.diary, self.chance))
        self.host.listed = tuple(Model(provider, name, name) for provider, name in MODELS)
        self.engine = ChatEngine(host=self.host, clock=SYSTEM, retry=0.2)
        self.chat = ChatVerbs(self.engine, self.host)  # type: ignore[arg-type]
        self.count = 0

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait; what goes wrong in the engine ends the process, which the test sees."""
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.001)
        if self.host.errors:
            raise self.host.errors[0]

    async def settled(self) -> None:
        """All verbs were done."""
        await self.until(lambda: not self.host.tasks)

    async def idle(self) -> None:
        """No answer is being written, either."""
        await self.until(lambda: not self.host.tasks and not self.engine.opened.busy)

    def word(self) -> str:
        """A text that was never used."""
        self.count += 1
        return f"w{os.getpid()}x{self.count}"

    async def live(self) -> None:
        """Until killed."""
        await self.engine.start()
        heads = self.chat.heads.value
        if heads and self.chance.random() < 0.8:
            self.chat.open(self.chance.choice(heads).id)
            await self.settled()
        self.diary.say("ready")
        while True:
            verbs = (self.send, self.send, self.send, self.change, self.change, self.change, self.change_tree, self.change_tree)
            await self.chance.choice((*verbs, self.leave, self.leave, self.type, self.type, self.compare))()

    def shown(self) -> None:
        """Say what is shown while nothing goes on: it is what must be there."""
        view = self.chat.view.value
        if view.id:
            rows = [(one.id, one.parent, str(one.role), one.content, str(one.state), one.pinned) for one in view.messages]
            self.diary.say("shown", chat=view.id, title=view.title, tags=list(view.tags), rows=rows)

    def asks(self) -> None:
        """What was shown in this chat need not be so any more."""
        self.diary.say("asks", chat=self.chat.view.value.id)

    async def send(self) -> None:
        """A prompt; sometimes the answer is waited for, sometimes stopped, sometimes something else is done meanwhile."""
        if len(self.engine.opened.queued) > 2:
            return
        self.asks()
        text, before = self.word(), len(self.chat.view.value.messages)
        self.diary.say("sends", chat=self.chat.view.value.id, prompt=text)
        self.chat.send(text)
        await self.settled()
        await self.until(lambda: len(self.chat.view.value.messages) > before or not self.engine.opened.busy)
        if self.chance.random() < 0.4:
            await asyncio.sleep(self.chance.uniform(0, 0.4))
            if self.chance.random() < 0.5:
                self.chat.stop()
                await self.idle()
                self.shown()
        elif self.chance.random() < 0.7:
            await self.idle()
            self.shown()

    async def change(self) -> None:
        """Something that may be done while an answer is written."""
        view = self.chat.view.value
        if not view.id:
            return
        self.asks()
        verb = self.chance.randrange(5)
        if verb == 0:
            self.chat.rename(view.id, self.word())
        elif verb == 1:
            self.chat.tag(view.id, [self.word()])
        elif verb == 2:
            self.chat.pin(view.id, self.chance.random() < 0.5)
        elif verb == 3 and view.messages:
            self.chat.pin_message(self.chance.choice(view.messages).id, self.chance.random() < 0.5)
        else:
            found: list[Any] = []
            self.chat.search(self.chance.choice(("w", "t", view.title)), found.extend)
        await self.settled()
        if not self.engine.opened.busy:
            self.shown()

    async def change_tree(self) -> None:
        """Something that waits until no answer is written."""
        if self.chance.random() < 0.5:
            self.chat.stop()
        await self.idle()
        messages = self.chat.view.value.messages
        if not messages:
            return
        self.asks()
        one = self.chance.choice(messages)
        verb = self.chance.randrange(8)
        if verb == 0:
            self.chat.edit(one.id, self.word())
        elif verb == 1:
            self.chat.regenerate(one.id)
        elif verb == 2:
            self.chat.go_on(one.id)
        elif verb == 3:
            self.chat.branch(one.id)
        elif verb == 4:
            self.chat.switch(one.id, self.chance.choice((1, -1)))
        elif verb == 5:
            self.chat.drop_oldest(one.id)
        else:
            self.chat.delete_message(one.id, following=verb == 6)
            await self.settled()
            if self.chance.random() < 0.7:
                self.chat.undo_delete()
        await self.settled()
        if self.chance.random() < 0.6:
            await self.idle()
            self.shown()

    async def compare(self) -> None:
        """The same to two models; one of the answers is taken, or none."""
        self.chat.stop()
        await self.idle()
        self.asks()
        text = self.word()
        self.diary.say("sends", chat=self.chat.view.value.id, prompt=text)
        self.chat.compare(text, MODELS)
        await self.settled()
        if self.chance.random() < 0.3:
            await asyncio.sleep(self.chance.uniform(0, 0.4))
            self.chat.stop()
        await self.idle()
        view = self.chat.view.value
        columns = view.compare.columns if view.compare is not None else ()
        if columns and self.chance.random() < 0.7:
            one = self.chance.choice(columns).message_id
            self.chat.vote(one)
            await self.settled()
            self.chat.take(one)
        else:
            self.chat.leave_comparison()
        await self.settled()
        self.shown()

    async def leave(self) -> None:
        """Another conversation; a stream of this one goes on. Or delete one, and perhaps bring it back."""
        heads = self.chat.heads.value
        verb = self.chance.random()
        if verb < 0.4 or not heads:
            self.chat.new("lab", "qwen3:8b")
        elif verb < 0.8:
            self.chat.open(self.chance.choice(heads).id)
        else:
            number = self.chance.choice(heads).id
            self.diary.say("asks", chat=number)
            self.chat.delete(number)
            await self.settled()
            self.diary.say("deleted", chat=number)
            if self.chance.random() < 0.5:
                self.diary.say("asks", chat=number)
                self.chat.undo_delete()
        await self.settled()
        if not self.engine.opened.busy:
            self.shown()

    async def type(self) -> None:
        """A draft, and some time."""
        if self.engine.opened.queued or self.engine.opened.busy:
            return
        text = self.word()
        self.diary.say("typed", chat=self.chat.view.value.id, text=text)
        self.chat.save_draft(text)
        await asyncio.sleep(self.chance.choice((0, 0.05, 1.5)))


if __name__ == "__main__":
    asyncio.run(Person(Path(sys.argv[1]), int(sys.argv[2])).live())
