"""What the keys of the Chat screen do with the message under the cursor."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tui.core.chat import Message, Role
from tui.core.errors import PaddockError
from tui.text import clean_block, clean_label, clean_name, count
from tui.ui.screens import chat_words
from tui.ui.screens.chat_live import ChatLive
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog

_OPENED: Final = ("http", "https")


class ChatActions(ChatLive):
    """Verbs for one message; `ChatScreen` binds them to keys."""

    _found = ""

    # --- copying and saving -------------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        """Copy what is selected, else the message under the cursor."""
        if self.transcript.text_selection is not None:
            chosen = self.get_selected_text()
            self.transcript.end_selection()
            if chosen:
                self.app.copy_to_clipboard(chosen)
            return
        number = self.transcript.cursor
        text = self.transcript.text_of(number) if number is not None else ""
        if text:
            self.app.copy_to_clipboard(text)
        else:
            self.say("There is nothing to copy")

    def action_copy_code(self) -> None:
        """Copy the last code block of the message under the cursor."""
        number = self.transcript.cursor
        blocks = self.transcript.code_blocks(number) if number is not None else []
        if blocks:
            self.app.copy_to_clipboard(blocks[-1])
        else:
            self.say("There is no code in this message")

    def action_save(self) -> None:
        """Write the message, or one of its code blocks, to a file."""
        number = self.transcript.cursor
        text = self.transcript.text_of(number) if number is not None else ""
        if number is None or not text:
            self.say("There is nothing to save")
            return
        blocks = self.transcript.code_blocks(number)
        if not blocks:
            self._ask_path(text, "message.md")
            return
        choices = [("whole", "the whole message", f"{count(len(text))} characters")]
        for at, block in enumerate(blocks):
            choices.append((str(at), f"code block {at + 1}", clean_label(block.strip().split("\n")[0], 40)))

        def done(choice: str | None) -> None:
            if choice == "whole":
                self._ask_path(text, "message.md")
            elif choice is not None:
                self._ask_path(blocks[int(choice)] + "\n", "code.txt")

        self.app.push_screen(ChoiceDialog("Save", choices, current=str(len(blocks) - 1)), done)

    def _ask_path(self, text: str, name: str) -> None:
        def done(given: str | None) -> None:
            if given:
                self.run_worker(self._write(Path(given.strip()).expanduser(), text), name="save", description="save", group="save")

        self.app.push_screen(
            InputDialog("Save to", name, hint=f"a new file, from {clean_name(str(Path.cwd()))}", check=_path_problem), done
        )

    async def _write(self, path: Path, text: str) -> None:
        try:
            await asyncio.to_thread(_write_new, path, text)
        except OSError as error:
            self.say(f"{clean_name(str(path))}: {clean_label(error.strerror or 'cannot be written')}", error=True)
        else:
            self.say(f"Saved to {clean_name(str(path))}")

    # --- changing -----------------------------------------------------------------------------------------------------

    def action_edit(self) -> None:
        """Say something else instead: a new branch."""
        self.with_message(self._edit)

    def _edit(self, message: Message) -> None:
        if chat_words.is_mark(message) or message.role not in (Role.USER, Role.ASSISTANT):
            self.say("Only prompts and answers can be edited")
            return
        from tui.ui.dialogs.chat_text import TextDialog

        prompt = message.role is Role.USER
        title = "Edit the prompt; the old one stays as a branch" if prompt else "Edit the answer, as if the model had given it"
        before = clean_block(message.content)

        def done(text: str | None) -> None:
            if text is not None and text != before:
                self.services.chat.edit(message.id, text)

        self.app.push_screen(TextDialog(title, before, hint="sends it" if prompt else "keeps it"), done)

    def action_again(self) -> None:
        """Answer again: the answer under the cursor, or that to the prompt under it."""
        number = self._answer_at()
        if number is None:
            self.say("There is no answer yet")
        else:
            self.services.chat.regenerate(number)

    def _answer_at(self) -> int | None:
        """Id of the answer under the cursor, or of the next one below it, or of the last."""
        messages = self.view.messages
        at = next((at for at, one in enumerate(messages) if one.id == self.transcript.cursor), 0)
        found = next((one.id for one in messages[at:] if one.role is Role.ASSISTANT), None)
        return found if found is not None else messages[-1].id if messages else None

    def action_again_with(self) -> None:
        """Answer again with another model or other options."""
        number = self._answer_at()
        if number is None:
            self.say("There is no answer yet")
            return
        from tui.ui.dialogs.chat_again import again_dialog, read_again

        models = [(model.provider, model.key) for model in self.services.registry.models.value]

        def done(values: Mapping[str, str] | None) -> None:
            if values is not None:
                provider, model, options = read_again(values, models)
                self.services.chat.regenerate(number, provider, model, options)

        answered = next((one for one in self.view.messages if one.id == number), None)
        self.app.push_screen(again_dialog(self.view, answered, models), done)

    def action_branch(self) -> None:
        """Go on from this message; what followed stays as a branch."""
        self.with_message(lambda message: self.services.chat.branch(message.id))

    def action_switch(self, step: int) -> None:
        """Show the next or previous branch in place of this message."""

        def switch(message: Message) -> None:
            siblings = self.view.branches.get(message.id, ())
            if len(siblings) > 1:
                at = siblings.index(message.id) + step
                self._wanted = siblings[at] if 0 <= at < len(siblings) else 0
                self.services.chat.switch(message.id, step)
            else:
                self.say("This message has no other branch. r answers again beside it, e edits it.")

        self.with_message(switch)

    def action_pin(self) -> None:
        """Keep the message in what is sent when the oldest are dropped, or not."""
        self.with_message(lambda message: self.services.chat.pin_message(message.id, not message.pinned))

    def action_delete(self) -> None:
        """Delete the message under the cursor, alone or with what follows; asks."""
        self.with_message(self._delete)

    def _delete(self, message: Message) -> None:
        if chat_words.is_mark(message):
            what, choices = "this mark? Everything above it is sent again.", [("keep", "Keep"), ("one", "Delete")]
        else:
            messages = self.view.messages
            following = len(messages) - 1 - next(at for at, one in enumerate(messages) if one.id == message.id)
            words = clean_label(" ".join(message.content.split()), 50) or "without text"
            what = f"this message of {chat_words.speaker(message)} ({words})?"
            choices = [("keep", "Keep"), ("one", "Delete it")]
            if following:
                choices.append(("all", f"It and {count(following)} below"))

        def done(choice: str | None) -> None:
            if choice in ("one", "all"):
                self.services.chat.delete_message(message.id, following=choice == "all")

        self.app.push_screen(ConfirmDialog(f"Delete {what} z brings it back.", choices), done)

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        self.services.chat.undo_delete()

    # --- looking ------------------------------------------------------------------------------------------------------

    def action_times(self) -> None:
        """Where the time of this answer went: all of it, or the one line again."""

        def turn(message: Message) -> None:
            if message.role is not Role.ASSISTANT:
                self.say("Only answers have a timeline")
                return
            self._timed ^= {message.id}
            self.show_messages(self.view)

        self.with_message(turn)

    def action_find(self) -> None:
        """Search in this conversation."""

        def done(text: str | None) -> None:
            if text:
                self._found = text
                if not self.transcript.find(text):
                    self.say(f"{clean_label(text, 40)} is not in this conversation")
                self.transcript.focus()

        self.app.push_screen(InputDialog("Find", self._found, hint="then n and N"), done)

    def action_links(self) -> None:
        """The links of this message: open after asking, or copy."""
        number = self.transcript.cursor
        links = self.transcript.links(number) if number is not None else []
        if not links:
            self.say("There is no link in this message")
        elif len(links) == 1:
            self._ask_link(links[0])
        else:
            choices = [(str(at), clean_name(link, 200), clean_name(_host(link), 60)) for at, link in enumerate(links)]
            self.app.push_screen(
                ChoiceDialog("Links of this message", choices), lambda choice: self._ask_link(links[int(choice)]) if choice else None
            )

    def _ask_link(self, link: str) -> None:
        """Nothing is opened without the host having been shown; only pages are (X06, P58)."""
        answers = [("keep", "Not now"), ("copy", "Copy")]
        allowed = urlsplit_safe(link)[0] in _OPENED and bool(_host(link))
        if allowed and has_desktop():
            answers.append(("open", "Open"))
        why = "" if allowed else " Only http and https are opened."
        question = f"{clean_name(link, 2048)}\nleads to {clean_name(_host(link), 253) or 'no host'}.{why}"

        def done(choice: str | None) -> None:
            if choice == "copy":
                self.app.copy_to_clipboard(link)
            elif choice == "open":
                import webbrowser

                self.run_worker(lambda: webbrowser.open(link), name="link", description="link", group="link", thread=True)

        self.app.push_screen(ConfirmDialog(question, answers), done)


def urlsplit_safe(link: str) -> tuple[str, str]:
    """Scheme and host of an address; empty where it is none."""
    try:
        parts = urlsplit(link)
        return parts.scheme.lower(), (parts.hostname or "")
    except ValueError:
        return "", ""


def _host(link: str) -> str:
    """The real host, a name that is not plain ASCII also as it is looked up."""
    host = urlsplit_safe(link)[1]
    if host.isascii():
        return host
    try:
        return f"{host} ({host.encode('idna').decode('ascii')})"
    except UnicodeError:
        return ""


def has_desktop(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser opened here would be seen by the person at the keyboard."""
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return False
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _path_problem(text: str) -> str | None:
    path = Path(text.strip()).expanduser()
    if not text.strip():
        return "Write a name."
    if path.exists():
        return f"{clean_name(str(path))} exists: write another name."
    return None if path.parent.is_dir() else f"There is no folder {clean_name(str(path.parent))}."


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def checked(name: str, value: str) -> tuple[Any] | str:
    """The checked value of a sampling option, or the sentence that refuses it."""
    from tui.config import schema

    try:
        return (schema.raw_value(("chat", "options", name), value),)
    except PaddockError as error:
        return f"{error.failure.sentence()}. {error.failure.remedy}"
