"""The composer: a text field that sends on enter and behaves like a shell's line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from tui.core.chat import Attachment
from tui.core.errors import Failure, PaddockError
from tui.core.threads import in_daemon_thread, in_thread
from tui.services.chat import references
from tui.services.chat.references import Expanded
from tui.text import clean_block, clean_label, clean_name
from tui.ui.widgets.bars import uses_ascii
from tui.ui.widgets.chips import Chips
from tui.ui.widgets.completion import Choice, Completer
from tui.ui.widgets.completion_popup import CompletionPopup
from tui.ui.widgets.path_choices import PathChoices
from tui.ui.widgets.prompt_history import PromptHistory, Search
from tui.ui.widgets.prompt_text import LITERAL, TYPED, PromptText, marks_of

PASTE_LIMIT: Final = 4000
"""Characters of a paste above which it becomes an attachment."""
PASTE_LINES: Final = 40
PATIENCE: Final = 0.25
"""Seconds that a key waits for the file system before it goes on without it."""


class Composer(PromptText):
    """Text for the model. Only a typed enter sends; nothing pasted ever does, and nothing pasted is a command (X21)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "send", id="composer.send", tooltip="Send"),
        Binding("ctrl+j", "newline", "new line", id="composer.newline", show=False, tooltip="New line"),
        Binding(
            "alt+enter,shift+enter", "other", "new line", id="composer.other", show=False, tooltip="New line; sends where enter does not"
        ),
        Binding("tab", "complete", "leave", id="composer.complete", show=False, tooltip="Complete, else leave"),
        Binding("escape", "back", "back", id="composer.back", show=False, tooltip="Close, stop, leave"),
        Binding("up", "older", "older", id="composer.older", show=False, tooltip="Line up, then older prompts"),
        Binding("down", "newer", "newer", id="composer.newer", show=False, tooltip="Line down, then newer prompts"),
        Binding("ctrl+r", "search", "prompts", id="composer.search", show=False, tooltip="Search the prompts sent before"),
        Binding("ctrl+x", "editor", "editor", id="composer.editor", show=False, tooltip="Write in $VISUAL or $EDITOR"),
        Binding("ctrl+underscore", "undo", "undo", id="composer.undo", show=False, tooltip="Undo what was written"),
        Binding("ctrl+a", "cursor_line_start", "line start", id="composer.line_start", show=False),
        Binding("ctrl+e", "cursor_line_end", "line end", id="composer.line_end", show=False),
        Binding("ctrl+w", "delete_word_left", "delete word", id="composer.delete_word", show=False),
        Binding("ctrl+k", "delete_to_end_of_line", "delete to end", id="composer.delete_end", show=False),
        Binding("ctrl+u", "delete_to_start_of_line", "delete to start", id="composer.delete_start", show=False),
    ]
    DEFAULT_CSS = """
    Composer { height: auto; max-height: 8; min-height: 3; border: solid $border-blurred; background: transparent; padding: 0; }
    Composer:focus { border: solid $border; }
    """

    class Sent(Message):
        """The user sends this text.

        Attributes:
            files: What its `@` mean; to be attached first.
            note: A remark, or empty: an `@` names no file.
        """

        def __init__(self, composer: Composer, text: str, files: Sequence[str] = (), note: str = "") -> None:
            super().__init__()
            self.composer, self.text, self.files, self.note = composer, text, tuple(files), note

    class Command(Sent):
        """The user typed a `/` command: `text` is the whole line."""

    class Pasted(Sent):
        """A large paste: attach it under `name`. `Composer.insert_pasted` would take it into the text."""

        name = "paste"

    class Dropped(Message):
        """A paste that was nothing but paths of files that exist, as terminals do when files are dropped on them."""

        def __init__(self, composer: Composer, paths: Sequence[str]) -> None:
            super().__init__()
            self.composer, self.paths = composer, tuple(paths)

    class ManyFiles(Message):
        """The `@` of the text mean many files, large ones, or ones elsewhere (`found.asks`); on a yes call `accept`."""

        def __init__(self, composer: Composer, text: str, found: Expanded) -> None:
            super().__init__()
            self.composer, self.text, self.found = composer, text, found

        def accept(self) -> None:
            """Send the text with them, where it still stands there."""
            if self.composer.text == self.text:
                self.composer.finish(self.found)

    class Trouble(Message):
        """Something could not be done and nothing was sent: files of `@`, the editor."""

        def __init__(self, composer: Composer, failures: Sequence[Failure]) -> None:
            super().__init__()
            self.composer, self.failures = composer, tuple(failures)

    class Detached(Message):
        """The user takes an attachment off: its index in what `PromptArea.show_attached` was given."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Left(Message):
        """Tab (with nothing to complete) or esc: `key` says which."""

        def __init__(self, composer: Composer, key: str) -> None:
            super().__init__()
            self.composer, self.key = composer, key

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.enter_sends = True
        """See `chat.enter_sends`."""
        self.can_see: bool | None = None
        """Whether the model takes images; None where that is not known."""
        self.completer: Completer | None = None
        """Completes what begins with a typed slash."""
        self.popup: CompletionPopup | None = None
        self.attached = 0
        """How many attachments the line above shows."""
        self.state_folder: Path | None = None
        """Where the file for the editor stands; None: the app's own."""
        self.history_of = PromptHistory()
        self._search: Search | None = None
        self._paths = PathChoices(self, self._show_paths)
        self._start = 0
        self._resolving: asyncio.Task[None] | None = None
        self._sending = ""
        self._hints = ("", "")

    # --- what the screen sets ------------------------------------------------------------------------------------------

    def set_hints(self, left: str, right: str = "") -> None:
        """The lower border: what the keys do at the left, how full the context is at the right."""
        self._hints = (left, right)
        self._draw_hints()

    def _draw_hints(self) -> None:
        left, right = self._hints
        if self._resolving is not None:
            left = "looking at the files · esc stops"
        room = self.outer_size.width - 6 - cell_len(left) - cell_len(right)
        rule = ("-" if uses_ascii(self, None) else "─") * max(1, room - 2)
        fill = f" {rule} " if right else ""
        self.border_subtitle = Content.assemble((left, "$text-muted"), (fill, "$border"), (right, "$text-muted"))

    def on_resize(self) -> None:
        """The right one stands at the right edge."""
        self._draw_hints()

    def set_history(self, prompts: Sequence[str]) -> None:
        """Earlier prompts, newest first (as `ChatApi.history` gives them), for up and down at the edges and for the search."""
        self.history_of.set_stored(prompts)

    def fill(self, text: str, *, typed: bool = False) -> None:
        """Put text there (a draft, a prompt to edit).

        Unless it counts as `typed`, it is no command even where it begins with a slash, and its `@` mean no files.
        """
        text = clean_block(text)
        self.load_marked(text, marks_of(text, TYPED if typed else LITERAL))
        self.move_cursor(self.document.end)

    def insert_pasted(self, text: str) -> None:
        """Insert cleaned text at the cursor, in place of a selection."""
        self.insert_literal(text)

    @property
    def popup_open(self) -> bool:
        """Choices are shown."""
        return self.popup is not None and self.popup.open

    # --- keys ----------------------------------------------------------------------------------------------------------

    async def _on_key(self, event: events.Key) -> None:
        """Runs before the base class's own handler."""
        if self._search is not None:
            event.stop()
            event.prevent_default()
            self._search_key(event)
        elif event.key == "enter":  # the base class would insert a line break before the binding is looked at
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if self.read_only or not event.text:
            return
        if self._search is not None:
            self._search.type(clean_label(self._search.text + event.text, 200))
            self._draw_search()
            return
        dropped: Sequence[Path] = ()
        if references.may_be_dropped(event.text):
            with contextlib.suppress(TimeoutError):
                dropped = await asyncio.wait_for(in_daemon_thread(lambda: references.dropped(event.text)), PATIENCE)
        if dropped:
            self.post_message(self.Dropped(self, [str(path) for path in dropped]))
        elif len(event.text) > PASTE_LIMIT or event.text.count("\n") + event.text.count("\r") > PASTE_LINES:
            self.post_message(self.Pasted(self, event.text))
        else:
            self.insert_pasted(event.text)

    def action_newline(self) -> None:
        """A line break at the cursor."""
        if not self.read_only:
            self.replace_typed("\n", *self.selection)

    async def action_other(self) -> None:
        """What enter does not do."""
        if self.enter_sends:
            self.action_newline()
        else:
            await self._send()

    async def action_send(self) -> None:
        """Take the choice under the popup's cursor, else send; a new line where a backslash stands before the cursor."""
        row, column = self.cursor_location
        if self.popup is not None and self.popup.chosen is not None:
            self._take(self.popup.chosen)
        elif not self.enter_sends:
            self.action_newline()
        elif column and self.document.get_line(row)[column - 1] == "\\":
            self.replace_typed("\n", (row, column - 1), (row, column))
        else:
            await self._send()

    def action_back(self) -> None:
        """Close the popup, stop looking at files, or tell the screen: stop the answer, or leave."""
        if self.popup_open:
            self._close_popup()
        elif self._resolving is not None:
            self._resolving.cancel()
        else:
            self.post_message(self.Left(self, "escape"))

    def action_delete_left(self) -> None:
        """Delete to the left; at the very start of an empty line the last attachment goes."""
        if (
            self.attached
            and not self.read_only
            and self.cursor_location == (0, 0)
            and self.selection.is_empty
            and not self.document.get_line(0)
        ):
            self.post_message(self.Detached(self.attached - 1))
        else:
            super().action_delete_left()

    def action_older(self) -> None:
        """A choice or a line up; in the first line the prompt before."""
        if self.popup is not None and self.popup.open:
            self.popup.move(-1)
        elif not self.navigator.is_first_wrapped_line(self.cursor_location) or not len(self.history_of):
            self.action_cursor_up()
        else:
            self._show_entry(self.history_of.older((self.text, self.marks)))

    def action_newer(self) -> None:
        """A choice or a line down; in the last line the prompt after, at last what was being typed."""
        if self.popup is not None and self.popup.open:
            self.popup.move(1)
            return
        entry = self.history_of.newer() if self.navigator.is_last_wrapped_line(self.cursor_location) else None
        if entry is None:
            self.action_cursor_down()
        else:
            self._show_entry(entry)

    def _show_entry(self, entry: tuple[str, str] | None) -> None:
        if entry is not None and not self.read_only:
            self.load_marked(*entry)
            self.move_cursor(self.document.end)

    # --- sending -------------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        text, marks = self.text, self.marks
        if not text.strip() or self.read_only or self._resolving is not None:
            return
        word = text.split(None, 1)[0]
        if text.startswith("/") and set(marks[: len(word)]) == {TYPED}:
            self._clear(text, marks)
            self.post_message(self.Command(self, text))
            return
        found = references.find(text, marks)
        if found:
            self._close_popup()
            self._sending = text
            self._resolving = asyncio.create_task(self._resolve(text, [one.pattern for one in found]))
            await asyncio.wait({self._resolving}, timeout=PATIENCE)  # keys typed ahead belong to the next prompt
            self._draw_hints()
        else:
            self.finish()

    def finish(self, found: Expanded | None = None) -> None:
        """Send what stands there with these files."""
        text, marks = self.text, self.marks
        files = [str(path) for path in found.paths] if found is not None else []
        unknown = found.unknown if found is not None else ()
        note = f"@{clean_name(unknown[0], 60)} names no file: it was sent as text" if unknown else ""
        self._clear(text, marks)
        self.post_message(self.Sent(self, text, files, note))

    def _clear(self, text: str, marks: str) -> None:
        self.history_of.add(text, marks)
        self.load_text("")

    async def _resolve(self, text: str, patterns: Sequence[str]) -> None:
        """Find the files; a disk that takes its time holds nothing up, and who goes on writing does not send."""
        try:
            found = await in_daemon_thread(lambda: references.expand(patterns, references.start_folder(), sees=self.can_see))
        except asyncio.CancelledError:
            return
        finally:
            self._resolving = None
            self._draw_hints()
        if found.failures:
            self.post_message(self.Trouble(self, found.failures))
        elif found.asks:
            self.post_message(self.ManyFiles(self, text, found))
        else:
            self.finish(found)

    # --- completion ------------------------------------------------------------------------------------------------------

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Complete what is being typed."""
        if self._resolving is not None and self.text != self._sending:
            self._resolving.cancel()
        self.look_again()

    def on_text_area_selection_changed(self, event: TextArea.SelectionChanged) -> None:
        """A cursor that moves away takes the popup along."""
        if self.popup_open:
            self.look_again()

    def on_blur(self) -> None:
        """Nothing is completed or searched any more."""
        self._close_popup()
        self._end_search()

    def look_again(self) -> None:
        """Show what can go on at the cursor."""
        if self.popup is None or self._search is not None:
            return
        row, column = self.cursor_location
        if not self.edited or not self.has_focus or self.read_only or not self.selection.is_empty:
            self._close_popup()
            return
        line = self.before_cursor()
        if row == 0 and line.startswith("/") and self.is_typed(0, 0) and self.completer is not None:
            found = self.completer(line)
            if found is not None and found.paths:
                self._start = found.start
                self._paths.look(line[found.start :], at=False)
            elif found is not None and found.choices:
                self._start = found.start
                self._paths.forget()
                self.popup.show(found.choices, first=found.taken_by_enter)
            else:
                self._close_popup()
            return
        cut = max(0, column - 1000)
        reference = references.before_cursor(line[cut:])
        if reference is not None and self.is_typed(row, cut + reference.start):
            self._start = cut + reference.start
            self._paths.look(reference.pattern, at=True)
        else:
            self._close_popup()

    def _show_paths(self, choices: Sequence[Choice], more: int) -> None:
        if self.popup is None:
            return
        if choices:
            self.popup.show(choices, first=False, more=more)
        else:
            self.popup.close()

    def _close_popup(self) -> None:
        self._paths.forget()
        if self.popup is not None and self._search is None:
            self.popup.close()

    def _take(self, choice: Choice) -> None:
        row, column = self.cursor_location
        behind = self.document.get_line(row)[column : column + 1]
        text = choice.text if choice.more or behind == " " else f"{choice.text} "
        self._close_popup()
        self.replace_typed(text, (row, min(self._start, column)), (row, column))

    async def action_complete(self) -> None:
        """Complete where there is something, else leave."""
        if self._paths.looking:
            await self._paths.found(PATIENCE)
        if self.popup is not None and self.popup.open:
            self._take(self.popup.chosen or self.popup.choices[0])
        else:
            self.post_message(self.Left(self, "tab"))

    # --- searching the history -------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Search backwards through the prompts sent before; again: an older match."""
        if self._search is not None:
            self._search.step(older=True)
        elif self.popup is not None and not self.read_only:
            self._close_popup()
            self._search = Search(self.history_of.entries())
        self._draw_search()

    @property
    def searching(self) -> bool:
        """The history is being searched."""
        return self._search is not None

    def _draw_search(self) -> None:
        if self._search is not None and self.popup is not None:
            self.popup.show_search(self._search.text, self._search.shown())

    def _end_search(self) -> None:
        if self._search is not None:
            self._search = None
            if self.popup is not None:
                self.popup.close()

    def _search_key(self, event: events.Key) -> None:
        search = self._search
        assert search is not None
        if event.key in ("enter", "tab", "right"):
            match = search.match
            self._end_search()
            if match is not None:
                self.history_of.leave()
                self._show_entry(match)
            return
        if event.key == "escape":
            self._end_search()
            return
        if event.key in ("ctrl+r", "up"):
            search.step(older=True)
        elif event.key == "down":
            search.step(older=False)
        elif event.key == "backspace":
            search.type(search.text[:-1])
        elif event.key == "ctrl+u":
            search.type("")
        elif event.is_printable and event.character and len(search.text) < 200:
            search.type(search.text + clean_label(event.character))
        self._draw_search()

    # --- the editor ------------------------------------------------------------------------------------------------------

    def _state(self) -> Path | None:
        paths = getattr(self.app, "paths", None)
        return self.state_folder or (paths.state if paths is not None else None)

    def _sweep(self) -> None:
        """Remove what an editor left behind when Paddock was killed."""
        from tui.ui.widgets.external_editor import sweep

        state = self._state()
        if state is not None:
            sweep(state)

    def on_mount(self) -> None:
        """Clean up, beside the loop."""
        in_thread(self._sweep)

    def action_editor(self) -> None:
        """Write in the user's own editor."""
        if not self.read_only:
            self.run_worker(self._edit_outside(), group="editor", exclusive=True)

    async def _edit_outside(self) -> None:
        from tui.ui.widgets.external_editor import edit_text

        state, before = self._state(), self.text
        if state is None:
            self.post_message(self.Trouble(self, [Failure("There is no folder for the editor's file", "", "Write here")]))
            return
        try:
            text = await edit_text(self.app, before, state)
        except PaddockError as error:
            self.post_message(self.Trouble(self, [error.failure]))
            return
        if text is not None and text != before:
            self.fill(text)
        self.focus()


class PromptArea(Vertical):
    """The composer with what belongs to it: the popup that lies above it, and the line of what is attached.

    Args:
        composer_id: Id of the composer in it.
    """

    DEFAULT_CSS = "PromptArea { height: auto; width: 1fr; }"

    def __init__(self, *, composer_id: str | None = None, id: str | None = None) -> None:
        super().__init__(id=id)
        self.popup, self.chips, self.composer = CompletionPopup(), Chips(), Composer(id=composer_id)
        self.composer.popup = self.popup

    def compose(self) -> ComposeResult:
        """Popup, attachments, text."""
        yield self.popup
        yield self.chips
        yield self.composer

    def show_attached(self, attached: Sequence[Attachment]) -> None:
        """What goes with the next prompt; a chip that is taken off becomes `Composer.Detached`."""
        self.composer.attached = len(attached)
        self.chips.show(attached)

    def on_chips_removed(self, event: Chips.Removed) -> None:
        """By mouse."""
        event.stop()
        self.post_message(Composer.Detached(event.index))

    def on_completion_popup_taken(self, event: CompletionPopup.Taken) -> None:
        """By mouse."""
        event.stop()
        self.composer._take(event.choice)
        self.composer.focus()
