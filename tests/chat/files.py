"""Conversations as people and fault hunters would make them, for the tests of their files."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from tui.core.chat import AnswerState, Attachment, ConversationSettings, Message, Role, Timeline
from tui.core.errors import Failure, FailureKind
from tui.core.events import Metrics
from tui.services.chat.conversation_file import ConversationFile, Node, attachment_of
from tui.text import clean_door, clean_label, clean_name

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
CANARY = "\x1b]52;c;UFdORUQ=\x07\x9b31m\u202e\x00<script>alert(1)</script><img src=x onerror=alert(1)>\u200b\U000e0041\r\x08"
PIECES = (
    *("<!--paddock:end-->", "<!--paddock:text-->", '<!--paddock:message {"role":"user"}-->', "<!--\\paddock:end-->", "<!--", "-->"),
    *("## you", "# x", "> q", ">", "```", "````", "```python", "~~~", "    ", "\t", "\n", "\n\n", "\r\n", "\r", "\x85", "\u2028"),
    *("</script>", "<script>", "&amp;", "&", "<b>", "]]>", '"', "\\", "\\u003c", "--", "{", "}", "\x1b[31m", "\x07", "\x9b", "\u202e"),
    *("\u200b", "\u200d", "\ufe0f\ufe0f", "e" + "\u0301" * 12, "\u05d0", "\u4e2d", "\U0001f999", "\ufeff", "a", " ", "word "),
)


def door(text: str) -> str:
    """As the store keeps it; a sign that only stands at the beginning of files is none in a text."""
    return clean_door(text).replace("\ufeff", "")


texts = st.one_of(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.text(max_size=40)).map(door)
names = texts.map(clean_name)
labels = texts.map(clean_label)
times = st.floats(0, 4_000_000_000)
seconds = st.none() | st.floats(0, 1e6)
tokens = st.none() | st.integers(0, 1 << 40)
free = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False, allow_infinity=False, width=32) | texts,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(texts, some, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts.filter(bool), free, max_size=3)
failures = st.builds(Failure, labels.filter(bool), names, labels, st.sampled_from(FailureKind))
metrics = st.builds(Metrics, tokens, tokens, seconds, seconds, seconds, seconds)
timelines = st.builds(Timeline, seconds, seconds, seconds, seconds, seconds, seconds, seconds, seconds, st.booleans())
calls = st.builds(
    lambda number, name, arguments: {**({"id": number} if number else {}), "function": {"name": name, "arguments": arguments}},
    names,
    names,
    mappings,
)
settings = st.builds(
    ConversationSettings,
    texts,
    st.sampled_from(("auto", "on", "off", "low", "medium", "high")),
    names,
    mappings,
    names.map(lambda text: clean_name(text, 40)),
    st.none() | st.just("json") | mappings,
    st.lists(names, max_size=2).map(tuple),
)


def made(values: dict[str, Any]) -> Attachment:
    found = attachment_of(Node(values, ""))
    assert found is not None
    return found


file_names = names.map(lambda text: clean_name(text.replace("/", "_"), 120)).filter(bool)
text_files = st.builds(lambda name, text: made({"name": name, "text": text}), file_names, texts)
pictures = st.builds(
    lambda name, more: made({"name": name, "kind": "image", "data": base64.b64encode(PNG + more).decode()}),
    file_names,
    st.binary(max_size=9),
)
ENDS = [state for state in AnswerState if state.ended]


@st.composite
def messages(draw: st.DrawFn, number: int, parents: st.SearchStrategy[int], *, with_pictures: bool = True) -> Message:
    role = draw(st.sampled_from(Role))
    answer = role is Role.ASSISTANT
    return Message(
        number,
        0,
        number,
        role,
        draw(texts),
        draw(texts),
        tuple(draw(st.lists(calls, max_size=2))),
        draw(st.sampled_from(ENDS)) if answer else AnswerState.COMPLETE,
        draw(st.none() | failures),
        draw(names),
        draw(names),
        draw(times),
        draw(metrics) if answer else Metrics(),
        draw(timelines) if answer else Timeline(),
        draw(tokens),
        draw(parents),
        tuple(draw(st.lists(text_files | pictures if with_pictures else text_files, max_size=2))),
        draw(st.booleans()),
        draw(st.integers(0, number - 1)),
        draw(st.integers(0, 3)),
        draw(names),
        draw(names),
        draw(mappings),
        draw(labels),
    )


@st.composite
def conversations(draw: st.DrawFn, *, line: bool = False) -> ConversationFile:
    """A tree, or one branch without what Markdown leaves out."""
    count = draw(st.integers(0, 5))
    found = tuple(
        draw(messages(number, st.just(number - 1) if line else st.integers(0, number - 1), with_pictures=not line))
        for number in range(1, count + 1)
    )
    tags = draw(st.lists(texts.map(lambda text: clean_label(text, 60)).filter(bool), max_size=3, unique=True))
    tip = 0 if line else draw(st.integers(0, count))
    return ConversationFile(
        draw(labels), draw(times), draw(names), draw(names), draw(settings), tuple(tags), draw(st.booleans()), found, tip
    )


def example() -> ConversationFile:
    """A question with files, two answers, and one that was stopped."""
    picture = made({"name": "a.png", "kind": "image", "data": base64.b64encode(PNG).decode()})
    code = made({"name": "n.py", "text": "def f():\n\treturn '```'\n"})
    return ConversationFile(
        "Ships and trains",
        1763750000.0,
        "lab",
        "qwen3:8b",
        ConversationSettings(system="be brief", think="on", options={"seed": 1}),
        ("work",),
        True,
        (
            Message(1, 0, 1, Role.USER, "hello", created_at=1763750000.5, attachments=(picture, code)),
            Message(
                *(2, 0, 2, Role.ASSISTANT, "# Title\n\n**bold** `code`", "hm"),
                state=AnswerState.STOPPED,
                provider="lab",
                model="qwen3:8b",
                created_at=1763750001.5,
                metrics=Metrics(10, 20, 0.1, 2.0),
                timeline=Timeline(first_token=0.4, thought=3.2, rate=42.0),
                parent=1,
            ),
            Message(3, 0, 3, Role.ASSISTANT, "another answer", model="gemma3:4b", created_at=1763750002.0, parent=1),
        ),
        2,
    )
