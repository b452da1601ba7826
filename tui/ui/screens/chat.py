"""Chat: one conversation, its answer while it streams, and the composer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import AwaitMount, Widget
from textual.widgets import TextArea

from tui.core.capabilities import Capability
from tui.core.chat import ConversationHead
from tui.services.api import Services
from tui.services.chat.api import ConversationView, LiveAnswer
from tui.text import clean_label
from tui.ui.frame import Line
from tui.ui.screens import chat_command_files as files
from tui.ui.screens import chat_command_options as options
from tui.ui.screens import chat_words
from tui.ui.screens.chat_commands import ChatCommands
from tui.ui.screens.chat_talks import ChatTalks
from tui.ui.widgets.columns import Column
from tui.ui.widgets.prompt import Composer
from tui.ui.widgets.rows import Rows
from tui.ui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from tui.ui.screens.compare_view import CompareView
    from tui.ui.screens.complete_view import CompleteView


_STEP: Final = 0.1
_WAITS: Final = 15
"""Steps in seconds, and how many, that a prompt waits for its large files to be weighed."""
_OF_A_MESSAGE: Final = (
    *("again", "again_with", "copy", "copy_code", "edit", "delete", "times", "save"),
    *("branch", "switch", "pin", "links", "find", "context"),
)
"""Actions on the transcript's message: nothing while a comparison stands in its place."""


