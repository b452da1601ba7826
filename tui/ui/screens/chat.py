"""Chat: one conversation, its answer while it streams, and the composer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import TextArea

from tui.core.chat import ConversationHead, Message, Role
from tui.services.api import Services
from tui.services.chat.api import ConversationView, LiveAnswer
from tui.text import clean_label, nearest
from tui.ui.base import AppScreen
from tui.ui.frame import Line
from tui.ui.screens import chat_words
from tui.ui.widgets.columns import Column
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog
from tui.ui.widgets.prompt import Composer
from tui.ui.widgets.rows import Rows
from tui.ui.widgets.transcript import Transcript

_COMMANDS = ("/continue", "/export", "/model", "/new", "/set", "/system", "/think")
_THINK = ("auto", "on", "off", "low", "medium", "high")
_LEAST_LOG = 20
"""Cells that a line of the server's log must have to be shown."""


class ChatScreen(AppScreen):
    """The transcript above the composer; at 120 columns the conversations at the left."""

    NAME = "chat"
    HELP_LINES = (
        "enter sends; ctrl+j or alt+enter starts a new line. /set, /think, /system, /model, /continue, /export and /new are commands."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "compose", "write", id="chat.compose", tooltip="to the composer"),
        Binding("ctrl+n", "new", "new", id="chat.new", tooltip="start an empty conversation", priority=True),
        Binding("ctrl+o", "open", "open", id="chat.open", tooltip="open an earlier conversation", priority=True),
        Binding("ctrl+t", "model", "model", id="chat.model", tooltip="go on with another model", priority=True),
        Binding("r", "again", "again", id="chat.again", tooltip="answer the last prompt again"),
        Binding("y", "copy", "copy", id="chat.copy", tooltip="copy the message in view"),
        Binding("Y", "copy_code", "copy code", id="chat.copy_code", tooltip="copy the last code block of the message in view"),
        Binding("slash", "find", "find", id="chat.find", tooltip="search in this conversation"),
        Binding("e", "options", "options", id="chat.options", tooltip="system prompt, thinking and sampling options"),
        Binding("left_square_bracket", "step(-1)", show=False, id="chat.previous", tooltip="newer conversation"),
        Binding("right_square_bracket", "step(1)", show=False, id="chat.next", tooltip="older conversation"),
        Binding("d", "delete", "delete", id="chat.delete", tooltip="delete this conversation; asks"),
        Binding("z", "undo", "undo", show=False, id="chat.undo", tooltip="bring back what was deleted last"),
        Binding("E", "export", "export", show=False, id="chat.export", tooltip="write Markdown to a file"),
        Binding("ctrl+r", "prompts", "prompts", show=False, id="chat.prompts", tooltip="prompts sent before", priority=True),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._shown: dict[int, Message] = {}
        self._conversation = -1
        self._restored = ""
        self._wants_open = False
        self._live: LiveAnswer | None = None
        self._taken = (0, 0)
        self._ticker: Timer | None = None
        self._found = ""

    def body(self) -> Iterator[Widget]:
        """List, heading, transcript, composer."""
        columns: list[Column[ConversationHead]] = [
            Column("title", "CONVERSATIONS", lambda head: clean_label(head.title, 60) or "(untitled)", flex=1)
        ]
        with Horizontal():
            yield Rows(columns, key=lambda head: head.id, markable=False, empty="none yet", id="chat-list")
            with Vertical():
                yield Line(id="chat-heading")
                yield Transcript(id="chat-transcript")
                yield Line(id="chat-notice")
                yield Composer(id="chat-composer")

    def start(self) -> None:
        """Follow the conversation and the answer; type at once."""
        chat = self.services.chat
        self.follow(chat.view, self._show_view)
        self.follow(chat.live, self._show_live, fps=15)
        self.follow(self.services.jobs.view, lambda _queue: self._show_notice(chat.view.value), fps=2)
        self.follow(chat.heads, lambda heads: self.query_one("#chat-list", Rows).set_items(list(heads)), fps=2)
        self.follow(self.services.ready, self._history_open)
        self.composer.focus()

    @property
    def composer(self) -> Composer:
        """Where prompts are written."""
        return self.query_one(Composer)

    @property
    def transcript(self) -> Transcript:
        """Where the conversation stands."""
        return self.query_one(Transcript)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _show_view(self, view: ConversationView) -> None:
        left, right = chat_words.heading(view)
        width = max(20, self.size.width - (27 if self.size.width >= 120 else 0))
        room = max(1, width - len(left) - len(right) - 2)
        self.query_one("#chat-heading", Line).show((f" {left}", "bold"), (" " * room, ""), (right, "$text-muted"))
        self.composer.set_hints("enter sends · tab leaves", chat_words.gauge(view, ascii=self.ascii))
        self.composer.read_only = bool(view.read_only)
        self._show_messages(view)
        self._show_notice(view)
        if view.id != self._conversation:
            self._conversation = view.id
            self.composer.set_history(list(self.services.chat.history()))
            self._restored = ""
        if view.draft != self._restored:  # the history may open after the screen: a draft comes later than its chat
            self._restored = view.draft
            if view.draft and not self.composer.text:
                self.composer.fill(view.draft)

    def _show_notice(self, view: ConversationView) -> None:
        notice = view.read_only or (f"! {view.alarm}   /set num_ctx" if view.alarm else "")
        if not notice and view.queued:
            notice = f"{len(view.queued)} more prompt{'s' if len(view.queued) > 1 else ''} will be sent after this answer"
        notice = notice or chat_words.pulling(view, self.services.jobs.view.value)
        if not notice and not view.messages:
            notice = "Type and press enter. ctrl+t chooses the model, ctrl+o opens an earlier chat."
        self._notice(notice, warn=bool(view.read_only or view.alarm))

    def _notice(self, text: str, *, warn: bool = False) -> None:
        line = self.query_one("#chat-notice", Line)
        line.display = bool(text)
        line.show((f" {text}", "$warning" if warn else "$text-muted"))

    def _show_messages(self, view: ConversationView) -> None:
        """Load what changed: a whole conversation, or the messages at its end."""
        live = self._live if self._live is not None and self._live.conversation == view.id else None
        stored = [message for message in view.messages if message.role is not Role.SYSTEM]
        known = list(self._shown)
        if view.id != self._conversation or known != [message.id for message in stored][: len(known)]:
            self._shown = {}
            self._taken = (0, 0)
            ended = [message for message in stored if live is None or message.id != live.message_id]
            self.transcript.load([chat_words.row(message) for message in ended])
            for message in ended:
                self.transcript.set_footer(message.id, chat_words.ending(message), chat_words.times(message))
                self._shown[message.id] = message
            if live is not None:
                self._begin(live)
            return
        for message in stored:
            if live is not None and message.id == live.message_id:
                continue
            before = self._shown.get(message.id)
            if before is None:
                number, left, right, text, thoughts = chat_words.row(message)
                self.transcript.begin(number, left, right)
                if thoughts:
                    self.transcript.append_thinking(number, thoughts, message.timeline.thought)
                self.transcript.append(number, text)
                self.transcript.finish(number)
            elif before != message:
                self.transcript.set_header(message.id, chat_words.speaker(message), chat_words.figures(message))
            if before != message:
                self.transcript.set_footer(message.id, chat_words.ending(message), chat_words.times(message))
                self._shown[message.id] = message

    def _begin(self, live: LiveAnswer) -> None:
        message = next((message for message in self.services.chat.view.value.messages if message.id == live.message_id), None)
        if message is not None:
            self._shown[live.message_id] = message
        self.transcript.begin(live.message_id, clean_label(live.model, 40), self._figures(live))
        self._taken = (0, 0)
        self._take(live)

    def _take(self, live: LiveAnswer) -> None:
        text, thinking = live.buffer.text, live.buffer.thinking
        ends = (len(text), len(thinking))
        if ends[1] > self._taken[1]:
            self.transcript.append_thinking(live.message_id, "".join(thinking[self._taken[1] : ends[1]]), live.timeline.thought)
        if ends[0] > self._taken[0]:
            self.transcript.append(live.message_id, "".join(text[self._taken[0] : ends[0]]))
        self._taken = ends

    def _show_live(self, live: LiveAnswer | None) -> None:
        before, self._live = self._live, live
        view = self.services.chat.view.value
        if live is None or live.conversation not in (view.id, 0):
            self._tick(False)
            if before is not None:
                self._finish(before)
            return
        if before is None or before.message_id != live.message_id:
            if before is not None:
                self._finish(before)
            self._restart(live)
        else:
            self._take(live)
        self.transcript.set_header(live.message_id, clean_label(live.model, 40), self._figures(live))
        self._tick(not live.state.ended and live.phase in ("waiting", "loading", "reading", "stalled"))
        if live.state.ended:
            self._finish(live)

    def _restart(self, live: LiveAnswer) -> None:
        if live.message_id in self._shown:  # regenerated or continued in the same row: its earlier drawing goes
            self._shown = {}
            self._conversation = -1
            self._show_messages(self.services.chat.view.value)
            self._conversation = self.services.chat.view.value.id
        else:
            self._begin(live)

    def _finish(self, live: LiveAnswer) -> None:
        self._take(live)
        self.transcript.finish(live.message_id)
        stored = next((message for message in self.services.chat.view.value.messages if message.id == live.message_id), None)
        if stored is not None and stored.state.ended:
            self.transcript.set_header(stored.id, chat_words.speaker(stored), chat_words.figures(stored))
            self.transcript.set_footer(stored.id, chat_words.ending(stored), chat_words.times(stored))
            self._shown[stored.id] = stored

    def _tick(self, on: bool) -> None:
        """Waits count seconds; nothing else does."""
        if on and self._ticker is None:
            self._ticker = self.set_interval(1.0, self._tock)
        elif not on and self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _figures(self, live: LiveAnswer) -> str:
        figures = chat_words.live_figures(live)
        room = self.size.width - len(figures) - len(live.model) - 12
        if live.phase != "loading" or room < _LEAST_LOG:
            return figures
        says = self.services.registry.log_line(live.provider)[:room]
        return f"{figures} · {says}" if says else figures

    def _tock(self) -> None:
        if self._live is not None and self.can_draw():
            self.transcript.set_header(self._live.message_id, clean_label(self._live.model, 40), self._figures(self._live))

    def on_resize(self, event: events.Resize) -> None:
        """The heading is as wide as the screen."""
        super().on_resize(event)
        if self.is_mounted:
            self._show_view(self.services.chat.view.value)

    # --- the composer -------------------------------------------------------------------------------------------------

    def on_composer_sent(self, event: Composer.Sent) -> None:
        """Send what was typed, or run a command."""
        event.stop()
        if isinstance(event, Composer.Command):
            self._command(event.text)
        elif isinstance(event, Composer.LargePaste):
            self._large(event.text)
        else:
            self.services.chat.send(event.text)
            self.composer.set_history([event.text, *self.services.chat.history()])

    def on_composer_command(self, event: Composer.Command) -> None:
        """Run a typed command."""
        event.stop()
        self._command(event.text)

    def on_composer_large_paste(self, event: Composer.LargePaste) -> None:
        """Ask before a very large paste."""
        event.stop()
        self._large(event.text)

    def _large(self, text: str) -> None:
        question = f"Paste {len(text):,} characters into the prompt?"

        def done(choice: str | None) -> None:
            if choice == "paste":
                self.composer.insert_pasted(text)

        self.app.push_screen(ConfirmDialog(question, (("keep", "Not now"), ("paste", "Paste"))), done)

    def on_composer_left(self, event: Composer.Left) -> None:
        """Tab leaves without stopping; esc stops the answer first."""
        event.stop()
        if event.key == "escape" and self._writing():
            self.services.chat.stop()
        else:
            self.transcript.focus()

    def on_composer_complete(self, event: Composer.Complete) -> None:
        """Complete a command's name."""
        event.stop()
        typed = self.composer.text
        matches = [command for command in _COMMANDS if command.startswith(typed)]
        if len(matches) == 1:
            self.composer.fill(f"{matches[0]} ")

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """What is typed and not sent is kept."""
        if event.text_area is self.composer:
            self.services.chat.save_draft(self.composer.text)

    def _writing(self) -> bool:
        return self._live is not None and not self._live.state.ended

    def action_back(self) -> None:
        """Esc outside the composer: stop the answer, then back to the composer."""
        if self._writing():
            self.services.chat.stop()
        else:
            self.composer.focus()

    # --- commands -----------------------------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        word, _space, rest = text.strip().partition(" ")
        rest = rest.strip()
        chat = self.services.chat
        settings = chat.view.value.settings
        if word == "/continue":
            chat.go_on()
        elif word == "/new":
            self.action_new()
        elif word == "/export":
            self.action_export()
        elif word == "/model":
            self._use_named(rest)
        elif word == "/system":
            if rest:
                chat.configure(replace(settings, system=rest))
            else:
                self._edit_system()
        elif word == "/think" and rest in _THINK:
            chat.configure(replace(settings, think=rest))
        elif word == "/think":
            self.say(f"/think takes one of {', '.join(_THINK)}", error=True)
        elif word == "/set":
            self._set(rest)
        else:
            near = nearest(word, _COMMANDS)
            self.say(f"There is no command {clean_label(word, 30)}. {f'Did you mean {near}?' if near else ' '.join(_COMMANDS)}", error=True)

    def _set(self, text: str) -> None:
        name, equals, value = text.replace(" ", "=", 1).partition("=")
        name, value = name.strip(), value.strip(" =")
        settings = self.services.chat.view.value.settings
        if not name or not equals:
            self.action_options()
            return
        options = dict(settings.options)
        if value:
            checked = _option(name, value)
            if isinstance(checked, str):
                self.say(checked, error=True)
                return
            options[name] = checked[0]
        else:
            options.pop(name, None)
        self.services.chat.configure(replace(settings, options=options))
        self.say(f"{name} = {value}" if value else f"{name} is the model's own again")

    def _use_named(self, name: str) -> None:
        found = next((model for model in self.services.registry.models.value if name and name in (model.name, model.key)), None)
        if found is None:
            self.action_model()
        else:
            self.services.chat.use_model(found.provider, found.key)

    def _edit_system(self) -> None:
        settings = self.services.chat.view.value.settings

        def done(text: str | None) -> None:
            if text is not None:
                self.services.chat.configure(replace(settings, system=text))

        self.app.push_screen(InputDialog("System prompt", settings.system, hint="empty: the model's own"), done)

    # --- actions ------------------------------------------------------------------------------------------------------

    def action_compose(self) -> None:
        """To the composer."""
        self.composer.focus()

    def action_new(self) -> None:
        """Start an empty conversation."""
        view = self.services.chat.view.value
        self.services.chat.new(view.provider, view.model)
        self.composer.focus()

    def _history_open(self, ready: bool) -> None:
        if ready and self._wants_open:
            self.action_open()

    def action_open(self) -> None:
        """Choose an earlier conversation; asked for before the history is open, as soon as it is."""
        self._wants_open = not self.services.ready.value
        if self._wants_open:
            return
        heads = self.services.chat.heads.value
        choices = [(str(head.id), clean_label(head.title, 60) or "(untitled)", clean_label(head.model, 30)) for head in heads]
        if not choices:
            self.say("No conversation is stored yet")
            return

        def done(choice: str | None) -> None:
            if choice:
                self.services.chat.open(int(choice))

        self.app.push_screen(ChoiceDialog("Open a conversation", choices, current=str(self.services.chat.view.value.id)), done)

    def action_step(self, step: int) -> None:
        """The next older or newer conversation."""
        ids = [head.id for head in self.services.chat.heads.value]
        here = self.services.chat.view.value.id
        at = ids.index(here) + step if here in ids else 0
        if 0 <= at < len(ids):
            self.services.chat.open(ids[at])

    def action_model(self) -> None:
        """Choose the model to go on with."""
        models = list(self.services.registry.models.value)
        choices = [(f"{model.provider}\n{model.key}", model.name, model.provider) for model in models]
        if not choices:
            self.say("No model is installed. a on the Library screen pulls one.")
            return

        def done(choice: str | None) -> None:
            if choice:
                provider, key = choice.split("\n", 1)
                self.services.chat.use_model(provider, key)

        view = self.services.chat.view.value
        self.app.push_screen(ChoiceDialog("Go on with", choices, current=f"{view.provider}\n{view.model}"), done)

    def action_prompts(self) -> None:
        """Choose a prompt sent before."""
        prompts = list(self.services.chat.history())[:200]
        if not prompts:
            self.say("Nothing was sent before")
            return

        def done(choice: str | None) -> None:
            if choice is not None:
                self.composer.fill(prompts[int(choice)])

        self.app.push_screen(
            ChoiceDialog("Prompts sent before", [(str(at), clean_label(text, 70), "") for at, text in enumerate(prompts)]), done
        )

    def action_options(self) -> None:
        """What is set for this conversation, and changing it."""
        settings = self.services.chat.view.value.settings
        choices = [
            ("system", "system prompt", clean_label(settings.system, 40) or "the model's own"),
            ("think", "thinking", settings.think),
        ]
        choices += [(f"option {name}", name, clean_label(str(value), 30)) for name, value in settings.options.items()]
        choices.append(("add", "set an option", "temperature=0.2"))

        def done(choice: str | None) -> None:
            if choice == "system":
                self._edit_system()
            elif choice == "think":
                self.app.push_screen(ChoiceDialog("Thinking", [(word, word, "") for word in _THINK], current=settings.think), think)
            elif choice is not None:
                name = choice.removeprefix("option ")
                value = "" if choice == "add" else f"{name}={settings.options.get(name)}"
                self.app.push_screen(
                    InputDialog("Option", value, hint="name=value; name= takes it back"), lambda text: self._set(text) if text else None
                )

        def think(choice: str | None) -> None:
            if choice is not None:
                self.services.chat.configure(replace(settings, think=choice))

        self.app.push_screen(ChoiceDialog("This conversation", choices), done)

    def action_again(self) -> None:
        """Answer the last prompt again."""
        self.services.chat.regenerate()

    def _at_view(self) -> Any:
        """The message in view: the last one where the end is shown."""
        number = None if self.transcript.is_vertical_scroll_end else self.transcript.message_at()
        return number if number is not None else next(reversed(self._shown), None)

    def action_copy(self) -> None:
        """Copy the message in view."""
        number = self._at_view()
        text = self.transcript.text_of(number) if number is not None else ""
        if text:
            self.app.copy_to_clipboard(text)

    def action_copy_code(self) -> None:
        """Copy the last code block of the message in view."""
        number = self._at_view()
        blocks = self.transcript.code_blocks(number) if number is not None else []
        if blocks:
            self.app.copy_to_clipboard(blocks[-1])
        else:
            self.say("There is no code in this message")

    def action_find(self) -> None:
        """Search in this conversation."""

        def done(text: str | None) -> None:
            if text:
                self._found = text
                if not self.transcript.find(text):
                    self.say(f"{clean_label(text, 40)} is not in this conversation")
                self.transcript.focus()

        self.app.push_screen(InputDialog("Find", self._found, hint="then n and N"), done)

    def action_delete(self) -> None:
        """Delete this conversation after asking."""
        view = self.services.chat.view.value
        if not view.id:
            return

        def done(choice: str | None) -> None:
            if choice == "delete":
                self.services.chat.delete(view.id)

        question = f"Delete the conversation {clean_label(view.title, 60)!r} with {len(view.messages)} messages? z brings it back."
        self.app.push_screen(ConfirmDialog(question, (("keep", "Keep"), ("delete", "Delete"))), done)

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        self.services.chat.undo_delete()

    def action_export(self) -> None:
        """Write this conversation to a file."""
        self.services.chat.export(self.services.chat.view.value.id)

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Open a conversation of the list."""
        event.stop()
        if event.item is not None:
            self.services.chat.open(event.item.id)
        self.composer.focus()


def _option(name: str, value: str) -> tuple[object] | str:
    """The checked value of a sampling option, or the sentence that refuses it."""
    from tui.config import schema

    try:
        return (schema.raw_value(("chat", "options", name), value),)
    except Exception as error:
        failure = getattr(error, "failure", None)
        return (
            f"{failure.sentence()}. {failure.remedy}"
            if failure is not None
            else f"{clean_label(name, 30)} cannot be {clean_label(value, 30)}"
        )
