"""chats: stored conversations; listed, searched, changed, written to files and read from them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, REFUSED, USAGE, ask, block, emit, message, plain, read_input, report, table
from tui.core.chat import AnswerState, ConversationHead, Found, Message
from tui.core.errors import FailureKind, PaddockError
from tui.core.threads import in_daemon_thread
from tui.services.chat import transfer
from tui.services.chat.conversation_file import ConversationFile
from tui.store.conversations import Conversations
from tui.text import clean_label, clean_name

_OPEN: Final = (AnswerState.WAITING, AnswerState.WRITING)
_NEEDS: Final = {
    "search": "TEXT", "export": "ID", "import": "FILE", "rename": "ID TITLE", "tag": "ID TAG...|none", "pin": "ID", "unpin": "ID",
    "delete": "ID", "undelete": "ID",
}  # fmt: skip
_SAID: Final = {"pin": "is pinned", "unpin": "is no longer pinned", "undelete": "is back", "delete": "was deleted"}
_AUDITED: Final = {"undelete": "bring chat back"}
_MAX_ID: Final = 1 << 62


async def chats(context: Context) -> int:
    """What the verb says."""
    verb, words = context.args.verb or "list", context.args.what
    wrong = _usage(context, verb, words)
    if wrong:
        message(wrong)
        return USAGE
    if verb == "list":
        store = _to_read(context)
        return _list(context, () if store is None else store.heads(limit=_MAX_ID))
    if verb == "search":
        store = _to_read(context)
        return _found(context, () if store is None else await store.search_async(" ".join(words)))
    if verb == "export":
        return await _export(context, int(words[0]))
    context.allow("Changing stored chats")
    if verb == "import":
        return await _import(context, words)
    if verb in ("rename", "tag"):
        return await _name(context, verb, int(words[0]), words[1:])
    return await _change(context, verb, [int(word) for word in dict.fromkeys(words)])


def _usage(context: Context, verb: str, words: Sequence[str]) -> str:
    """What is wrong with how it was asked, or empty."""
    args = context.args
    if verb == "list" and words:
        return "The list takes no words: paddock chats, or paddock chats search TEXT."
    if verb in _NEEDS and len(words) < (2 if verb in ("rename", "tag") else 1):
        return f"What? paddock chats {verb} {_NEEDS[verb]}."
    if (args.form or args.output) and verb != "export":
        return "--form and --output go with an export: paddock chats export ID."
    if verb == "export" and len(words) > 1:
        return "One at a time: paddock chats export ID."
    numbers = words[:1] if verb in ("rename", "tag") else words if verb not in ("search", "import") else ()
    if not all(word.isdecimal() and word.isascii() for word in numbers):
        return "The number of a conversation is a whole number. See paddock chats."
    if verb == "rename" and not " ".join(words[1:]).strip():
        return "A title has at least one letter."
    return ""


def _to_read(context: Context) -> Conversations | None:
    return Conversations(context.database(write=False)) if context.paths.database.exists() else None


def _to_write(context: Context) -> Conversations:
    return Conversations(context.writable())


# --- lists -----------------------------------------------------------------------------------------------------------


def _list(context: Context, heads: Sequence[ConversationHead]) -> int:
    if context.json:
        emit({"chats": heads})
    elif not heads:
        message("No conversations yet. Begin one with paddock chat MODEL PROMPT.")
    else:
        rows = [(*_cells(head), f"{head.title}{''.join(f'  #{tag}' for tag in head.tags)}") for head in heads]
        table(("ID", "CHANGED", "MODEL", "MESSAGES", "TITLE"), rows, right=(0, 3))
    return DONE


def _found(context: Context, found: Sequence[Found]) -> int:
    if context.json:
        emit({"chats": [{**plain(one.head), "message": one.message, "excerpt": one.excerpt} for one in found]})
        return DONE
    if not found:
        message("No conversation has all these words.")
        return FAILED
    rows = [(*_cells(one.head)[:3], one.head.title, one.excerpt) for one in found]
    table(("ID", "CHANGED", "MODEL", "TITLE", "TEXT"), rows, right=(0,))
    return DONE


def _cells(head: ConversationHead) -> tuple[str, ...]:
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(head.updated_at))
    return str(head.id), changed, clean_name(head.model), str(head.messages)


# --- files -----------------------------------------------------------------------------------------------------------


async def _export(context: Context, number: int) -> int:
    store = _to_read(context)
    head = store.head(number) if store is not None and number < _MAX_ID else None
    if store is None or head is None:
        return _missing(number)
    args = context.args
    if context.json and not args.form and not args.output:
        emit({"chat": head, "messages": [_without_bytes(one) for one in _as_they_are(store, store.branch(number))]})
        return DONE
    form = args.form or ("json" if args.output.endswith(".json") else "html" if args.output.endswith((".html", ".htm")) else "md")
    gathered = transfer.gather(store, number)
    file = replace(gathered, messages=_as_they_are(store, gathered.messages))
    with context.audit.noting("export chat", str(number)):
        if args.output in ("", "-"):
            _print(context, head, form, await in_daemon_thread(lambda: transfer.render(form, file)))
            return DONE
        return await _write(context, head, form, file)


def _as_they_are(store: Conversations, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Where nobody writes a conversation any more, what is still marked so was cut by a crash."""
    if not messages or store.lease_holder(messages[0].conversation) is not None:
        return messages
    return tuple(replace(one, state=AnswerState.INTERRUPTED) if one.state in _OPEN else one for one in messages)


