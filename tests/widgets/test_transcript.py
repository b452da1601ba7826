"""The conversation as lines."""

from __future__ import annotations

import pytest

from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tests.support.transcript_host import Host
from tui.core.clock import ManualClock
from tui.text import clean_block
from tui.ui.widgets import transcript_lines
from tui.ui.widgets.transcript import Transcript


async def test_streams_and_draws_markdown_when_a_block_closes() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(80, 24)):
        chat = app.chat
        chat.begin(1, "you", "12:31")
        chat.append(1, "Which?")
        chat.finish(1)
        chat.begin(2, "qwen3:8b", "48 tok/s")
        for piece in ("Sh", "ort **ans", "wer**\n", "\n```py", "thon\nx = 1\n", "```\n", "tail **op"):
            chat.append(2, piece)
        await until(lambda: "tail **op" in screen_text(app))
        text = screen_text(app)
        assert "\n Short answer\n" in text
        assert "│ x = 1" in text
        await until(lambda: screen_lines(app)[0].startswith("─ you ──"))
        assert screen_lines(app)[0].endswith(" 12:31")
        chat.append(2, "en** end")
        chat.finish(2)
        chat.set_footer(2, ["interrupted: r again"])
        await until(lambda: "interrupted: r again" in screen_text(app))
        assert " tail open end" in screen_text(app)
        assert chat.code_blocks(2) == ["x = 1"]
        assert chat.text_of(1) == "Which?"


def plain(chat: Transcript, message: int) -> list[str]:
    """The lines of a message."""
    found = chat._messages[message]
    lines = (found.line(at) for at in range(found.height))
    return [" " * margin + line.plain for line, margin in lines]


def stale(chat: Transcript) -> bool:
    """Whether blocks stand there that were drawn for another width."""
    return any(list(message.stale(chat._look)) for message in chat._order)


async def test_pieces_equal_the_whole() -> None:
    source = "# A\n\ntext one\ntwo\n\n- a\n- b\n\n```c\nint x;\n\nint y;\n```\nafter\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nend"
    app = Host()
    async with app.run_test(size=(60, 30)):
        chat = app.chat
        chat.load([(1, "m", "", source, "")])
        chat.flush()
        await until(lambda: not chat._messages[1].body.sketched)
        whole = plain(chat, 1)
        chat.begin(2, "m")
        for char in source:
            chat.append(2, char)
            chat.flush()
        chat.finish(2)
        chat.flush()
        await until(lambda: plain(chat, 2) == whole)


async def test_follows_only_at_the_end() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(80, 10)) as pilot:
        chat = app.chat
        chat.begin(1, "m")
        chat.append(1, "line\n\n" * 40)
        await until(lambda: chat.scroll_offset.y == chat.max_scroll_y > 0)
        chat.focus()
        await pilot.press("up", "up")
        top = chat.scroll_offset.y
        chat.append(1, "more\n\n" * 10)
        chat.flush()
        assert chat.scroll_offset.y == top
        await pilot.press("G")
        chat.append(1, "last words")
        await until(lambda: "last words" in screen_text(app))


async def test_thoughts_fold_and_idle_has_no_timer() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(80, 24)) as pilot:
        chat = app.chat
        chat.begin(1, "m")
        chat.append_thinking(1, "deep thoughts", 2.1)
        await until(lambda: "▸ thought for 2.1s" in screen_text(app))
        assert "deep" not in screen_text(app)
        chat.focus()
        await pilot.press("enter")
        await until(lambda: "deep thoughts" in screen_text(app))
        await until(lambda: chat._timer is None)


async def test_find_jump_and_resize() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(80, 10)) as pilot:
        chat = app.chat
        chat.load([(index, f"m{index}", "", f"text {index} " * 60, "") for index in range(10)])
        chat.flush()
        chat.action_edge(-1)
        assert chat.find("text 7")
        await until(lambda: "text 7" in screen_text(app))
        assert not chat.find("nowhere")
        chat.action_edge(-1)
        chat.action_jump(1)
        await until(lambda: screen_lines(app)[0].startswith("> m1"))
        await pilot.resize_terminal(40, 12)
        await until(lambda: chat.line_count > 60)
        assert all(len(line) <= 40 for line in screen_lines(app))


