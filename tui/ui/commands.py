"""The command palette: every action of the shown screen, the screens, and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui.ui.frame import SCREENS, key_text

if TYPE_CHECKING:
    from tui.ui.app import TuiApp

MAX_MODELS = 50
"""Models offered at once; more only slow the palette down."""


class PaddockCommands(Provider):
    """Searches names only, and yields literal text."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        app = cast("TuiApp", self.app)
        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not active.enabled or not binding.description or not binding.id or binding.action in seen:
                continue
            seen.add(binding.action)
            words = binding.tooltip or binding.description
            yield (
                f"{binding.description}: {words}" if binding.tooltip else words,
                key_text(binding),
                partial(self._run, active.node, binding.action),
            )
        for number, (name, title) in enumerate(SCREENS, 1):
            yield f"Screen {title}", str(number), partial(app.action_go, name)

    def _models(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        app = cast("TuiApp", self.app)
        if app.services is None:
            return
        for model in app.services.registry.models.value:
            yield f"Chat with {model.name}", model.provider, partial(self._chat, model.provider, model.key)

    def _chat(self, provider: str, model: str) -> None:
        app = cast("TuiApp", self.app)
        if app.services is not None:
            app.services.chat.use_model(provider, model)
            app.action_go("chat")

    async def _run(self, node: Any, action: str) -> None:
        await self.app.run_action(action, node)

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for text, keys, run in self._commands():
            yield DiscoveryHit(Content(text), run, text=text, help=keys)

    async def search(self, query: str) -> Hits:
        """Matching commands, then matching models."""
        matcher = self.matcher(query)
        for text, keys, run in self._commands():
            if (score := matcher.match(text)) > 0:
                yield Hit(score, Content(text), run, text=text, help=keys)
        found = 0
        for text, keys, run in self._models():
            if (score := matcher.match(text)) > 0:
                yield Hit(score * 0.9, Content(text), run, text=text, help=keys)
                found += 1
                if found >= MAX_MODELS:
                    return
