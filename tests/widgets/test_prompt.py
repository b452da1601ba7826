"""The composer: what sends, what does not."""

from __future__ import annotations

from textual import events
from textual.app import App, ComposeResult

from tests.support.screen import CANARIES, FORBIDDEN, screen_text, until
from tui.ui.widgets.prompt import PASTE_LIMIT, Composer


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield Composer()

    def on_composer_sent(self, message: Composer.Sent) -> None:
        if type(message) is Composer.Sent:
            self.seen.append(("sent", message.text))

    def on_composer_command(self, message: Composer.Command) -> None:
        self.seen.append(("command", message.text))

    def on_composer_pasted(self, message: Composer.Pasted) -> None:
        self.seen.append(("large", str(len(message.text))))

    def on_composer_left(self, message: Composer.Left) -> None:
        self.seen.append(("left", message.key))

    @property
    def box(self) -> Composer:
        return self.query_one(Composer)


async def test_enter_sends_and_four_ways_make_a_new_line() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "ctrl+j", "b", "alt+enter", "c", "shift+enter", "d", "backslash", "enter", "e", "enter")
        await until(lambda: app.seen == [("sent", "a\nb\nc\nd\ne")])
        await pilot.press("enter")
        assert len(app.seen) == 1
        assert app.box.text == ""


async def test_T14_X21_paste_never_sends_and_is_no_command() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(events.Paste("/set a\nq\ny\n"))
        await until(lambda: app.box.text == "/set a\nq\ny\n")
        assert app.seen == []
        await pilot.press("enter")
        await until(lambda: app.seen == [("sent", "/set a\nq\ny\n")])
        await pilot.press("/", "x", "enter")
        await until(lambda: app.seen[-1] == ("command", "/x"))
        app.post_message(events.Paste("x" * (PASTE_LIMIT + 1)))
        await until(lambda: app.seen[-1][0] == "large")
        assert app.box.text == ""


async def test_history_at_the_edges_keeps_the_draft() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.box.set_history(["two", "one"])
        await pilot.press("d", "up", "up", "up")
        assert app.box.text == "one"
        await pilot.press("down", "down")
        assert app.box.text == "d"
        await pilot.press("tab", "escape")
        await until(lambda: app.seen == [("left", "tab"), ("left", "escape")])


async def test_keys_of_a_shell() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"ab cd", "ctrl+w", "x", "ctrl+a", "y", "ctrl+e", "z")
        assert app.box.text == "yab xz"
        await pilot.press("ctrl+a", "ctrl+k")
        assert app.box.text == ""


async def test_X01_pasted_controls_are_drawn_harmless() -> None:
    app = Host()
    async with app.run_test(size=(80, 24)):
        app.box.set_hints("[/x] enter sends", "[b + x")
        for text in CANARIES:
            app.post_message(events.Paste(text))
        await until(lambda: "␛[31mred" in app.box.text)
        assert not FORBIDDEN & set(screen_text(app).replace("\n", ""))
        assert "[/x] enter sends" in screen_text(app)
