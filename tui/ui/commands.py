"""The command palette: every action of the shown screen, the screens, and the models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui.core.errors import PaddockError
from tui.ui.frame import SCREENS, key_text

if TYPE_CHECKING:
    from tui.core.models import Model
    from tui.ui.app import TuiApp

MAX_MODELS = 50
"""Models offered at once; more only slow the palette down."""


class PaddockCommands(Provider):
    """Searches names only, and yields literal text."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        app = cast("TuiApp", self.app)
        seen: set[str] = set()
        shown_first = sorted(self.screen.active_bindings.values(), key=lambda active: not active.binding.show)
        for active in shown_first:
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
        more = getattr(self.screen, "commands", None)
        for words, action in more() if callable(more) else ():
            yield words, "o", partial(self._run, self.screen, action)
        for number, (name, title) in enumerate(() if getattr(app, "alone", "") else SCREENS, 1):
            yield f"Screen {title}", str(number), partial(app.action_go, name)
        yield from self._queue()

    def _models(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        app = cast("TuiApp", self.app)
        if app.services is None or getattr(app, "alone", False):
            return
        from tui.core.capabilities import Capability

        able = {state.name for state in app.services.registry.providers.value if Capability.PUSH in state.capabilities}
        for model in app.services.registry.models.value:
            yield f"Chat with {model.name}", model.provider, partial(self._chat, model.provider, model.key)
            if model.provider in able:
                yield f"Push {model.name} to its registry", model.provider, partial(self._push, model)

    def _queue(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Verbs for the whole queue, whatever is marked."""
        app = cast("TuiApp", self.app)
        if app.services is None:
            return
        going = [job for job in app.services.jobs.view.value.jobs if not job.state.ended]
        from tui.core.jobs import JobWish

        wanted = [job.id for job in going if job.wish is JobWish.RUN]
        resting = [job.id for job in going if job.wish is JobWish.PAUSE]
        if wanted:
            yield f"Pause the whole queue, {len(wanted)}", "pulls", partial(app.services.jobs.pause, wanted)
        if resting:
            yield f"Go on with the whole queue, {len(resting)} paused", "pulls", partial(app.services.jobs.resume, resting)

    def _push(self, model: Model) -> None:
        """Ask first: what is pushed can be read by others."""
        from tui.core.names import parse
        from tui.ui.widgets.confirm import ConfirmDialog

        app = cast("TuiApp", self.app)
        try:
            name = parse(model.key)
        except PaddockError as error:
            app.notify(error.failure.sentence(), severity="error", markup=False)
            return
        if name.official:
            words = f"{model.name} has no namespace of yours. Give it a second name first, such as NAME/{name.model} (Library, c)."
            app.notify(words, severity="error", markup=False, timeout=6)
            return

        def done(answer: str | None) -> None:
            if answer == "push" and app.services is not None:
                app.services.jobs.push(model.key, model.provider, asked_by="palette")

        text = f"Push {model.name} from {model.provider} to {name.host}? Who may read it there is decided there."
        app.push_screen(ConfirmDialog(text, (("keep", "Not now"), ("push", "Push"))), done)

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
