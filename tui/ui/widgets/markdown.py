"""Markdown of models drawn as lines: our own look, no links to click, no HTML, everything literal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tui.text import strip_line
from tui.ui.widgets.bars import fit

HIGHLIGHT_BYTES: Final = 50 * 1024
HIGHLIGHT_LINE: Final = 2 * 1024
TABLE_COLUMNS: Final = 30
TABLE_ROWS: Final = 200
CONTINUED: Final = "continued"
"""Behind the language of a fence: more of the code above, so it is not labelled again."""
StyleOf = Callable[[str], Style]
_CONSOLE: Final = Console(width=80, color_system=None, force_terminal=False)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


def wrap(text: Text, width: int) -> list[Text]:
    """Break a text into lines of at most `width` cells."""
    return list(text.wrap(_CONSOLE, max(1, width), tab_size=4)) or [Text("")]


def _inline(token: Token, style: StyleOf) -> Text:
    """Inline tokens as one text; targets of links and images stand in full behind their words."""
    text, stack, targets = Text(), [Style.null()], [""]
    names = {"strong": "strong", "em": "emphasis", "s": "struck"}
    for child in token.children or ():
        kind = child.type
        if kind.removesuffix("_open") in names:
            stack.append(stack[-1] + style(names[kind.removesuffix("_open")]))
        elif kind.removesuffix("_close") in names:
            stack.pop()
        elif kind == "link_open":
            targets.append(str(child.attrGet("href") or ""))
            text.append("", stack[-1])
            stack.append(stack[-1] + style("link"))
        elif kind == "link_close":
            stack.pop()
            target = targets.pop()
            if target and not text.plain.endswith(target):
                text.append(f" ({target[:2048]})", stack[-1] + style("dim"))
        elif kind == "image":
            text.append(f"[image: {child.content}] ({str(child.attrGet('src') or '')[:2048]})", stack[-1] + style("dim"))
        elif kind == "code_inline":
            text.append(child.content, stack[-1] + style("code"))
        elif kind == "hardbreak":
            text.append("\n")
        elif kind == "softbreak":
            text.append(" ")
        else:
            text.append(child.content, stack[-1])
    return text


Run = tuple[str, str]
"""A piece of a line of code and the name of its style; empty is none."""


def _code(source: str, info: str, width: int, style: StyleOf, ascii: bool) -> list[Text]:
    """A fenced block: a gutter at the left, the language at the right, colours where that is cheap."""
    language, *more = (strip_line(word)[:20] for word in (info.split() or [""])[:2])
    label = "" if CONTINUED in more else language
    source = source.removesuffix("\n")
    lines = source.split("\n")
    runs: list[list[Run]] = [[(line, "")] for line in lines]
    if language and len(source) <= HIGHLIGHT_BYTES and all(len(line) <= HIGHLIGHT_LINE for line in lines):
        runs = _highlight(source, language) or runs
    gutter, dim = "| " if ascii else "│ ", style("dim")
    out: list[Text] = []
    for line in runs:
        for part in _chop(line, max(2, width - 2)):
            drawn = Text(gutter)
            drawn.stylize(dim)
            for text, name in part:
                drawn.append(text, style(name) if name else None)
            room = width - cell_len(drawn.plain) if label and not out else 0
            if room > len(label) + 1:
                drawn.append(" " * (room - cell_len(label)) + label, dim)
            out.append(drawn)
    return out


def _chop(line: list[Run], width: int) -> list[list[Run]]:
    """Cut code at the width; it is never broken at words."""
    if cell_len("".join(text for text, _name in line)) <= width:
        return [line]
    parts: list[list[Run]] = [[]]
    cells = 0
    for text, name in line:
        start = 0
        for at, char in enumerate(text):
            wide = cell_len(char)
            if cells + wide > width:
                parts[-1].append((text[start:at], name))
                parts.append([])
                start, cells = at, 0
            cells += wide
        parts[-1].append((text[start:], name))
    return parts


@cache
def _tone(kind: Any) -> str:
    """The name of the style of one of Pygments' token types."""
    from pygments.token import Comment, Keyword, Name, Number, String

    tones = (
        (Comment, "comment"),
        (Keyword, "keyword"),
        (String, "string"),
        (Number, "number"),
        (Name.Function, "name"),
        (Name.Class, "name"),
    )
    return next((name for group, name in tones if kind in group), "")


