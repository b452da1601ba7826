"""Changing a setting: dialogs that check at once, saving beside the screen's loop, the user's editor."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textual.app import SuspendNotSupported
from textual.message import Message

from tui.config.schema import find_kind, raw_value, split_key
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.ui.screens.settings_rows import Entry

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui.config.store import ConfigStore

_saving: Final = threading.Lock()
"""Changes are saved one after another, in the order asked for."""


class Saved(Message):
    """A change was saved (`note` says what else must be known) or not (`failure`)."""

    def __init__(self, note: str = "", failure: Failure | None = None) -> None:
        super().__init__()
        self.note, self.failure = note, failure


def in_background(widget: Widget, work: Callable[[], str]) -> None:
    """Run `work` on a thread that never keeps the program alive; its outcome comes as `Saved`."""

    def run() -> None:
        try:
            with _saving:
                outcome = Saved(work())
        except PaddockError as error:
            outcome = Saved(failure=error.failure)
        except OSError as error:
            remedy = "Look at the file and its folder"
            outcome = Saved(failure=Failure(f"Not saved: {error.strerror or 'the file system refused'}", "", remedy, FailureKind.DISK))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            widget.post_message(outcome)

    threading.Thread(target=run, name="save settings", daemon=True).start()


def problem_of(dotted: str, text: str) -> str | None:
    """What is wrong with a value as typed, or None."""
    try:
        raw_value(split_key(dotted), text)
    except PaddockError as error:
        return error.failure.what
    return None


def typed_value(store: ConfigStore, entry: Entry) -> str:
    """The value in force as one would type it."""
    if entry.section == "keys":
        return entry.value
    value: Any = store.value(entry.dotted)
    if value is None:
        return ""
    literal = find_kind(split_key(entry.dotted)).literal(value)
    return literal if isinstance(literal, str) else store.shown(entry.dotted)


def may_be_unset(entry: Entry) -> bool:
    """An empty text means: not set."""
    return entry.section in ("chat.options", "keys")


def edit_file(app: Any, path: Path) -> Failure | None:
    """Open the file in the user's editor, which gets the terminal; a first file holds the commented defaults."""
    from tui.config.example import render_example

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = [*shlex.split(editor), str(path)]
    except ValueError:
        return Failure("$EDITOR cannot be read as a command", editor[:80], "Set EDITOR to a program, as in EDITOR=nano", FailureKind.CONFIG)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(render_example())
        except FileExistsError:
            pass
        with app.suspend():
            code = subprocess.run(command, check=False).returncode
    except SuspendNotSupported:
        return Failure("This terminal cannot be handed to an editor", "", f"Edit {path} in another window", FailureKind.UNSUPPORTED)
    except OSError as error:
        reason = error.strerror or "it cannot be started"
        return Failure(f"The editor was not started: {reason}", editor[:80], "Set EDITOR to a program you have", FailureKind.CONFIG)
    if code:
        return Failure(f"The editor ended with code {code}", editor[:80], "Look whether the file was saved", FailureKind.CONFIG)
    return None