class ChatScreen(ChatTalks):
    """The transcript (or a comparison) above the composer; at 120 columns the conversations at the left."""

    NAME = "chat"
    HELP_LINES = (
        "enter sends; ctrl+j or alt+enter starts a new line; / lists the commands. tab goes to the conversation, where J and K move "
        "to a message and the keys act on it; i comes back."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "compose", "write", id="chat.compose", tooltip="to the composer"),
        Binding("ctrl+n", "new", "new", id="chat.new", tooltip="start an empty conversation", priority=True),
        Binding("ctrl+o", "open", "open", id="chat.open", tooltip="search and open conversations", priority=True),
        Binding("ctrl+t", "model", "model", id="chat.model", tooltip="go on with another model", priority=True),
        Binding("r", "again", "again", id="chat.again", tooltip="answer again"),
        Binding("R", "again_with", show=False, id="chat.again_with", tooltip="answer again with another model or other options"),
        Binding("y", "copy", "copy", id="chat.copy", tooltip="copy the message under the cursor, or what is selected"),
        Binding("Y", "copy_code", "copy code", id="chat.copy_code", tooltip="copy the last code block of the message"),
        Binding("e", "edit", "edit", id="chat.edit", tooltip="edit this message; the old one stays as a branch"),
        Binding("d", "delete", "delete", id="chat.delete", tooltip="delete this message, or it and what follows; asks"),
        Binding("o", "options", "options", id="chat.options", tooltip="system prompt, thinking, tools and sampling options"),
        Binding("slash", "find", "find", id="chat.find", tooltip="search in this conversation"),
        Binding("w", "times", "time", id="chat.times", tooltip="where the time of this answer went"),
        Binding("s", "save", "save", id="chat.save", tooltip="save this message or its code to a file"),
        Binding("B", "branch", "branch", id="chat.branch", tooltip="go on from this message; what follows stays as a branch"),
        Binding("less_than_sign", "switch(-1)", show=False, id="chat.older_branch", tooltip="previous branch of this message"),
        Binding("greater_than_sign", "switch(1)", show=False, id="chat.newer_branch", tooltip="next branch of this message"),
        Binding("p", "pin", "pin", id="chat.pin", tooltip="always send this message, or no longer"),
        Binding("equals_sign", "compare", "compare", id="chat.compare", tooltip="models side by side; on a compared answer: again"),
        Binding("c", "context", show=False, id="chat.context", tooltip="a larger context, dropping or summarising the oldest"),
        Binding("Q", "queued", show=False, id="chat.queued", tooltip="change or take back prompts that wait"),
        Binding("x", "links", show=False, id="chat.links", tooltip="links of this message: copy, or open after asking"),
        Binding("left_square_bracket", "step(-1)", show=False, id="chat.previous", tooltip="newer conversation"),
        Binding("right_square_bracket", "step(1)", show=False, id="chat.next", tooltip="older conversation"),
        Binding("z", "undo", show=False, id="chat.undo", tooltip="bring back what was deleted last"),
        Binding("E", "export", show=False, id="chat.export", tooltip="write this conversation to a file"),
        Binding("ctrl+r", "prompts", "prompts", show=False, id="chat.prompts", tooltip="prompts sent before"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._heading, self._notice, self._queue = Line(id="chat-heading"), Line(id="chat-notice"), Line(id="chat-queue")
        self._restored, self._turn = "", 0
        self._hint = ""
        self._locked = False
        self._offered: tuple[int, int | None] | None = None
        self._commands = ChatCommands(self)
        self._compare: CompareView | None = None
        self._complete: CompleteView | None = None
        self._ready: set[str] = set()

    def body(self) -> Iterator[Widget]:
        """List, heading, transcript, composer."""
        columns: list[Column[ConversationHead]] = [
            Column("title", "CONVERSATIONS", lambda head: clean_label(head.title, 60) or "(untitled)", flex=1)
        ]
        with Horizontal():
            self._list = Rows(columns, key=lambda head: head.id, markable=False, empty="none yet", id="chat-list")
            yield self._list
            with Vertical(id="chat-main"), Vertical(id="chat-talk"):
                yield self._heading
                yield self.transcript
                yield self._notice
                yield self._queue
                yield self._prompt

    def start(self) -> None:
        """Follow the conversation and the answer; type at once."""
        chat = self.services.chat
        self.composer.completer = self._commands.complete
        self.follow(self.services.config.current, lambda settings: self._use_settings(settings.chat.enter_sends), fps=2)
        self.follow(chat.view, self._show_view)
        self.follow(chat.live, self._show_live, fps=60)  # the engine sets the pace
        self.follow(chat.compared, lambda _live: self._show_compare(chat.view.value), fps=15)
        self.follow(self.services.completion.view, lambda _view: self._show_complete(), fps=15)
        self.follow(self.services.jobs.view, lambda _queue: self._show_notice(), fps=2)
        self.follow(chat.heads, lambda heads: self._list.set_items(list(heads)), fps=2)
        self.follow(self.services.ready, self._history_open)
        self.composer.focus()

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _show_view(self, view: ConversationView) -> None:
        left, right = self.heading_parts(max(20, self.size.width - (27 if self.size.width >= 120 else 0)))
        self._heading.show((f" {left}", "bold"), (right, "$text-muted"))
        self._draw_hints(view)
        self._prompt.show_attached(view.attached)
        self.composer.can_see = options.can_see(self)
        if bool(view.read_only) != self._locked:  # the composer locks itself for a moment as well
            self._locked = self.composer.read_only = bool(view.read_only)
        opened = view.id != self._conversation
        self.show_messages(view)
        self._show_compare(view)
        self._show_complete()
        self._show_notice()
        self._show_queue(view)
        if opened:
            self._leave_complete()
            self.composer.set_history(list(self.services.chat.history()))
            self._offered = None
        self._take_draft(view)

    def _take_draft(self, view: ConversationView) -> None:
        """Put what was typed in this conversation into the composer; what is typed in it now is kept, but not taken along to another."""
        another = self._turn and view.turn != self._turn  # the first one comes when something may be typed already
        fresh = view.draft not in ("", self._restored) and self.composer.text in view.draft
        if (another or fresh) and self.composer.text != view.draft:
            self.composer.fill(view.draft)
        self._turn, self._restored = view.turn, view.draft

    def _use_settings(self, enter_sends: bool) -> None:
        self.composer.enter_sends = enter_sends
        self._draw_hints(self.view)

    def _draw_hints(self, view: ConversationView) -> None:
        sends = "enter sends" if self.composer.enter_sends else "alt+enter sends"
        self.composer.set_hints(f"{sends} · tab leaves", chat_words.gauge(view, ascii=self.ascii))

    def _show_live(self, live: LiveAnswer | None) -> None:
        self.show_live(live)

    def _show_notice(self) -> None:
        text, warns = chat_words.notice(self.view, self.services.jobs.view.value, reading=self.focused is self.transcript)
        if self._hint:
            text, warns = self._hint, False
        self._notice.display = bool(text)
        self._notice.show((f" {text}", "$warning" if warns else "$text-muted"))

    def _show_queue(self, view: ConversationView) -> None:
        words = chat_words.queued(view)
        self._queue.display = bool(words)
        self._queue.show((f" {words}", "$text-muted"), ("   Q changes", "$text-muted"))

    def on_descendant_focus(self) -> None:
        """Some keys are named only where they act."""
        if self.view.alarm or self.view.check is not None:
            self._show_notice()

    def on_transcript_hint(self, event: Transcript.Hint) -> None:
        """A selection under way, or lines below the view."""
        event.stop()
        if event.transcript is self.transcript:
            self._hint = event.text
            self._show_notice()

    def _show_compare(self, view: ConversationView) -> None:
        """A comparison stands in place of the transcript."""
        if view.compare is None and self._compare is None:
            return
        if self._compare is None:
            from tui.ui.screens.compare_view import CompareView

            self._compare = CompareView(self.services.chat, id="chat-compare")
            added = self.query_one("#chat-talk", Vertical).mount(self._compare, after=self.transcript)
            self._then(added, self._compare_there)
        shown = view.compare is not None
        if "compare" not in self._ready:
            return
        if self._compare.display != shown or self.transcript.display == shown:
            had = self.focused is not self.composer
            self._compare.display, self.transcript.display = shown, not shown
            if had:
                self.call_after_refresh(self._compare.focus if shown else self.transcript.focus)
        if shown:
            self._compare.show(view, self.services.chat.compared.value)

    def _compare_there(self) -> None:
        self._ready.add("compare")
        self._show_compare(self.view)

    def _then(self, added: AwaitMount, done: Callable[[], object]) -> None:
        """Go on when a widget and all in it is there."""

        async def wait() -> None:
            await added
            done()

        self.run_worker(wait(), name="mount", description="mount", group="mount")

    def on_resize(self, event: events.Resize) -> None:
        """The heading is as wide as the screen."""
        super().on_resize(event)
        if self.is_mounted:
            self._show_view(self.view)

    # --- the composer -------------------------------------------------------------------------------------------------

    def on_composer_sent(self, event: Composer.Sent) -> None:
        """Send what was typed; where it is too much for the context, ask once."""
        event.stop()
        if event.note:
            self.say(event.note)
        if event.files:
            self.services.chat.attach(event.files)
        if event.files and files.may_be_too_much(event.files, self.view):
            self._ask_when_known(event.text, self._turn, _WAITS)
        else:
            self._ask_or_send(event.text)

    def _ask_when_known(self, text: str, turn: int, tries: int) -> None:
        """Large files of the prompt are being read: what they come to is known in a moment."""
        if turn != self._turn:
            self.composer.fill(text)
        elif tries and not (self.view.check is not None and self.view.check.over):
            self.set_timer(_STEP, partial(self._ask_when_known, text, turn, tries - 1))
        else:
            self._ask_or_send(text)

    def _ask_or_send(self, text: str) -> None:
        check = self.view.check
        told = (check.tokens, check.window) if check is not None else None
        if check is not None and check.over and told != self._offered:
            self._offered = told
            self.offer_context(text)
        else:
            self.send(text)

    def send(self, text: str) -> None:
        """Send a prompt; it is the newest of those sent before."""
        super().send(text)
        self.composer.set_history([text, *self.services.chat.history()])

    def on_composer_command(self, event: Composer.Command) -> None:
        """Run a typed command."""
        event.stop()
        self._commands.run(event.text)

    def on_composer_pasted(self, event: Composer.Pasted) -> None:
        """A large paste goes along as a file."""
        event.stop()
        number = sum(1 for one in self.view.attached if one.name.startswith(event.name))
        self.services.chat.attach_text(f"{event.name}-{number + 1}.txt" if number else f"{event.name}.txt", event.text)

    def on_composer_dropped(self, event: Composer.Dropped) -> None:
        """Files dropped on the terminal are attached."""
        event.stop()
        self.services.chat.attach(event.paths)

    def on_composer_many_files(self, event: Composer.ManyFiles) -> None:
        """Ask before many or large files go along."""
        event.stop()
        files.ask_files(self, event.found, event.accept)

    def on_composer_trouble(self, event: Composer.Trouble) -> None:
        """Say what could not be done."""
        event.stop()
        files.say_failures(self, event.failures)

    def on_composer_detached(self, event: Composer.Detached) -> None:
        """Take an attachment off."""
        event.stop()
        self.services.chat.detach(event.index)

    def on_composer_left(self, event: Composer.Left) -> None:
        """Tab leaves without stopping; esc stops the answer first."""
        event.stop()
        if event.key == "escape" and self.writing:
            self.services.chat.stop()
        elif self._compare is not None and self._compare.display:
            self._compare.focus()
        else:
            self.transcript.focus()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """What is typed and not sent is kept."""
        if event.text_area is self.composer:
            self.services.chat.save_draft(self.composer.text, self._turn)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """See `_OF_A_MESSAGE`."""
        return not (action in _OF_A_MESSAGE and not self.transcript.display)

    def action_compose(self) -> None:
        """To the composer."""
        self.composer.focus()

    def action_back(self) -> None:
        """Esc outside the composer: stop the answer, then back to the composer."""
        if self.writing:
            self.services.chat.stop()
        else:
            self.composer.focus()

    # --- completing ---------------------------------------------------------------------------------------------------

    def open_complete(self) -> None:
        """Turn the conversation into the two fields of a completion."""
        from tui.ui.screens.complete_view import CompleteView

        self.query_one("#chat-talk").display = False
        if self._complete is None:
            self._complete = CompleteView(self.services.completion, id="chat-complete")
            added = self.query_one("#chat-main", Vertical).mount(self._complete)
            self._then(added, self._enter_complete)
        elif "complete" in self._ready:
            self._complete.display = True
            self._enter_complete()

    def _enter_complete(self) -> None:
        self._ready.add("complete")
        self._show_complete()
        if self._complete is not None:
            self._complete.focus()

    def _show_complete(self) -> None:
        if self._complete is None or not self._complete.display or "complete" not in self._ready:
            return
        why_not = self.services.registry.can(self.view.provider, Capability.COMPLETE) if self.view.provider else "no model is chosen"
        self._complete.use(self.view.provider, self.view.model, why_not)
        self._complete.show(self.services.completion.view.value)

    def on_complete_view_left(self, event: CompleteView.Left) -> None:
        """Back to the conversation."""
        event.stop()
        self._leave_complete()

    def _leave_complete(self) -> None:
        if self._complete is not None and self._complete.display:
            self._complete.display = False
            self.query_one("#chat-talk").display = True
            self.composer.focus()

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Open a conversation of the list."""
        event.stop()
        if event.item is not None:
            self.services.chat.open(event.item.id)
        self.composer.focus()
