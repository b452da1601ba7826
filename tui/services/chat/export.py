"""A conversation as a Markdown file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tui.core.chat import AnswerState, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.store.files import make_folder, open_private
from tui.text import clean_block, clean_label, clean_name

_UNSAFE: Final = re.compile(r"[^a-z0-9]+")


def markdown(title: str, messages: Sequence[Message]) -> str:
    """The conversation as Markdown; control characters are made visible, ends that are not complete are named."""
    parts = [f"# {clean_label(title) or 'Chat'}"]
    for message in messages:
        who = "you" if message.role is Role.USER else clean_name(message.model) or str(message.role)
        when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(message.created_at))
        parts.append(f"## {who} ({when})")
        if message.thinking:
            parts.append("\n".join(f"> {line}".rstrip() for line in clean_block(message.thinking).splitlines()))
        if message.content:
            parts.append(clean_block(message.content))
        if message.state is not AnswerState.COMPLETE:
            why = f": {message.failure.sentence()}" if message.failure is not None else ""
            parts.append(f"*{message.state}{why}*")
    return "\n\n".join(parts) + "\n"


def write(folder: Path, number: int, title: str, messages: Sequence[Message], now: float) -> Path:
    """Write the file, readable by its owner only; an earlier one of the same second is replaced.

    Raises:
        PaddockError: It cannot be written.
    """
    slug = _UNSAFE.sub("-", title.lower()).strip("-")[:40] or "chat"
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{abs(number)}-{slug}.md"
    try:
        make_folder(folder)
        with os.fdopen(open_private(path), "wb") as file:
            file.truncate()
            file.write(markdown(title, messages).encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise PaddockError.of(
            "The chat could not be written",
            clean_name(str(path)),
            "Make room, or check the folder",
            FailureKind.DISK,
            clean_name(str(error)),
        ) from error
    return path