async def test_X01_X05_hostile_text_stays_literal_and_inside_its_region() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(80, 60)):
        chat = app.chat
        chat.begin(1, "m [/x]", "[b + x")
        for text in CANARIES:
            chat.append(1, clean_block(text) + "\n\n")
        chat.append(1, "─ you ──── 12:31\n\n")
        chat.finish(1)
        await until(lambda: "[@click=app.quit]x[/]" in screen_text(app))
        text = screen_text(app)
        assert "m [/x]" in text
        assert not FORBIDDEN & set(text.replace("\n", ""))
        assert [line for line in screen_lines(app) if line.startswith(("─", ">"))] == [screen_lines(app)[0]]


ENDLESS = {
    "line": ("word " * 8000, "word", 8000),
    "wide line": ("模型" * 6000, "模型", 6000),
    "paragraph": ("some words in a line\n" * 1500, "words", 1500),
    "list": ("".join(f"- item {number} with **bold** words\n" for number in range(1500)), "bold", 1500),
    "numbered": ("".join(f"{number}. item\n" for number in range(1, 1500)), "item", 1499),
    "nested": ("".join(f"{'  ' * (number % 4)}- item {number}\n" for number in range(1500)), "item", 1500),
    "code": ("```python\n" + "value = call(1, 'two')  # three\n" * 1500, "call(1,'two')", 1500),
    "table": ("| a | b |\n|---|---|\n" + "| one | two |\n" * 3000, "one", 3000),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_P22_of_what_never_ends_only_the_end_is_laid_out_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_lines, "PATIENCE", 60.0)  # what is counted is lines: a slow machine leaves none for later
    source, words, count = ENDLESS[kind]
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        chat.begin(1, "m")
        again = []
        for at in range(0, len(source), 400):
            chat.append(1, source[at : at + 400])
            before = chat.line_count
            first, _head = chat._messages[1].lay_out(chat._look)
            again.append(before - first)
            chat.flush()
        assert sorted(again)[len(again) * 9 // 10] < 30
        assert max(again) < 3000
        chat.finish(1)
        chat.flush()
        await until(lambda: chat.scroll_offset.y == chat.max_scroll_y)
        assert "".join(line.replace(" ", "") for line in plain(chat, 1)).count(words) == count
        chat.load([(2, "m", "", source, "")])
        chat.flush()
        await until(lambda: not chat._dirty)
        assert "".join(line.replace(" ", "") for line in plain(chat, 2)).count(words) == count


async def test_a_resize_keeps_what_is_in_view_and_ends_drawn_for_the_new_width() -> None:
    app = Host()
    async with app.run_test(size=(100, 20)) as pilot:
        chat = app.chat
        chat.load([(n, f"m{n}", "", "\n\n".join(f"paragraph {n}.{k} " + "words " * 40 for k in range(60)), "") for n in range(20)])
        chat.flush()
        chat.find("paragraph 11.30")
        chat.find("")
        await until(lambda: "paragraph 11.30" in screen_text(app))
        top = screen_lines(app)[0]
        await pilot.resize_terminal(50, 20)
        await until(lambda: not stale(chat))
        assert all(len(line) <= 50 for line in screen_lines(app))
        assert "paragraph 11." in screen_text(app), top
        heights = [message.height for message in chat._order]
        assert chat.line_count == sum(heights)
        assert [chat.message_at(start) for start in chat._starts] == list(range(20))


async def test_another_theme_draws_again_and_no_line_lacks_the_background() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 16)):
        chat = app.chat
        chat.load([(1, "you", "12:31", "ask", ""), (2, "m", "", "# Head\n\ntext `code`\n\n```py\nx = 1\n```\n", "thoughts")])
        chat.set_footer(2, ["waited"])
        chat.flush()

        def colours() -> set[object]:
            strips = [chat.render_line(y) for y in range(chat.size.height)]
            assert all(segment.style.bgcolor == chat.rich_style.bgcolor for strip in strips for segment in strip if segment.text)
            return {segment.style.color for strip in strips for segment in strip}

        before = colours()
        app.theme = "textual-light"
        await until(lambda: colours() != before)


