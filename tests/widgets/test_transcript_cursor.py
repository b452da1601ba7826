"""The message under the cursor, folds, rows that stay, selections, hints."""

from __future__ import annotations

import pyte
import pytest
from rich.cells import cell_len

from tests.support.screen import screen_lines, screen_text, until
from tests.support.transcript_host import Host
from tui.core.clock import ManualClock
from tui.text import clean_block
from tui.ui.widgets.transcript import Transcript
from tui.ui.widgets.transcript_message import Fold, Row


class Hinted(Host):
    """Remembers the last hint."""

    hint = ""

    def on_transcript_hint(self, event: Transcript.Hint) -> None:
        self.hint = event.text


def talk(count: int, *, words: int = 30) -> list[Row]:
    return [Row(number, f"m{number}", "", f"text {number} " * words) for number in range(count)]


async def test_the_cursor_is_the_newest_message_until_it_is_moved() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.show(talk(4))
        await until(lambda: "> m3 " in screen_text(app))
        chat.show(talk(5))
        await until(lambda: "> m4 " in screen_text(app))
        assert chat.cursor == 4
        await pilot.press("K", "K")
        await until(lambda: "> m2 " in screen_text(app))
        chat.show(talk(6))
        chat.flush()
        assert chat.cursor == 2
        await pilot.press("G")
        assert chat.cursor == 5
        await pilot.press("g")
        assert chat.cursor == 0
        await until(lambda: screen_lines(app)[0].startswith("> m0 "))
        await pilot.press("J", "J")
        assert chat.cursor == 2
        await until(lambda: screen_text(app).count("> m") == 1)


async def test_the_cursor_stays_in_view_when_lines_are_scrolled() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.show(talk(12))
        await until(lambda: "m11" in screen_text(app))
        await pilot.press("pageup", "pageup")
        first = chat.message_at()
        assert chat.cursor in (first, *(chat.message_at(chat.scroll_offset.y + line) for line in range(12)))
        await pilot.press("end")
        assert chat.cursor == 11


async def test_a_click_chooses_a_message_and_a_fold_line_folds() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 20)) as pilot:
        chat = app.chat
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text="said", thoughts="deep idea", folds=(Fold("calls x {}", "{\n}"),))])
        await until(lambda: "▸ calls x {}" in screen_text(app))
        await pilot.click(chat, offset=(2, 1))
        assert chat.cursor == 1
        row = next(at for at, line in enumerate(screen_lines(app)) if line.startswith("▸ thought"))
        await pilot.click(chat, offset=(0, row))
        await until(lambda: "deep idea" in screen_text(app))
        assert "   {" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: "\n   {" in screen_text(app))
        await pilot.press("enter")
        await until(lambda: "deep idea" not in screen_text(app))


async def test_rows_whose_texts_stay_keep_their_folds_and_their_place() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 14)) as pilot:
        chat = app.chat
        rows = [Row(0, "m0", text="first", thoughts="an idea"), *talk(30)[1:]]
        chat.show(rows)
        chat.flush()
        await pilot.press("g", "enter")
        await until(lambda: "an idea" in screen_text(app))
        kept = chat._messages[0]
        chat.show([rows[0], Row(99, "new", text="between"), *rows[2:]])
        await until(lambda: "between" in screen_text(app))
        assert chat._messages[0] is kept
        assert "an idea" in screen_text(app)
        assert "m1 " not in screen_text(app)
        chat.move_to(20)
        chat.flush()
        seen = screen_text(app)
        chat.show([rows[0], *rows[10:]])
        await until(lambda: not chat._dirty)
        assert screen_text(app) == seen
        chat.show([Row(5, "only", text="one line")])
        await until(lambda: "one line" in screen_text(app))
        assert chat.line_count == 3
        assert chat.scroll_offset.y == 0


async def test_a_streamed_text_that_is_stored_as_it_was_drawn_is_not_drawn_again() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 14)):
        chat = app.chat
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text=None)])
        chat.append_thinking(2, "hm", 0.5)
        chat.append(2, "some **bold** words")
        chat.flush()
        message = chat._messages[2]
        chat.show([Row(1, "you", text="ask"), Row(2, "m", "writing", text=None)])
        assert chat._messages[2] is message
        chat.finish(2)
        chat.show([Row(1, "you", text="ask"), Row(2, "m", "complete", "some **bold** words", "hm", (0.5, 3), footer=(("waited", "dim"),))])
        assert chat._messages[2] is message
        await until(lambda: "some bold words" in screen_text(app) and "complete" in screen_text(app))
        chat.show([Row(2, "m", "complete", "other words")])
        await until(lambda: "other words" in screen_text(app) and "bold" not in screen_text(app))