def _highlight(source: str, language: str) -> list[list[Run]]:
    """The lines in coloured runs; nothing where the language is unknown."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return []
    lines: list[list[Run]] = [[]]
    for kind, value in lexer.get_tokens(source):
        name = _tone(kind)
        for number, piece in enumerate(value.split("\n")):
            if number:
                lines.append([])
            if piece:
                lines[-1].append((piece, name))
    return lines


def _table(tokens: list[Token], width: int, style: StyleOf, ascii: bool) -> list[Text]:
    """Columns as wide as their widest cell, a thin rule below the head; too wide ones share the width."""
    rows: list[list[Text]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token, style))
    count = max(len(row) for row in rows)
    if count > TABLE_COLUMNS or len(rows) > TABLE_ROWS:
        return [line for row in rows for line in wrap(Text(" | ").join(row), width)]
    widths = [max((cell_len(row[column].plain) for row in rows if column < len(row)), default=0) for column in range(count)]
    while sum(widths) + 2 * count > width and max(widths) > 3:
        widths[widths.index(max(widths))] -= 1
    out: list[Text] = []
    for index, row in enumerate(rows):
        line = Text(" ")
        for column, cell in enumerate(row):
            if cell_len(cell.plain) > widths[column]:
                cell = Text(fit(cell.plain, widths[column], ascii=ascii))
            line += cell + Text(" " * (widths[column] - cell_len(cell.plain) + 2))
        line.rstrip()
        out.append(line)
        if index == 0:
            out.append(Text(" " + ("-" if ascii else "─") * min(width - 1, sum(widths) + 2 * (count - 1)), style("dim")))
    return out


def render(source: str, width: int, style: StyleOf, ascii: bool = False) -> list[Text]:
    """Draw cleaned Markdown as lines of at most `width` cells.

    Args:
        source: Cleaned text.
        width: Cells.
        style: Name (heading, strong, emphasis, struck, code, link, dim, comment, keyword, string, number, name) to style.
        ascii: Draw rules and gutters without Unicode graphics.
    """
    out: list[Text] = []
    lead: list[str] = []
    item = ""
    tokens = _parser().parse(source)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        indent = "".join(lead)
        room = max(8, width - len(indent))
        lines: list[Text] = []
        if token.type in ("bullet_list_open", "ordered_list_open", "blockquote_open"):
            lead.append(("| " if ascii else "│ ") if token.type == "blockquote_open" else "  ")
        elif token.type in ("bullet_list_close", "ordered_list_close", "blockquote_close"):
            lead.pop()
        elif token.type == "list_item_open":
            item = f"{token.info}{token.markup} " if token.info else ("- " if ascii else "• ")
            lead[-1] = " " * len(item)
        elif token.type == "heading_open":
            heading = _inline(tokens[at + 1], style)
            heading.stylize(style("heading"))
            lines, at = wrap(heading, room), at + 2
        elif token.type == "inline":
            lines = wrap(_inline(token, style), room)
        elif token.type in ("fence", "code_block"):
            lines = _code(token.content, token.info, room, style, ascii)
        elif token.type == "html_block":
            lines = wrap(Text(token.content.rstrip("\n")), room)
        elif token.type == "hr":
            lines = [Text(("-" if ascii else "─") * room, style("dim"))]
        elif token.type == "table_open":
            end = next(index for index in range(at, len(tokens)) if tokens[index].type == "table_close")
            lines, at = _table(tokens[at:end], room, style, ascii), end
        if lines:
            if out and not item and not (lead and tokens[at].hidden):
                out.append(Text(indent.rstrip(), style("dim")))
            for line in lines:
                head = indent[: -len(item)] + item if item and lead else indent
                out.append(Text(head, style("dim")) + line)
                item = ""
        at += 1
    return out