async def test_selecting_with_the_mouse_gives_the_words_as_drawn() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.load([(1, "you", "", "first line", ""), (2, "m", "", "alpha **beta** gamma\n\nsecond block", "")])
        chat.flush()
        await until(lambda: "second block" in screen_text(app))
        row = next(y for y, line in enumerate(screen_lines(app)) if "alpha beta gamma" in line)
        await pilot.mouse_down(chat, offset=(7, row))
        await pilot.hover(chat, offset=(10, row))
        await pilot.mouse_up(chat, offset=(10, row))
        await until(lambda: app.screen.get_selected_text())
        assert app.screen.get_selected_text() == "beta"


async def test_X07_copying_takes_no_margin_gutter_or_label() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 16)) as pilot:
        chat = app.chat
        chat.load([(1, "m", "", "before\n\n```python\nx = 1\nif x:\n    y = 2\n```\n\n- one\n  - two\n", "thoughts")])
        await until(lambda: "• two" in screen_text(app))
        lines = screen_lines(app)
        top, end = (next(y for y, line in enumerate(lines) if words in line) for words in ("before", "• two"))
        await pilot.mouse_down(chat, offset=(0, top))
        await pilot.hover(chat, offset=(59, end))
        await pilot.mouse_up(chat, offset=(59, end))
        wanted = "before\n\nx = 1\nif x:\n    y = 2\n\n• one\n  • two"
        await until(lambda: app.screen.get_selected_text() == wanted)
        app.screen.clear_selection()
        chat.text_select_all()
        await until(lambda: (app.screen.get_selected_text() or "").rstrip().endswith(wanted))


async def test_a_long_conversation_is_searched_both_ways_and_round() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        assert not chat.find("anything")
        chat.load([(n, f"m{n}", "", "\n\n".join(f"paragraph {n}.{k} {'words ' * 30}" for k in range(40)), "") for n in range(12)])
        chat.flush()
        for _ in range(2):  # once while blocks are still to be drawn
            chat.action_edge(-1)
            assert chat.find("Paragraph 7.3 ")
            assert "paragraph 7.3 " in screen_text(app)
            assert not chat.find("paragraph 70")
            chat.action_edge(-1)
            seen = []
            assert chat.find(".39")
            for _match in range(12):
                seen.append(next(line for line in screen_lines(app) if ".39" in line).split()[1])
                chat.action_find(-1)
            assert seen == ["0.39", *(f"{n}.39" for n in range(11, 0, -1))]
            await until(lambda: not stale(chat))


async def test_the_end_stays_in_view_when_the_size_changes() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        chat = app.chat
        chat.load([(1, "m", "", "\n\n".join(f"paragraph {k} {'words ' * 30}" for k in range(300)) + "\n\nthe end", "")])
        await until(lambda: "the end" in screen_text(app))
        for width, height in ((80, 12), (50, 12), (110, 30), (60, 16)):
            await pilot.resize_terminal(width, height)
            await until(lambda: not stale(chat))
            await until(lambda: "the end" in screen_text(app) and chat.scroll_offset.y == chat.max_scroll_y)
        chat.append(1, "")
        chat.focus()
        await pilot.press("up")
        await pilot.resize_terminal(60, 10)
        await pilot.resize_terminal(60, 16)
        assert chat.scroll_offset.y < chat.max_scroll_y


