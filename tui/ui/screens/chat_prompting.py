"""What the Chat screen does with the composer's messages about files; sending stays with the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tui.core.threads import in_thread
from tui.ui.screens import chat_command_files as files
from tui.ui.widgets.prompt import Composer, PromptArea

if TYPE_CHECKING:
    from pathlib import Path

    from tui.ui.base import AppScreen
    from tui.ui.screens.chat_commands import ChatCommands, CommandHost


def _sweep(state: Path) -> None:
    from tui.ui.widgets.external_editor import sweep

    sweep(state)


class Prompting:
    """Mixed into the screen; `start_prompting` is called once it is mounted."""

    def start_prompting(self, commands: ChatCommands) -> None:
        """Let commands be completed, follow what is attached and `chat.enter_sends`."""
        screen = cast("AppScreen", self)
        area = screen.query_one(PromptArea)
        area.composer.completer = commands.complete
        state = area.composer.state_folder = screen.services.config.paths.state
        in_thread(lambda: _sweep(state))
        screen.follow(screen.services.chat.view, lambda view: area.show_attached(view.attached))
        screen.follow(
            screen.services.config.current, lambda settings: setattr(area.composer, "enter_sends", settings.chat.enter_sends), fps=4
        )

    def take_files(self, event: Composer.Sent) -> None:
        """Attach what the `@` of a prompt mean; before the prompt is sent."""
        host = cast("CommandHost", self)
        if event.files:
            host.services.chat.attach(event.files)
        if event.note:
            host.say(event.note)

    def on_composer_pasted(self, event: Composer.Pasted) -> None:
        """A large paste goes along as a file."""
        event.stop()
        cast("CommandHost", self).services.chat.attach_text(event.name, event.text)

    def on_composer_dropped(self, event: Composer.Dropped) -> None:
        """So do files that were dropped on the terminal."""
        event.stop()
        cast("CommandHost", self).services.chat.attach(event.paths)

    def on_composer_many_files(self, event: Composer.ManyFiles) -> None:
        """Ask, then send."""
        event.stop()
        files.ask_files(cast("CommandHost", self), event.found, event.accept)

    def on_composer_trouble(self, event: Composer.Trouble) -> None:
        """Say what could not be done."""
        event.stop()
        files.say_failures(cast("CommandHost", self), event.failures)

    def on_composer_detached(self, event: Composer.Detached) -> None:
        """Take an attachment off."""
        event.stop()
        cast("CommandHost", self).services.chat.detach(event.index)
