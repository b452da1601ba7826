"""chats: stored conversations."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, block, emit, message, table
from tui.core.chat import AnswerState
from tui.services.chat.export import markdown
from tui.store.conversations import Conversations
from tui.text import clean_name

_OPEN: Final = (AnswerState.WAITING, AnswerState.WRITING)


async def chats(context: Context) -> int:
    """List, search or export."""
    verb, what = context.args.verb, " ".join(context.args.what)
    if verb and not what:
        message(f"What? paddock chats {verb} {'ID' if verb == 'export' else 'TEXT'}.")
        return USAGE
    if verb == "export" and not what.isdecimal():
        message("The number of a conversation is a whole number. See paddock chats.")
        return USAGE
    store = Conversations(context.database(write=False)) if context.paths.database.exists() else None
    if verb == "export":
        return _export(context, store, int(what))
    heads = () if store is None else tuple(found.head for found in await store.search_async(what)) if verb else store.heads()
    if context.json:
        emit({"chats": heads})
        return DONE
    if not heads:
        message("No conversation has all these words." if verb else "No conversations yet. Begin one with paddock chat MODEL PROMPT.")
        return FAILED if verb else DONE
    rows = [
        (
            str(head.id),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(head.updated_at)),
            clean_name(head.model),
            str(head.messages),
            head.title,
        )
        for head in heads
    ]
    table(("ID", "CHANGED", "MODEL", "MESSAGES", "TITLE"), rows, right=(0, 3))
    return DONE


def _export(context: Context, store: Conversations | None, number: int) -> int:
    head = store.head(number) if store is not None and number < 1 << 62 else None
    if store is None or head is None:
        message(f"There is no conversation {number}. See paddock chats.")
        return FAILED
    messages = store.messages(head.id)
    if store.lease_holder(head.id) is None:
        # Nobody writes it any more: what is still marked so was cut by a crash.
        messages = tuple(replace(one, state=AnswerState.INTERRUPTED) if one.state in _OPEN else one for one in messages)
    if context.json:
        emit({"chat": head, "messages": messages})
    else:
        block(markdown(head.title, messages).rstrip("\n"))
    return DONE
