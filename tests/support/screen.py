"""Looking at a Textual app in tests: the screen as plain lines, and waiting for a condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.screen import Screen

CANARIES = (
    "[/x]",
    "[/INST]",
    "[b + x",
    "x [",
    "[@click=app.quit]x[/]",
    "[bold red]big[/]",
    "\x1b]52;c;UFdORUQ=\x07",
    "\x1b[31mred\x1b[0m",
    "gpt\u202ecod.exe",
    "模型名称很长很长" * 5,
    "👩‍👩‍👧‍👦 flags 🇩🇪🇫🇷",
    "z" + "\u0301" * 50,
    "שלום עולם",
    "n" * 300,
)
"""Hostile text, uncleaned: X01 to X04 and T22 of the fault catalogue."""

FORBIDDEN = frozenset(
    [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))] + [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
)
"""Characters no drawn line may hold."""


def screen_lines(app: App[Any], screen: Screen[Any] | None = None) -> list[str]:
    """The lines of the top screen (or the given one) as the compositor would draw them now, right side stripped."""
    from textual._compositor import visible_screen_stack

    screen = app.screen if screen is None else screen
    token = visible_screen_stack.set(app._background_screens)
    try:
        return [strip.text.rstrip() for strip in screen._compositor.render_strips()]
    finally:
        visible_screen_stack.reset(token)


def screen_text(app: App[Any], screen: Screen[Any] | None = None) -> str:
    """`screen_lines` joined; readable in a failed assertion."""
    return "\n".join(screen_lines(app, screen))


async def until(condition: Callable[[], object], timeout: float = 20.0, what: str = "") -> None:
    """Wait until the condition holds; raises AssertionError after `timeout` seconds, naming `what`."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        await asyncio.sleep(0.005)