def _without_bytes(one: Message) -> dict[str, Any]:
    files = [{key: value for key, value in plain(attached).items() if key != "data"} for attached in one.attachments]
    return {**plain(replace(one, attachments=())), "attachments": files}


def _print(context: Context, head: ConversationHead, form: str, data: bytes) -> None:
    if context.json:
        emit({"chat": head, "form": form, "text": data.decode()})
    elif sys.stdout.isatty() or not hasattr(sys.stdout, "buffer"):
        block(data.decode().rstrip("\n"))
    else:  # byte by byte what a file would hold, whatever the language of the terminal
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


async def _write(context: Context, head: ConversationHead, form: str, file: ConversationFile) -> int:
    path = Path(context.args.output)
    if path.exists() and not path.is_file():
        message(f"{clean_name(str(path))} is no plain file. Name another one.")
        return USAGE
    if (path.exists() or path.is_symlink()) and not context.args.yes:
        if not sys.stdin.isatty():
            message(f"Nothing was written: {clean_name(str(path))} exists. Add --yes to replace it.")
            return FAILED
        if not await ask(f"Replace {clean_name(str(path))}?"):
            message("Nothing was written.")
            return FAILED
    data = await in_daemon_thread(lambda: transfer.render(form, file))
    await in_daemon_thread(lambda: transfer.write_over(path, data))
    if context.json:
        emit({"chat": head, "form": form, "file": str(path)})
    else:
        message(f"Written to {clean_name(str(path))}.")
    return DONE


async def _import(context: Context, names: Sequence[str]) -> int:
    heads: list[ConversationHead] = []
    code = DONE
    store: Conversations | None = None
    for name in names:
        shown = "standard input" if name == "-" else clean_name(name)
        try:
            with context.audit.noting("import chat", shown):
                source = await read_input() if name == "-" else Path(name)
                file = await in_daemon_thread(partial(transfer.read, source))
                store = store or _to_write(context)
                head = await transfer.keep(store, file)
        except PaddockError as error:
            code = report(error.failure)
            continue
        heads.append(head)
        if not context.json:
            message(f"{shown} is conversation {head.id}: {clean_label(head.title)}.")
    if context.json:
        emit({"chats": heads})
    return code


# --- changes ---------------------------------------------------------------------------------------------------------


async def _name(context: Context, verb: str, number: int, words: Sequence[str]) -> int:
    store = _to_write(context)
    if number >= _MAX_ID or store.head(number) is None:
        return _missing(number)
    with context.audit.noting(f"{verb} chat", str(number)):
        if verb == "rename":
            await store.rename(number, clean_label(" ".join(words)))
        else:
            await store.set_tags(number, () if list(words) == ["none"] else words)
    head = store.head(number)
    if head is None:
        return _missing(number)
    if verb == "rename":
        _say(context, head, f"is now called {head.title}")
    else:
        _say(context, head, f"has the tags {' '.join(f'#{tag}' for tag in head.tags)}" if head.tags else "has no tags")
    if context.json:
        emit({"chats": [head]})
    return DONE


async def _change(context: Context, verb: str, numbers: Sequence[int]) -> int:
    if verb == "delete" and not context.args.yes and not sys.stdin.isatty():
        message("Nothing was deleted: there is nobody to ask. Add --yes.")
        return REFUSED
    store = _to_write(context)
    before = {number: store.head(number) if number < _MAX_ID else None for number in numbers}
    code, chosen = DONE, []
    for number, head in before.items():
        if number >= _MAX_ID or (head is None and verb != "undelete"):
            code = _missing(number)
        elif verb == "delete" and (holder := store.lease_holder(number)) is not None:
            message(f"Conversation {number} is open in another Paddock (pid {holder.pid}). Delete it there, or close it there first.")
            code = FAILED
        else:
            chosen.append(number)
    if verb == "delete" and chosen and not await _sure(context, [head for number in chosen if (head := before[number])]):
        message("Nothing was deleted.")
        return FAILED
    done: list[ConversationHead] = []
    for number in chosen:
        try:
            with context.audit.noting(_AUDITED.get(verb, f"{verb} chat"), str(number)):
                head = await _changed(store, verb, number) or before[number]
        except PaddockError as error:
            code = _missing(number) if error.failure.kind is FailureKind.NOT_FOUND else report(error.failure)
            continue
        if head is not None:
            done.append(head)
            _say(context, head, _SAID[verb])
    if context.json:
        emit({"chats": done})
    return code


async def _changed(store: Conversations, verb: str, number: int) -> ConversationHead | None:
    """Do it; the conversation as it is now, None where it was deleted."""
    if verb == "delete":
        await store.delete(number)
    elif verb == "undelete":
        await store.undo_delete(number)
    else:
        await store.set_pinned(number, verb == "pin")
    return store.head(number)


async def _sure(context: Context, heads: Sequence[ConversationHead]) -> bool:
    if context.args.yes:
        return True
    names = ", ".join(f"{head.id} ({clean_label(head.title, 60)}, {head.messages} messages)" for head in heads)
    return await ask(f"Delete {names}?")


def _say(context: Context, head: ConversationHead, words: str) -> None:
    if not context.json:
        message(f"Conversation {head.id} {words}.")


def _missing(number: int) -> int:
    message(f"There is no conversation {number}. See paddock chats.")
    return FAILED
