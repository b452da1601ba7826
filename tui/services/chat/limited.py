"""The chat engine as `security.access` and `general.network` allow it; what is refused is said where the verb enters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tui.core.chat import ConversationSettings
from tui.core.clock import Clock
from tui.core.errors import FailureKind, PaddockError
from tui.services.audit import Audit
from tui.services.chat.engine import ChatEngine
from tui.services.chat.host import ChatHost
from tui.services.chat.sending import find_model, pick_model


class LimitedChat(ChatEngine):
    """A `ChatEngine` whose changing verbs are refused under `security.access = "look"`, and cloud models while offline."""

    def __init__(self, *, host: ChatHost, clock: Clock, audit: Audit) -> None:
        super().__init__(host=host, clock=clock)
        self._limits = host
        self._audit = audit

    def _allowed(self, what: str, verb: Callable[..., None], *args: Any) -> None:
        if self._limits.settings().security.access == "look":
            self._limits.post(_refuse, f"{what} is refused", "security.access = look", "Change security.access")
        else:
            verb(*args)

    def _answered(self, what: str, verb: Callable[..., None], *args: Any) -> None:
        view = self.view.value
        listed = find_model(self._limits, view.provider, view.model)
        if self._limits.settings().general.network == "offline" and listed is not None and listed.remote:
            where = "general.network = offline"
            self._limits.post(_refuse, f"{what} is refused: {listed.name} runs in a cloud", where, "Choose another model with ctrl+t")
        else:
            self._allowed(what, verb, *args)

    def send(self, text: str) -> None:
        """See `ChatApi`."""
        self._answered("Sending", super().send, text)

    def regenerate(self) -> None:
        """See `ChatApi`."""
        self._answered("Asking again", super().regenerate)

    def go_on(self) -> None:
        """See `ChatApi`."""
        self._answered("Going on", super().go_on)

    def use_model(self, provider: str, model: str) -> None:
        """See `ChatApi`; choosing one before anything is stored changes nothing."""
        if self.view.value.id:
            self._allowed("Changing the model of a stored chat", super().use_model, provider, model)
        else:
            super().use_model(provider, model)

    def configure(self, settings: ConversationSettings) -> None:
        """See `ChatApi`."""
        if self.view.value.id:
            self._allowed("Changing a stored chat", super().configure, settings)
        else:
            super().configure(settings)

    def rename(self, conversation: int, title: str) -> None:
        """See `ChatApi`."""
        self._allowed("Renaming", super().rename, conversation, title)

    def delete(self, conversation: int) -> None:
        """See `ChatApi`."""
        self._allowed("Deleting", super().delete, conversation)

    def undo_delete(self) -> None:
        """See `ChatApi`."""
        self._allowed("Bringing back", super().undo_delete)

    async def _delete(self, conversation: int) -> None:
        with self._audit.noting("delete chat", str(conversation)):
            await super()._delete(conversation)

    async def _export(self, conversation: int) -> None:
        with self._audit.noting("export chat", str(conversation)):
            await super()._export(conversation)

    async def follow_host(self) -> None:
        """Providers, models, what is loaded or settings moved: figures anew, and a model for a chat that has none yet."""
        self.refresh()
        view, provider = self.view.value, self._limits.default_provider()
        if view.id or not provider or (view.model and view.provider):
            return
        model = view.model or pick_model(self._limits, provider, self.heads.value)
        if model:
            await self._use_model(provider, model)


async def _refuse(what: str, where: str, remedy: str) -> None:
    raise PaddockError.of(what, where, remedy, FailureKind.REFUSED)