async def test_unfolded_thoughts_are_wrapped_where_they_grow_and_for_every_width() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.begin(1, "m")
        chat.append_thinking(1, "- not *markdown*\n")
        chat.flush()
        chat.action_fold()
        again = []
        for _ in range(200):
            chat.append_thinking(1, "deep thoughts " * 20)
            before = chat.line_count
            first, _head = chat._messages[1].lay_out(chat._look)
            again.append(before - first)
            chat.flush()
        assert max(again) < 120
        chat.append(1, "answer")
        chat.finish(1)
        await pilot.resize_terminal(40, 12)
        await until(lambda: not stale(chat) and "answer" in screen_text(app))
        text = plain(chat, 1)
        assert "   - not *markdown*" in text
        assert "".join(line.replace(" ", "") for line in text).count("deep") == 4000
        assert max(map(len, text)) <= 40
        chat.action_edge(-1)
        chat.action_fold()
        await until(lambda: chat.line_count == 5)


async def test_what_is_scrolled_to_before_its_turn_is_drawn_at_once() -> None:
    app = Host()
    async with app.run_test(size=(100, 20)) as pilot:
        chat = app.chat
        chat.load([(1, "m", "", "\n\n".join(f"**paragraph** {k} {'words ' * 60}" for k in range(1500)), "")])
        await until(lambda: not stale(chat), timeout=60)
        await pilot.resize_terminal(50, 20)
        chat.action_edge(-1)
        assert all(len(line) <= 50 for line in screen_lines(app))
        assert "paragraph 0" in screen_text(app)
        assert "**" not in screen_text(app)


async def test_X03_markup_of_a_model_is_text_also_under_the_mouse() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.load([(1, "[@click=app.quit]me[/]", "", "[@click=app.quit]x[/] and [link](javascript:alert)", "[@click=app.bell]hm[/]")])
        chat.flush()
        await until(lambda: "[@click=app.quit]x[/]" in screen_text(app))
        for row, line in enumerate(screen_lines(app)):
            for column in range(0, len(line), 3):
                await pilot.click(chat, offset=(column, row))
        assert app.is_running
        assert app.return_code is None
        assert "[@click=app.quit]x[/]" in screen_text(app)
        assert all("@click" not in segment.style.meta for row in range(12) for segment in chat.render_line(row) if segment.style)


async def test_folding_passes_by_a_message_without_thoughts() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.load([(1, "you", "", "ask", ""), (2, "m", "", "answer", "the idea")])
        chat.flush()
        chat.focus()
        await pilot.press("enter")
        await until(lambda: "the idea" in screen_text(app))
        await pilot.press("enter")
        await until(lambda: "the idea" not in screen_text(app))


