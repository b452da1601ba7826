"""The file as text: broken files, lines, single edits that keep the rest."""

from __future__ import annotations

import pytest

from tui.config.document import UNSET, SyntaxProblem, edit, find_line, parse
from tui.config.example import render_example

MINE = """\
# my settings
[pulls]   # all of them
at_once = 3   # three is enough
future_key = [1, 2]

[providers."odd name"]
url = "http://a:1"

[chat]
system = '''
[general]
at_once = 9
'''
options = { top_k = 5 }
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("[x]\ny = [1,\n", 3), ("x = " + "[" * 100_000, 1), ("a=1\nn = " + "9" * 5000, 2),
        ("a = 1\nb = \x00\n", 2), ("a = 1\rb = 2", 1),
    ],
    ids=["no value", "duplicate", "open list", "deep", "long number", "nul", "bare cr"],
)  # fmt: skip
def test_C05_broken_text_names_the_line(text: str, line: int):
    with pytest.raises(SyntaxProblem) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.what


def test_lines_of_keys_and_tables():
    assert find_line(MINE, ("pulls", "at_once")) == 3
    assert find_line(MINE, ("providers", "odd name", "url")) == 7
    assert find_line(MINE, ("pulls", "missing")) == 2
    assert find_line(MINE, ("security",)) is None


def test_P08_an_edit_keeps_comments_order_and_unknown_keys():
    text = edit(MINE, ("pulls", "at_once"), 4)
    assert text == MINE.replace("at_once = 3 ", "at_once = 4 ")
    assert edit(text, ("pulls", "at_once"), 3) == MINE


def test_a_new_key_goes_into_its_table_and_out_again():
    text = edit(MINE, ("pulls", "retries"), 1)
    assert parse(text)["pulls"]["retries"] == 1
    assert "# my settings" in text and "# three is enough" in text
    assert edit(text, ("pulls", "retries"), UNSET) == MINE


def test_inline_tables_and_odd_names_can_be_changed():
    assert parse(edit(MINE, ("chat", "options", "top_k"), 9))["chat"]["options"] == {"top_k": 9}
    assert parse(edit(MINE, ("chat", "options", "seed"), 9))["chat"]["options"] == {"top_k": 5, "seed": 9}
    assert parse(edit(MINE, ("keys", "app.quit"), "ctrl+q"))["keys"] == {"app.quit": "ctrl+q"}
    assert "providers" not in parse(edit(MINE, ("providers", "odd name"), UNSET))


def test_in_the_example_a_change_stands_below_its_default():
    lines = edit(render_example(), ("pulls", "at_once"), 4).split("\n")
    assert lines[lines.index("#at_once = 2") + 1] == "at_once = 4"


@pytest.mark.parametrize(
    "text", ["", "\n", "# only a comment", "pulls.at_once = 1\n", "pulls = {at_once = 1}\n", "[pulls]\nat_once=1\n[chat]\n[pulls.x]\n"]
)
def test_any_shape_of_file_takes_an_edit(text: str):
    assert parse(edit(text, ("pulls", "retries"), 7))["pulls"]["retries"] == 7
    assert parse(edit(text, ("pulls", "at_once"), 5))["pulls"]["at_once"] == 5
