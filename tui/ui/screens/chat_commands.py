"""The `/` commands of the composer: what they are called, how they go on, and what they do.

Only what was typed is a command (X21): the composer tells (`Composer.Command`), nothing else calls `ChatCommands.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Protocol

from tui.core.errors import Failure
from tui.core.record import record
from tui.text import clean_label, nearest
from tui.ui.screens import chat_command_files as files
from tui.ui.screens import chat_command_options as options
from tui.ui.widgets.completion import Choice, Completion

if TYPE_CHECKING:
    from textual.app import App

    from tui.core.models import ModelKey
    from tui.services.api import Services
    from tui.ui.widgets.prompt import Composer


class CommandHost(Protocol):
    """What the commands need of the Chat screen (`app`, `services`, `say` and `fail` are those of `AppScreen`)."""

    @property
    def app(self) -> App[Any]:
        """The running app: dialogs and workers."""
        ...

    @property
    def services(self) -> Services:
        """The services."""
        ...

    @property
    def composer(self) -> Composer:
        """Where prompts are written."""
        ...

    def say(self, text: str, *, error: bool = False) -> None:
        """A toast of literal text."""

    def fail(self, failure: Failure) -> None:
        """A toast with what, where and remedy."""

    def choose_model(self) -> None:
        """The dialog that changes the model of this conversation."""

    def choose_options(self) -> None:
        """The dialog with all that is set for this conversation."""

    def open_compare(self, models: Sequence[ModelKey] = (), *, blind: bool = False) -> None:
        """Compare: the dialog that asks for models, those given marked already."""

    def open_complete(self) -> None:
        """Turn the composer into the two fields of a completion."""

    def open_votes(self) -> None:
        """The table of past votes and speeds."""

    def tool_names(self) -> Sequence[str]:
        """Tools that a model may be allowed to ask for: the built-in ones, then the user's."""
        ...


Run = Callable[[CommandHost, str], None]
"""Obeys; the text is what stands behind the command's name, stripped."""
Complete = Callable[[CommandHost, str], Sequence[Choice]]
"""Choices for the last word of what stands behind the name, up to the cursor."""


@record(frozen=True)
class Command:
    """One command.

    Attributes:
        name: With its slash.
        hint: Its arguments, as help shows them; empty: it takes none.
        help: What it does, one line.
        complete: How its arguments go on.
        paths: Its arguments are paths.
    """

    name: str
    hint: str
    help: str
    run: Run
    complete: Complete | None = None
    paths: bool = False


def _no_arguments(verb: Callable[[CommandHost], object]) -> Run:
    def run(host: CommandHost, _text: str) -> None:
        verb(host)

    return run


def _compare(host: CommandHost, text: str) -> None:
    words = text.split()
    blind = bool(words) and words[0] == "blind"
    found = []
    for word in words[1:] if blind else words:
        key = options.find_model(host, word)
        if key is None:
            host.say(options.unknown_model(host, word), error=True)
            return
        if key not in found:
            found.append(key)
    if len(found) > 4:
        host.say(f"/compare takes two to four models, not {len(found)}", error=True)
    elif len(found) >= 2 and host.services.chat.view.value.messages:
        if blind:  # the order must not tell who is who
            SystemRandom().shuffle(found)
        host.services.chat.compare("", found, blind=blind)
    else:
        host.open_compare(found, blind=blind)


def _compared(host: CommandHost, text: str) -> Sequence[Choice]:
    first = [Choice("blind", note="names are shown after the vote")] if not text.split(" ")[:-1] else []
    return [*first, *options.models(host, text)]


def _votes(host: CommandHost) -> None:
    host.open_votes()