@pytest.mark.parametrize("size", [20_000, 2_000_000])
async def test_P22_a_long_conversation_is_laid_out_between_frames(size: int) -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        words = "some words of an answer\n\n" * (size // 25)
        chat.load([(number, "m", "", f"first {number}\n\n{words}last {number}", "") for number in range(2_000_000 // size)])
        chat.flush()
        assert chat._dirty  # not all in one go
        await until(lambda: not chat._dirty, timeout=60)
        assert f"last {2_000_000 // size - 1}" in screen_text(app)
        chat.scroll_to(y=0, animate=False, force=True)
        await until(lambda: "first 0" in screen_text(app))


async def test_what_is_laid_out_above_moves_nothing_in_view() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        words = "some words of an answer\n\n" * 20_000
        newest = "".join(f"line {number}\n\n" for number in range(60))
        chat.load([*((number, "m", "", words, "") for number in range(4)), (4, "m", "", newest, "")])
        chat.flush()
        assert chat._dirty
        chat.scroll_to(y=max(0, chat.max_scroll_y - 30), animate=False, force=True)
        await until(lambda: not chat._follows)
        seen = screen_text(app)
        below = chat.line_count - chat.scroll_offset.y
        await until(lambda: not chat._dirty)
        assert chat.line_count - chat.scroll_offset.y == below
        assert screen_text(app) == seen


async def test_a_line_that_only_moved_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host(ManualClock())
    made: list[int] = []
    real = Transcript.render_line
    monkeypatch.setattr(Transcript, "render_line", lambda self, y: made.append(self.scroll_offset.y + y) or real(self, y))
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.load([(1, "m", "", "\n\n".join(f"paragraph {number}" for number in range(30)), "")])
        chat.flush()
        await until(lambda: "paragraph 29" in screen_text(app))
        chat.begin(2, "m")
        chat.flush()
        await until(lambda: chat._strips.keys() >= set(range(chat.line_count - chat.size.height, chat.line_count)))
        made.clear()
        chat.append(2, "one more line\n")
        chat.flush()
        await until(lambda: "one more line" in screen_text(app))
        assert made
        assert min(made) >= chat.line_count - 4
        made.clear()
        chat.action_scroll(-2)
        await pilot.pause()
        lines = screen_lines(app)
        assert len(set(made)) <= 2
        chat._strips.clear()
        chat.refresh()
        await pilot.pause()
        assert screen_lines(app) == lines


async def test_kept_lines_take_other_colours_and_selections() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        chat.load([(1, "m", "", "# heading\n\ntext", "")])
        chat.flush()
        await until(lambda: "heading" in screen_text(app))
        before = app.screen._compositor.render_strips()[1]
        app.theme = "textual-light"
        await pilot.pause()
        light = app.screen._compositor.render_strips()[1]
        assert light.text == before.text
        assert light != before
        chat.focus()
        chat.action_select()
        await pilot.pause()
        assert app.screen._compositor.render_strips()[1] != light
        chat.action_unselect()
        await pilot.pause()
        assert app.screen._compositor.render_strips()[1] == light


async def test_what_is_changed_at_once_is_drawn_at_its_end() -> None:
    app = Host(ManualClock())
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        chat.begin(1, "m")
        chat.flush()
        with chat.at_once():
            chat.append(1, "one ")
            chat.append(1, "two")
            assert plain(chat, 1)[1:] != [" one two"]
        assert " one two" in plain(chat, 1)
        assert chat._timer is None
        chat.append(1, " three")
        assert chat._timer is not None


async def test_no_timer_that_textual_may_lose_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transcript, "set_timer", lambda *_: None)
    text = "\n\n".join(f"**paragraph** {number}" for number in range(400))
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        chat.load([(number, "m", "", text, "") for number in range(3)])
        chat.begin(3, "m")
        chat.append(3, "the newest")
        await until(lambda: "the newest" in screen_text(app))
        await until(lambda: not chat._dirty and not stale(chat) and not any(message.body.sketched for message in chat._order))


async def test_what_is_in_view_is_laid_out_first() -> None:
    app = Host()
    async with app.run_test(size=(60, 12)):
        chat = app.chat
        chat.load([(number, "m", "", f"message {number}", "") for number in range(60)])
        chat.flush()
        await until(lambda: not chat._dirty)
        chat.move_to(20)
        assert chat._in_turn(set(range(60)))[:6] == [23, 22, 21, 20, 59, 58]
        chat.action_edge(1)
        assert chat._in_turn(set(range(60)))[0] == 59


async def test_what_is_drawn_above_the_view_leaves_the_screen_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n\n".join(f"**paragraph** {number} " + "word " * 30 for number in range(400))
    app = Host()
    moved: list[int] = []
    real = Transcript._moved_unseen
    async with app.run_test(size=(60, 12)) as pilot:
        chat = app.chat
        monkeypatch.setattr(transcript_lines, "SLICE", 0.0005)
        monkeypatch.setattr(Transcript, "_moved_unseen", lambda self: (real(self), moved.append(self.line_count)))
        chat.load([(number, "m", "", text, "") for number in range(3)])
        chat.flush()
        await until(lambda: "paragraph 399" in screen_text(app))
        shown = screen_lines(app)
        await until(lambda: not stale(chat) and not any(message.body.sketched for message in chat._order))
        assert len(moved) > 3
        assert screen_lines(app) == shown
        assert chat.scroll_offset.y == chat.max_scroll_y == chat.line_count - chat.size.height
        strip = chat.render_lines(chat.size.region)[0]
        assert strip.text == chat.render_line(0).text
        offsets = {segment.style.meta.get("offset", (0, -1))[1] for segment in strip if segment.style}
        assert offsets <= {chat.scroll_offset.y, -1}
        chat.refresh()
        chat._strips.clear()
        await pilot.pause()
        assert screen_lines(app) == shown
