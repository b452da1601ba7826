"""Dialogs: nothing typed before they stood there answers them."""

from __future__ import annotations

from textual.app import App

from tests.support.screen import CANARIES, screen_text, until
from tui.core.clock import ManualClock
from tui.text import clean_label
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog


def ask(app: App[None], clock: ManualClock, question: str = "Delete 3 models?") -> tuple[ConfirmDialog, list[str | None]]:
    answers: list[str | None] = []
    dialog = ConfirmDialog(question, [("keep", "Keep"), ("trash", "Trash [/x]")], clock=clock)
    app.push_screen(dialog, answers.append)
    return dialog, answers


async def test_T16_keys_older_than_the_dialog_do_not_answer_it() -> None:
    app, clock = App[None](), ManualClock()
    async with app.run_test(size=(80, 24)) as pilot:
        dialog, answers = ask(app, clock)
        await until(lambda: dialog._shown_at is not None)
        await pilot.press("enter", "tab", "enter")
        assert answers == []
        clock.advance(0.31)
        assert dialog.armed
        await pilot.press("enter")
        await until(lambda: len(answers) == 1)


async def test_safe_answer_has_the_focus_and_esc_is_none() -> None:
    app, clock = App[None](), ManualClock()
    async with app.run_test(size=(80, 24)) as pilot:
        dialog, answers = ask(app, clock)
        await until(lambda: dialog._shown_at is not None)
        clock.advance(1)
        await pilot.press("enter")
        await until(lambda: answers == ["keep"])
        _, answers = ask(app, clock)
        await until(lambda: "Trash [/x]" in screen_text(app))
        await pilot.press("escape")
        await until(lambda: answers == [None])


async def test_arrows_stop_at_the_ends_and_tab_goes_round() -> None:
    app, clock = App[None](), ManualClock()
    async with app.run_test(size=(80, 24)) as pilot:
        answers: list[str | None] = []
        dialog = ConfirmDialog("Delete it?", [("keep", "Keep"), ("trash", "Trash"), ("now", "Delete now")], clock=clock)
        app.push_screen(dialog, answers.append)
        await until(lambda: dialog._shown_at is not None)
        clock.advance(1)

        def on() -> str | None:
            return dialog.focused.name if dialog.focused is not None else None

        for key, expected in (
            ("left", "keep"),
            ("right", "trash"),
            ("right", "now"),
            ("right", "now"),
            ("left", "trash"),
            ("left", "keep"),
            ("left", "keep"),
            ("shift+tab", "now"),
            ("tab", "keep"),
            ("tab", "trash"),
        ):
            await pilot.press(key)
            assert on() == expected, key
        dialog.set_focus(None)
        await pilot.press("left")
        assert on() == "keep"
        await pilot.press("enter")
        await until(lambda: answers == ["keep"])


async def test_X02_X04_hostile_text_is_literal_in_all_dialogs() -> None:
    app, clock = App[None](), ManualClock()
    async with app.run_test(size=(80, 24)) as pilot:
        for text in CANARIES[:8]:
            shown = clean_label(text)
            for dialog in (
                ConfirmDialog(shown, [("a", shown)], clock=clock),
                InputDialog(shown, hint=shown, check=str),
                ChoiceDialog(shown, [("a", shown, shown)]),
            ):
                app.push_screen(dialog)
                await until(lambda shown=shown: shown in screen_text(app))
                await pilot.press("escape")
                await until(lambda dialog=dialog: app.screen is not dialog)


async def test_input_checks_and_choice_filters() -> None:
    app = App[None]()
    async with app.run_test(size=(80, 24)) as pilot:
        got: list[str | None] = []
        app.push_screen(InputDialog("Name?", check=lambda text: None if text else "needs a name"), got.append)
        await pilot.press("enter")
        await until(lambda: "needs a name" in screen_text(app))
        await pilot.press("x", "enter")
        await until(lambda: got == ["x"])
        app.push_screen(ChoiceDialog("Model?", [("1", "qwen3:8b", "5 GB"), ("2", "phi4", "9 GB"), ("3", "gemma3", "17 GB")]), got.append)
        await pilot.press("down", "p", "h", "i", "enter")
        await until(lambda: got == ["x", "2"])
