"""`ChatApi` from any thread: each verb is posted to the engine, unless `security.access` or `general.network` refuses it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tui.core.chat import ConversationSettings, Found, Votes
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import ModelKey
from tui.services.chat.api import ChatApi
from tui.services.chat.engine import ChatEngine
from tui.services.chat.host import ChatHost
from tui.services.chat.sending import find_model

Work = Callable[..., Coroutine[Any, Any, Any]]


class ChatVerbs(ChatApi):
    """The chats as screens see them; what is refused is said where the verb enters."""

    def __init__(self, engine: ChatEngine, host: ChatHost) -> None:
        self.engine = engine
        self.heads, self.view, self.live, self.compared = engine.heads, engine.view, engine.live, engine.compared
        self._host = host

    # --- whether it may be

    def _change(self, what: str, work: Work, *args: Any) -> None:
        """Changes what is stored, or makes a server work."""
        if self._host.settings().security.access == "look":
            self._host.post(_refuse, f"{what} is refused", "security.access = look", "Change security.access")
        else:
            self._host.post(work, *args)

    def _stored(self, what: str, work: Work, *args: Any) -> None:
        """The same; before anything is stored it changes nothing."""
        if self.view.value.id:
            self._change(what, work, *args)
        else:
            self._host.post(work, *args)

    def _answer(self, what: str, models: Sequence[ModelKey], work: Work, *args: Any) -> None:
        """Sends prompts to these models."""
        if self._host.settings().general.network == "offline":
            for provider, model in models:
                listed = find_model(self._host, provider, model)
                if listed is not None and listed.remote:
                    text, where = f"{what} is refused: {listed.name} runs in a cloud", "general.network = offline"
                    self._host.post(_refuse, text, where, "Choose another model with ctrl+t")
                    return
        self._change(what, work, *args)

    def _ours(self, provider: str = "", model: str = "") -> Sequence[ModelKey]:
        view = self.view.value
        return ((provider or view.provider, model or view.model),)

    # --- conversations

    def open(self, conversation: int, message: int = 0) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.show_stored, conversation, message)

    def new(self, provider: str = "", model: str = "", *, incognito: bool = False) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.begin, provider, model, incognito)

    def use_model(self, provider: str, model: str) -> None:
        """See `ChatApi`; choosing one before anything is stored changes nothing."""
        self._stored("Changing the model of a stored chat", self.engine.use_model, provider, model)

    def configure(self, settings: ConversationSettings) -> None:
        """See `ChatApi`."""
        self._stored("Changing a stored chat", self.engine.configure, settings)

    def rename(self, conversation: int, title: str) -> None:
        """See `ChatApi`."""
        if title.strip():
            self._change("Renaming", self.engine.archive.rename, conversation, title)
        else:
            self._answer("Asking for a title", self._ours(), self.engine.archive.make_title, conversation)

    def tag(self, conversation: int, tags: Sequence[str]) -> None:
        """See `ChatApi`."""
        self._change("Tagging", self.engine.archive.tag, conversation, tags)

    def pin(self, conversation: int, on: bool) -> None:
        """See `ChatApi`."""
        self._change("Pinning", self.engine.archive.pin, conversation, on)

    def delete(self, conversation: int) -> None:
        """See `ChatApi`."""
        self._change("Deleting", self.engine.archive.delete, conversation)

    def undo_delete(self) -> None:
        """See `ChatApi`."""
        self._change("Bringing back", self.engine.archive.undo_delete)

    def search(self, text: str, then: Callable[[Sequence[Found]], None]) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.archive.search, text, then)

    def export(self, conversation: int, form: str = "md") -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.archive.export, conversation, form)

    def read_in(self, path: str) -> None:
        """See `ChatApi`."""
        self._change("Importing", self.engine.archive.read_in, path)

    # --- prompts

    def send(self, text: str) -> None:
        """See `ChatApi`."""
        self._answer("Sending", self._ours(), self.engine.send, text)

    def unqueue(self, index: int, text: str | None = None) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.composing.unqueue, index, text)

    def attach(self, paths: Sequence[str]) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.composing.attach, paths)

    def attach_text(self, name: str, text: str) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.composing.attach_text, name, text)

    def detach(self, index: int) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.composing.detach, index)

    def save_draft(self, text: str, turn: int = -1) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.composing.note_draft, text, turn)

    def history(self) -> Sequence[str]:
        """See `ChatApi`."""
        return self.engine.history

    # --- answers

    def stop(self, message: int = 0) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.stop, message)

    def regenerate(self, message: int = 0, provider: str = "", model: str = "", options: Mapping[str, Any] | None = None) -> None:
        """See `ChatApi`."""
        self._answer("Asking again", self._ours(provider, model), self.engine.regenerate, message, provider, model, options)

    def go_on(self, message: int = 0) -> None:
        """See `ChatApi`."""
        self._answer("Going on", self._ours(), self.engine.go_on, message)

    def edit(self, message: int, text: str) -> None:
        """See `ChatApi`."""
        self._answer("Editing", self._ours(), self.engine.edit, message, text)

    def branch(self, message: int) -> None:
        """See `ChatApi`."""
        self._change("Going on from another message", self.engine.branching.branch, message)

    def switch(self, message: int, step: int) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.branching.switch, message, step)

    def delete_message(self, message: int, *, following: bool = False) -> None:
        """See `ChatApi`."""
        self._change("Deleting", self.engine.branching.delete_message, message, following)

    def pin_message(self, message: int, on: bool) -> None:
        """See `ChatApi`."""
        self._change("Pinning", self.engine.branching.pin_message, message, on)

    # --- context

    def drop_oldest(self, keep_from: int = 0) -> None:
        """See `ChatApi`."""
        self._change("Dropping messages", self.engine.branching.drop_oldest, keep_from)

    def summarise(self, keep_from: int = 0) -> None:
        """See `ChatApi`."""
        self._answer("Summarising", self._ours(), self.engine.branching.summarise, keep_from)

    # --- comparisons

    def compare(self, text: str, models: Sequence[ModelKey], *, blind: bool = False) -> None:
        """See `ChatApi`."""
        self._answer("Comparing", models, self.engine.comparing.compare, text, models, blind)

    def show_comparison(self, message: int) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.comparing.show_comparison, message)

    def vote(self, message: int) -> None:
        """See `ChatApi`."""
        self._change("Voting", self.engine.comparing.vote, message)

    def take(self, message: int) -> None:
        """See `ChatApi`."""
        self._change("Going on with another answer", self.engine.comparing.take, message)

    def leave_comparison(self) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.comparing.leave_comparison)

    def votes(self, then: Callable[[Sequence[Votes]], None]) -> None:
        """See `ChatApi`."""
        self._host.post(self.engine.comparing.votes, then)


async def _refuse(what: str, where: str, remedy: str) -> None:
    raise PaddockError.of(what, where, remedy, FailureKind.REFUSED)
