"""Everything made from the schema agrees with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tui.config import schema
from tui.config.example import render_example, render_table
from tui.config.settings import build
from tui.resources import resource

LIVE = re.compile(r'^#(?=[a-z_"\[])', re.MULTILINE)


def test_the_file_that_comes_with_the_program_is_the_schemas():
    assert resource("config.example.toml").read_text() == render_example()


def test_with_nothing_taken_away_nothing_is_set():
    assert schema.check(tomllib.loads(render_example()), lambda *_: None) == schema.check(
        {name: {} for name in tomllib.loads(render_example())} | {"chat": {"options": {}}}, lambda *_: None
    )


def test_every_key_taken_live_is_valid_and_is_the_default():
    text = "\n".join(
        line for line in LIVE.sub("", render_example()).split("\n") if not line.endswith(" =") and not line.startswith('"binding.id"')
    )
    reported: list[object] = []
    layer = schema.check(tomllib.loads(text), lambda *problem: reported.append(problem))
    assert reported == []
    made, default = build(layer), build()
    for name in ("general", "pulls", "monitor", "limits", "security", "appearance"):
        assert getattr(made, name) == getattr(default, name), name
    assert made.models.model_copy(update={"options": {}}) == default.models
    assert made.models.options_of("qwen3:8b") == {}
    assert made.chat.model_copy(update={"presets": {}, "commands": {}}) == default.chat
    assert made.chat.commands["weather"].parameters == {"city": "The name of the city"}
    assert made.chat.preset_options("balanced") == default.chat.preset_options("balanced")


def test_every_setting_has_a_description_and_stands_in_file_and_table():
    example, table = render_example(), render_table()
    for field in schema.fields():
        assert field.doc, field
        assert field.doc.endswith(".") or field.section == "appearance"
        assert f"`{field.dotted}`" in table
        if field.key:
            assert re.search(rf"^#{field.key} =", example, re.MULTILINE)


def test_choices_are_accepted_as_text():
    for field in schema.fields():
        for choice in field.choices:
            if not field.section.startswith("providers"):
                schema.raw_value(schema.split_key(field.dotted), choice)


def test_it_is_written_by_its_command():
    root = Path(__file__).parents[2]
    made = subprocess.run([sys.executable, "-m", "tui.config.example"], capture_output=True, text=True, check=True, cwd=root)
    assert made.stdout == render_example()
