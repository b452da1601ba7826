"""Side by side: one prompt, two to four answers, each with its own figures; where the screen is narrow, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from tui.core.clock import SYSTEM, Clock
from tui.services.chat.api import ChatApi, ConversationView, LiveAnswer
from tui.services.chat.api import CompareView as Compared
from tui.text import clean_label
from tui.ui.dialogs.votes import VotesDialog
from tui.ui.frame import Line, Part
from tui.ui.screens import compare_words
from tui.ui.screens.compare_column import ComparePane, mark_style
from tui.ui.screens.compare_words import Side
from tui.ui.widgets.bars import fit, glyph, uses_ascii
from tui.ui.widgets.confirm import InputDialog
from tui.ui.widgets.transcript import Transcript

LEAST_SCREEN: Final = 100
"""Columns of the screen below which the answers are shown one at a time."""
LEAST_COLUMN: Final = 34
"""Columns that an answer must have to stand beside another."""
FIGURES_EVERY: Final = 0.25
"""Seconds between two drawings of moving figures."""


class CompareView(Widget):
    """The comparison of the open conversation; `show` is called with every new snapshot.

    Args:
        chat: Whose verbs the keys call.
        clock: Tells when figures may be drawn again.
    """

    DEFAULT_CSS = """
    CompareView {
        layout: vertical; height: 1fr; width: 1fr;
        Horizontal { height: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "vote", "best", id="compare.vote", tooltip="this answer is the best one"),
        Binding("0", "none", "none", id="compare.none", tooltip="none of these answers is the best one"),
        Binding("t", "take", "take it", id="compare.take", tooltip="go on with this answer and its model"),
        Binding("tab,right_square_bracket,right", "column(1)", "next", key_display="tab", id="compare.next", tooltip="next answer"),
        Binding("shift+tab,left_square_bracket,left", "column(-1)", show=False, id="compare.previous", tooltip="previous answer"),
        Binding("r", "again", "again", id="compare.again", tooltip="ask this model again"),
        Binding("R", "all_again", show=False, id="compare.all_again", tooltip="ask all of them again, as a new comparison"),
        Binding("x", "stop", "stop", id="compare.stop", tooltip="stop this answer; esc stops all"),
        Binding("y", "copy", "copy", id="compare.copy", tooltip="copy this answer"),
        Binding("Y", "copy_code", "code", id="compare.copy_code", tooltip="copy the last code block of this answer"),
        Binding("V", "votes", "votes", id="compare.votes", tooltip="how the models fared in all comparisons"),
        Binding("slash", "find", show=False, id="compare.find", tooltip="search in this answer"),
        Binding(
            "e,d,p,s,w,B,less_than_sign,greater_than_sign", "later", show=False, id="compare.later",
            tooltip="keys of single messages work again after t",
        ),
        Binding("escape", "back", "stop, leave", id="compare.back", tooltip="stop all answers; then back to the conversation"),
    ]  # fmt: skip

    def __init__(self, chat: ChatApi, *, clock: Clock = SYSTEM, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._chat, self._clock = chat, clock
        self._heading, self._how, self._tabs = Line(), Line(), Line()
        self._best, self._verdict = Line(), Line()
        self._row = Horizontal()
        self._panes: list[ComparePane] = []
        self._view = ConversationView()
        self._live: tuple[LiveAnswer, ...] = ()
        self._sides: tuple[Side, ...] = ()
        self._at = 0
        self._shown = (0, 0)
        self._asked_to_stop: frozenset[int] = frozenset()
        self._figures_at = float("-inf")
        self._able: tuple[bool | None, ...] = ()
        self._tab_ends: list[int] = []
        self._needle = self._hint = ""
        self._wants_focus = False

    def compose(self) -> Iterator[Widget]:
        """Prompt, how they are run, tabs, answers, who was best, what was voted."""
        yield self._heading
        yield self._how
        yield self._tabs
        yield self._row
        yield self._best
        yield self._verdict

    # --- drawing ------------------------------------------------------------------------------------------------------

    def show(self, view: ConversationView, compared: Sequence[LiveAnswer]) -> None:
        """Draw a snapshot: the conversation, and the answers being written."""
        self._view, self._live = view, tuple(compared)
        compare = view.compare
        if compare is None or not self._row.is_attached:
            return
        if (view.id, compare.number) != self._shown:
            self._shown, self._at, self._asked_to_stop = (view.id, compare.number), 0, frozenset()
            self._wants_focus = self._wants_focus or self.has_focus_within
        count = min(len(compare.columns), compare_words.MOST)
        self._at = min(self._at, max(0, count - 1))
        while len(self._panes) < count:
            pane = ComparePane(self._redraw)
            self._panes.append(pane)
            self._row.mount(pane)
        sides = tuple(compare_words.side(view, compare, at, self._live_of(compare, at)) for at in range(count))
        self._draw_answers(compare, sides)
        now = self._clock.monotonic()
        moving = [(one.name, one.state, one.phase, one.waits, one.hidden) for one in sides]
        same = moving == [(one.name, one.state, one.phase, one.waits, one.hidden) for one in self._sides]
        if not same or now - self._figures_at >= FIGURES_EVERY or all(one.state.ended for one in sides):
            self._figures_at, self._sides = now, sides
            self._draw_lines(compare)
        if self._wants_focus and self.pane is not None:
            self.call_after_refresh(self.focus)

    def _live_of(self, compare: Compared, at: int) -> LiveAnswer | None:
        number = compare.columns[at].message_id
        return next((live for live in self._live if number and live.message_id == number), None)

    def _draw_answers(self, compare: Compared, sides: Sequence[Side]) -> None:
        narrow = self.narrow
        for at, pane in enumerate(self._panes):
            pane.display = at < len(sides) and (not narrow or at == self._at)
            pane.set_class(at == 0 or narrow, "-first")
            if pane.display:
                column = compare.columns[at]
                stored, settling = (
                    self._view.answers.get(column.message_id),
                    bool(column.message_id) and self._view.settling == column.message_id,
                )
                pane.show_answer(sides[at], stored, self._live_of(compare, at), settling=settling)

    def _draw_lines(self, compare: Compared) -> None:
        """All lines of ours; one that has not changed is not drawn again."""
        ascii, width = uses_ascii(self, None), self.size.width or self.app.size.width
        self._draw_heading(compare, width, ascii)
        narrow = self.narrow
        self._tabs.display = narrow
        if narrow:
            self._draw_tabs(width, ascii)
        for at, one in enumerate(self._sides):
            if self._panes[at].display:
                room = width if narrow else self._panes[at].size.width or width // len(self._sides)
                self._panes[at].show_head(one, room, current=at == self._at, ascii=ascii)
        self._draw_best(width, ascii)
        said = self._hint or compare_words.verdict(compare, self._sides)
        self._verdict.display = bool(said)
        self._verdict.show((f" {compare_words.cut(said, width - 2, ascii=ascii)}", "$text-accent" if compare.vote or compare.blind else ""))
        able = tuple(self._may(name) for name in ("vote", "none", "take"))
        if able != self._able:
            self._able = able
            self.refresh_bindings()

    def _draw_best(self, width: int, ascii: bool) -> None:
        """Who was best at what, as far as there is room; the figures go before the names do."""
        found = compare_words.best(self._sides)
        self._best.display = bool(found)
        if not found:
            return
        for way in (lambda one: one.figure, lambda one: one.short, lambda _one: ""):
            figures = [f" {way(one)}".rstrip() for one in found]
            used = 1 + sum(cell_len(one.what) + cell_len(figure) + 3 for one, figure in zip(found, figures, strict=True))
            if used + sum(cell_len(one.who) for one in found) <= width:
                break
        room = max(4, (width - used) // len(found))
        parts: list[Part] = [(" ", "")]
        for one, figure in zip(found, figures, strict=True):
            name = compare_words.cut(one.who, max(room, cell_len(one.who) if len(found) == 1 else room), ascii=ascii)
            parts += [(f"{one.what} ", "$text-muted"), (name, "bold $foreground"), (figure, "$text-success"), ("  ", "")]
        self._best.show(*parts)

    def _draw_heading(self, compare: Compared, width: int, ascii: bool) -> None:
        kind = f"{len(self._sides)} answers{', blind' if compare.blind else ''}"
        prompt = compare_words.prompt_of(self._view, compare)
        room = width - 4 - len(kind)
        self._heading.show((f" {fit(prompt, room, ascii=ascii)}  ", "bold"), (kind, "$text-muted"))
        how = compare_words.how_of(compare)
        self._how.display = bool(how)
        self._how.show((f" {compare_words.cut(how, width - 2, ascii=ascii)}", "$text-muted"))

    def _draw_tabs(self, width: int, ascii: bool) -> None:
        """`[● qwen3:8b 48 tok/s]  ◐ gemma3:12b loading`; as wide as there is room for, the names cut."""
        room = max(8, (width - 1) // max(1, len(self._sides)))
        parts: list[Part] = []
        self._tab_ends = []
        for at, one in enumerate(self._sides):
            here = at == self._at
            edges = ("[", "]") if here else (" ", " ")
            says = compare_words.tab_figures(one)
            space = room - 5 - cell_len(says)
            name = compare_words.cut(one.name, max(3, space), ascii=ascii)
            parts += [
                (edges[0], "bold $primary"),
                (f"{glyph(one.mark, ascii)} ", mark_style(one)),
                (name, "bold $primary" if here else "$foreground"),
                (f" {says}", "$foreground" if here else "$text-muted"),
                (edges[1], "bold $primary"),
            ]
            used = 5 + cell_len(name) + cell_len(says)
            parts.append((" " * max(0, room - used), ""))
            self._tab_ends.append((self._tab_ends[-1] if self._tab_ends else 0) + max(used, room))
        self._tabs.show(*parts)

    @property
    def narrow(self) -> bool:
        """One answer at a time."""
        compare = self._view.compare
        count = max(1, min(len(compare.columns), compare_words.MOST)) if compare is not None else 1
        width = self.size.width or self.app.size.width
        return self.app.size.width < LEAST_SCREEN or width // count < LEAST_COLUMN

    def on_mount(self) -> None:
        """What was shown before is drawn now."""
        self.show(self._view, self._live)

    def on_show(self) -> None:
        """The list of conversations makes room."""
        self.screen.add_class("-comparing")

    def on_hide(self) -> None:
        """And comes back."""
        self.screen.remove_class("-comparing")

    def on_resize(self) -> None:
        """More or fewer answers at once."""
        had = self.has_focus_within
        self._redraw()
        if had:
            self.call_after_refresh(self.focus)

    def _redraw(self) -> None:
        self._figures_at = float("-inf")
        self.show(self._view, self._live)

    # --- which answer -------------------------------------------------------------------------------------------------

    @property
    def pane(self) -> ComparePane | None:
        """The column that the keys act on."""
        return self._panes[self._at] if self._at < len(self._sides) else None

    @property
    def message(self) -> int:
        """Id of its answer; 0 before it is stored."""
        compare = self._view.compare
        return compare.columns[self._at].message_id if compare is not None and self._at < len(compare.columns) else 0

    def focus(self, scroll_visible: bool = True) -> CompareView:
        """See `Widget`; the answer that was looked at has it."""
        pane = self.pane
        self._wants_focus = pane is None or not pane.transcript.is_attached
        if pane is None:
            return self
        if self._wants_focus:  # it is being mounted
            self.call_after_refresh(self.focus)
        else:
            pane.transcript.focus(scroll_visible)
        return self

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The answer with the focus is marked."""
        found = next((at for at, pane in enumerate(self._panes) if pane.transcript is event.widget), self._at)
        if found != self._at:
            self._go(found)

    def on_transcript_hint(self, event: Transcript.Hint) -> None:
        """A selection under way, or lines below the view."""
        event.stop()
        if self.pane is not None and event.transcript is self.pane.transcript:
            self._hint = event.text
            self._redraw()

    def on_click(self, event: events.Click) -> None:
        """A click on a tab goes there."""
        if self._tabs.display and self._tabs.region.contains_point(event.screen_offset):
            x = event.screen_x - self._tabs.region.x
            at = next((at for at, end in enumerate(self._tab_ends) if x < end), None)
            if at is not None:
                self._go(at)
                self.focus()

    def _go(self, at: int) -> None:
        self._at, self._hint = at, ""
        self._redraw()

    def action_column(self, step: int) -> None:
        """To the next or previous answer, round."""
        if self._sides:
            self._go((self._at + step) % len(self._sides))
            self.focus()

    # --- verbs --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that do nothing now are greyed."""
        return self._may(action)

    def _may(self, action: str) -> bool | None:
        compare = self._view.compare
        if action not in ("vote", "none", "take") or compare is None or self._at >= len(self._sides):
            return True
        if action == "take":
            return True if self.message else None
        decided = compare.blind and compare.vote
        writing = compare.blind and any(not one.state.ended for one in self._sides)
        return None if decided or writing or (action == "vote" and not self.message) else True

    def action_vote(self) -> None:
        """This one is the best."""
        self._chat.vote(self.message)

    def action_none(self) -> None:
        """None is."""
        self._chat.vote(-1)

    def action_take(self) -> None:
        """Go on with this one."""
        self._chat.take(self.message)

    def action_again(self) -> None:
        """Ask this model again."""
        if self.message:
            self._asked_to_stop -= {self._at}
            self._chat.regenerate(self.message)

    def action_all_again(self) -> None:
        """The same prompt to the same models."""
        compare = self._view.compare
        if compare is not None:
            self._chat.compare("", [(column.provider, column.model) for column in compare.columns], blind=compare.blind)

    def action_stop(self) -> None:
        """Stop this answer."""
        if self.message and self._at < len(self._sides) and not self._sides[self._at].state.ended:
            self._chat.stop(self.message)

    def action_back(self) -> None:
        """Stop what is written or waits; asked again, or with nothing to stop, leave."""
        running = frozenset(at for at, one in enumerate(self._sides) if not one.state.ended)
        if running - self._asked_to_stop:
            self._asked_to_stop |= running
            self._chat.stop()
        else:
            self._chat.leave_comparison()

    def action_copy(self) -> None:
        """Copy what is selected, else this answer."""
        text = self.pane.text if self.pane is not None else ""
        if self.pane is not None and self.pane.transcript.text_selection is not None:
            text = self.screen.get_selected_text() or ""
            self.pane.transcript.end_selection()
        if text:
            self.app.copy_to_clipboard(text)
        else:
            self._say("There is nothing to copy yet")

    def action_copy_code(self) -> None:
        """Copy its last code block."""
        blocks = self.pane.code_blocks() if self.pane is not None else []
        if blocks:
            self.app.copy_to_clipboard(blocks[-1])
        else:
            self._say("There is no code in this answer")

    def action_find(self) -> None:
        """Search in this answer."""

        def done(text: str | None) -> None:
            pane = self.pane
            if text and pane is not None:
                self._needle = text
                if not pane.transcript.find(text):
                    self._say(f"{clean_label(text, 40)} is not in this answer")

        self.app.push_screen(InputDialog("Find in this answer", self._needle, hint="then n and N"), done)

    def action_later(self) -> None:
        """Verbs for one message of a conversation have nothing to act on here."""
        self._say("t goes on with this answer: then it can be edited, pinned, branched or deleted")

    def action_votes(self) -> None:
        """How the models fared."""
        self.app.push_screen(VotesDialog(self._chat))

    def _say(self, text: str) -> None:
        self.app.notify(text, markup=False, timeout=4)
