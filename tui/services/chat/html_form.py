"""A conversation as one HTML page that needs nothing else, runs nothing and loads nothing; the JSON form inside it brings it back whole.

Drawn with markdown-it-py, which Textual draws Markdown with too. Its raw HTML is off and pictures of the text stay words; a policy in the
page forbids everything but its one style sheet and the pictures inside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

from tui.core.chat import Attachment, AttachmentKind, Message, Role
from tui.services.chat import json_form
from tui.services.chat.conversation_file import MAX_BYTES, ConversationFile, media_of, visible, wrong
from tui.services.chat.file_words import end_words, figure_words, settings_lines, when, who
from tui.text import clean_label, clean_name, duration, size

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

MAX_DRAWN: Final = 200_000
"""Characters; a longer text stands in the page as it is."""
MAX_ADDRESS: Final = 2048
"""Characters; what a longer address leads to cannot be clicked."""
_OPEN: Final = '<script type="application/json" id="paddock-conversation">'
_CLOSE: Final = "</script>"
_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_STYLE: Final = """
:root{color-scheme:light dark;--back:#fff;--ink:#1d2021;--dim:#62686c;--line:#d9dcde;--block:#f4f5f6;--you:#0b57d0;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--back:#16181a;--ink:#e3e5e6;--dim:#9aa0a5;--line:#34383b;--block:#202326;--you:#8ab4f8;--bad:#f2b8b5}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:46rem;padding:1rem;background:var(--back);color:var(--ink);font:1rem/1.55 system-ui,sans-serif;
  overflow-wrap:anywhere}
