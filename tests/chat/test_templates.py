"""Prompts with blanks."""

from __future__ import annotations

import os

import pytest

from tui.core.errors import PaddockError
from tui.services.chat import templates
from tui.services.chat.templates import Blank, fill, folder_of, load, parse


def test_title_blanks_and_filling():
    made = parse("code review", "# Review\n\nReview {{ language : Python }} of {{date}}:\n{{selection}}\n{{language}} {{focus}}\n")
    assert (made.name, made.title) == ("code-review", "Review")
    assert made.blanks == (Blank("language", "Python"), Blank("focus"))
    text = fill(made, {"language": "Go", "focus": "{{date}}"}, date="2026-11-21", selection="x = {{y}}")
    assert text == "Review Go of 2026-11-21:\nx = {{y}}\nGo {{date}}"
    assert fill(made, {}, date="d").endswith("Python ")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("# T\n\none\n{{a\n", "p.md:4"),
        ("a}}", "p.md:1"),
        ("{{a b!}}", "p.md:1"),
        ("{{clip{{x}}board}}", "p.md:1"),
        ("# only a title", "p.md"),
        ("", "p.md"),
        ("".join(f"{{{{a{number}}}}}" for number in range(30)), "p.md"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text, where):
    with pytest.raises(PaddockError) as caught:
        parse("p", text, "p.md")
    assert caught.value.failure.where == where
    assert caught.value.failure.remedy


def test_X14_only_the_users_own_folder_is_read(tmp_path, monkeypatch):
    own = folder_of(tmp_path / "config" / "config.toml")
    assert own == tmp_path / "config" / "prompts"
    project = tmp_path / "project" / "prompts"
    project.mkdir(parents=True)
    (project / "evil.md").write_text("x")
    monkeypatch.chdir(tmp_path / "project")
    assert load(own) == ((), ())


def test_good_ones_are_loaded_and_bad_ones_named(tmp_path):
    (tmp_path / "b.md").write_text("# Title\nx")
    (tmp_path / "a b.md").write_text("y")
    (tmp_path / "a-b.md").write_text("z")
    (tmp_path / ".hidden.md").write_text("z")
    (tmp_path / "c.txt").write_text("z")
    (tmp_path / "latin.md").write_bytes(b"ok\nfa\xe7ade")
    (tmp_path / "long.md").write_bytes(b"x" * (templates.SIZE_LIMIT + 1))
    (tmp_path / "folder.md").mkdir()
    os.mkfifo(tmp_path / "pipe.md")
    found, failures = load(tmp_path)
    assert [one.name for one in found] == ["a-b", "b"]
    words = {failure.where.rpartition("/")[2]: failure.what for failure in failures}
    assert words["a-b.md"] == "Another prompt is called a-b too" or words["a b.md"] == "Another prompt is called a-b too"
    assert words["latin.md:2"] == "A prompt must be UTF-8"
    assert words["long.md"] == "A prompt may have 256 kB"
    assert "pipe.md" in words
    assert "folder.md" in words
    assert len(failures) == 5


def test_too_many_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(templates, "COUNT_LIMIT", 2)
    for number in range(4):
        (tmp_path / f"{number}.md").write_text("x")
    found, failures = load(tmp_path)
    assert len(found) == 2
    assert failures[0].what == "2 prompts were left out: 2 are read"


def test_X01_hostile_text_is_cleaned():
    made = parse("a\x1b[b", "# t\x1b]0;x\x07\n\x1b[31m {{a}}")
    assert "\x1b" not in made.name + made.title + made.text
