"""Markdown cut into blocks while it arrives, and drawn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.screen import FORBIDDEN
from tui.text import clean_block, strip_line
from tui.ui.widgets.markdown import draw, render
from tui.ui.widgets.markdown_split import BLOCK, HIGHLIGHT, LINE, Block, Splitter
from tui.ui.widgets.transcript_layout import break_words


def split(source: str, size: int = 10**9, *, plain: bool = False) -> list[Block]:
    splitter = Splitter(plain=plain)
    out: list[Block] = []
    for at in range(0, len(source), size):
        out += splitter.feed(source[at : at + size])
    return out + splitter.close()


def drawn(source: str, width: int = 40, *, ascii: bool = False) -> str:
    lines: list[str] = []
    for number, block in enumerate(split(source)):
        lines += [""] * (block.gap and number > 0) + [line.plain.rstrip() for line in draw(block, width, ascii)]
    return "\n".join(lines)


def facts(blocks: list[Block]) -> list[tuple[object, ...]]:
    return [(one.kind, one.source, one.indent, one.gap, one.more, one.info, one.head) for one in blocks]


LINES = st.sampled_from(
    [
        *("", "text", "more **bold**", "- item", "  - nested", "    - deep", "1. one", "2. two", "1986. year", "   under it"),
        *("      code?", "```", "```py", "~~~", "  ```", "x = 1", "# head", "---", "***", "===", "> quote", "w" * 2100),
        *("$$", "\\[", "a_1 * b_2 \\\\", "\\]", "\\begin{align}", "\\end{align}"),
        *("| a | b |", "|---|---|", "| 1 | 2 |"),
    ]
)


@settings(max_examples=150)
@given(st.lists(LINES, max_size=30), st.integers(1, 50), st.booleans())
def test_how_the_pieces_came_changes_nothing_and_nothing_is_lost(lines: list[str], size: int, ends: bool) -> None:
    source = "\n".join(lines) + ("\n" if ends else "")
    whole = split(source)
    assert facts(split(source, size)) == facts(whole)
    kept = "".join(block.source for block in whole)
    for word in ("text", "item", "nested", "deep", "one", "year", "under", "x = 1", "head", "quote", "w"):
        assert kept.count(word) == source.count(word)
    for block in whole:
        assert all(cell_len(line.plain) <= 30 for line in draw(block, 30)), block


@pytest.mark.parametrize("source", ["word " * 9000, "x" * 40_000, "- item\n" * 6000, "a line\n" * 6000, "> q\n" * 9000])
@pytest.mark.parametrize("plain", [False, True])
def test_P22_no_block_and_no_rest_grows_without_end(source: str, plain: bool) -> None:
    splitter = Splitter(plain=plain)
    blocks: list[Block] = []
    for at in range(0, len(source), 500):
        blocks += splitter.feed(source[at : at + 500])
        assert len(splitter.rest) <= LINE
        assert sum(map(len, splitter.lines)) <= BLOCK
    blocks += splitter.close()
    assert max(len(block.source) for block in blocks) <= BLOCK + LINE
    for letter in "wxi":
        assert sum(block.source.count(letter) for block in blocks) == source.count(letter)


def test_lists_keep_their_shape_when_every_item_is_a_block() -> None:
    first = "Steps:\n1. **First**\n\n   with more\n   ```py\n   x = 1\n   ```\n"
    source = f"{first}2. Second\n    - nested\n      goes on\n\n10. Ten\n\nIn\n1986. a year"
    code = "   │ x = 1".ljust(38) + "py"
    assert drawn(source) == f"Steps:\n1. First\n\n   with more\n\n{code}\n\n2. Second\n    • nested goes on\n\n10. Ten\n\nIn 1986. a year"


def test_rules_headings_and_quotes_are_told_from_items() -> None:
    assert drawn("- a\n# H\n- b\n---\ntext\n* * *\n> q", 10, ascii=True) == "- a\n\nH\n\n- b\n\n----------\n\ntext\n\n----------\n\n| q"


def test_code_that_is_cut_goes_on_as_code_and_is_labelled_once() -> None:
    source = "```py\n" + "value = 1\n" * 1000 + "```\nafter"
    blocks = split(source)
    assert [block.kind for block in blocks] == ["code"] * 3 + ["text"]
    lines = drawn(source).split("\n")
    assert sum(line == "│ value = 1" for line in lines) == 999
    assert lines[0].endswith("py")
    assert lines[-2:] == ["", "after"]
    assert split("```py\n" + "v = 1\n" * (HIGHLIGHT // 6 + 3000) + "```")[-1].info == ""


def test_a_table_that_is_cut_goes_on_as_a_table_without_its_head() -> None:
    source = "| name | size |\n|---|---|\n" + "| model | 12 |\n" * 900
    lines = drawn(source).split("\n")
    assert sum("name" in line for line in lines) == 1
    assert sum(line == " model  12" for line in lines) == 900
    assert not any("|" in line for line in lines)


def test_an_inline_fence_and_an_unfinished_one() -> None:
    assert drawn("```not a fence``` here\nx") == "not a fence here x"
    assert drawn("text\n```py\nx = 1") == "text\n\n" + "│ x = 1".ljust(38) + "py"
    assert drawn("```\n```\n~~~\n```\n~~~") == "│\n\n│ ```"


def test_a_quote_after_a_table_is_not_led_by_a_bar() -> None:
    assert "\n\n│ q" in "\n".join(line.plain for line in render("| a |\n|---|\n| 1 |\n> q", 20))


def test_X06_targets_of_links_are_shown_and_html_is_text() -> None:
    text = drawn("[ollama.com](http://a@evil) <b>x</b>\n\n<script>y</script>", 60)
    assert "ollama.com (http://a@evil) <b>x</b>" in text
    assert "<script>y</script>" in text


FORMULAS = [
    ("so $a_1 * b_2 * c$ and **$x_i$** holds", "so $a_1 * b_2 * c$ and $x_i$ holds"),
    ("\\(a_{1} \\cdot b\\) is *it*", "\\(a_{1} \\cdot b\\) is it"),
    ("in text $$\\sum_i x_i * y_i$$ too", "in text $$\\sum_i x_i * y_i$$ too"),
    ("it costs $5 and *not* $6", "it costs $5 and not $6"),
    ("$$\nx_1 = *a* \\\\\n- b_2\n$$\nafter", "$$\nx_1 = *a* \\\\\n- b_2\n$$\n\nafter"),
    ("\\[\n\\frac{a_1}{b_1}\n\\]", "\\[\n\\frac{a_1}{b_1}\n\\]"),
    ("\\begin{align}\na &= b_1 \\\\\n\\end{align}\nx", "\\begin{align}\na &= b_1 \\\\\n\\end{align}\n\nx"),
    ("$$ never ends\n\n**bold**", "$$ never ends\n\nbold"),
    ("a \\* b and \\_c", "a * b and _c"),
]


@pytest.mark.parametrize(("source", "shown"), FORMULAS)
def test_formulas_stay_readable(source: str, shown: str) -> None:
    assert drawn(source, 60) == shown


WIDE = st.lists(
    st.sampled_from([*"ab *_`|$\\-#> ", "\n", "模", "型", "한", "é", "e\u0301", "👩\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "ש", "م", "x" * 9]),
    max_size=120,
).map("".join)


@settings(max_examples=150)
@given(WIDE, st.integers(12, 40), st.booleans(), st.sampled_from(["", "```py\n", "- ", "> ", "| a | b |\n|---|---|\n| "]))
def test_T22_no_line_is_wider_than_it_may_be_and_none_holds_a_control(source: str, width: int, ascii: bool, head: str) -> None:
    for block in split(head + clean_block(source)):
        for line in draw(block, width, ascii):
            assert cell_len(line.plain) <= width, (block, line.plain)
            assert not FORBIDDEN & set(strip_line(line.plain))


@pytest.mark.parametrize(
    "source", [">" * 60 + " deep words", "- " * 30 + "deep words", "|" + " a |" * 20 + "\n|" + "---|" * 20 + "\n|" + " word |" * 20]
)
def test_T22_deep_nesting_and_many_columns_stay_within_the_width(source: str) -> None:
    lines = [line.plain for block in split(source) for line in draw(block, 30)]
    assert max(map(cell_len, lines)) <= 30
    assert "words" in "".join(lines) or "".join(lines).replace(" ", "").count("word") == 20


def test_T22_a_family_is_not_torn_apart() -> None:
    family = "👩\u200d👩\u200d👧\u200d👦"
    parts = break_words(family * 10, 7)
    assert "".join(parts) == family * 10
    assert all(part == family * 3 for part in parts[:-1])
    lines = draw(split(f"```\n{family * 10}\n```")[0], 9)
    assert all(line.plain == "│ " + family * 3 for line in lines[:-1])