h1{font-size:1.4rem}article{border-top:1px solid var(--line);padding:.6rem 0}article>h2{font-size:1rem;margin:.2rem 0}
article.user>h2{color:var(--you)}time,.dim,figcaption,summary{color:var(--dim);font-size:.85rem;font-weight:normal}.bad{color:var(--bad)}
pre{background:var(--block);padding:.7rem;border-radius:.4rem;overflow-x:auto}pre,code{font:.9rem/1.45 ui-monospace,monospace}
pre.text,article.user p{white-space:pre-wrap}blockquote,details>div{border-left:3px solid var(--line);margin:.5rem 0;padding-left:.8rem}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid var(--line);padding:.25rem .6rem}
.left{text-align:left}.right{text-align:right}.center{text-align:center}
img{max-width:100%}figure{margin:.6rem 0}a{color:inherit}
@media print{body{max-width:none}}
"""


# --- writing ---------------------------------------------------------------------------------------------------------


def dump(file: ConversationFile) -> str:
    """The page."""
    draw = _drawer()
    branch = file.branch()
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    title = escape(clean_label(file.title) or "Chat")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">',
        f'<meta name="generator" content="Paddock">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>',
        *_about(file, len(file.messages) - len(branch)),
    ]
    for message in branch:
        parts += _message(message, draw)
    parts += [f"{_OPEN}{json_form.dump(file).translate(_ESCAPES)}{_CLOSE}", "</body>\n</html>\n"]
    return "\n".join(parts)


def _about(file: ConversationFile, others: int) -> Iterator[str]:
    facts = [clean_name(file.model), clean_name(file.provider), when(file.created_at), *(f"#{clean_label(tag)}" for tag in file.tags)]
    for line in (" · ".join(fact for fact in facts if fact), *settings_lines(file.settings)):
        if line:
            yield f'<p class="dim">{escape(line)}</p>'
    if file.settings.system:
        yield f"<details><summary>System prompt</summary>{_as_it_is(visible(file.settings.system))}</details>"
    if others > 0:
        words = "One message of another branch is" if others == 1 else f"{others:,} messages of other branches are"
        yield f'<p class="dim">{words} in this file and not on this page; importing it brings them back.</p>'


def _message(message: Message, draw: MarkdownIt) -> Iterator[str]:
    at = f" <time>{when(message.created_at)}</time>" if message.created_at else ""
    yield f'<article class="{message.role.value}">\n<h2>{escape(who(message))}{at}</h2>'
    if message.note:
        yield f'<p class="dim">{escape(clean_label(message.note))}</p>'
    if message.thinking:
        took = f" for {duration(message.timeline.thought)}" if message.timeline.thought is not None else ""
        yield f"<details><summary>Thought{took}</summary><div>{_drawn(message.thinking, draw)}</div></details>"
    if message.role is Role.TOOL:
        yield _as_it_is(visible(message.content))
    elif message.content:
        yield _drawn(message.content, draw)
    for call in message.tool_calls:
        yield _as_it_is(visible(json.dumps(call, ensure_ascii=False, indent=2, default=dict)))
    for attachment in message.attachments:
        yield _attached(attachment)
    if words := end_words(message):
        yield f'<p class="bad">{escape(words)}</p>'
    if words := figure_words(message):
        yield f'<p class="dim">{escape(words)}</p>'
    yield "</article>"


def _attached(one: Attachment) -> str:
    words = escape(f"{clean_name(one.name)}, {size(one.size)}")
    if one.kind is AttachmentKind.TEXT:
        return f"<details><summary>{words}</summary>{_as_it_is(visible(one.text))}</details>"
    media = media_of(one.data)
    if not media:
        return f'<p class="dim">{words}; the picture is gone</p>'
    return f'<figure><img src="data:{media};base64,{base64.b64encode(one.data).decode()}" alt=""><figcaption>{words}</figcaption></figure>'


def _as_it_is(text: str) -> str:
    return f'<pre class="text">{escape(text)}</pre>'


def _drawn(text: str, draw: MarkdownIt) -> str:
    shown = visible(text)
    return _as_it_is(shown) if len(shown) > MAX_DRAWN else str(draw.render(shown))


def _drawer() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 30 ms, only where a page is written

    draw = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    draw.add_render_rule("image", _picture_of_the_text)
    draw.add_render_rule("link_open", _link)
    draw.add_render_rule("th_open", _cell)
    draw.add_render_rule("td_open", _cell)
    return draw


def _picture_of_the_text(_renderer: Any, tokens: Any, at: int, _options: Any, _env: Any) -> str:
    """A picture elsewhere is not loaded; its words and address stand for it."""
    token = tokens[at]
    return escape(f"{token.content} ({clean_name(str(token.attrGet('src')), MAX_ADDRESS)})")


def _link(_renderer: Any, tokens: Any, at: int, _options: Any, _env: Any) -> str:
    """A link that tells nobody where it was followed from."""
    address = str(tokens[at].attrGet("href"))
    shown = escape(clean_name(address, MAX_ADDRESS))
    if len(address) > MAX_ADDRESS or not address.startswith(("http://", "https://", "mailto:", "#")):
        return f'<a title="{shown}">'
    return f'<a href="{shown}" title="{shown}" rel="noopener noreferrer nofollow">'


def _cell(_renderer: Any, tokens: Any, at: int, _options: Any, _env: Any) -> str:
    """A cell whose alignment is a class: the policy allows no style on an element."""
    token = tokens[at]
    side = str(token.attrGet("style") or "").removeprefix("text-align:")
    return f'<{token.tag} class="{side}">' if side in ("left", "right", "center") else f"<{token.tag}>"


# --- reading ---------------------------------------------------------------------------------------------------------


def load(data: bytes) -> ConversationFile:
    """The conversation inside such a page."""
    start = data.rfind(_OPEN.encode())
    end = data.find(_CLOSE.encode(), start)
    if start < 0 or end < 0:
        raise wrong("This page holds no conversation of Paddock", "", "Import the JSON, Markdown or HTML that Paddock wrote")
    inside = data[start + len(_OPEN) : end]
    if len(inside) > MAX_BYTES:
        raise wrong(f"The conversation in this page is larger than {size(MAX_BYTES)}", "", "Import a smaller one")
    return json_form.load(json_form.parse(inside))


def is_page(data: bytes) -> bool:
    """Whether a file begins as such a page does."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:15].lower() == b"<!doctype html>"