async def test_lines_below_the_view_are_counted_while_it_streams() -> None:
    app = Hinted()
    async with app.run_test(size=(60, 10)) as pilot:
        chat = app.chat
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text=None)])
        chat.append(2, "line\n\n" * 30)
        await until(lambda: chat._follows and chat.max_scroll_y > 0)
        await pilot.press("pageup")
        await until(lambda: "▼ 8 more lines · G follows" in app.hint, what=app.hint)
        chat.append(2, "line\n\n" * 10)
        await until(lambda: "▼ 28 more lines" in app.hint)
        await pilot.press("G")
        await until(lambda: app.hint == "")
        await pilot.press("pageup")
        chat.finish(2)
        await until(lambda: app.hint == "")


async def test_a_selection_of_lines_can_begin_anew_and_ends_with_another_width() -> None:
    app = Hinted()
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.show([Row(1, "m", text="one\n\ntwo\n\n```py\nx = 1\n```\n\nlast")])
        await until(lambda: "last" in screen_text(app))
        await pilot.press("v", "j", "j", "v", "j", "j")
        await until(lambda: "3 lines selected" in app.hint)
        assert app.screen.get_selected_text() == "two\n\nx = 1"
        await pilot.press("k", "k", "k", "k")
        assert app.screen.get_selected_text() == "one\n\ntwo"
        await pilot.press("G")
        assert (app.screen.get_selected_text() or "").endswith("last")
        await pilot.resize_terminal(40, 12)
        await until(lambda: app.hint == "" and not chat.selecting)
        await pilot.press("v")
        await until(lambda: "1 line selected" in app.hint)
        await pilot.press("escape")
        await until(lambda: app.hint == "" and app.screen.get_selected_text() is None)


@pytest.mark.parametrize("ascii", [False, True])
async def test_X05_what_a_model_wrote_stands_in_and_what_is_ours_does_not(ascii: bool) -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(40, 40)):
        chat = app.chat
        chat._wish = ascii
        chat._redo(True)
        long = "words " * 20
        rows = [
            Row(1, "m", text=long, thoughts=long, folds=(Fold(long, long),), notes=((long, "dim"),), footer=((long, "notice"),)),
            Row(2, "tool", folds=(Fold(long, long),)),
        ]
        chat.show(rows)
        for _ in range(2):
            for message in chat._order:
                for section in message.foldable:
                    section.unfolded = True
            chat._dirty.update(chat._messages)
            chat.flush()
        for message in chat._order:
            mine = {id(message.body), *(id(section.body) for section in message.foldable)}
            for part in message._placed:
                for at in range(part.height):
                    line, margin = message.line(part.start + at)
                    assert (margin > 0) == (id(part.what) in mine)
                    assert margin + cell_len(line.plain) <= 40
            begun = [part.what[0].plain for part in message._placed if isinstance(part.what, list) and part.what[0].plain]
            assert all(not words.startswith(" ") for words in begun)
        if ascii:
            assert screen_text(app).isascii()


async def test_T22_wide_and_right_to_left_text_stays_within_its_cells() -> None:
    source = (
        "模型名称很长 " * 12
        + "\n\n"
        + "👩\u200d👩\u200d👧\u200d👦 " * 20
        + "\n\n"
        + "שלום עולם " * 12
        + "\n\n| 模型 | كلمة |\n|---|---|\n| 长 | نعم |\n"
    )
    app = Host(ManualClock())
    async with app.run_test(size=(40, 40)):
        chat = app.chat
        chat.show([Row(1, "模型", "12:31", clean_block(source), thoughts="思考")])
        await until(lambda: "كلمة" in screen_text(app))
        for y in range(chat.size.height):
            strip = chat.render_line(y)
            assert strip.cell_length == 40
            assert sum(cell_len(segment.text) for segment in strip) == 40
        screen = pyte.Screen(40, 40)
        stream = pyte.Stream(screen)
        plain = [line for line in screen_lines(app) if "👩" not in line]  # pyte knows no families of emoji
        for at, line in enumerate(plain):
            stream.feed(f"\x1b[{at + 1};1H{line}")
        assert [line.rstrip() for line in screen.display][: len(plain)] == plain


async def test_a_message_that_is_replaced_keeps_its_mark() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text="one")])
        chat.focus()
        await until(lambda: "> m" in screen_text(app))
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text="another text")])
        await until(lambda: "another text" in screen_text(app))
        await until(lambda: "> m" in screen_text(app))
        chat.clear()
        chat.show([Row(1, "you", text="ask"), Row(2, "m", text="again")])
        await until(lambda: "again" in screen_text(app) and "> m" in screen_text(app))
