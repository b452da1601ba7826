"""Reading the files that go with a prompt: text that is text, images that are images, everything else refused in words.

All of it blocks (a folder may be on another machine): run it in a daemon thread. Nothing here waits for a pipe or a device.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tui.core.chat import Attachment, AttachmentKind
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.text import clean_door, clean_label, clean_name, size

TEXT_LIMIT: Final = 8_000_000
"""Bytes of a text file; about two million tokens, more than any context."""
IMAGE_LIMIT: Final = 20_000_000
"""Bytes of an image."""
PIXEL_LIMIT: Final = 200_000_000
"""Pixels that an image may say it has: a small file can ask a server for gigabytes."""
COUNT_LIMIT: Final = 1000
"""Files read at once."""
HEAD: Final = 4096
"""Bytes that tell what a file is."""
_NOT_FILES: Final = (
    (stat.S_ISDIR, "is a folder", "@folder/* attaches the files in it"),
    (stat.S_ISFIFO, "is a pipe", "Write what comes out of it to a file first"),
    (stat.S_ISSOCK, "is a socket", "Attach a file"),
    (stat.S_ISCHR, "is a device", "Attach a file"),
    (stat.S_ISBLK, "is a device", "Attach a file"),
)
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS: Final = (
    (b"%PDF-", "a PDF", "Make text of it first: pdftotext FILE"),
    (b"PK\x03\x04", "a ZIP archive or an office document", "Save it as text, or unpack it"),
    (b"\x1f\x8b", "compressed", "Unpack it first"),
    (b"GGUF", "a model", "The Library shows models"),
    (b"\x7fELF", "a program", "Attach its source"),
)
_CONTROLS: Final = bytes(code for code in range(0x20) if code not in b"\t\n\v\f\r\b\x1b")


def read(
    paths: Sequence[str | Path], *, sees: bool | None = None, text_limit: int = TEXT_LIMIT, image_limit: int = IMAGE_LIMIT
) -> tuple[list[Attachment], list[Failure]]:
    """Read files; what cannot be is refused one by one.

    Args:
        paths: Files, as `references.expand` or a drop gave them; `~` is the home folder.
        sees: Whether the model takes images; None: not known, and they are taken.
        text_limit: Bytes of one text file.
        image_limit: Bytes of one image.
    """
    found: list[Attachment] = []
    failures: list[Failure] = []
    for path in paths[:COUNT_LIMIT]:
        try:
            found.append(read_file(Path(path), sees=sees, text_limit=text_limit, image_limit=image_limit))
        except PaddockError as error:
            failures.append(error.failure)
    if len(paths) > COUNT_LIMIT:
        failures.append(
            Failure(f"{len(paths) - COUNT_LIMIT} files were left out: {COUNT_LIMIT} go at once", "", "Attach fewer", FailureKind.REFUSED)
        )
    return found, failures


def read_file(path: Path, *, sees: bool | None = None, text_limit: int = TEXT_LIMIT, image_limit: int = IMAGE_LIMIT) -> Attachment:
    """Read one file.

    Raises:
        PaddockError: It is no file, cannot be read, is too large, is neither text nor an image, or the model cannot see it.
    """
    path = _at_home(path)
    data, grown = _bytes_of(path, max(text_limit, image_limit))
    name, place, digest = clean_name(path.name, 120), clean_name(str(path)), hashlib.sha256(data).hexdigest()
    media = media_of(data)
    if media:
        if sees is False:
            raise _refused(path, "is an image, and the model cannot see", "Choose a model that sees: ctrl+t", FailureKind.UNSUPPORTED)
        if len(data) > image_limit:
            raise _refused(path, f"has {size(len(data))}; an image may have {size(image_limit)}", "Make it smaller")
        pixels = dimensions(data)
        if pixels is None:
            raise _refused(path, "is a damaged image: it does not say how large it is", "Save it again with another program")
        if pixels[0] * pixels[1] > PIXEL_LIMIT:
            raise _refused(path, f"has {pixels[0]:,} x {pixels[1]:,} pixels", "Make it smaller")
        return Attachment(name, AttachmentKind.IMAGE, len(data), path=place, digest=digest, data=data, media=media)
    if len(data) > text_limit:
        raise _refused(path, f"has more than {size(text_limit)}", "Attach the part of it that matters")
    return Attachment(name, AttachmentKind.TEXT, len(data), path=place, text=_text(path, data, grown), digest=digest)


def from_text(name: str, text: str) -> Attachment:
    """A large paste as an attachment."""
    text = clean_door(text)
    data = text.encode()
    return Attachment(clean_name(name, 120), AttachmentKind.TEXT, len(data), text=text, digest=hashlib.sha256(data).hexdigest())


def is_text(path: Path) -> bool:
    """Whether a file begins as text and is not too large."""
    try:
        head, grown = _bytes_of(path, TEXT_LIMIT, only=HEAD)
        if media_of(head):
            return False
        _text(path, head, grown or len(head) == HEAD)
    except PaddockError:
        return False
    return True


def media_of(data: bytes) -> str:
    """The media type of an image, by its first bytes; empty for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else ""


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels as the image's header says, None where it does not."""
    found: tuple[int, int] | None = None
    media = media_of(data)
    try:
        if media == "image/png" and data[12:16] == b"IHDR":
            found = struct.unpack_from(">II", data, 16)
        elif media == "image/gif":
            found = struct.unpack_from("<HH", data, 6)
        elif media == "image/jpeg":
            found = _jpeg(data)
        elif media == "image/webp":
            found = _webp(data)
    except struct.error:
        return None
    return found if found is not None and min(found) > 0 else None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk the segments to the frame header (ITU T.81, B.2.2)."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:  # without a length
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    """The three forms of the first chunk (developers.google.com/speed/webp/docs/riff_container)."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # ~nobody
        return path


def _refused(path: Path, what: str, remedy: str, kind: FailureKind = FailureKind.REFUSED) -> PaddockError:
    return PaddockError.of(f"{clean_name(path.name or str(path), 80)} {what}", clean_name(str(path)), remedy, kind)


def unreadable(path: Path, error: OSError) -> PaddockError:
    """The refusal of what the file system refuses."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return _refused(path, "does not exist", "Look at the name", FailureKind.NOT_FOUND)
    if isinstance(error, PermissionError):
        return _refused(path, "may not be read by you", "Look at its rights", FailureKind.FORBIDDEN)
    return _refused(path, f"cannot be read: {clean_label(error.strerror or 'the file system refuses', 80)}", "Look at the file")