COMMANDS: Final[tuple[Command, ...]] = (
    Command("/attach", "[FILE ...]", "attach files; without one: what is attached", files.attach, paths=True),
    Command("/compare", "[blind] [MODEL ...]", "ask two to four models the same", _compare, _compared),
    Command("/complete", "", "fill in the middle of a text", _no_arguments(lambda host: host.open_complete())),
    Command("/continue", "", "go on with an answer that was cut", _no_arguments(lambda host: host.services.chat.go_on())),
    Command("/drop", "", "send the oldest messages no more", _no_arguments(lambda host: host.services.chat.drop_oldest())),
    Command("/edit", "[TEXT]", "write in your editor ($VISUAL, $EDITOR)", files.edit),
    Command("/export", "[md | json | html]", "write this conversation to a file", options.export, options.export_forms),
    Command(
        "/format", "[json | off | FILE]", "answers as JSON, or after the JSON schema in a file", files.answer_format, files.answer_formats
    ),
    Command("/import", "FILE", "read a conversation that was exported", files.read_in, paths=True),
    Command("/incognito", "[MODEL]", "a new conversation that is not stored", options.new(incognito=True), options.models),
    Command("/keep", "[TIME]", "how long the model stays loaded after an answer", options.keep, options.keep_times),
    Command("/model", "[MODEL]", "go on with another model", options.model, options.models),
    Command("/new", "[MODEL]", "an empty conversation", options.new(incognito=False), options.models),
    Command("/preset", "[NAME]", "a set of sampling options", options.preset, options.presets),
    Command("/set", "[NAME VALUE]", "a sampling option; without a value: the model's own", options.set_option, options.option_names),
    Command("/summarise", "", "put a summary in place of the oldest messages", _no_arguments(lambda host: host.services.chat.summarise())),
    Command("/system", "[TEXT | off]", "the system prompt of this conversation", options.system),
    Command("/tag", "[TAG | -TAG ...]", "tag this conversation, or take a tag off", options.tag, options.tags),
    Command("/template", "[NAME] [TEXT]", "a prompt of your own with its blanks filled in", files.template, files.templates),
    Command("/think", "[LEVEL]", "whether the model thinks before it answers", options.think, options.levels),
    Command("/title", "[TEXT]", "name this conversation; without a text the model does", options.title),
    Command("/tools", "[NAME ... | off]", "tools the model may ask for; each call asks you", options.tools, options.tool_choices),
    Command("/votes", "", "past votes and speeds of each model", _no_arguments(_votes)),
)
"""All of them, by name."""
_BY_NAME: Final = {command.name: command for command in COMMANDS}


class ChatCommands:
    """Runs commands and completes them for one screen.

    Args:
        host: The screen.
    """

    def __init__(self, host: CommandHost) -> None:
        self._host = host

    def run(self, text: str) -> None:
        """Obey a line as typed; what is wrong with it is said, and nothing happens."""
        word, _space, rest = text.strip().partition(" ")
        if "\n" in word:
            word, _break, more = word.partition("\n")
            rest = f"{more} {rest}"
        command = _BY_NAME.get(word)
        if command is None:
            near = nearest(word, list(_BY_NAME))
            hint = f"Did you mean {near}?" if near else "/ lists the commands."
            self._host.say(f"There is no command {clean_label(word, 30)}. {hint}", error=True)
        elif rest.strip() and not command.hint:
            self._host.say(f"{command.name} takes nothing behind it", error=True)
        else:
            command.run(self._host, rest.strip())

    def complete(self, line: str) -> Completion | None:
        """See `Completer`."""
        word, space, rest = line.partition(" ")
        if not space:
            found = [command for command in COMMANDS if command.name.startswith(word.lower())]
            exact = any(command.name == word for command in found)
            return Completion(0, tuple(_choice(command) for command in found if command.name != word or command.hint), not exact)
        command = _BY_NAME.get(word)
        if command is None:
            return None
        start = line.rindex('"') if rest.count('"') % 2 else len(line) - len(rest.rpartition(" ")[2])
        if command.paths or (command.name == "/format" and files.looks_like_path(line[start:])):
            return Completion(start, paths=True)
        if command.complete is None:
            return None
        typed = line[start:].casefold()
        choices = [choice for choice in command.complete(self._host, rest) if typed in choice.text.casefold()]
        choices.sort(key=lambda choice: not choice.text.casefold().startswith(typed))
        return Completion(start, tuple(choice for choice in choices if choice.text.casefold() != typed))


def _choice(command: Command) -> Choice:
    label = f"{command.name} {command.hint}" if command.hint else command.name
    return Choice(command.name, label, command.help, more=False)
