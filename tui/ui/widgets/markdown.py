"""Markdown of models drawn as lines: our own look, no links to click, no HTML, everything literal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from rich.cells import cell_len, split_graphemes
from rich.console import Console
from rich.text import Span, Text

from tui.text import strip_line
from tui.ui.widgets.bars import fit
from tui.ui.widgets.markdown_split import Block

TABLE_COLUMNS: Final = 30
_CONSOLE: Final = Console(width=80, color_system=None, force_terminal=False)


FORMULA: Final = 2000
"""Characters within which a formula must end to be one."""


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 100}).enable("table").enable("strikethrough")
    parser.inline.ruler.before("escape", "math", _math)
    return parser


def _math(state: StateInline, silent: bool) -> bool:
    """A formula stays as it was written: its underscores, asterisks and backslashes are no Markdown."""
    end = _formula_end(state.src, state.pos, min(state.posMax, state.pos + FORMULA))
    if end < 0:
        return False
    if not silent:
        state.push("math", "", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _formula_end(text: str, at: int, last: int) -> int:
    """Where the formula that begins here ends; -1 where none begins."""
    for begin, close in (("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(begin, at):
            end = text.find(close, at + 2, last)
            return end + 2 if end > at + 2 else -1
    if text[at] != "$" or at + 1 >= last or text[at + 1].isspace():
        return -1
    end = text.find("$", at + 1, last)
    while end > 0:  # prices are no formulas: "$5 and $6"
        if not text[end - 1].isspace() and text[end - 1] != "\\" and not text[end + 1 : end + 2].isdigit():
            return end + 1
        end = text.find("$", end + 1, last)
    return -1


def wrap(text: Text, width: int) -> list[Text]:
    """Break a text into lines of at most `width` cells."""
    return list(text.wrap(_CONSOLE, max(1, width), tab_size=4)) or [Text("")]


def _with(name: str, more: str) -> str:
    return f"{name}+{more}" if name else more


def _inline(token: Token, typed: bool = False) -> Text:
    """Inline tokens as one text; targets of links and images stand in full behind their words."""
    text, stack, targets = Text(), [""], [""]
    names = {"strong": "strong", "em": "emphasis", "s": "struck"}
    for child in token.children or ():
        kind = child.type
        if kind.removesuffix("_open") in names:
            stack.append(_with(stack[-1], names[kind.removesuffix("_open")]))
        elif kind.removesuffix("_close") in names:
            stack.pop()
        elif kind == "link_open":
            targets.append(str(child.attrGet("href") or ""))
            stack.append(_with(stack[-1], "link"))
        elif kind == "link_close":
            stack.pop()
            target = targets.pop()
            if target and not text.plain.endswith(target):
                text.append(f" ({target[:2048]})", _with(stack[-1], "dim"))
        elif kind == "image":
            text.append(f"[image: {child.content}] ({str(child.attrGet('src') or '')[:2048]})", _with(stack[-1], "dim"))
        elif kind in ("code_inline", "math"):
            text.append(child.content, _with(stack[-1], "code"))
        elif kind == "hardbreak":
            text.append("\n")
        elif kind == "softbreak":
            text.append("\n" if typed else " ")
        else:
            text.append(child.content, stack[-1] or None)
    return text


def _code(source: str, language: str, width: int, ascii: bool, *, label: bool = True) -> list[Text]:
    """A fenced block: a gutter at the left, the language at the right, colours where we know it."""
    text = _highlight(source, language) if language else Text(source)
    gutter = "| " if ascii else "│ "
    out: list[Text] = []
    for index, line in enumerate(text.split("\n", allow_blank=True)):
        for part in _chop(line, width - 2):
            drawn = Text(gutter, "").append_text(part)
            drawn.stylize("dim+gutter", 0, 2)
            room = width - cell_len(drawn.plain)
            if label and index == 0 and language and not out and room > len(language) + 1:
                drawn.append(" " * (room - cell_len(language)) + language, "dim+gutter")
            out.append(drawn)
    return out


def _chop(line: Text, width: int) -> list[Text]:
    """Cut code at the width; it is never broken at words."""
    width = max(2, width)
    plain = line.plain
    if len(plain) * 2 <= width or cell_len(plain) <= width:
        return [line]
    cuts, cells = [], 0
    for start, _end, size in split_graphemes(plain)[0]:
        if cells + size > width:
            cuts.append(start)
            cells = 0
        cells += size
    return list(line.divide(cuts))


@cache
def _tones() -> Mapping[Any, str]:
    from pygments.token import Comment, Keyword, Name, Number, String

    return {
        Comment: "comment",
        Keyword: "keyword",
        String: "string",
        Number: "number",
        Name.Function: "name",
        Name.Class: "name",
    }


@cache
def _tone(kind: Any) -> str:
    """The name of the style of a kind of token; that of the group nearest to it."""
    tones = _tones()
    return next((tones[group] for group in reversed(kind.split()) if group in tones), "")


@lru_cache(8)
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _highlight(source: str, language: str) -> Text:
    lexer = _lexer(language)
    if lexer is None:
        return Text(source)
    spans: list[Span] = []
    at = 0
    for kind, value in lexer.get_tokens(source):
        tone, end = _tone(kind), at + len(value)
        if tone and not value.isspace():
            spans.append(Span(at, end, tone))
        at = end
    return Text(source, spans=spans)


def _table(tokens: list[Token], width: int, ascii: bool, headless: bool) -> list[Text]:
    """Columns as wide as their widest cell, a thin rule below the head; too wide ones share the width. Headless: the rows alone."""
    rows: list[list[Text]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token))
    count = max(len(row) for row in rows)
    if count > TABLE_COLUMNS or 5 * count + 1 > width:
        return [line for row in rows[headless:] for line in wrap(Text(" | ").join(row), width)]
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
            out.append(Text(" " + ("-" if ascii else "─") * min(width - 1, sum(widths) + 2 * (count - 1)), "dim"))
    return out[2:] if headless else out


def draw(block: Block, width: int, ascii: bool = False) -> list[Text]:
    """Draw a block as lines of at most `width` cells; its indentation is theirs. The gap before it is not drawn."""
    indent = min(block.indent, max(0, width - 8))
    room = max(8, width - indent)
    if block.kind == "code":
        lines = _code(block.source, strip_line(block.info)[:20], room, ascii, label=not block.more)
    elif block.kind == "math":
        lines = [line for source in block.source.split("\n") for line in wrap(Text(source, "code", end=""), room)]
    elif block.head:
        lines = render(block.head + block.source, room, ascii, headless=True)
    else:
        lines = render(block.source, room, ascii, typed=block.typed) or wrap(Text(block.source), room)  # nested deeper than the parser goes
    return [Text(" " * indent).append_text(line) for line in lines] if indent else lines


def _led(head: str, line: Text) -> Text:
    led = Text(head).append_text(line)
    led.stylize("dim", 0, len(head))
    return led


def render(source: str, width: int, ascii: bool = False, *, headless: bool = False, typed: bool = False) -> list[Text]:
    """Draw cleaned Markdown as lines of at most `width` cells.

    The styles of the texts are names joined by `+`, so that a change of colours needs no drawing anew: heading, strong,
    emphasis, struck, code, link, dim, comment, keyword, string, number, name; `gutter` marks what is not the model's.

    Args:
        source: Cleaned text.
        width: Cells.
        ascii: Draw rules and gutters without Unicode graphics.
        headless: Leave out the heads of tables.
        typed: End lines of a paragraph where the source does.
    """
    out: list[Text] = []
    lead: list[str] = []
    item = opened = ""
    tokens = _parser().parse(source)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        indent = "".join(lead)[: max(0, width - 8)]
        room = max(8, width - len(indent))
        lines: list[Text] = []
        if token.type in ("bullet_list_open", "ordered_list_open", "blockquote_open"):
            opened = opened or indent or " "
            lead.append(("| " if ascii else "│ ") if token.type == "blockquote_open" else "  ")
        elif token.type in ("bullet_list_close", "ordered_list_close", "blockquote_close"):
            lead.pop()
        elif token.type == "list_item_open":
            item = f"{token.info}{token.markup} " if token.info else ("- " if ascii else "• ")
            lead[-1] = " " * len(item)
        elif token.type == "heading_open":
            heading = _inline(tokens[at + 1])
            heading.stylize("heading")
            lines, at = wrap(heading, room), at + 2
        elif token.type == "inline":
            lines = wrap(_inline(token, typed), room)
        elif token.type in ("fence", "code_block"):
            words = token.info.split()
            lines = _code(token.content.removesuffix("\n"), strip_line(words[0] if words else "")[:20], room, ascii)
        elif token.type == "html_block":
            lines = wrap(Text(token.content.rstrip("\n")), room)
        elif token.type == "hr":
            lines = [Text(("-" if ascii else "─") * room, "dim")]
        elif token.type == "table_open":
            end = next(index for index in range(at, len(tokens)) if tokens[index].type == "table_close")
            lines, at = _table(tokens[at:end], room, ascii, headless), end
        if lines:
            if out and not item and not (lead and tokens[at].hidden):
                out.append(Text((opened or indent).rstrip(), "dim"))
            opened = ""
            for line in lines:
                head = (indent[: -len(item)] + item)[: max(len(indent), 2)] if item and lead else indent
                out.append(_led(head, line) if head else line)
                item = ""
        at += 1
    return out
