"""Conversations to files and back: `gather` from the store, `write` or `render` in one of three forms; `read` whichever it is, and `keep`.

`write`, `render` and `read` can take seconds and block: in a daemon thread, never on a loop.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tui.core.chat import AttachmentKind, ConversationHead, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.services.chat import html_form, json_form, markdown_form
from tui.services.chat.asking import title_of
from tui.services.chat.conversation_file import MAX_BYTES, MAX_PAGE, ConversationFile, wrong
from tui.store.files import make_folder, sync_folder
from tui.text import clean_label, clean_name, size

if TYPE_CHECKING:
    from tui.services.chat.memory import ChatStore

FORMS: Final[Mapping[str, Callable[[ConversationFile], str]]] = {
    "md": markdown_form.dump,
    "json": json_form.dump,
    "html": html_form.dump,
}
"""The forms by the names that people give them, which are also the ends of file names."""
_UNSAFE: Final = re.compile(r"[^a-z0-9]+")
_MANY: Final = 1000
_KNOWN: Final = "Import the JSON, Markdown or HTML that Paddock wrote, or a JSON list of messages with role and content"


def gather(store: ChatStore, conversation: int) -> ConversationFile:
    """A stored conversation as a file holds it: all branches, and the bytes of pictures. What was deleted is not in it.

    Raises:
        PaddockError: It does not exist, or has no message yet.
    """
    head, messages = store.head(conversation), store.all_messages(conversation)
    if head is None:
        raise PaddockError.of(f"There is no conversation {conversation}", "", "Choose another one", FailureKind.NOT_FOUND)
    if not messages:
        raise PaddockError.of("There is nothing to export yet", "", "Send something first", FailureKind.NOT_FOUND)
    shown = store.branch(conversation)
    numbers = [message.id for message in messages]
    return ConversationFile(
        head.title,
        head.created_at,
        head.provider,
        head.model,
        store.settings(conversation),
        head.tags,
        head.pinned,
        tuple(_with_pictures(store, _marked(message, numbers)) for message in messages),
        shown[-1].id if shown else 0,
    )


def _with_pictures(store: ChatStore, message: Message) -> Message:
    if all(one.kind is AttachmentKind.TEXT or one.data for one in message.attachments):
        return message
    files = [one if one.kind is AttachmentKind.TEXT or one.data else replace(one, data=store.image(one.id)) for one in message.attachments]
    return replace(message, attachments=tuple(files))


def _marked(message: Message, numbers: Sequence[int]) -> Message:
    """A mark whose message was deleted keeps from the next one that is there."""
    if not message.keep_from or message.keep_from in numbers:
        return message
    after, before = abs(message.keep_from), abs(message.id)  # those that are only in memory count down
    return replace(message, keep_from=next((number for number in numbers if after < abs(number) < before), 0))


async def keep(store: ChatStore, file: ConversationFile) -> ConversationHead:
    """Store a conversation that was read, all of it or nothing; it becomes the newest of the list.

    Raises:
        PaddockError: There is no message in it, or the store refuses.
    """
    if not file.messages:
        raise wrong("There is no message in this file", "", "Import another one")
    title = file.title or title_of(next((one.content for one in file.messages if one.role is Role.USER), "")) or "Imported chat"
    head = ConversationHead(0, clean_label(title), file.provider, file.model, file.created_at, 0.0, 0, file.pinned, file.tags)
    return await store.import_conversation(head, file.settings, file.messages, file.tip)


def render(form: str, file: ConversationFile) -> bytes:
    """The file in one of `FORMS`.

    Raises:
        PaddockError: There is no such form.
    """
    if form not in FORMS:
        raise PaddockError.of(f"There is no form {clean_name(form, 40)}", "", f"Use {', '.join(FORMS)}", FailureKind.CONFIG)
    return FORMS[form](file).encode("utf-8", "replace")


def write(folder: Path, number: int, form: str, file: ConversationFile, now: float) -> Path:
    """Write a file that is new, whole and readable by its owner only.

    Args:
        folder: Made where it is missing.
        number: Of the conversation; it and the title are in the name.
        form: One of `FORMS`.
        file: What is written.
        now: UTC epoch seconds, for the name.

    Raises:
        PaddockError: It cannot be written, or there is no such form.
    """
    data = render(form, file)
    slug = _UNSAFE.sub("-", file.title.lower()).strip("-")[:40].strip("-") or "chat"
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{abs(number)}-{slug}"
    try:
        make_folder(folder)
        path = _claim(folder, stem, form)
        try:
            _put(path, data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refused(folder / f"{stem}.{form}", error) from error
    return path


def _claim(folder: Path, stem: str, form: str) -> Path:
    """An empty file of ours under a name that was free."""
    for count in range(1, _MANY):
        path = folder / (f"{stem}.{form}" if count == 1 else f"{stem}-{count}.{form}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            return path
    raise FileExistsError(17, "Too many files of that name", str(folder))


def write_over(path: Path, data: bytes) -> None:
    """Put a file in place at once, on disk and owner only; a link at its place is replaced, not followed.

    Raises:
        PaddockError: It cannot be written; what was there before is untouched.
    """
    try:
        _put(path, data)
    except OSError as error:
        raise _refused(path, error) from error


def _put(path: Path, data: bytes) -> None:
    part = path.with_name(f".paddock-{secrets.token_hex(6)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _refused(path: Path, error: OSError) -> PaddockError:
    return PaddockError.of(
        "The chat could not be written",
        clean_name(str(path)),
        "Make room, or check the folder",
        FailureKind.DISK,
        clean_name(error.strerror or str(error)),
    )


def read(source: Path | bytes) -> ConversationFile:
    """Read a file in any form, which its content tells; all of it or nothing.

    Args:
        source: A path, or what stood in a file.

    Raises:
        PaddockError: It is no conversation, damaged, larger than `MAX_BYTES` (a page: `MAX_PAGE`), or of a newer Paddock.
    """
    if isinstance(source, bytes):
        return _recognised(source)
    try:
        return _recognised(_bytes_of(source))
    except PaddockError as error:
        failure = error.failure
        place = f"{clean_name(str(source))}: {failure.where}" if failure.where else clean_name(str(source))
        raise PaddockError.of(failure.what, place, failure.remedy, failure.kind, failure.details) from error


def _bytes_of(path: Path) -> bytes:
    """The bytes of a plain file; a pipe or device is refused before it can keep us waiting."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise wrong("This is no file", "", "Name a file")
            data = stream.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES and html_form.is_page(data[:1000]):
                data += stream.read(MAX_PAGE - MAX_BYTES)
    except OSError as error:
        what = f"The file cannot be read: {clean_name(error.strerror or 'unknown reason', 120)}"
        raise wrong(what, "", "Check its name and whether you may read it") from error
    except ValueError as error:  # a NUL in the name
        raise wrong("No file can have this name", "", "Check its name") from error
    return data


def _recognised(data: bytes) -> ConversationFile:
    limit = MAX_PAGE if html_form.is_page(data[:1000]) else MAX_BYTES
    if len(data) > limit:
        raise wrong(f"The file is larger than {size(limit)}", "", "Import a smaller one")
    if markdown_form.is_markdown(data):
        return markdown_form.load(data.decode("utf-8", "replace").removeprefix("\ufeff").lstrip())
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<":
        return html_form.load(data)
    if start not in (b"{", b"["):
        raise wrong("This is no conversation that Paddock knows", "", _KNOWN)
    value = json_form.parse(data)
    if json_form.is_plain(value):
        return json_form.load_plain(value)
    if not isinstance(value, dict) or "paddock" not in value:
        raise wrong("This JSON is no conversation", "", _KNOWN)
    return json_form.load(value)
