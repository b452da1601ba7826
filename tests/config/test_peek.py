"""What the first frame reads, and what it must not import."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tui.config.paths import Paths
from tui.config.peek import Peek, peek
from tui.config.settings import build


def test_its_defaults_are_the_schemas():
    settings = build()
    assert Peek().start_screen == settings.general.start_screen
    for field in fields(Peek):
        if field.name not in ("keys", "start_screen"):
            assert getattr(Peek(), field.name) == getattr(settings.appearance, field.name), field.name


def test_file_then_environment(paths: Paths, write):
    write('[appearance]\ntheme = "night"\nmouse = false\nlink = "4 KB"\nascii = true\n[keys]\n"app.quit" = "f10"\nbad = 3\n')
    found = peek(paths, {"PADDOCK_APPEARANCE__THEME": "day", "PADDOCK_APPEARANCE__WIRE": "nonsense"})
    assert (found.theme, found.mouse, found.link, found.ascii, found.wire) == ("day", False, 4000, "on", "auto")
    assert found.keys == {"app.quit": "f10"}


@pytest.mark.parametrize(
    "content", ["[appearance\n", "appearance = 3\nkeys = 4\n", "[appearance]\ntheme = 7\nmouse = 'x'\n", "x = " + "[" * 50_000]
)
def test_C05_what_is_wrong_counts_as_default(paths: Paths, write, content: str):
    write(content)
    assert peek(paths, {}) == Peek()


def test_it_imports_nothing_heavy():
    code = "import sys; from tui.config.paths import find_paths; from tui.config.peek import peek; peek(find_paths());"
    code += "print([name for name in ('pydantic', 'pydantic_core', 'pydantic_settings', 'tomlkit', 'asyncio') if name in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert made.stdout == "[]\n"