def _bytes_of(path: Path, limit: int, only: int = 0) -> tuple[bytes, bool]:
    """The file as long as it was when it was opened, and whether it grew since; `only` that many bytes."""
    try:
        _must_be_file(path, path.stat())
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise unreadable(path, error if isinstance(error, OSError) else FileNotFoundError()) from None
    try:
        before = os.fstat(handle)
        _must_be_file(path, before)
        if before.st_size > limit:
            raise _refused(path, f"has {size(before.st_size)}; at most {size(limit)} are read", "Attach the part of it that matters")
        wanted = only or (before.st_size or limit + 1)  # what /proc holds says that it is empty
        pieces: list[bytes] = []
        while wanted > 0 and (piece := os.read(handle, min(wanted, 1 << 20))):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces), os.fstat(handle).st_size > before.st_size
    except OSError as error:
        raise unreadable(path, error) from None
    finally:
        os.close(handle)


def _must_be_file(path: Path, found: os.stat_result) -> None:
    for is_kind, what, remedy in _NOT_FILES:
        if is_kind(found.st_mode):
            raise _refused(path, what, remedy)


def _text(path: Path, data: bytes, cut: bool) -> str:
    """The text of a file; `cut`: its last character may be incomplete."""
    encoding = next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8")
    if not encoding.startswith("utf-8"):
        try:
            return clean_door(data.decode(encoding, "ignore" if cut else "strict"))
        except UnicodeDecodeError:
            raise _refused(path, "is not text", "Attach text, or a PNG, JPEG, WebP or GIF image") from None
    for magic, what, remedy in _OTHERS:
        if data.startswith(magic):
            raise _refused(path, f"is {what}", remedy)
    if b"\0" in data or len(data) - len(data.translate(None, _CONTROLS)) > len(data) // 50:
        raise _refused(path, "is not text", "Attach text, or a PNG, JPEG, WebP or GIF image")
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(data, not cut)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(path, f"is not UTF-8 (line {line})", "Make it UTF-8: iconv -f LATIN1 -t UTF-8 FILE") from None
    return clean_door(text)
