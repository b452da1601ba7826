"""What the model reads of a message: its text, and the text files that went with it."""

from __future__ import annotations

import re
from typing import Final

from tui.core.chat import Attachment, AttachmentKind, Message
from tui.text import clean_name

_TICKS: Final = re.compile("`{3,}")
_ENDING: Final = re.compile(r"\.([A-Za-z0-9+]{1,10})\Z")


def file_block(attachment: Attachment) -> str:
    """A text file as it is sent: its name and a colon on a line, then its text in a fence longer than any inside it."""
    text = attachment.text
    fence = "`" * max((len(run) + 1 for run in _TICKS.findall(text)), default=3)
    name = clean_name(attachment.name, 200)
    ending = _ENDING.search(name)
    return f"{name}:\n{fence}{ending[1].lower() if ending else ''}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"


def prompt_of(message: Message) -> str:
    """The text that is sent for a message: what was typed, an empty line, then each text file; images are not part of it."""
    files = [file_block(attachment) for attachment in message.attachments if attachment.kind is AttachmentKind.TEXT]
    return "\n\n".join([*([message.content] if message.content or not files else []), *files])
