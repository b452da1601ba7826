"""The conversation as lines."""

from __future__ import annotations

from textual.app import App, ComposeResult

from tests.support.screen import CANARIES, FORBIDDEN, screen_lines, screen_text, until
from tui.text import clean_block
from tui.ui.widgets.transcript import Transcript


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()

    @property
    def chat(self) -> Transcript:
        return self.query_one(Transcript)


async def test_streams_and_draws_markdown_when_a_block_closes() -> None:
    app = Host()
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
        assert screen_lines(app)[0].startswith("─ you ──")
        assert screen_lines(app)[0].endswith(" 12:31")
        chat.append(2, "en** end")
        chat.finish(2)
        chat.set_footer(2, ["interrupted: r again"])
        await until(lambda: "interrupted: r again" in screen_text(app))
        assert " tail open end" in screen_text(app)
        assert chat.code_blocks(2) == ["x = 1"]
        assert chat.text_of(1) == "Which?"


async def test_pieces_equal_the_whole() -> None:
    source = "# A\n\ntext one\ntwo\n\n- a\n- b\n\n```c\nint x;\n\nint y;\n```\nafter\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nend"
    app = Host()
    async with app.run_test(size=(60, 30)):
        chat = app.chat
        chat.load([(1, "m", "", source, "")])
        chat.flush()
        whole = [line.plain for line in chat._messages[1].lines]
        chat.begin(2, "m")
        for char in source:
            chat.append(2, char)
            chat.flush()
        chat.finish(2)
        chat.flush()
        assert [line.plain for line in chat._messages[2].lines] == whole


async def test_follows_only_at_the_end() -> None:
    app = Host()
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
    app = Host()
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
    app = Host()
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
        await until(lambda: screen_lines(app)[0].startswith("─ m1"))
        await pilot.resize_terminal(40, 12)
        await until(lambda: chat._width == 40)
        assert all(len(line) <= 40 for line in screen_lines(app))


async def test_X01_X05_hostile_text_stays_literal_and_inside_its_region() -> None:
    app = Host()
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
        assert [line for line in screen_lines(app) if line.startswith("─")] == [screen_lines(app)[0]]
